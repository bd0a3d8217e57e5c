/**
 * A backup in the making: reads ranges of keys, one after the other, while the broker goes on working, and adds what is
 * written meanwhile to all keys that are not yet to be read. So whoever applies all of it in order has the store as it was at
 * one moment, that of the end.
 */
import { compareKeys, type Entry, type Epoch, type Key, type KeyRange, type Write } from '../model/records.ts';
import type { Store } from '../store/store.ts';
import { BackupWriter, bytesOf } from './backup-format.ts';

/** What is read for a part, and what of the waiting writes goes with it, is as long as this, or somewhat longer. */
const PART_BYTES: number = 1024 * 1024;
const PART_ENTRIES = 1_000;

/**
 * How many bytes of writes may wait for a client that takes a backup more slowly than the broker writes. Of several writes
 * to a key only the last one waits.
 */
const MAX_WAITING_BYTES: number = 64 * 1024 * 1024;

export interface BackupPart {
  readonly bytes: Uint8Array;
  readonly isEnd: boolean;
}

export class Backup {
  /** Given by the client, to tell its backups apart. */
  readonly id: number;
  /** The number of the part that comes next. */
  nextPart = 0;
  readonly #space: string;
  readonly #startedAt: number;
  readonly #partEntries: number;
  readonly #writer = new BackupWriter();
  /** What is yet to be read, in order; it changes only while a reading is under way. */
  readonly #unread: KeyRange[];
  /** What a reading has found, and what was written since it began; `undefined` while none is under way. */
  #reading: { entries: readonly Entry[]; readonly since: Write[] } | undefined;
  /** Writes to keys that have been passed, in their order, the last one of each key. */
  readonly #waiting = new Map<string, Write>();
  #waitingBytes = 0;
  #clears = 0;
  #isOverrun = false;

  constructor(
    id: number,
    space: string,
    ranges: readonly KeyRange[],
    startedAt: number,
    partEntries: number = PART_ENTRIES,
  ) {
    this.id = id;
    this.#space = space;
    this.#startedAt = startedAt;
    this.#unread = [...ranges];
    this.#partEntries = partEntries;
  }

  /** The client is too slow: what it has yet to get is more than is kept for it. */
  get isOverrun(): boolean {
    return this.#isOverrun;
  }

  /** Reads what comes next, unless enough waits already. */
  async read(store: Pick<Store, 'range'>, epoch: Epoch): Promise<void> {
    if (this.#waitingBytes >= PART_BYTES) return;
    const reading: { entries: Entry[]; since: Write[] } = { entries: [], since: [] };
    this.#reading = reading;
    for (let range = this.#unread.shift(); range !== undefined; range = this.#unread.shift()) {
      const isComplete = await gather(store.range(epoch, range), reading.entries, this.#partEntries);
      const last = reading.entries.at(-1);
      if (!isComplete && last !== undefined) this.#unread.unshift({ from: behind(last.key), to: range.to });
      if (last !== undefined) break;
    }
  }

  /** Takes note of writes, in the order in which they are made. */
  update(writes: readonly Write[]): void {
    if (this.#isOverrun) return;
    for (const write of writes) {
      if (this.#reading === undefined) this.#keep(write);
      else this.#reading.since.push(write);
    }
    if (this.#waitingBytes <= MAX_WAITING_BYTES) return;
    this.#isOverrun = true;
    this.#waiting.clear();
  }

  /** The next part of the backup, as of the writes that it was told of last. */
  take(now: number): BackupPart {
    const parts: Uint8Array[] = [];
    if (this.nextPart === 0) parts.push(this.#writer.header({ space: this.#space, startedAt: this.#startedAt }));
    this.nextPart += 1;
    const writes: Write[] = [...this.#takeRead(), ...this.#takeWaiting()];
    if (writes.length > 0) parts.push(this.#writer.writes(writes));
    const isEnd = this.#unread.length + this.#waiting.size === 0;
    if (isEnd) parts.push(this.#writer.end(now));
    return { bytes: Buffer.concat(parts), isEnd };
  }

  #takeRead(): Write[] {
    const reading = this.#reading;
    if (reading === undefined) return [];
    this.#reading = undefined;
    // The reading may or may not have seen these, so they come on top of it.
    for (const write of reading.since) this.#keep(write);
    return reading.entries.map(({ key, value }) => ({ kind: 'put', key, value }));
  }

  #takeWaiting(): Write[] {
    const writes: Write[] = [];
    let bytes = 0;
    for (const [name, write] of this.#waiting) {
      if (bytes >= PART_BYTES) break;
      writes.push(write);
      this.#waiting.delete(name);
      bytes += bytesOf(write);
    }
    this.#waitingBytes -= bytes;
    return writes;
  }

  /** Keeps a write as far as it is to keys that are not yet to be read. */
  #keep(write: Write): void {
    if (write.kind !== 'clear') {
      const { key } = write;
      if (this.#unread.some((range) => compareKeys(key, range.from) >= 0 && compareKeys(key, range.to) < 0)) return;
      this.#wait(`key ${Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1')}`, write);
      return;
    }
    let { from } = write;
    for (const range of this.#unread) {
      if (compareKeys(range.from, write.to) >= 0) break;
      if (compareKeys(range.to, from) <= 0) continue;
      this.#keepClear(from, range.from);
      from = range.to;
    }
    this.#keepClear(from, write.to);
  }

  #keepClear(from: Key, to: Key): void {
    if (compareKeys(from, to) < 0) this.#wait(`clear ${this.#clears++}`, { kind: 'clear', from, to });
  }

  #wait(name: string, write: Write): void {
    const before = this.#waiting.get(name);
    // It goes behind a clear that has come in between.
    if (before !== undefined && this.#waiting.delete(name)) this.#waitingBytes -= bytesOf(before);
    this.#waiting.set(name, write);
    this.#waitingBytes += bytesOf(write);
  }
}

/**
 * Takes what makes a part, and says whether that was all. It goes on to the end of a range, and does not come back for it
 * later: it would find what was written meanwhile, time and again.
 */
async function gather(chunks: AsyncIterable<readonly Entry[]>, entries: Entry[], limit: number): Promise<boolean> {
  let bytes = 0;
  for await (const chunk of chunks) {
    for (const entry of chunk) {
      entries.push(entry);
      bytes += entry.key.length + entry.value.length;
    }
    if (entries.length >= limit || bytes >= PART_BYTES) return false;
  }
  return true;
}

/** The smallest key above this one. */
function behind(key: Key): Key {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}
