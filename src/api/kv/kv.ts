/** KV of an instance. */
import type { Client } from '../../client/client.ts';
import { KvClient } from '../../client/kv.ts';
import { checkEntryReadable, checkType, encodeKvKey, type KvKey } from '../../model/kv-key.ts';
import type { KvListSelector } from '../../model/kv-selector.ts';
import { AtomicOperation } from './atomic.ts';
import { checkConsistency, checkOpen, COMMIT_VERSIONSTAMP, entriesOf, entryOf, type KvCore } from './core.ts';
import type { KvLimits } from './limits.ts';
import { KvListIterator } from './list.ts';
import { Queue } from './queue.ts';
import type {
  HoldfastKv,
  KvCommitResult,
  KvConsistencyLevel,
  KvEnqueueOptions,
  KvEntryMaybe,
  KvListIterator as KvListIteratorType,
  KvListOptions,
  KvQueue,
  ListenQueueOptions,
  QueueHandler,
} from './types.ts';
import { watchEntries } from './watch.ts';

interface Made {
  readonly client: Client;
  readonly limits: KvLimits;
}

/** Who has this may make one. */
const MAKING: unique symbol = Symbol('making');

export class Kv implements HoldfastKv {
  readonly #core: Core;
  readonly #queue: Queue;
  readonly #queues = new Map<string, KvQueue>();

  /** @throws TypeError for everybody but {@link createKv} */
  constructor(secret: typeof MAKING, made: Made) {
    if (secret !== MAKING) throw new TypeError('Deno.Kv can not be constructed: use Deno.openKv instead');
    this.#core = new Core(made);
    this.#queue = new Queue(this.#core, undefined);
  }

  /** @internal Calls back when it is closed. */
  static onClose(kv: HoldfastKv, listener: () => void): void {
    (kv as Kv).#core.onClose(listener);
  }

  atomic(): AtomicOperation {
    return new AtomicOperation(this.#core, this.#queue);
  }

  commitVersionstamp(): symbol {
    return COMMIT_VERSIONSTAMP;
  }

  async get<T = unknown>(key: KvKey, options?: { consistency?: KvConsistencyLevel }): Promise<KvEntryMaybe<T>> {
    checkOpen(this.#core);
    checkConsistency(options?.consistency);
    return entryOf<T>(key, await this.#core.raw.get(checkEntryReadable(encodeKvKey(key))));
  }

  async getMany<T extends readonly unknown[]>(
    keys: readonly [...{ [K in keyof T]: KvKey }],
    options?: { consistency?: KvConsistencyLevel },
  ): Promise<{ [K in keyof T]: KvEntryMaybe<T[K]> }> {
    checkOpen(this.#core);
    checkConsistency(options?.consistency);
    const { maxKeys } = this.#core.limits;
    const all = keys as readonly KvKey[];
    checkType('array', all);
    if (all.length > maxKeys) throw new TypeError(`Too many ranges (max ${maxKeys})`);
    const encoded = all.map((key) => checkEntryReadable(encodeKvKey(key)));
    const { entries } = encoded.length === 0 ? { entries: [] } : await this.#core.raw.read(encoded, []);
    return (await entriesOf(all, entries)) as { [K in keyof T]: KvEntryMaybe<T[K]> };
  }

  async set(key: KvKey, value: unknown, options?: { expireIn?: number }): Promise<KvCommitResult> {
    return committed(this.atomic().set(key, value, options));
  }

  async delete(key: KvKey): Promise<void> {
    await committed(this.atomic().delete(key));
  }

  list<T = unknown>(selector: KvListSelector, options: KvListOptions = {}): KvListIteratorType<T> {
    return new KvListIterator<T>(this.#core, selector, options);
  }

  async enqueue(value: unknown, options?: KvEnqueueOptions): Promise<KvCommitResult> {
    return this.#queue.enqueue(value, options);
  }

  async listenQueue(handler: QueueHandler, options?: ListenQueueOptions): Promise<void> {
    await this.#queue.listen(handler, options);
  }

  queue(name: string): KvQueue {
    const known = this.#queues.get(name);
    if (known !== undefined) return known;
    const core = this.#core;
    const inner = new Queue(core, name);
    const queue: KvQueue = {
      name,
      enqueue: async (value, options) => inner.enqueue(value, options),
      listenQueue: async (handler, options) => inner.listen(handler, options),
    };
    this.#queues.set(name, queue);
    return queue;
  }

  watch<T extends readonly unknown[]>(
    keys: readonly [...{ [K in keyof T]: KvKey }],
    options?: { raw?: boolean },
  ): ReadableStream<{ [K in keyof T]: KvEntryMaybe<T[K]> }> {
    const stream: unknown = watchEntries(this.#core, keys as readonly KvKey[], options?.raw === true);
    return stream as ReadableStream<{ [K in keyof T]: KvEntryMaybe<T[K]> }>;
  }

  close(): void {
    checkOpen(this.#core);
    this.#core.close();
  }

  [Symbol.dispose](): void {
    if (!this.#core.isClosed) this.#core.close();
  }
}

/** KV over a client. Closing it ends its watches and listeners, and not the client. */
export function createKv(client: Client, limits: KvLimits): Kv {
  return new Kv(MAKING, { client, limits });
}

class Core implements KvCore {
  readonly client: Client;
  readonly raw: KvClient;
  readonly limits: KvLimits;
  readonly #listeners = new Set<() => void>();
  #isClosed = false;

  constructor({ client, limits }: Made) {
    this.client = client;
    this.limits = limits;
    this.raw = new KvClient(client);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  onClose(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  close(): void {
    this.#isClosed = true;
    for (const listener of this.#listeners) listener();
  }
}

/** Commits an operation without checks, of which nothing can stand in the way. */
async function committed(operation: AtomicOperation): Promise<KvCommitResult> {
  return (await operation.commit()) as KvCommitResult;
}
