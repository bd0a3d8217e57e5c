/**
 * An ordered map from byte strings to values: blocks of sorted entries behind a sorted list of blocks.
 *
 * A block is split when it is full and dropped when it is empty, so finding a key takes two binary
 * searches, and a change moves at most one block of entries.
 */
import { compareKeys, type Key, type KeyRange } from '../model/records.ts';

/** A block is split in two when it reaches this number of entries. */
const BLOCK_ENTRIES = 256;

/** One key with what is held under it. */
export interface Item<T> {
  readonly key: Key;
  readonly value: T;
}

type Block<T> = Item<T>[];

export class OrderedMap<T> {
  #blocks: Block<T>[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(key: Key): T | undefined {
    const block = this.#blocks[this.#blockOf(key)];
    if (block === undefined) return undefined;
    const item = block[indexIn(block, key)];
    return item !== undefined && compareKeys(item.key, key) === 0 ? item.value : undefined;
  }

  /** Keeps `key` and `value` themselves, not copies. */
  put(key: Key, value: T): void {
    const at = this.#blockOf(key);
    const block = this.#blocks[at];
    if (block === undefined) {
      this.#blocks.push([{ key, value }]);
      this.#size++;
      return;
    }
    const index = indexIn(block, key);
    const present = block[index];
    if (present !== undefined && compareKeys(present.key, key) === 0) {
      block[index] = { key, value };
      return;
    }
    block.splice(index, 0, { key, value });
    this.#size++;
    if (block.length >= BLOCK_ENTRIES) this.#blocks.splice(at + 1, 0, block.splice(BLOCK_ENTRIES >> 1));
  }

  delete(key: Key): boolean {
    const at = this.#blockOf(key);
    const block = this.#blocks[at];
    if (block === undefined) return false;
    const index = indexIn(block, key);
    const present = block[index];
    if (present === undefined || compareKeys(present.key, key) !== 0) return false;
    block.splice(index, 1);
    if (block.length === 0) this.#blocks.splice(at, 1);
    this.#size--;
    return true;
  }

  /** Deletes every key from `from` (included) to `to` (excluded). */
  clear(from: Key, to: Key): void {
    if (compareKeys(from, to) >= 0) return;
    const first = this.#blockOf(from);
    let at = first;
    for (; at < this.#blocks.length; at++) {
      const block = this.#blocks[at] as Block<T>;
      const start = at === first ? indexIn(block, from) : 0;
      const end = indexIn(block, to);
      this.#size -= block.splice(start, end - start).length;
      // What is left behind `end` is at or above `to`, and so are the blocks that follow.
      if (block.length > start) break;
    }
    this.#blocks = this.#blocks.filter((block) => block.length > 0);
  }

  /** The first `count` items at or above `from`. */
  take(from: Key, count: number): Item<T>[] {
    const taken: Item<T>[] = [];
    let at = this.#blockOf(from);
    let block = this.#blocks[at];
    for (let index = block === undefined ? 0 : indexIn(block, from); block !== undefined && taken.length < count;) {
      taken.push(...block.slice(index, index + count - taken.length));
      block = this.#blocks[++at];
      index = 0;
    }
    return taken;
  }

  /** The items of a range in its order. The map must not change while they are taken. */
  *items({ from, to, reverse = false, limit = Infinity }: KeyRange): Generator<Item<T>, void> {
    if (compareKeys(from, to) >= 0) return;
    const step = reverse ? -1 : 1;
    let at = this.#blockOf(reverse ? to : from);
    let block = this.#blocks[at];
    let index = block === undefined ? 0 : indexIn(block, reverse ? to : from) + (reverse ? -1 : 0);
    for (let left = limit; left > 0 && block !== undefined;) {
      const item = block[index];
      if (item === undefined) {
        block = this.#blocks[(at += step)];
        index = reverse && block !== undefined ? block.length - 1 : 0;
        continue;
      }
      if (reverse ? compareKeys(item.key, from) < 0 : compareKeys(item.key, to) >= 0) return;
      yield item;
      index += step;
      left--;
    }
  }

  /** The index of the block that holds `key` or would take it; 0 in an empty map. */
  #blockOf(key: Key): number {
    let low = 0;
    let high = this.#blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      const first = (this.#blocks[middle] as Block<T>)[0] as Item<T>;
      if (compareKeys(first.key, key) <= 0) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** The index of the first item at or above `key`. */
function indexIn<T>(block: Block<T>, key: Key): number {
  let low = 0;
  let high = block.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareKeys((block[middle] as Item<T>).key, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
