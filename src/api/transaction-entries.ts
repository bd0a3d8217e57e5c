/**
 * The entries of KV that a transaction reads and writes. What it read is checked at its commit, and what it writes is
 * known to nobody before.
 */
import { decodeKvValue, encodeKvValue } from '../codec/v8.ts';
import { textOf } from '../model/bytes.ts';
import {
  type KvCheck,
  type KvEffects,
  type KvMutation,
  type KvRecord,
  MAX_KV_CHECKS,
  MAX_KV_COMMIT_BYTES,
  MAX_KV_MUTATIONS,
  MAX_KV_VALUE_BYTES,
  versionstampOf,
} from '../model/kv.ts';
import { checkReadable, checkWritable, encodeKvKey, type KvKey } from '../model/kv-key.ts';
import { KvU64 } from '../codec/kv-u64.ts';
import { refuseUnknown } from './checks.ts';

/** An entry as a transaction sees it; `value` is `null` where there is none. */
export type TransactionEntry<Value> =
  | {
      readonly key: KvKey;
      readonly value: Value;
      /** Of the commit that wrote it; empty for what this transaction itself is about to write. */
      readonly versionstamp: string;
    }
  | { readonly key: KvKey; readonly value: null; readonly versionstamp: null };

export interface EntryOptions {
  /** How long the entry stays, in milliseconds from the commit on. @default for ever */
  readonly expireIn?: number;
}

/** Where a transaction reads entries. */
type ReadEntry = (key: Uint8Array) => Promise<KvRecord | undefined>;

interface Read {
  readonly key: Uint8Array;
  readonly record: Promise<KvRecord | undefined>;
}

/** What is known of a key that the transaction has written; after a sum, nothing. */
type Written = { readonly value: unknown } | 'deleted' | 'summed';

export class TransactionEntries {
  readonly #from: ReadEntry;
  /** By key, one character a byte. */
  readonly #reads = new Map<string, Read>();
  readonly #written = new Map<string, Written>();
  readonly mutations: KvMutation[] = [];
  #bytes = 0;

  constructor(from: ReadEntry) {
    this.#from = from;
  }

  get isEmpty(): boolean {
    return this.#reads.size + this.mutations.length === 0;
  }

  /** Reads an entry, always as it was at the first time, or as this transaction has written it. */
  async get<Value>(key: KvKey): Promise<TransactionEntry<Value>> {
    const bytes = checkReadable(encodeKvKey(key));
    const text = textOf(bytes);
    const written = this.#written.get(text);
    if (written === 'summed') {
      throw new TypeError('Cannot read an entry that this transaction adds to: read it before');
    }
    if (written === 'deleted') return { key, value: null, versionstamp: null };
    if (written !== undefined) return { key, value: written.value as Value, versionstamp: '' };
    const record = await this.read(bytes);
    if (record === undefined) return { key, value: null, versionstamp: null };
    return { key, value: (await decodeKvValue(record)) as Value, versionstamp: versionstampOf(record.version) };
  }

  set(key: KvKey, value: unknown, options: EntryOptions = {}): void {
    refuseUnknown(options, ['expireIn'], 'tx.set');
    const { expireIn } = options;
    if (expireIn !== undefined && !(Number.isInteger(expireIn) && expireIn >= 0)) {
      throw new TypeError(`expireIn must be a non-negative integer: received ${expireIn}`);
    }
    const encoded = encodeKvValue(value);
    if (encoded.bytes.length > MAX_KV_VALUE_BYTES) {
      throw new TypeError(`Value too large (max ${MAX_KV_VALUE_BYTES} bytes)`);
    }
    const bytes = checkWritable(encodeKvKey(key));
    this.add({ kind: 'set', key: bytes, value: encoded, expireInMs: expireIn, isStamped: false }, { value });
  }

  delete(key: KvKey): void {
    this.add({ kind: 'delete', key: checkWritable(encodeKvKey(key)) }, 'deleted');
  }

  sum(key: KvKey, n: bigint): void {
    const value = encodeKvValue(new KvU64(n));
    this.add({ kind: 'sum', key: checkWritable(encodeKvKey(key)), value, limits: undefined }, 'summed');
  }

  /** What is to be checked and changed; `undefined` when that is nothing. */
  async effects(): Promise<KvEffects | undefined> {
    if (this.isEmpty) return undefined;
    return { checks: await this.checks(), mutations: this.mutations };
  }

  /** What was read, with the versions that it had; of a read that failed nothing is known. */
  async checks(): Promise<KvCheck[]> {
    const checks: KvCheck[] = [];
    for (const { key, record } of this.#reads.values()) {
      try {
        checks.push({ key, version: (await record)?.version ?? 0 });
      } catch {
        // Whoever asked has heard of it.
      }
    }
    return checks;
  }

  /** Reads what is stored, once. */
  read(key: Uint8Array): Promise<KvRecord | undefined> {
    const text = textOf(key);
    const known = this.#reads.get(text);
    if (known !== undefined) return known.record;
    if (this.#reads.size >= MAX_KV_CHECKS) {
      throw new RangeError(`Cannot read more than ${MAX_KV_CHECKS} entries in one transaction`);
    }
    const record = this.#from(key);
    this.#reads.set(text, { key, record });
    return record;
  }

  /** Adds a change. @param written what that makes of the entry, as far as is known */
  add(mutation: KvMutation, written: Written = 'summed'): void {
    this.#bytes += mutation.key.length + (mutation.kind === 'delete' ? 0 : mutation.value.bytes.length);
    if (this.mutations.length >= MAX_KV_MUTATIONS || this.#bytes > MAX_KV_COMMIT_BYTES / 2) {
      throw new RangeError(
        `Cannot change more than ${MAX_KV_MUTATIONS} entries, or ${MAX_KV_COMMIT_BYTES / 2} bytes of them, in one transaction`,
      );
    }
    this.mutations.push(mutation);
    this.#written.set(textOf(mutation.key), written);
  }
}
