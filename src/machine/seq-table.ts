/** A map from sequence numbers to values that takes a few bytes a value, because neighbours share an array. */

const CHUNK = 512;

interface Chunk<T> {
  readonly values: (T | undefined)[];
  used: number;
}

export class SeqTable<T> {
  readonly #chunks = new Map<number, Chunk<T>>();
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
    if (chunk.used === 0) this.#chunks.delete(number);
    return true;
  }

  *values(): Generator<T> {
    for (const { values } of this.#chunks.values()) {
      for (const value of values) if (value !== undefined) yield value;
    }
  }
}
