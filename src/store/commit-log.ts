/**
 * The log in front of the places of an LMDB store.
 *
 * A commit of LMDB rewrites every page that it touches, so a commit that changes eight records in eight
 * places costs a multiple of one that changes one. Therefore the small writes of a commit go into one
 * record, the next one of the log, and wait in memory, in the overlay. When the log is long enough it is
 * folded: the last version of each key is written to its place, a share of the keys with each commit that
 * comes, in the order of the keys, so that neighbours go into a page together and no commit takes long.
 * Then the log up to where it was at the beginning of the fold is deleted. What was put and deleted in
 * between is never written to a place at all. A commit, its share of a fold, and the deletion are one
 * transaction.
 *
 * The overlay holds what waits: a value, or a mark that the key is deleted. It goes before what is in the
 * places. It is made by replaying the records of the log and by nothing else. A replay during a fold
 * brings back what was folded already, which does no harm, because it is what is in its place. Three
 * kinds of writes do not wait, and the log only notes them:
 *
 * - A large value is put in its place at once; a `forget` takes an older version out of the overlay.
 * - `clear` deletes in the places at once; its note takes the keys of the range out of the overlay.
 * - A commit with many bytes of small writes is written in place as a whole, behind a fold of everything.
 *
 * Each commit writes exactly one record of the log, with the epoch and the id of the commit, so the last
 * one is also the trace that `resolve` asks for. Records have consecutive numbers from 1 on; record 0 says
 * up to which number they are deleted.
 */
import { StoreError } from '../model/errors.ts';
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import {
  compareKeys,
  MAX_KEY_BYTES,
  MAX_VALUE_BYTES,
  type Entry,
  type Key,
  type KeyRange,
  type Value,
  type Write,
} from '../model/records.ts';
import { keyAfter } from './chunks.ts';
import type { LastCommit } from './epoch.ts';
import type { Snapshot, Table } from './lmdb-table.ts';
import { OrderedMap, type Item } from './ordered-map.ts';

/** A fold begins when the log has this many records, */
const FOLD_COMMITS = 64;
/** or this many bytes. */
const FOLD_BYTES: number = 256 * 1024;
/** A fold takes this many commits. */
const FOLD_SHARES = 16;
/** A longer value is put in its place at once. */
const LARGE_VALUE_BYTES = 4_096;
/** A commit with more bytes of small writes is written in place: writing them twice would cost more. */
const BULK_BYTES: number = 64 * 1024;

const [PUT, DELETE, CLEAR, FORGET] = [1, 2, 3, 4];
const NONCE_BYTES = 16;
/** At least what the lengths and marks of a write, and the trace of a commit, take in the log. */
const WRITE_OVERHEAD_BYTES = 16;
const TRACE_BYTES = 48;

/** A fold under way. */
interface Fold {
  /** The records up to this one are deleted at the end. */
  readonly upTo: number;
  readonly share: number;
  /** The keys below this one are in their places. */
  from: Key;
}

export class CommitLog {
  readonly #log: Table;
  readonly #places: Table;
  #overlay = new OrderedMap<Value | null>();
  /** The records up to this number are deleted. */
  #folded = 0;
  /** The bytes of each record behind {@link #folded}. */
  #sizes: number[] = [];
  #fold: Fold | undefined;
  #lastCommit: LastCommit | undefined;

  constructor(log: Table, places: Table) {
    this.#log = log;
    this.#places = places;
  }

  /** The trace of the last commit, as of the last {@link refresh} or {@link commit}. */
  get lastCommit(): LastCommit | undefined {
    return this.#lastCommit;
  }

  /**
   * Brings the overlay up to a snapshot, or to the write transaction under way. To be called first in each,
   * because another store object may have committed.
   */
  refresh(snapshot?: Snapshot): void {
    const position = this.#log.get(recordKey(0), snapshot);
    const folded = position === undefined ? 0 : new ByteReader(position).varint();
    const anew = folded !== this.#folded || this.#sizes.length === 0;
    if (anew) this.#empty(folded);
    for (;;) {
      const record = this.#log.get(recordKey(this.#lastRecord + 1), snapshot);
      if (record === undefined) break;
      this.#replay(record);
    }
    if (anew) this.#checkEnd(snapshot);
  }

  get(key: Key, snapshot: Snapshot): Value | undefined {
    const waiting = this.#overlay.get(key);
    return waiting === undefined ? this.#places.get(key, snapshot) : (waiting ?? undefined);
  }

  /** The entries of a range in its order; `limit` is left to the caller. */
  *entries({ from, to, reverse = false }: KeyRange, snapshot: Snapshot): Generator<Entry, void> {
    const waiting = this.#overlay.items({ from, to, reverse });
    let next = waiting.next();
    for (const entry of this.#places.entries({ from, to, reverse }, snapshot)) {
      let order = 1;
      for (; next.done !== true; next = waiting.next()) {
        order = compareKeys(next.value.key, entry.key) * (reverse ? -1 : 1);
        if (order >= 0) break;
        if (isPut(next.value)) yield next.value;
      }
      if (next.done === true || order > 0) yield entry;
    }
    for (; next.done !== true; next = waiting.next()) {
      if (isPut(next.value)) yield next.value;
    }
  }

  /** Writes a commit, in the write transaction under way and behind {@link refresh}. */
  commit(commit: LastCommit, writes: readonly Write[]): void {
    for (const write of writes) checkLimits(write);
    const smallBytes = writes.reduce((sum, write) => sum + smallBytesOf(write), 0);
    const bulk = smallBytes > BULK_BYTES;
    this.#foldFor(bulk);
    const writer = new ByteWriter(smallBytes + TRACE_BYTES);
    writeTrace(writer, commit);
    for (const write of writes) {
      if (bulk) this.#writeInPlace(write);
      else this.#write(write, writer);
    }
    const record = writer.take();
    this.#log.put(recordKey(this.#lastRecord + 1), record);
    this.#replay(record);
  }

