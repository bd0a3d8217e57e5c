/**
 * A map from whole numbers to values, for entries that come and go all the time.
 *
 * A `Map` like that is rebuilt again and again, and V8 links each of its former tables to the next. As soon as the garbage
 * collector has moved one of them to the old generation, it moves all that follow there too, with the entries that they had,
 * although nobody can reach them. Here the entries stay in one table (open addressing, linear probing), which is only ever
 * replaced by a larger one.
 */
const FIRST_CAPACITY = 16;

/** 2 to the 32nd over the golden ratio: its multiples spread neighbours over the whole table (Knuth, TAOCP 6.4). */
const SPREAD = 0x9e3779b1;

export class NumberMap<T extends object> {
  #keys: number[] = [];
  #values: (T | undefined)[] = [];
  #size = 0;
  /** 32 less the binary logarithm of the capacity. */
  #shift = 0;

  get size(): number {
    return this.#size;
  }

  get(key: number): T | undefined {
    return this.#size === 0 ? undefined : this.#values[this.#find(key)];
  }

  has(key: number): boolean {
    return this.get(key) !== undefined;
  }

  set(key: number, value: T): void {
    if (this.#size * 2 >= this.#values.length) this.#grow();
    const at = this.#find(key);
    if (this.#values[at] === undefined) this.#size += 1;
    this.#keys[at] = key;
    this.#values[at] = value;
  }

  delete(key: number): boolean {
    if (this.#size === 0) return false;
    let gap = this.#find(key);
    if (this.#values[gap] === undefined) return false;
    const mask = this.#values.length - 1;
    // What comes behind moves up, unless it would come to stand before its own place.
    for (let at = (gap + 1) & mask; this.#values[at] !== undefined; at = (at + 1) & mask) {
      const home = this.#home(this.#keys[at] as number);
      if (((at - home) & mask) < ((at - gap) & mask)) continue;
      this.#keys[gap] = this.#keys[at] as number;
      this.#values[gap] = this.#values[at];
      gap = at;
    }
    this.#values[gap] = undefined;
    this.#size -= 1;
    return true;
  }

  clear(): void {
    this.#keys = [];
    this.#values = [];
    this.#size = 0;
  }

  /** The values as they are now, in no particular order. */
  values(): T[] {
    return this.#values.filter((value) => value !== undefined);
  }

  /** Where a key stands, or where it would. */
  #find(key: number): number {
    const mask = this.#values.length - 1;
    let at = this.#home(key);
    while (this.#values[at] !== undefined && this.#keys[at] !== key) at = (at + 1) & mask;
    return at;
  }

  #home(key: number): number {
    // The upper half of a large number counts too.
    return Math.imul(key ^ (key / 0x1_0000_0000), SPREAD) >>> this.#shift;
  }

  #grow(): void {
    const [keys, values] = [this.#keys, this.#values];
    const capacity = Math.max(FIRST_CAPACITY, values.length * 2);
    this.#keys = Array.from({ length: capacity }, () => 0);
    this.#values = Array.from({ length: capacity }, () => undefined);
    this.#shift = 32 - Math.log2(capacity);
    values.forEach((value, at) => {
      if (value === undefined) return;
      const to = this.#find(keys[at] as number);
      this.#keys[to] = keys[at] as number;
      this.#values[to] = value;
    });
  }
}
