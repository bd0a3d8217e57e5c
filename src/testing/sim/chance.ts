/** Draws of a seeded random source, in the forms that scenarios need. */
import { type Random, seededRandom } from '../../model/random.ts';

export class Chance {
  readonly random: Random;

  constructor(random: Random) {
    this.random = random;
  }

  /** A source of its own, so that what one part draws does not move what another part gets. */
  fork(): Chance {
    return new Chance(seededRandom(this.whole(0, 2 ** 32 - 1)));
  }

  happens(probability: number): boolean {
    return this.random.fraction() < probability;
  }

  between(least: number, most: number): number {
    return least + (most - least) * this.random.fraction();
  }

  /** A whole number, both ends included. */
  whole(least: number, most: number): number {
    return Math.floor(this.between(least, most + 1));
  }

  oneOf<T>(choices: readonly T[]): T {
    return choices[this.whole(0, choices.length - 1)] as T;
  }

  /** The time until the next event of a kind that comes this often on average. */
  until(meanMs: number): number {
    return -Math.log(1 - this.random.fraction()) * meanMs;
  }
}
