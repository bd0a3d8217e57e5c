/**
 * Cold records for one command that waits for them: read from the store once, and kept current by every write
 * that is made until the command is applied. The broker is the only writer, so that is all it takes.
 */
import type { ColdView, Need } from '../machine/machine.ts';
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
  /** By the text of the key. */
  readonly #values = new Map<string, { readonly key: Key; value: Value | undefined }>();
  readonly #ranges: { readonly range: KeyRange; entries: Entry[] }[] = [];
  readonly #packs = new Map<number, Value | undefined>();
  /** Writes since the reading began; a reading may or may not have seen them, so they are put on top of it. */
  #since: Write[] = [];

  get(key: Key): { readonly value: Value | undefined } | undefined {
    return this.#values.get(textOf(key));
  }

  range(range: KeyRange): readonly Entry[] | undefined {
    return this.#ranges.find(({ range: known }) => sameRange(known, range))?.entries;
  }

  /** A pack never changes but to become smaller, so it is as good as it was when it was loaded. */
  pack(number: number): { readonly value: Value | undefined } | undefined {
    return this.#packs.has(number) ? { value: this.#packs.get(number) } : undefined;
  }

  async load(store: Store, epoch: Epoch, need: Need, known: KnownPacks): Promise<void> {
    this.#since = [];
    await this.#loadPacks(store, epoch, need.packs ?? [], known);
    const values = await store.get(epoch, need.keys);
    const ranges: { range: KeyRange; entries: Entry[] }[] = [];
    for (const range of need.ranges) {
      const entries: Entry[] = [];
      for await (const chunk of store.range(epoch, range)) entries.push(...chunk);
      ranges.push({ range, entries });
    }
    need.keys.forEach((key, i) => this.#values.set(textOf(key), { key, value: values[i] }));
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
      if (this.#values.size > 0) this.#applyToValues(write);
      for (const known of this.#ranges) known.entries = applyToRange(known.range, known.entries, write);
    }
  }

  #applyToValues(write: Write): void {
    if (write.kind === 'clear') {
      for (const known of this.#values.values()) if (isWithin(known.key, write)) known.value = undefined;
      return;
    }
    const known = this.#values.get(textOf(write.key));
    if (known !== undefined) known.value = write.kind === 'put' ? write.value : undefined;
  }
}

function textOf({ buffer, byteOffset, length }: Key): string {
  return Buffer.from(buffer, byteOffset, length).toString('latin1');
}

function applyToRange(range: KeyRange, entries: Entry[], write: Write): Entry[] {
  if (write.kind === 'clear') return entries.filter(({ key }) => !isWithin(key, write));
  if (!isWithin(write.key, range)) return entries;
  const others = entries.filter(({ key }) => compareKeys(key, write.key) !== 0);
  if (write.kind === 'delete') return others;
  const behind = others.findIndex(({ key }) => compareKeys(key, write.key) > 0);
  others.splice(behind < 0 ? others.length : behind, 0, { key: write.key, value: write.value });
  return others;
}

function isWithin(key: Key, { from, to }: { readonly from: Key; readonly to: Key }): boolean {
  return compareKeys(key, from) >= 0 && compareKeys(key, to) < 0;
}

function sameRange(a: KeyRange, b: KeyRange): boolean {
  return compareKeys(a.from, b.from) === 0 && compareKeys(a.to, b.to) === 0;
}
