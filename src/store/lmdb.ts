/**
 * The store on a local disk: an LMDB file, and a commit log in front of it.
 *
 * A commit appends to the leader's log, which is one write and one `fdatasync`, and looks whether another leader has
 * sealed the log, see `log-file.ts`. LMDB itself is written when the log is folded, in transactions of their own that
 * compare the epoch: changed pages to new places, `fdatasync`, and a meta page through a descriptor with O_DSYNC. All of this is
 * synchronous, so what has resolved is on the disk, and `test/store/lmdb-sync.test.ts` holds the system calls to
 * that order. The asynchronous writing of the `lmdb` package is not used: on a full disk it ends the process with
 * unhandled rejections.
 *
 * The keys of the file begin with a byte that says which table they are of:
 *
 * | table | key | value |
 * |---|---|---|
 * | 00 | empty | header: application and format version, see `lmdb-file.ts` |
 * | 01 | empty | who leads |
 * | 02 | empty | up to where the log is folded, see `commit-log.ts` |
 * | 03 | key | value |
 */
import { ExitGate } from './exit-gate.ts';
import { fdatasyncSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, systemClock } from '../model/clock.ts';
import { StoreError } from '../model/errors.ts';
import { systemRandom, type Random } from '../model/random.ts';
import type { Entry, Epoch, Key, KeyRange, Leader, Value, Write } from '../model/records.ts';
import { readInChunks, takeChunk } from './chunks.ts';
import { CommitLog, type Folding, type LogFiles } from './commit-log.ts';
import { checkEpoch, type LastCommit, leaderOf, type Leadership, resolveCommit, sameEpoch, succeed } from './epoch.ts';
import { checkFile } from './lmdb-check.ts';
import { asStoreError } from './lmdb-errors.ts';
import { LogFile } from './log-file.ts';
import { logFilesOf, openLmdbFile, withFile, writeHeader } from './lmdb-file.ts';
import { AMPLE_BYTES, checkRoom, freeBytesOnDisk, reusableBytes } from './lmdb-space.ts';
import { Table, type Database, type Snapshot, type WriteMeter } from './lmdb-table.ts';
import type { Store } from './store.ts';

const [LEADER_TABLE, POSITION_TABLE, DATA_TABLE] = [0x01, 0x02, 0x03];
const LEADER_KEY: Key = new Uint8Array();

export interface LmdbStoreOptions {
  /** The folder of the store; made with mode 0700 when it is absent. Not on a network file system. */
  readonly path: string;
  /** Names the files inside the folder, as `<space>.mdb`: letters, digits, `_` and `-`, at most 64. @default 'default' */
  readonly space?: string;
  /** Makes the nonces of epochs and the name of the log. @default systemRandom */
  readonly random?: Random;
  /** Says when the log may be folded without holding anybody up. @default systemClock */
  readonly clock?: Pick<Clock, 'afterInput'>;
  /** What every call of LMDB passes, where another thread may end the process. @default a gate that nobody shuts */
  readonly gate?: ExitGate;
}

/**
 * Opens a store on a local disk. Several processes may have one open; the epoch says which of them writes.
 *
 * Before the first call but `leader()`, the structure of the file and every record but large values is
 * checked, in about the time of reading them once: LMDB itself would crash on a damaged page, or miss
 * keys without a word. Damage by other hands while the store is open is not looked for.
 *
 * @throws StoreError `STORE_CORRUPT` when the file is damaged or of another application; `STORE_TOO_NEW`
 * when a later version of this package wrote it; `STORE_FULL` and `STORE_FAILED` as the disk has it.
 */
export async function openLmdbStore(options: LmdbStoreOptions): Promise<Store> {
  const { path, space = 'default', random = systemRandom, clock = systemClock, gate = new ExitGate() } = options;
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(space)) {
    throw new RangeError(`Cannot open the space "${space}": its name may hold letters, digits, "_" and "-" only`);
  }
  const file = join(path, `${space}.mdb`);
  try {
    const database = await gate.pass(() => openLmdbFile(path, file));
    return new LmdbStore(database, logFilesOf(path, file, random), file, random, clock, gate);
  } catch (cause) {
    throw asStoreError(cause, 'aborted', `open the store "${file}"`);
  }
}

/**
 * Whether the leader of a store is in a write transaction, so that no other process can take the lead before it goes on
 * or dies: LMDB lets one in at a time. True as well when it has died in one, which is no hindrance.
 */
export async function isLeaderBusy(path: string, space: string): Promise<boolean> {
  const prefix = `${space}.mdb-log-`;
  for (const name of await readdir(path)) {
    if (!name.startsWith(prefix)) continue;
    try {
      const log = new LogFile(join(path, name));
      const busy = log.isBusy;
      log.close();
      if (busy) return true;
    } catch {
      // It is being made or removed, or damaged, which whoever takes the lead will see.
    }
  }
  return false;
}

