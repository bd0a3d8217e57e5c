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

export class ColdRecords implements ColdView {
  readonly #values: { readonly key: Key; value: Value | undefined }[] = [];
  readonly #ranges: { readonly range: KeyRange; entries: Entry[] }[] = [];
  /** Writes since the reading began; a reading may or may not have seen them, so they are put on top of it. */
  #since: Write[] = [];

  get(key: Key): { readonly value: Value | undefined } | undefined {
    return this.#values.find((known) => compareKeys(known.key, key) === 0);
  }

  range(range: KeyRange): readonly Entry[] | undefined {
    return this.#ranges.find(({ range: known }) => sameRange(known, range))?.entries;
  }

  async load(store: Store, epoch: Epoch, need: Need): Promise<void> {
    this.#since = [];
    const values = await store.get(epoch, need.keys);
    const ranges: { range: KeyRange; entries: Entry[] }[] = [];
    for (const range of need.ranges) {
      const entries: Entry[] = [];
      for await (const chunk of store.range(epoch, range)) entries.push(...chunk);
      ranges.push({ range, entries });
    }
    need.keys.forEach((key, i) => this.#values.push({ key, value: values[i] }));
    this.#ranges.push(...ranges);
    this.#apply(this.#since);
    this.#since = [];
  }

  /** Takes note of writes that are made while the command waits. */
  update(writes: readonly Write[]): void {
    for (const write of writes) this.#since.push(write);
    this.#apply(writes);
  }

  #apply(writes: readonly Write[]): void {
    for (const write of writes) {
      for (const known of this.#values) {
        if (write.kind === 'clear') {
          if (isWithin(known.key, write)) known.value = undefined;
        } else if (compareKeys(known.key, write.key) === 0) {
          known.value = write.kind === 'put' ? write.value : undefined;
        }
      }
      for (const known of this.#ranges) known.entries = applyToRange(known.range, known.entries, write);
    }
  }
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
