/** The store in memory: the model that the others are held to, and a store for tests. */
import { StoreError } from '../model/errors.ts';
import { systemRandom, type Random } from '../model/random.ts';
import type { Entry, Epoch, Key, KeyRange, Leader, Value, Write } from '../model/records.ts';
import { readInChunks, takeChunk } from './chunks.ts';
import { checkEpoch, leaderOf, resolveCommit, sameEpoch, succeed, type LastCommit, type Leadership } from './epoch.ts';
import { OrderedMap } from './ordered-map.ts';
import type { Store } from './store.ts';

/**
 * What a store in memory holds, apart from the store object, so that a test can close one object and
 * open another on the same data, as a process does that starts anew.
 */
export interface MemoryDisk {
  readonly entries: OrderedMap<Value>;
  leadership: Leadership | undefined;
  lastCommit: LastCommit | undefined;
}

export interface MemoryStoreOptions {
  /** The data to open. @default a new, empty disk */
  readonly disk?: MemoryDisk;
  /** Makes the nonces of epochs. @default systemRandom */
  readonly random?: Random;
}

/** Makes an empty disk. */
export function createMemoryDisk(): MemoryDisk {
  return { entries: new OrderedMap(), leadership: undefined, lastCommit: undefined };
}

/** Opens a store in memory. Its data lives as long as the disk object. */
export function openMemoryStore({ disk = createMemoryDisk(), random = systemRandom }: MemoryStoreOptions = {}): Store {
  return new MemoryStore(disk, random);
}

/** Applies the writes of a commit to a disk; copies keys and values, which belong to the caller. */
export function applyWrites(disk: MemoryDisk, writes: readonly Write[]): void {
  for (const write of writes) {
    if (write.kind === 'put') disk.entries.put(write.key.slice(), write.value.slice());
    else if (write.kind === 'delete') disk.entries.delete(write.key);
    else disk.entries.clear(write.from, write.to);
  }
}

class MemoryStore implements Store {
  readonly durability = 'memory';
  readonly #disk: MemoryDisk;
  readonly #random: Random;
  #closed = false;

  constructor(disk: MemoryDisk, random: Random) {
    this.#disk = disk;
    this.#random = random;
  }

  async leader(): Promise<Leader | undefined> {
    this.#checkOpen();
    const { leadership } = this.#disk;
    return leadership && leaderOf(leadership);
  }

  async acquire(address: string, seen: Leader | undefined): Promise<{ won: Epoch } | { lost: Leader }> {
    this.#checkOpen();
    const { leadership } = this.#disk;
    if (leadership !== undefined && !sameEpoch(leadership.epoch, seen?.epoch)) return { lost: leaderOf(leadership) };
    const next = succeed(leadership, address, this.#random);
    this.#disk.leadership = next;
    return { won: next.epoch };
  }

  async renew(epoch: Epoch): Promise<void> {
    this.#checkLeads(epoch);
  }

  async commit(epoch: Epoch, commitId: bigint, writes: readonly Write[]): Promise<void> {
    this.#checkLeads(epoch);
    applyWrites(this.#disk, writes);
    this.#disk.lastCommit = { epoch, id: commitId };
  }

  async resolve(epoch: Epoch, commitId: bigint): Promise<'applied' | 'absent' | 'unknown'> {
    return resolveCommit(this.#checkLeads(epoch), this.#disk.lastCommit, commitId);
  }

  async get(epoch: Epoch, keys: readonly Key[]): Promise<(Value | undefined)[]> {
    this.#checkLeads(epoch);
    return keys.map((key) => this.#disk.entries.get(key));
  }

  range(epoch: Epoch, selector: KeyRange): AsyncIterable<readonly Entry[]> {
    return readInChunks(selector, (part) => {
      this.#checkLeads(epoch);
      return takeChunk(this.#disk.entries.items(part), part.limit);
    });
  }

  async freeBytes(): Promise<number> {
    this.#checkOpen();
    return Infinity;
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #checkOpen(): void {
    if (this.#closed) throw new StoreError('CLOSED', 'aborted', 'Cannot use the store: it is closed');
  }

  #checkLeads(epoch: Epoch): Leadership {
    this.#checkOpen();
    const { leadership } = this.#disk;
    checkEpoch(leadership?.epoch, epoch);
    return leadership as Leadership;
  }
}
