/**
 * The fault-injecting double of a store, for the simulator: a disk in memory whose commits take time, fail
 * on demand, and are cut short by a crash. Time and chance come in through a Clock and a Random, so that
 * one seed replays one failure.
 */
import type { Clock } from '../model/clock.ts';
import { StoreError } from '../model/errors.ts';
import type { Random } from '../model/random.ts';
import type { Entry, Epoch, Key, KeyRange, Leader, Value, Write } from '../model/records.ts';
import { createMemoryDisk, openMemoryStore, type MemoryDisk } from '../store/memory.ts';
import type { Store } from '../store/store.ts';

/**
 * How a commit or an acquisition goes wrong. `aborted`: it fails and nothing was written. `full`: the same
 * with `STORE_FULL`. `unknown-applied` and `unknown-absent`: it fails with the outcome `unknown`, and was
 * written or was not.
 */
export type CommitFault = 'aborted' | 'full' | 'unknown-applied' | 'unknown-absent';

/** The shortest and the longest time that something takes, in milliseconds. */
export type SpanMs = readonly [least: number, most: number];

/** What a faulty disk needs of a clock. */
type DiskClock = Pick<Clock, 'monotonicMs' | 'timer'>;

export interface FaultyDiskOptions {
  readonly clock: DiskClock;
  readonly random: Random;
  /** How long a commit and an acquisition take until they are synced. @default [0.2, 5] */
  readonly commitMs?: SpanMs;
  /** How long a `get` and each chunk of a `range` take. @default [0, 0] */
  readonly readMs?: SpanMs;
  /** What the store objects claim to be. @default 'disk' */
  readonly durability?: Store['durability'];
  /** Asked at each commit and acquisition that has no planned fault. @default never a fault */
  readonly commitFault?: () => CommitFault | undefined;
  /** Asked at each read that has no planned fault. @default never a fault */
  readonly readFault?: () => boolean;
}

/** What a store object has changed on the disk. */
export type Written =
  | { readonly kind: 'acquired'; readonly address: string; readonly epoch: Epoch }
  | { readonly kind: 'committed'; readonly epoch: Epoch; readonly writes: readonly Write[] };

export interface OpenOptions {
  /** Passes in the process that uses the object, so that a paused one hears nothing. @default the disk's */
  readonly clock?: DiskClock;
  /** Told at the moment at which something becomes durable, in order, be the process dead by then. */
  readonly written?: (what: Written) => void;
}

/** A store object on a {@link FaultyDisk}. */
export interface FaultyStore extends Store {
  /**
   * The process that uses this object dies. No promise of the object settles any more. The commit that was
   * under way is written or lost: by chance, or certainly lost with `'lost'`.
   */
  crash(inFlight?: 'chance' | 'lost'): void;
}

/**
 * The data, and the faults that are planned for it. It outlives the store objects, as a disk outlives
 * processes. An error other than `FENCED` poisons the object that met it: all its calls throw
 * `STORE_FAILED` until the data is opened anew.
 */
export class FaultyDisk {
  /** What a reopening finds: every commit that was synced. */
  readonly data: MemoryDisk = createMemoryDisk();
  /** The answer of `freeBytes`; a commit that writes more fails with `STORE_FULL`. */
  freeBytes: number = Infinity;
  readonly #options: FaultyDiskOptions;
  readonly #opened = new Set<FaultyStoreObject>();
  readonly #commitFaults: CommitFault[] = [];
  #readFaults = 0;

  constructor(options: FaultyDiskOptions) {
    this.#options = options;
  }