class LmdbStore implements Store {
  readonly durability = 'disk';
  readonly #database: Database;
  readonly #leaders: Table;
  readonly #log: CommitLog;
  readonly #meter: WriteMeter = { records: 0, largeBytes: 0 };
  readonly #file: string;
  readonly #random: Random;
  readonly #clock: Pick<Clock, 'afterInput'>;
  readonly #gate: ExitGate;
  /** The record of the leader that was read last: parsing it each time would take longer than comparing it. */
  #known: { readonly bytes: Value; readonly leadership: Leadership } | undefined;
  /** The epoch that this object has won: while it leads, nobody else writes to the log. */
  #own: Epoch | undefined;
  #foldScheduled = false;
  #state: 'unchecked' | 'open' | 'failed' | 'closed' = 'unchecked';
  #failure: unknown;

  constructor(
    database: Database,
    logs: LogFiles,
    file: string,
    random: Random,
    clock: Pick<Clock, 'afterInput'>,
    gate: ExitGate,
  ) {
    this.#database = database;
    this.#leaders = new Table(database, LEADER_TABLE, this.#meter);
    this.#log = new CommitLog(
      logs,
      new Table(database, POSITION_TABLE, this.#meter),
      new Table(database, DATA_TABLE, this.#meter),
    );
    this.#file = file;
    this.#random = random;
    this.#clock = clock;
    this.#gate = gate;
  }

  async leader(): Promise<Leader | undefined> {
    this.#checkUsable();
    const leadership = this.#read('read the leader', (snapshot) => this.#leadership(snapshot));
    return leadership && leaderOf(leadership);
  }

  async acquire(address: string, seen: Leader | undefined): Promise<{ won: Epoch } | { lost: Leader }> {
    let folding: Folding | undefined;
    const outcome = this.#transact('acquire the store', () => {
      const current = this.#leadership();
      if (current !== undefined && !sameEpoch(current.epoch, seen?.epoch)) return { lost: leaderOf(current) };
      const next = succeed(current, address, this.#random);
      writeHeader(this.#database);
      folding = this.#log.takeOver();
      this.#leaders.put(LEADER_KEY, Buffer.from(JSON.stringify(next)));
      return { won: next.epoch };
    });
    folding?.succeeded();
    this.#own = 'won' in outcome ? outcome.won : undefined;
    return outcome;
  }

  async renew(epoch: Epoch): Promise<void> {
    this.#readAs(epoch, 'renew the lease', () => undefined);
  }

  async commit(epoch: Epoch, commitId: bigint, writes: readonly Write[]): Promise<void> {
    this.#checkFileOnce();
    const commit = { epoch, id: commitId };
    if (!sameEpoch(this.#own, epoch) || !this.#append(commit, writes)) {
      const folding = this.#transact('commit', () => {
        this.#enterLog(epoch);
        return this.#log.commitInPlace(commit, writes);
      });
      folding.succeeded();
    }
    this.#foldSoon();
  }

  async resolve(epoch: Epoch, commitId: bigint): Promise<'applied' | 'absent' | 'unknown'> {
    return this.#readAs(epoch, 'resolve a commit', (_snapshot, leadership) =>
      resolveCommit(leadership, this.#log.lastCommit, commitId),
    );
  }

  async get(epoch: Epoch, keys: readonly Key[]): Promise<(Value | undefined)[]> {
    return this.#readAs(epoch, 'read', (snapshot) => keys.map((key) => this.#log.get(key, snapshot)));
  }

  range(epoch: Epoch, selector: KeyRange): AsyncIterable<readonly Entry[]> {
    return readInChunks(selector, (part) =>
      this.#readAs(epoch, 'read', (snapshot) => takeChunk(this.#log.entries(part, snapshot), part.limit)),
    );
  }

