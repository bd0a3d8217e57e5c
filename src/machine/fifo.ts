/** Items in the order in which they came: added at the end, taken away at the beginning, each in O(1) on average. */
export class Fifo<T> {
  #items: T[];
  /** How many at the beginning of the array are gone. */
  #gone = 0;

  constructor(items: Iterable<T> = []) {
    this.#items = [...items];
  }

  get length(): number {
    return this.#items.length - this.#gone;
  }

  at(index: number): T | undefined {
    return this.#items[this.#gone + index];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** Takes away the oldest ones. The array is cut when half of it is gone, so that each item is moved once at most for each that goes. */
  removeFirst(count: number): void {
    this.#gone += Math.min(count, this.length);
    if (this.#gone * 2 < this.#items.length) return;
    this.#items = this.#items.slice(this.#gone);
    this.#gone = 0;
  }

  /** The index of the first item of which this holds, where it holds of all that follow; the length when there is none. */
  firstWhere(holds: (item: T) => boolean): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (holds(this.at(middle) as T)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  *[Symbol.iterator](): Generator<T> {
    for (let i = 0; i < this.length; i++) yield this.at(i) as T;
  }
}
