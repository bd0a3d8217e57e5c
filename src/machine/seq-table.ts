/** A map from sequence numbers to values that takes a few bytes a value, because neighbours share an array. */

import { OrderedIndex } from './ordered-index.ts';

const CHUNK = 512;

interface Chunk<T> {
  readonly values: (T | undefined)[];
  used: number;
}

export class SeqTable<T> {
  readonly #chunks = new Map<number, Chunk<T>>();
  /** The numbers of the chunks, in their order. */
  readonly #numbers = new OrderedIndex<number>((a, b) => a - b);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(seq: number): T | undefined {
    return this.#chunks.get(Math.floor(seq / CHUNK))?.values[seq % CHUNK];
  }

  has(seq: number): boolean {
    return this.get(seq) !== undefined;
  }

  set(seq: number, value: T): void {
    const number = Math.floor(seq / CHUNK);
    let chunk = this.#chunks.get(number);
    if (chunk === undefined) {
      chunk = { values: Array.from({ length: CHUNK }, () => undefined), used: 0 };
      this.#chunks.set(number, chunk);
      this.#numbers.add(number);
    }
    if (chunk.values[seq % CHUNK] === undefined) {
      chunk.used += 1;
      this.#size += 1;
    }
    chunk.values[seq % CHUNK] = value;
  }

  delete(seq: number): boolean {
    const number = Math.floor(seq / CHUNK);
    const chunk = this.#chunks.get(number);
    if (chunk?.values[seq % CHUNK] === undefined) return false;
    chunk.values[seq % CHUNK] = undefined;
    chunk.used -= 1;
    this.#size -= 1;
    if (chunk.used === 0) {
      this.#chunks.delete(number);
      this.#numbers.remove(number);
    }
    return true;
  }

  /** The value with the lowest number above this one. */
  above(seq: number): T | undefined {
    const from = seq + 1;
    for (let rank = this.#numbers.rank(Math.floor(from / CHUNK)); ; rank++) {
      const number = this.#numbers.at(rank);
      if (number === undefined) return undefined;
      const { values } = this.#chunks.get(number) as Chunk<T>;
      for (let i = Math.max(0, from - number * CHUNK); i < CHUNK; i++) if (values[i] !== undefined) return values[i];
    }
  }

  /** The value with the highest number below this one. */
  below(seq: number): T | undefined {
    const to = seq - 1;
    for (let rank = this.#numbers.rank(Math.floor(to / CHUNK) + 1) - 1; rank >= 0; rank--) {
      const number = this.#numbers.at(rank) as number;
      const { values } = this.#chunks.get(number) as Chunk<T>;
      for (let i = Math.min(CHUNK - 1, to - number * CHUNK); i >= 0; i--) if (values[i] !== undefined) return values[i];
    }
    return undefined;
  }

  *values(): Generator<T> {
    for (const { values } of this.#chunks.values()) {
      for (const value of values) if (value !== undefined) yield value;
    }
  }
}
