/** The store on a local disk: one LMDB file, synced at each commit. */
import { mkdirSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { open, type RootDatabase, type Transaction } from 'lmdb';
import { StoreError } from '../model/errors.ts';
import { systemRandom, type Random } from '../model/random.ts';
import type { Entry, Epoch, Key, KeyRange, Leader, Value, Write } from '../model/records.ts';
import { CHUNK_ENTRIES, readInChunks, takeChunk } from './chunks.ts';
import { checkEpoch, leaderOf, resolveCommit, sameEpoch, succeed, type LastCommit, type Leadership } from './epoch.ts';
import { asStoreError } from './lmdb-errors.ts';
import { openRecord, sealRecord } from './lmdb-record.ts';
import type { Store } from './store.ts';

/** A page of 4 KiB would take keys up to 1,978 bytes only. */
const PAGE_BYTES = 8_192;

const LEADER_KEY = Uint8Array.of(0x00, 0x02);
const COMMIT_KEY = Uint8Array.of(0x00, 0x03);
const DATA_PREFIX = 0x02;

export interface LmdbStoreOptions {
  /** The folder of the store; made with mode 0700 when it is absent. */
  readonly path: string;
  /** Names the file inside the folder, `<space>.mdb`: letters, digits, `_` and `-`. @default 'default' */
  readonly space?: string;
  /** Makes the nonces of epochs. @default systemRandom */
  readonly random?: Random;
}

/** Opens a store on a local disk. Several processes may open the same one; the epoch says who writes. */
export async function openLmdbStore({
  path,
  space = 'default',
  random = systemRandom,
}: LmdbStoreOptions): Promise<Store> {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(space))
    throw new RangeError(`Cannot open the space "${space}": the name may hold letters, digits, "_" and "-"`);
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const database: RootDatabase<Buffer, Uint8Array> = open({
      path: join(path, `${space}.mdb`),
      noSubdir: true,
      keyEncoding: 'binary',
      encoding: 'binary',
      pageSize: PAGE_BYTES,
      overlappingSync: false,
      permissionsMode: 0o600,
      maxDbs: 1,
    } as Parameters<typeof open>[0]);
    return new LmdbStore(database, path, random);
  } catch (cause) {
    throw asStoreError(cause, 'aborted', `open the store "${path}"`);
  }
}

class LmdbStore implements Store {
  readonly durability = 'disk';
  readonly #database: RootDatabase<Buffer, Uint8Array>;
  readonly #path: string;
  readonly #random: Random;
  #state: 'open' | 'failed' | 'closed' = 'open';

  constructor(database: RootDatabase<Buffer, Uint8Array>, path: string, random: Random) {
    this.#database = database;
    this.#path = path;
    this.#random = random;
  }

  async leader(): Promise<Leader | undefined> {
    const leadership = this.#read('read the leader', (transaction) => this.#leadership(transaction));
    return leadership && leaderOf(leadership);
  }

