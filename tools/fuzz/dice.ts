/** Choices that a seed decides. */
import { type Random, seededRandom } from '#holdfast/model/random.js';

export interface Dice {
  readonly random: Random;
  /** A whole number from 0 to `limit`, without `limit`. */
  readonly below: (limit: number) => number;
  /** True as often as this, from 0 to 1. */
  readonly chance: (share: number) => boolean;
  readonly pick: <T>(from: readonly T[]) => T;
  readonly bytes: (count: number) => Uint8Array;
}

/** The dice of one part of a run: another part with the same seed gets others. */
export function diceOf(seed: number, part: number): Dice {
  // Neighbouring seeds of the generator give neighbouring first values; a large odd factor sets them apart.
  const random = seededRandom((seed + Math.imul(part + 1, 0x9e3779b1)) >>> 0);
  const below = (limit: number): number => Math.floor(random.fraction() * limit);
  return {
    random,
    below,
    chance: (share) => random.fraction() < share,
    pick: (from) => from[below(from.length)] as (typeof from)[number],
    bytes: (count) => random.fill(new Uint8Array(count)),
  };
}
