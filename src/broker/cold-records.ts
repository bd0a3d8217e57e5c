/**
 * Cold records for one command that waits for them: read from the store once, and kept current by every write
 * that is made until the command is applied. The broker is the only writer, so that is all it takes.
 */
import type { ColdView, Need, RangePart } from '../machine/machine.ts';
import { textOf } from '../model/bytes.ts';
import {
  compareKeys,
  type Entry,
  type Epoch,
  type Key,
  type KeyRange,
  type Value,
  type Write,
} from '../model/records.ts';
import type { Store } from '../store/store.ts';

/** Packs that are at hand, among them some that the store has no more, and where the others stand. */
export interface KnownPacks {
  readonly find: (number: number) => Value | undefined;
  readonly keyOf: (number: number) => Key;
}

/** What is being read for a command, or for the work that is due. */
export interface ColdRead {
  readonly records: ColdRecords;
  ready: boolean;
}

export class ColdRecords implements ColdView {
  /** By key, one character a byte. */
  readonly #values = new Map<string, { readonly key: Key; value: Value | undefined }>();
  readonly #ranges: LoadedRange[] = [];
  readonly #packs = new Map<number, Value | undefined>();
  /** Writes since the reading began; a reading may or may not have seen them, so they are put on top of it. */
  #since: Write[] = [];

  get(key: Key): { readonly value: Value | undefined } | undefined {
    return this.#values.get(textOf(key));
  }

  /** What was read by key. */
  values(): Iterable<{ readonly key: Key; readonly value: Value | undefined }> {
    return this.#values.values();
  }

  range(range: KeyRange): readonly Entry[] | undefined {
    return this.#find(range)?.entries;
  }

  part(range: KeyRange): RangePart | undefined {
    const found = this.#find(range);
    return found && { entries: found.entries, isEnd: found.end === undefined };
  }

  /** A pack never changes but to become smaller, so it is as good as it was when it was loaded. */
  pack(number: number): { readonly value: Value | undefined } | undefined {
    return this.#packs.has(number) ? { value: this.#packs.get(number) } : undefined;
  }

  /** @param ahead keys of which as many are read besides as their values take little memory */
  async load(store: Store, epoch: Epoch, need: Need, known: KnownPacks, ahead: readonly Key[] = []): Promise<void> {
    this.#since = [];
    await this.#loadPacks(store, epoch, need.packs ?? [], known);
    // Even where nothing is needed but ranges: the epoch is checked here.
    let keys = [...need.keys, ...ahead.slice(0, SMALLEST_STEP)];
    const read = [{ keys, values: await store.get(epoch, keys) }];
    let bytes = 0;
    for (let at = SMALLEST_STEP, step = SMALLEST_STEP * GROWTH; at < ahead.length; at += step, step *= GROWTH) {
      bytes += bytesOf(read.at(-1)?.values ?? []);
      if (bytes >= AHEAD_BYTES) break;
      keys = ahead.slice(at, at + step);
      read.push({ keys, values: await store.get(epoch, keys) });
    }
    const ranges: LoadedRange[] = [];
    for (const range of need.ranges) ranges.push(await loadRange(store, epoch, range));
    for (const { keys: of, values } of read) {
      of.forEach((key, i) => this.#values.set(textOf(key), { key, value: values[i] }));
    }
    this.#ranges.push(...ranges);
    this.#apply(this.#since);
    this.#since = [];
  }

  async #loadPacks(store: Store, epoch: Epoch, numbers: readonly number[], known: KnownPacks): Promise<void> {
    const missing: number[] = [];
    for (const number of numbers) {
      const value = known.find(number);
      if (value === undefined) missing.push(number);
      else this.#packs.set(number, value);
    }
    if (missing.length === 0) return;
    const values = await store.get(epoch, missing.map(known.keyOf));
    missing.forEach((number, i) => this.#packs.set(number, values[i]));
  }

  /** Takes note of writes that are made while the command waits. */
  update(writes: readonly Write[]): void {
    for (const write of writes) this.#since.push(write);
    this.#apply(writes);
  }

  #apply(writes: readonly Write[]): void {
    for (const write of writes) {
      if (write.kind === 'clear') {
        for (const known of this.#values.values()) if (isWithin(known.key, write)) known.value = undefined;
      } else {
        const known = this.#values.size === 0 ? undefined : this.#values.get(textOf(write.key));
        if (known !== undefined) known.value = write.kind === 'put' ? write.value : undefined;
      }
      for (const known of this.#ranges) known.entries = applyToRange(known, write);
    }
  }

  #find(range: KeyRange): LoadedRange | undefined {
    return this.#ranges.find(({ range: known }) => sameRange(known, range));
  }
}

/**
 * Reading ahead goes in steps, each so many times larger than the one before, until about so many bytes have been read: how large
 * values are shows only then.
 */
const SMALLEST_STEP = 16;
const GROWTH = 16;
const AHEAD_BYTES: number = 4 * 1024 * 1024;

function bytesOf(values: readonly (Value | undefined)[]): number {
  return values.reduce((sum, value) => sum + (value?.length ?? 0), 0);
}

interface LoadedRange {
  readonly range: KeyRange;
  /** The last key that was read, where the range may have more behind it: what is written there is not known here. */
  readonly end: Key | undefined;
  entries: Entry[];
}

/** A range with a limit is read up to about this many bytes. */
const PART_BYTES: number = 4 * 1024 * 1024;

async function loadRange(store: Store, epoch: Epoch, range: KeyRange): Promise<LoadedRange> {
  const entries: Entry[] = [];
  let bytes = 0;
  for await (const chunk of store.range(epoch, range)) {
    for (const entry of chunk) {
      entries.push(entry);
      bytes += entry.value.length;
      if (range.limit !== undefined && bytes >= PART_BYTES) return { range, entries, end: entry.key };
    }
  }
  return { range, entries, end: range.limit === entries.length ? entries.at(-1)?.key : undefined };
}

function applyToRange({ range, end, entries }: LoadedRange, write: Write): Entry[] {
  if (write.kind === 'clear') return entries.filter(({ key }) => !isWithin(key, write));
  if (!isWithin(write.key, range)) return entries;
  const sign = range.reverse === true ? -1 : 1;
  const order = (a: Key, b: Key): number => sign * compareKeys(a, b);
  if (end !== undefined && order(write.key, end) > 0) return entries;
  const others = entries.filter(({ key }) => compareKeys(key, write.key) !== 0);
  if (write.kind === 'delete') return others;
  const behind = others.findIndex(({ key }) => order(key, write.key) > 0);
  others.splice(behind < 0 ? others.length : behind, 0, { key: write.key, value: write.value });
  return others;
}

function isWithin(key: Key, { from, to }: { readonly from: Key; readonly to: Key }): boolean {
  return compareKeys(key, from) >= 0 && compareKeys(key, to) < 0;
}

function sameRange(a: KeyRange, b: KeyRange): boolean {
  const isSamePart = a.limit === b.limit && a.reverse === b.reverse;
  return isSamePart && compareKeys(a.from, b.from) === 0 && compareKeys(a.to, b.to) === 0;
}