  async acquire(address: string, seen: Leader | undefined): Promise<{ won: Epoch } | { lost: Leader }> {
    return this.#transact('acquire the store', () => {
      const current = this.#leadership();
      if (current !== undefined && !sameEpoch(current.epoch, seen?.epoch)) return { lost: leaderOf(current) };
      const next = succeed(current, address, this.#random);
      this.#put(LEADER_KEY, encode(next));
      return { won: next.epoch };
    });
  }

  async renew(epoch: Epoch): Promise<void> {
    this.#read('renew the lease', (transaction) => this.#checkLeads(epoch, transaction));
  }

  async commit(epoch: Epoch, commitId: bigint, writes: readonly Write[]): Promise<void> {
    this.#transact('commit', () => {
      this.#checkLeads(epoch);
      for (const write of writes) this.#apply(write);
      this.#put(COMMIT_KEY, encode({ epoch, id: commitId.toString() }));
    });
  }

  async resolve(epoch: Epoch, commitId: bigint): Promise<'applied' | 'absent' | 'unknown'> {
    return this.#read('resolve a commit', (transaction) => {
      const leadership = this.#checkLeads(epoch, transaction);
      const last = this.#get(COMMIT_KEY, transaction);
      return resolveCommit(leadership, last && decodeCommit(last), commitId);
    });
  }

  async get(epoch: Epoch, keys: readonly Key[]): Promise<(Value | undefined)[]> {
    return this.#read('read', (transaction) => {
      this.#checkLeads(epoch, transaction);
      return keys.map((key) => this.#get(dataKey(key), transaction));
    });
  }

  range(epoch: Epoch, selector: KeyRange): AsyncIterable<readonly Entry[]> {
    return readInChunks(selector, (part) =>
      this.#read('read', (transaction) => {
        this.#checkLeads(epoch, transaction);
        return takeChunk(this.#entries(part, transaction));
      }),
    );
  }

  async freeBytes(): Promise<number> {
    this.#checkUsable();
    const { bavail, bsize } = await statfs(this.#path);
    return bavail * bsize;
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    await this.#database.close();
  }

  #checkUsable(): void {
    if (this.#state === 'closed') throw new StoreError('CLOSED', 'aborted', 'Cannot use the store: it is closed');
    if (this.#state === 'failed') {
      throw new StoreError('STORE_FAILED', 'aborted', 'Cannot use the store: it failed and must be opened again');
    }
  }

  /** Runs `work` in one write transaction that is synced when this returns. */
  #transact<T>(doing: string, work: () => T): T {
    this.#checkUsable();
    let worked = false;
    try {
      return this.#database.transactionSync(() => {
        const result = work();
        worked = true;
        return result;
      });
    } catch (cause) {
      const error = asStoreError(cause, worked ? 'unknown' : 'aborted', doing);
      if (error.code !== 'FENCED') this.#state = 'failed';
      throw error;
    }
  }

  /** Runs `work` on a snapshot that is taken now. */
  #read<T>(doing: string, work: (transaction: Transaction) => T): T {
    this.#checkUsable();
    try {
      this.#database.resetReadTxn();
      const transaction = this.#database.useReadTransaction();
      try {
        return work(transaction);
      } finally {
        transaction.done();
      }
    } catch (cause) {
      throw asStoreError(cause, 'aborted', doing);
    }
  }

  #leadership(transaction?: Transaction): Leadership | undefined {
    const bytes = this.#get(LEADER_KEY, transaction);
    return bytes && (JSON.parse(Buffer.from(bytes).toString()) as Leadership);
  }

  #checkLeads(epoch: Epoch, transaction?: Transaction): Leadership {
    const leadership = this.#leadership(transaction);
    checkEpoch(leadership?.epoch, epoch);
    return leadership as Leadership;
  }

  #get(key: Uint8Array, transaction?: Transaction): Value | undefined {
    const sealed = this.#database.get(key, transaction === undefined ? {} : { transaction });
    return sealed === undefined ? undefined : openRecord(key, sealed);
  }

  #put(key: Uint8Array, value: Value): void {
    this.#database.putSync(key, sealRecord(key, value) as Buffer);
  }

  #apply(write: Write): void {
    if (write.kind === 'put') this.#put(dataKey(write.key), write.value);
    else if (write.kind === 'delete') this.#database.removeSync(dataKey(write.key));
    else this.#clear(write);
  }

  #clear({ from, to }: { from: Key; to: Key }): void {
    // The keys are collected before they are deleted, because a cursor does not survive the deletion under it.
    const range = { start: dataKey(from), end: dataKey(to), limit: CHUNK_ENTRIES };
    for (;;) {
      const keys = [...this.#database.getKeys(range)];
      for (const key of keys) this.#database.removeSync(key);
      if (keys.length < CHUNK_ENTRIES) return;
    }
  }

  *#entries({ from, to, reverse = false, limit }: KeyRange, transaction: Transaction): Generator<Entry> {
    const bounds = reverse
      ? { start: dataKey(to), exclusiveStart: true, end: dataKey(from), inclusiveEnd: true, reverse: true }
      : { start: dataKey(from), end: dataKey(to) };
    const range = this.#database.getRange({ ...bounds, ...(limit === undefined ? {} : { limit }), transaction });
    for (const { key, value } of range) yield { key: key.subarray(1), value: openRecord(key, value) };
  }
}

function dataKey(key: Key): Uint8Array {
  const prefixed = new Uint8Array(key.length + 1);
  prefixed[0] = DATA_PREFIX;
  prefixed.set(key, 1);
  return prefixed;
}

function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function decodeCommit(bytes: Uint8Array): LastCommit {
  const { epoch, id } = JSON.parse(Buffer.from(bytes).toString()) as { epoch: Epoch; id: string };
  return { epoch, id: BigInt(id) };
}
