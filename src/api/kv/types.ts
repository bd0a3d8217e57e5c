/** The shape of KV: that of Deno.Kv, to the letter, and what an instance of Holdfast has beyond it. */
import type { KvU64 } from '../../codec/kv-u64.ts';
import type { KvKey } from '../../model/kv-key.ts';
import type { KvListSelector } from '../../model/kv-selector.ts';
import type { HandlerContext } from '../handler-context.ts';
import type { ProduceOptions } from '../options.ts';
import type { TransactionTarget } from '../transaction.ts';

/** Both read the latest commit: there is no weaker read. */
export type KvConsistencyLevel = 'strong' | 'eventual';

export interface KvEntry<T> {
  key: KvKey;
  value: T;
  versionstamp: string;
}

export type KvEntryMaybe<T> = KvEntry<T> | { key: KvKey; value: null; versionstamp: null };

export interface KvCommitResult {
  ok: true;
  /** Of the commit: later ones have higher ones, compared as texts. */
  versionstamp: string;
}

/** A check did not hold, and nothing was changed. */
export interface KvCommitError {
  ok: false;
}

/** Holds when the entry has this versionstamp; with `null`, when there is none. */
export interface AtomicCheck {
  key: KvKey;
  versionstamp: string | null;
}

export type KvMutation = { key: KvKey } & (
  | { type: 'set'; value: unknown; expireIn?: number }
  | { type: 'delete' }
  | { type: 'sum'; value: KvU64 }
  | { type: 'max'; value: KvU64 }
  | { type: 'min'; value: KvU64 }
);

export interface KvListOptions {
  /** How many entries to give at most. */
  limit?: number;
  /** Where to go on: the `cursor` of an iterator over the same selector. */
  cursor?: string;
  reverse?: boolean;
  consistency?: KvConsistencyLevel;
  /** How many entries are read at a time. @default the limit, at most 500, else 100 */
  batchSize?: number;
}

export interface KvListIterator<T> extends AsyncIterableIterator<KvEntry<T>> {
  /** Where a list of the same selector would go on; empty at the end of the list. */
  get cursor(): string;
  next(): Promise<IteratorResult<KvEntry<T>, undefined>>;
  [Symbol.asyncIterator](): AsyncIterableIterator<KvEntry<T>>;
}

export interface KvEnqueueOptions {
  /** How many milliseconds from now it is delivered at the earliest, up to 30 days. */
  delay?: number;
  /** Keys that get the message as their value when it is given up. */
  keysIfUndelivered?: KvKey[];
  /** How long to wait after each failed attempt, in milliseconds. @default [100, 1000, 5000, 30000, 60000] */
  backoffSchedule?: number[];
}

export interface ListenQueueOptions {
  /** How many handlers run at a time. @default 100 */
  concurrency?: number;
  /** Hears what a handler threw, and of what was handled too late. @default a process warning */
  onError?: (error: unknown) => void;
}

/** Changes that are made together, when all checks hold, or not at all. */
export interface AtomicOperation {
  check(...checks: AtomicCheck[]): this;
  mutate(...mutations: KvMutation[]): this;
  sum(key: KvKey, n: bigint): this;
  min(key: KvKey, n: bigint): this;
  max(key: KvKey, n: bigint): this;
  set(key: KvKey, value: unknown, options?: { expireIn?: number }): this;
  delete(key: KvKey): this;
  enqueue(value: unknown, options?: KvEnqueueOptions): this;
  commit(): Promise<KvCommitResult | KvCommitError>;
}

/** A store of values under ordered keys, and a queue. */
export interface Kv extends Disposable {
  get<T = unknown>(key: KvKey, options?: { consistency?: KvConsistencyLevel }): Promise<KvEntryMaybe<T>>;
  /** Reads entries as of one moment. */
  getMany<T extends readonly unknown[]>(
    keys: readonly [...{ [K in keyof T]: KvKey }],
    options?: { consistency?: KvConsistencyLevel },
  ): Promise<{ [K in keyof T]: KvEntryMaybe<T[K]> }>;
  set(key: KvKey, value: unknown, options?: { expireIn?: number }): Promise<KvCommitResult>;
  delete(key: KvKey): Promise<void>;
  list<T = unknown>(selector: KvListSelector, options?: KvListOptions): KvListIterator<T>;
  enqueue(value: unknown, options?: KvEnqueueOptions): Promise<KvCommitResult>;
  /** Runs a handler on what is enqueued. Resolves when the KV was closed and the handlers have ended. */
  // oxlint-disable-next-line typescript/no-explicit-any -- as in Deno: a handler names the type of its messages
  listenQueue(handler: (value: any) => Promise<void> | void, options?: ListenQueueOptions): Promise<void>;
  atomic(): AtomicOperation;
  /** The entries as they are, and again whenever one of them was written. */
  watch<T extends readonly unknown[]>(
    keys: readonly [...{ [K in keyof T]: KvKey }],
    options?: { raw?: boolean },
  ): ReadableStream<{ [K in keyof T]: KvEntryMaybe<T[K]> }>;
  close(): void;
  /** As the last part of a key that is set, it becomes the versionstamp of the commit. */
  commitVersionstamp(): symbol;
  [Symbol.dispose](): void;
}

/** Adds to a number or a bigint; a sum beyond the bounds refuses the commit with a TypeError. */
export interface KvNumberSum {
  key: KvKey;
  type: 'sum';
  value: number | bigint;
  min?: number | bigint;
  max?: number | bigint;
  /** A sum beyond a bound becomes that bound. */
  clamp?: boolean;
}

/** What commits together on an instance. */
export interface HoldfastAtomic extends AtomicOperation {
  mutate(...mutations: (KvMutation | KvNumberSum)[]): this;
  /** Produces a message to a channel in the same commit. @throws as `produce` of the channel, at the call or at the commit */
  produce<Input>(channel: TransactionTarget<Input>, message: Input, options?: ProduceOptions): this;
}

// oxlint-disable-next-line typescript/no-explicit-any -- as in Deno: a handler names the type of its messages
export type QueueHandler = (value: any, context: HandlerContext) => Promise<void> | void;

/** A queue on KV. */
export interface KvQueue {
  readonly name: string;
  enqueue(value: unknown, options?: KvEnqueueOptions): Promise<KvCommitResult>;
  listenQueue(handler: QueueHandler, options?: ListenQueueOptions): Promise<void>;
}

/** KV of an instance: all of Deno.Kv, channels in its atomic operations, and more queues than one. */
export interface HoldfastKv extends Kv {
  atomic(): HoldfastAtomic;
  listenQueue(handler: QueueHandler, options?: ListenQueueOptions): Promise<void>;
  /** The queue of this name: the channel `kv/queue/NAME`. */
  queue(name: string): KvQueue;
}
