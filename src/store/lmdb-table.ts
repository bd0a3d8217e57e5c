/** The records of an LMDB file whose keys begin with one byte: sealed when they are written, checked when they are read. */
import type { RootDatabase, Transaction } from 'lmdb';
import type { Entry, Key, KeyRange, Value } from '../model/records.ts';
import { PAGE_BYTES } from './lmdb-pages.ts';
import { openRecord, Sealer } from './lmdb-record.ts';

export type Database = RootDatabase<Uint8Array, Uint8Array>;

/** A read transaction; without one a call works in the write transaction that is under way. */
export type Snapshot = Transaction;

/** What a write transaction has written, for the question whether there is room for it. */
export interface WriteMeter {
  /** Records put or deleted. */
  records: number;
  /** The bytes of the values that take pages of their own. */
  largeBytes: number;
}

/** How many keys are collected before they are deleted. */
const CLEAR_KEYS = 1_000;

/** A longer record takes pages of its own, and at most one of them is not full. */
const LARGE_BYTES = 1_024;

const sealer = new Sealer();

export class Table {
  readonly #database: Database;
  readonly #prefix: number;
  readonly #meter: WriteMeter | undefined;

  /** `prefix` is the first byte of the keys in LMDB; the keys of the table do not have it, and may be empty. */
  constructor(database: Database, prefix: number, meter?: WriteMeter) {
    this.#database = database;
    this.#prefix = prefix;
    this.#meter = meter;
  }

  get(key: Key, snapshot?: Snapshot): Value | undefined {
    const full = sealer.prefixed(this.#prefix, key);
    const record = this.#database.get(full, snapshot === undefined ? undefined : { transaction: snapshot });
    return record === undefined ? undefined : openRecord(full, record);
  }

  put(key: Key, value: Value): void {
    const sealed = sealer.seal(this.#prefix, key, value);
    this.#database.putSync(sealed.key, sealed.record);
    if (this.#meter === undefined) return;
    this.#meter.records++;
    const { length } = sealed.record;
    if (length > LARGE_BYTES) this.#meter.largeBytes += length + PAGE_BYTES;
  }

  remove(key: Key): void {
    this.#database.removeSync(sealer.prefixed(this.#prefix, key));
    if (this.#meter !== undefined) this.#meter.records++;
  }

  clear(from: Key, to: Key): void {
    // A cursor does not survive the deletion of what it stands on, so keys are collected first.
    for (let found = CLEAR_KEYS; found === CLEAR_KEYS;) {
      const keys = this.keys(from, to, CLEAR_KEYS);
      for (const key of keys) this.remove(key);
      found = keys.length;
    }
  }

  /** The first keys from `from` (included) to `to` (excluded). */
  keys(from: Key, to: Key, limit: number, snapshot?: Snapshot): Key[] {
    const range = { start: this.#full(from), end: this.#full(to), limit };
    return Array.from(
      this.#database.getKeys(snapshot === undefined ? range : { ...range, transaction: snapshot }),
      withoutPrefix,
    );
  }

  /** The entries of a range in its order; `limit` is left to the caller. */
  *entries({ from, to, reverse = false }: KeyRange, snapshot: Snapshot): Generator<Entry, void> {
    const [start, end] = [this.#full(from), this.#full(to)];
    // The package takes the bounds of a backward reading in the order of reading.
    const range = reverse
      ? { start: end, exclusiveStart: true, end: start, inclusiveEnd: true, reverse, transaction: snapshot }
      : { start, end, transaction: snapshot };
    for (const { key, value } of this.#database.getRange(range)) {
      yield { key: withoutPrefix(key), value: openRecord(key, value) };
    }
  }

  #full(key: Key): Key {
    return sealer.prefixed(this.#prefix, key).slice();
  }
}

function withoutPrefix(key: Key): Key {
  return new Uint8Array(key.buffer, key.byteOffset + 1, key.length - 1);
}