  async freeBytes(): Promise<number> {
    this.#checkUsable();
    const free = freeBytesOnDisk(this.#file);
    // What was deleted is free only when its place is.
    if (free < AMPLE_BYTES && this.#state === 'open' && !this.#log.isFolded)
      this.#fold(() => this.#log.foldEverything());
    return this.#read('measure the free space', () => free + reusableBytes(this.#database));
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    if (this.#state === 'open') this.#fold(() => this.#log.end());
    this.#state = 'closed';
    this.#log.release();
    await this.#gate.pass(() => this.#database.close());
  }

  #checkUsable(): void {
    if (this.#state === 'closed') throw new StoreError('CLOSED', 'aborted', 'Cannot use the store: it is closed');
    if (this.#state === 'failed') {
      const message = 'Cannot use the store: it failed and must be opened again';
      throw new StoreError('STORE_FAILED', 'aborted', message, { cause: this.#failure });
    }
  }

  /** Appends a commit to the log of this object's own epoch, and says whether it was one for the log. */
  #append(commit: LastCommit, writes: readonly Write[]): boolean {
    try {
      if (writes.every(({ kind }) => kind !== 'clear')) return this.#log.append(commit, writes, undefined);
      return this.#read('commit', (snapshot) => this.#log.append(commit, writes, snapshot));
    } catch (cause) {
      const error = asStoreError(cause, 'aborted', 'commit');
      if (error.code !== 'FENCED') this.#fail(error);
      throw error;
    }
  }

  /** Checks in the write transaction under way that `epoch` leads, and knows the log as it is then. */
  #enterLog(epoch: Epoch): void {
    checkEpoch(this.#leadership()?.epoch, epoch);
    if (sameEpoch(this.#own, epoch)) return;
    this.#log.release();
    this.#log.load();
  }

  /** Behind a commit, so that nobody waits for it. */
  #foldSoon(): void {
    if (this.#foldScheduled || !this.#log.isFoldDue) return;
    this.#foldScheduled = true;
    this.#clock.afterInput(() => {
      this.#foldScheduled = false;
      if (this.#state === 'open' && this.#log.isFoldDue) this.#fold(() => this.#log.foldShares());
    });
  }

  /** Without room a fold is put off, and the log goes on; any other failure is reported by the next call. */
  #fold(work: () => Folding): void {
    const epoch = this.#own;
    if (epoch === undefined) return;
    try {
      const folding = this.#transact('fold the commit log', () => {
        this.#enterLog(epoch);
        return work();
      });
      folding.succeeded();
    } catch (error) {
      if (error instanceof StoreError && error.code === 'STORE_FULL' && error.outcome === 'aborted')
        this.#state = 'open';
    }
  }

  /**
   * Checks the file, once, while nobody can commit. It is synced too: when a process before this one failed
   * to write a meta page, LMDB put the old one back without a sync, and that must be on the disk before the
   * pages of the failed transaction are used again.
   */
  #checkFileOnce(): void {
    this.#checkUsable();
    if (this.#state !== 'unchecked') return;
    try {
      this.#inTransaction(() =>
        withFile(this.#file, 'r+', (fd) => {
          fdatasyncSync(fd);
          checkFile(fd);
        }),
      );
      this.#state = 'open';
    } catch (cause) {
      this.#fail(cause);
      throw asStoreError(cause, 'aborted', `check the store "${this.#file}"`);
    }
  }

  #inTransaction<T>(work: () => T): T {
    return this.#gate.pass(() => this.#database.transactionSync(work));
  }

  /** Runs `work` in a write transaction, which is synced when this returns. */
  #transact<T>(doing: string, work: () => T): T {
    this.#checkFileOnce();
    let committing = false;
    this.#log.markBusy(true);
    Object.assign(this.#meter, { records: 0, largeBytes: 0 });
    try {
      return this.#inTransaction(() => {
        const result = work();
        if (this.#meter.records > 0) checkRoom(this.#database, this.#file, this.#meter);
        committing = true;
        return result;
      });
    } catch (cause) {
      const outcome = committing && !this.#surelyAborted() ? 'unknown' : 'aborted';
      const error = asStoreError(cause, outcome, doing, () => freeBytesOnDisk(this.#file));
      if (error.code !== 'FENCED') this.#fail(error);
      throw error;
    } finally {
      this.#log.markBusy(false);
    }
  }

  #fail(cause: unknown): void {
    this.#state = 'failed';
    this.#failure = cause;
  }

  /**
   * Whether a transaction that failed to commit has certainly written nothing. The only step in doubt is
   * writing the meta page, and when that fails LMDB refuses every later transaction; the package does not
   * pass that refusal on, but such a transaction has no number.
   */
  #surelyAborted(): boolean {
    try {
      return this.#inTransaction(() => this.#database.getWriteTxnId() > 0);
    } catch {
      return false;
    }
  }

  /** Runs `work` on a snapshot that is taken now. */
  #read<T>(doing: string, work: (snapshot: Snapshot) => T): T {
    try {
      return this.#gate.pass(() => {
        this.#database.resetReadTxn();
        const snapshot = this.#database.useReadTransaction();
        try {
          return work(snapshot);
        } finally {
          snapshot.done();
        }
      });
    } catch (cause) {
      throw asStoreError(cause, 'aborted', doing);
    }
  }

  /** Runs `work` on a snapshot in which `epoch` leads. */
  #readAs<T>(epoch: Epoch, doing: string, work: (snapshot: Snapshot, leadership: Leadership) => T): T {
    this.#checkFileOnce();
    if (!sameEpoch(this.#own, epoch)) this.#transact(doing, () => this.#enterLog(epoch));
    return this.#read(doing, (snapshot) => {
      const leadership = this.#leadership(snapshot);
      checkEpoch(leadership?.epoch, epoch);
      return work(snapshot, leadership as Leadership);
    });
  }

  #leadership(snapshot?: Snapshot): Leadership | undefined {
    const bytes = this.#leaders.get(LEADER_KEY, snapshot);
    if (bytes === undefined) return undefined;
    if (this.#known === undefined || Buffer.compare(this.#known.bytes, bytes) !== 0) {
      this.#known = { bytes, leadership: JSON.parse(Buffer.from(bytes).toString()) as Leadership };
    }
    return this.#known.leadership;
  }
}