  open({ clock = this.#options.clock, written = () => {} }: OpenOptions = {}): FaultyStore {
    const { random, commitMs = [0.2, 5], readMs = [0, 0], durability = 'disk' } = this.#options;
    const spans = { commit: commitMs, read: readMs };
    const store = new FaultyStoreObject(this, durability, new Delays(clock, random), spans, random, {
      closed: (object) => this.#opened.delete(object),
      written,
    });
    this.#opened.add(store);
    return store;
  }

  /** Plans the fault of the next commit or acquisition; planned faults are met one after the other. */
  failNextCommit(fault: CommitFault): void {
    this.#commitFaults.push(fault);
  }

  /** Lets the next read fail with `STORE_FAILED`. */
  failNextRead(): void {
    this.#readFaults++;
  }

  /**
   * The power goes: every process that has the data open dies. What was synced stays; of the commits that
   * were under way a prefix, in the order of their calls, is written.
   */
  cutPower(inFlight: 'chance' | 'lost' = 'chance'): void {
    let mode = inFlight;
    for (const store of [...this.#opened].sort((a, b) => a.startedAt - b.startedAt)) {
      if (!store.crash(mode)) mode = 'lost';
    }
  }

  /** @internal */
  takeCommitFault(bytes: number): CommitFault | undefined {
    return this.#commitFaults.shift() ?? (bytes > this.freeBytes ? 'full' : this.#options.commitFault?.());
  }

  /** @internal */
  takeReadFault(): boolean {
    if (this.#readFaults === 0) return this.#options.readFault?.() ?? false;
    this.#readFaults--;
    return true;
  }
}

/** Waits that end when their owner is dead: then they never settle. */
class Delays {
  readonly #clock: DiskClock;
  readonly #random: Random;
  #dead = false;

  constructor(clock: DiskClock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  get now(): number {
    return this.#clock.monotonicMs();
  }

  draw([least, most]: SpanMs): number {
    return least + (most - least) * this.#random.fraction();
  }

  wait(ms: number): Promise<void> {
    if (this.#dead) return new Promise(() => {});
    if (ms <= 0) return Promise.resolve().then(() => (this.#dead ? new Promise<void>(() => {}) : undefined));
    return new Promise((resolve) => {
      this.#clock.timer(ms, () => {
        if (!this.#dead) resolve();
      });
    });
  }

  end(): void {
    this.#dead = true;
  }
}

/** A change that was called and is not written yet. */
interface Change {
  readonly startedAt: number;
  readonly apply: () => Promise<unknown>;
}

/** Who hears of a store object. */
interface Told {
  readonly closed: (store: FaultyStoreObject) => void;
  readonly written: (what: Written) => void;
}

class FaultyStoreObject implements FaultyStore {
  readonly durability: Store['durability'];
  readonly #disk: FaultyDisk;
  readonly #delays: Delays;
  readonly #spans: { readonly commit: SpanMs; readonly read: SpanMs };
  readonly #random: Random;
  readonly #inner: Store;
  readonly #tell: Told;
  #state: 'open' | 'failed' | 'closed' | 'dead' = 'open';
  #unwritten: Change | undefined;
  #running: Promise<unknown> | undefined;

  constructor(
    disk: FaultyDisk,
    durability: Store['durability'],
    delays: Delays,
    spans: { readonly commit: SpanMs; readonly read: SpanMs },
    random: Random,
    tell: Told,
  ) {
    this.#disk = disk;
    this.durability = durability;
    this.#delays = delays;
    this.#spans = spans;
    this.#random = random;
    this.#tell = tell;
    this.#inner = openMemoryStore({ disk: disk.data, random });
  }

  /** When the change that is not written yet was called. */
  get startedAt(): number {
    return this.#unwritten?.startedAt ?? -Infinity;
  }

  leader(): Promise<Leader | undefined> {
    return this.#read(() => this.#inner.leader());
  }

  acquire(address: string, seen: Leader | undefined): Promise<{ won: Epoch } | { lost: Leader }> {
    return this.#change(0, async () => {
      const outcome = await this.#inner.acquire(address, seen);
      if ('won' in outcome) this.#tell.written({ kind: 'acquired', address, epoch: outcome.won });
      return outcome;
    });
  }

  renew(epoch: Epoch): Promise<void> {
    return this.#read(() => this.#inner.renew(epoch));
  }

  commit(epoch: Epoch, commitId: bigint, writes: readonly Write[]): Promise<void> {
    return this.#change(bytesOf(writes), async () => {
      await this.#inner.commit(epoch, commitId, writes);
      this.#tell.written({ kind: 'committed', epoch, writes });
    });
  }

  resolve(epoch: Epoch, commitId: bigint): Promise<'applied' | 'absent' | 'unknown'> {
    return this.#read(() => this.#inner.resolve(epoch, commitId));
  }

  get(epoch: Epoch, keys: readonly Key[]): Promise<(Value | undefined)[]> {
    return this.#read(() => this.#inner.get(epoch, keys));
  }

  async *range(epoch: Epoch, selector: KeyRange): AsyncIterable<readonly Entry[]> {
    const chunks = this.#inner.range(epoch, selector)[Symbol.asyncIterator]();
    for (;;) {
      const step = await this.#read(() => chunks.next());
      if (step.done === true) return;
      yield step.value;
    }
  }

  async freeBytes(): Promise<number> {
    if (this.#state !== 'open') await this.#refuse();
    return this.#disk.freeBytes;
  }

  async close(): Promise<void> {
    if (this.#state === 'dead') return new Promise(() => {});
    if (this.#state !== 'closed') this.#state = 'closed';
    this.#tell.closed(this);
    await this.#running?.catch(() => {});
  }

  /** Returns whether nothing was lost. */
  crash(inFlight: 'chance' | 'lost' = 'chance'): boolean {
    this.#state = 'dead';
    this.#delays.end();
    this.#tell.closed(this);
    const change = this.#unwritten;
    this.#unwritten = undefined;
    if (change === undefined) return true;
    if (inFlight === 'lost' || this.#random.fraction() < 0.5) return false;
    // A stale change is refused here as it would have been later; nobody is left to hear of it.
    change.apply().catch(() => {});
    return true;
  }

  /** What a call does on an object that is not open: it throws, or never settles. */
  async #refuse(): Promise<void> {
    if (this.#state === 'dead') return new Promise(() => {});
    if (this.#state === 'closed') throw new StoreError('CLOSED', 'aborted', 'Cannot use the store: it is closed');
    if (this.#state === 'failed') {
      throw new StoreError('STORE_FAILED', 'aborted', 'Cannot use the store: it failed and must be opened again');
    }
  }

  #fail(error: StoreError): never {
    if (this.#state === 'open') this.#state = 'failed';
    throw error;
  }

  async #read<T>(read: () => Promise<T>): Promise<T> {
    if (this.#state !== 'open') await this.#refuse();
    await this.#delays.wait(this.#delays.draw(this.#spans.read));
    if (this.#disk.takeReadFault()) {
      this.#fail(new StoreError('STORE_FAILED', 'aborted', 'Cannot read: the disk failed as planned'));
    }
    return read();
  }

  #change<T>(bytes: number, apply: () => Promise<T>): Promise<T> {
    if (this.#running !== undefined && this.#state === 'open') {
      return Promise.reject(
        new Error('Cannot commit: the commit before has not settled, and commits must not overlap'),
      );
    }
    const running = this.#runChange(bytes, apply);
    this.#running = running;
    const settled = (): void => {
      if (this.#running === running) this.#running = undefined;
    };
    running.then(settled, settled);
    return running;
  }

  async #runChange<T>(bytes: number, apply: () => Promise<T>): Promise<T> {
    // Nothing is awaited on an open object: a crash right behind the call finds the change under way.
    if (this.#state !== 'open') await this.#refuse();
    const fault = this.#disk.takeCommitFault(bytes);
    const totalMs = this.#delays.draw(this.#spans.commit);
    const appliedMs = totalMs * this.#random.fraction();
    const written = fault === undefined || fault === 'unknown-applied';
    if (written) this.#unwritten = { startedAt: this.#delays.now, apply };
    await this.#delays.wait(appliedMs);
    this.#unwritten = undefined;
    // The write becomes visible and durable at one moment, and the caller hears of it later.
    let value: T | undefined;
    let refused: unknown;
    try {
      if (written) value = await apply();
    } catch (error) {
      refused = error;
    }
    await this.#delays.wait(totalMs - appliedMs);
    if (refused !== undefined) throw refused as Error;
    if (fault !== undefined) this.#fail(errorOf(fault));
    return value as T;
  }
}

function errorOf(fault: CommitFault): StoreError {
  if (fault === 'full') return new StoreError('STORE_FULL', 'aborted', 'Cannot commit: the disk is full as planned');
  const outcome = fault === 'aborted' ? 'aborted' : 'unknown';
  return new StoreError('STORE_FAILED', outcome, 'Cannot commit: the disk failed as planned');
}

function bytesOf(writes: readonly Write[]): number {
  return writes.reduce((sum, write) => sum + (write.kind === 'put' ? write.key.length + write.value.length : 0), 0);
}
