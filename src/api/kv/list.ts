/** Lists of entries, read a page at a time. */
import { checkType, decodeKvKey } from '../../model/kv-key.ts';
import {
  areEmpty,
  behind,
  boundsBehind,
  boundsOf,
  checkSelector,
  type CheckedSelector,
  cursorAt,
  type KvBounds,
  type KvListSelector,
} from '../../model/kv-selector.ts';
import type { KvEntry as RawEntry, KvPage } from '../../model/kv.ts';
import { checkConsistency, checkOpen, entryOf, type KvCore } from './core.ts';
import type { KvEntry, KvListIterator as KvListIteratorType, KvListOptions } from './types.ts';

/** Entries that are read at a time when nothing is said, and at most then. */
const BATCH = 100;
const LARGEST_BATCH = 500;

export class KvListIterator<T> implements KvListIteratorType<T> {
  readonly #core: KvCore;
  readonly #selector: CheckedSelector;
  readonly #options: KvListOptions;
  readonly #batchSize: number;
  /** Of the whole list; what cursors are relative to. */
  #whole: KvBounds | undefined;
  /** Of what has not been read. */
  #rest: KvBounds | undefined;
  #read: readonly RawEntry[] = [];
  #at = 0;
  #given = 0;
  #isEnd = false;
  #reading: Promise<void> | undefined;
  #cursor: string | undefined;

  /** @throws TypeError, Error for a selector or option that cannot be used */
  constructor(core: KvCore, selector: KvListSelector, options: KvListOptions) {
    const { limit, batchSize } = options;
    if (limit !== undefined) checkPositive('Limit', limit);
    if (batchSize !== undefined) checkPositive('batchSize', batchSize);
    this.#core = core;
    this.#selector = checkSelector(selector);
    this.#options = { ...options };
    this.#batchSize = batchSize ?? Math.min(limit ?? BATCH, LARGEST_BATCH);
  }

  get cursor(): string {
    if (this.#cursor === undefined) throw new Error('Cannot get cursor before first iteration');
    return this.#cursor;
  }

  async next(): Promise<IteratorResult<KvEntry<T>, undefined>> {
    const { limit = Infinity } = this.#options;
    for (;;) {
      if (this.#given >= limit) return { done: true, value: undefined };
      const entry = this.#read[this.#at];
      if (entry !== undefined) {
        const given = this.#give(entry);
        return { done: false, value: given instanceof Promise ? await given : given };
      }
      if (this.#isEnd) {
        this.#cursor = '';
        return { done: true, value: undefined };
      }
      // Those who ask before there is an answer wait for the same page.
      this.#reading ??= this.#readPage().finally(() => {
        this.#reading = undefined;
      });
      await this.#reading;
    }
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #give(entry: RawEntry): KvEntry<T> | Promise<KvEntry<T>> {
    this.#at += 1;
    this.#given += 1;
    this.#cursor = cursorAt(this.#whole as KvBounds, entry.key);
    return entryOf<T>(decodeKvKey(entry.key), entry) as KvEntry<T> | Promise<KvEntry<T>>;
  }

  /** Reads on, if only past entries that have expired. */
  async #readPage(): Promise<void> {
    checkOpen(this.#core);
    const { limit = Infinity, reverse = false } = this.#options;
    const rest = this.#rest ?? this.#start();
    if (areEmpty(rest)) {
      this.#isEnd = true;
      return;
    }
    const { from, to } = rest;
    const range = { from, to, limit: Math.min(this.#batchSize, limit - this.#given), reverse: Boolean(reverse) };
    const { pages } = await this.#core.raw.read([], [range]);
    const { entries, last, isEnd } = pages[0] as KvPage;
    if (last !== undefined) this.#rest = reverse ? { ...rest, to: last } : { ...rest, from: behind(last) };
    this.#isEnd = isEnd;
    this.#read = entries;
    this.#at = 0;
  }

  /** What is checked by Deno as late as this. @throws TypeError */
  #start(): KvBounds {
    const { consistency, cursor = '', reverse = false } = this.#options;
    const { maxBatchSize } = this.#core.limits;
    checkConsistency(consistency);
    if (this.#batchSize > maxBatchSize) throw new TypeError(`Too many entries (max ${maxBatchSize})`);
    this.#whole = boundsOf(this.#selector);
    checkType('string', cursor);
    this.#rest = cursor === '' ? this.#whole : boundsBehind(this.#whole, cursor, Boolean(reverse));
    return this.#rest;
  }
}

/** @throws Error */
function checkPositive(name: string, value: number): void {
  if (Number.isInteger(value) && value > 0) return;
  throw new Error(`${name} must be a positive integer: received ${String(value)}`);
}