  get #lastRecord(): number {
    return this.#folded + this.#sizes.length;
  }

  #write(write: Write, writer: ByteWriter): void {
    if (write.kind === 'clear') {
      if (compareKeys(write.from, write.to) >= 0) return;
      writer.u8(CLEAR);
      writer.bytes(write.from);
      writer.bytes(write.to);
      return this.#writeInPlace(write);
    }
    const large = write.kind === 'put' && write.value.length > LARGE_VALUE_BYTES;
    writer.u8(large ? FORGET : write.kind === 'put' ? PUT : DELETE);
    writer.bytes(write.key);
    if (large) this.#writeInPlace(write);
    else if (write.kind === 'put') writer.bytes(write.value);
  }

  #writeInPlace(write: Write): void {
    if (write.kind === 'put') this.#places.put(write.key, write.value);
    else if (write.kind === 'delete') this.#places.remove(write.key);
    else if (compareKeys(write.from, write.to) < 0) this.#places.clear(write.from, write.to);
  }

  /** Applies a record of the log to the overlay, which keeps views of it. */
  #replay(record: Uint8Array): void {
    const reader = new ByteReader(record);
    this.#lastCommit = readTrace(reader);
    while (reader.left > 0) {
      const kind = reader.u8();
      const key = reader.bytes();
      if (kind === PUT) this.#overlay.put(key, reader.bytes());
      else if (kind === DELETE) this.#overlay.put(key, null);
      else if (kind === CLEAR) this.#overlay.clear(key, reader.bytes());
      else this.#overlay.delete(key);
    }
    this.#sizes.push(record.length);
  }

  /** Folds a share, when it is time, or everything. */
  #foldFor(bulk: boolean): void {
    if (this.#sizes.length === 0) return;
    if (bulk) this.#fold = { upTo: this.#lastRecord, share: Infinity, from: new Uint8Array() };
    else if (this.#fold === undefined) {
      const bytes = this.#sizes.reduce((sum, size) => sum + size, 0);
      if (this.#sizes.length < FOLD_COMMITS && bytes < FOLD_BYTES) return;
      const share = Math.ceil(this.#overlay.size / FOLD_SHARES);
      this.#fold = { upTo: this.#lastRecord, share, from: new Uint8Array() };
    }
    this.#foldShare(this.#fold as Fold);
  }

  #foldShare(fold: Fold): void {
    const items = this.#overlay.take(fold.from, fold.share);
    for (const { key, value } of items) {
      if (value === null) this.#places.remove(key);
      else this.#places.put(key, value);
    }
    for (const { key } of items) this.#overlay.delete(key);
    const last = items.at(-1);
    if (last !== undefined && items.length === fold.share) {
      fold.from = keyAfter(last.key);
      return;
    }
    for (let number = this.#folded + 1; number <= fold.upTo; number++) this.#log.remove(recordKey(number));
    this.#sizes.splice(0, fold.upTo - this.#folded);
    this.#folded = fold.upTo;
    this.#fold = undefined;
    const position = new ByteWriter();
    position.varint(this.#folded);
    this.#log.put(recordKey(0), position.take());
  }

  #empty(folded: number): void {
    this.#overlay = new OrderedMap();
    this.#folded = folded;
    this.#sizes = [];
    this.#fold = undefined;
    this.#lastCommit = undefined;
  }

  /** The log ends where a record is missing; that must be its end indeed. */
  #checkEnd(snapshot?: Snapshot): void {
    const last = this.#log.lastKey(snapshot);
    if (last === undefined || compareKeys(last, recordKey(this.#lastRecord)) === 0) return;
    if (this.#sizes.length === 0 && compareKeys(last, recordKey(0)) === 0) return;
    const message = `Cannot read the log of the store: record ${this.#lastRecord + 1} is missing`;
    throw new StoreError('STORE_CORRUPT', 'aborted', message);
  }
}

function isPut(item: Item<Value | null>): item is Item<Value> {
  return item.value !== null;
}

function recordKey(number: number): Key {
  const key = new Uint8Array(8);
  for (let i = 7, rest = number; rest > 0; i--, rest = Math.floor(rest / 256)) key[i] = rest % 256;
  return key;
}

/** A key that has no place in LMDB would get into the log and never out of it. */
function checkLimits(write: Write): void {
  const longestKey = write.kind === 'clear' ? Math.max(write.from.length, write.to.length) : write.key.length;
  if (longestKey > MAX_KEY_BYTES) throw new RangeError(`Cannot write a key of ${longestKey} bytes`);
  const bytes = write.kind === 'put' ? write.value.length : 0;
  if (bytes > MAX_VALUE_BYTES) throw new RangeError(`Cannot write a value of ${bytes} bytes`);
}

/** What a write adds to the log, or somewhat more. */
function smallBytesOf(write: Write): number {
  if (write.kind === 'clear') return WRITE_OVERHEAD_BYTES + write.from.length + write.to.length;
  const value = write.kind === 'put' && write.value.length <= LARGE_VALUE_BYTES ? write.value.length : 0;
  return WRITE_OVERHEAD_BYTES + write.key.length + value;
}

function writeTrace(writer: ByteWriter, { epoch, id }: LastCommit): void {
  writer.varint(epoch.number);
  writer.raw(Buffer.from(epoch.nonce, 'hex'));
  writer.text(id.toString());
}

function readTrace(reader: ByteReader): LastCommit {
  const number = reader.varint();
  const nonce = Buffer.from(reader.raw(NONCE_BYTES)).toString('hex');
  return { epoch: { number, nonce }, id: BigInt(reader.text()) };
}
