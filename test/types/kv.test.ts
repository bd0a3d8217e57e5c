import * as Deno from 'holdfast/deno';
import { expectTypeOf, test } from 'vitest';
import type { Channel, HoldfastKv } from 'holdfast';

/** The types of Deno 2.9, written down from its documentation. */
declare namespace Documented {
  type KvKeyPart = Uint8Array | string | number | bigint | boolean | symbol;
  type KvKey = readonly KvKeyPart[];
  type KvConsistencyLevel = 'strong' | 'eventual';
  type KvListSelector =
    | { prefix: KvKey }
    | { prefix: KvKey; start: KvKey }
    | { prefix: KvKey; end: KvKey }
    | { start: KvKey; end: KvKey };
  interface KvListOptions {
    limit?: number;
    cursor?: string;
    reverse?: boolean;
    consistency?: KvConsistencyLevel;
    batchSize?: number;
  }
  interface KvEntry<T> {
    key: KvKey;
    value: T;
    versionstamp: string;
  }
  type KvEntryMaybe<T> = KvEntry<T> | { key: KvKey; value: null; versionstamp: null };
  interface KvCommitResult {
    ok: true;
    versionstamp: string;
  }
  interface KvCommitError {
    ok: false;
  }
  interface AtomicCheck {
    key: KvKey;
    versionstamp: string | null;
  }
  class KvU64 {
    constructor(value: bigint);
    readonly value: bigint;
  }
  type KvMutation = { key: KvKey } & (
    | { type: 'set'; value: unknown; expireIn?: number }
    | { type: 'delete' }
    | { type: 'sum'; value: KvU64 }
    | { type: 'max'; value: KvU64 }
    | { type: 'min'; value: KvU64 }
  );
  interface EnqueueOptions {
    delay?: number;
    keysIfUndelivered?: KvKey[];
    backoffSchedule?: number[];
  }
  class KvListIterator<T> implements AsyncIterableIterator<KvEntry<T>> {
    get cursor(): string;
    next(): Promise<IteratorResult<KvEntry<T>, undefined>>;
    [Symbol.asyncIterator](): AsyncIterableIterator<KvEntry<T>>;
  }
  class AtomicOperation {
    check(...checks: AtomicCheck[]): this;
    mutate(...mutations: KvMutation[]): this;
    sum(key: KvKey, n: bigint): this;
    min(key: KvKey, n: bigint): this;
    max(key: KvKey, n: bigint): this;
    set(key: KvKey, value: unknown, options?: { expireIn?: number }): this;
    delete(key: KvKey): this;
    enqueue(value: unknown, options?: EnqueueOptions): this;
    commit(): Promise<KvCommitResult | KvCommitError>;
  }
  export class Kv implements Disposable {
    get<T = unknown>(key: KvKey, options?: { consistency?: KvConsistencyLevel }): Promise<KvEntryMaybe<T>>;
    getMany<T extends readonly unknown[]>(
      keys: readonly [...{ [K in keyof T]: KvKey }],
      options?: { consistency?: KvConsistencyLevel },
    ): Promise<{ [K in keyof T]: KvEntryMaybe<T[K]> }>;
    set(key: KvKey, value: unknown, options?: { expireIn?: number }): Promise<KvCommitResult>;
    delete(key: KvKey): Promise<void>;
    list<T = unknown>(selector: KvListSelector, options?: KvListOptions): KvListIterator<T>;
    enqueue(value: unknown, options?: EnqueueOptions): Promise<KvCommitResult>;
    // oxlint-disable-next-line typescript/no-explicit-any -- as Deno has it
    listenQueue(handler: (value: any) => Promise<void> | void): Promise<void>;
    atomic(): AtomicOperation;
    watch<T extends readonly unknown[]>(
      keys: readonly [...{ [K in keyof T]: KvKey }],
      options?: { raw?: boolean },
    ): ReadableStream<{ [K in keyof T]: KvEntryMaybe<T[K]> }>;
    close(): void;
    commitVersionstamp(): symbol;
    [Symbol.dispose](): void;
  }
}

/** Compiled and not run. */
function compiled(_check: () => unknown): void {}

test('the data of holdfast/deno has the types of Deno', () => {
  expectTypeOf<Deno.KvKey>().toEqualTypeOf<Documented.KvKey>();
  expectTypeOf<Deno.KvKeyPart>().toEqualTypeOf<Documented.KvKeyPart>();
  expectTypeOf<Deno.KvConsistencyLevel>().toEqualTypeOf<Documented.KvConsistencyLevel>();
  expectTypeOf<Deno.KvListSelector>().toEqualTypeOf<Documented.KvListSelector>();
  expectTypeOf<Deno.KvListOptions>().toEqualTypeOf<Documented.KvListOptions>();
  expectTypeOf<Deno.KvEntry<number>>().toEqualTypeOf<Documented.KvEntry<number>>();
  expectTypeOf<Deno.KvEntryMaybe<number>>().toEqualTypeOf<Documented.KvEntryMaybe<number>>();
  expectTypeOf<Deno.KvCommitResult>().toEqualTypeOf<Documented.KvCommitResult>();
  expectTypeOf<Deno.KvCommitError>().toEqualTypeOf<Documented.KvCommitError>();
  expectTypeOf<Deno.AtomicCheck>().toEqualTypeOf<Documented.AtomicCheck>();
  expectTypeOf<Deno.KvMutation>().toEqualTypeOf<Documented.KvMutation>();
  expectTypeOf<Deno.KvU64>().toEqualTypeOf<Documented.KvU64>();
  expectTypeOf<Deno.KvEnqueueOptions>().toEqualTypeOf<Documented.EnqueueOptions>();
});

test('the classes of holdfast/deno stand for those of Deno, and the other way round', () => {
  compiled(() => {
    const is = <T>(_value: T): void => {};
    const ours = null as unknown as Deno.Kv;
    const theirs = null as unknown as Documented.Kv;
    is<Documented.Kv>(ours);
    is<Deno.Kv>(theirs);
    is<Documented.AtomicOperation>(ours.atomic());
    is<Deno.AtomicOperation>(theirs.atomic());
    is<Documented.KvListIterator<number>>(ours.list<number>({ prefix: [] }));
    is<Deno.KvListIterator<number>>(theirs.list<number>({ prefix: [] }));
    is<keyof Documented.Kv>(null as unknown as keyof Deno.Kv);
    is<keyof Documented.AtomicOperation>(null as unknown as keyof Deno.AtomicOperation);
    is<keyof Deno.Kv>(null as unknown as keyof Documented.Kv);
    is<new () => Documented.Kv>(Deno.Kv);
    is<new () => Documented.AtomicOperation>(Deno.AtomicOperation);
    is<new (value: bigint) => Documented.KvU64>(Deno.KvU64);
    is<(path?: string) => Promise<Documented.Kv>>(Deno.openKv);
    // An instance has all of it, and more.
    is<Documented.Kv>(null as unknown as HoldfastKv);
  });
});

test('what is read has the type that is asked for', () => {
  compiled(async () => {
    const kv = await Deno.openKv();
    const entry = await kv.get<string>(['a']);
    expectTypeOf(entry.value).toEqualTypeOf<string | null>();
    const [one, two] = await kv.getMany<[number, Date]>([['a'], ['b']]);
    expectTypeOf(one.value).toEqualTypeOf<number | null>();
    expectTypeOf(two.value).toEqualTypeOf<Date | null>();
    for await (const { value } of kv.list<number>({ prefix: [] })) expectTypeOf(value).toEqualTypeOf<number>();
    for await (const [first] of kv.watch<[number]>([['a']])) expectTypeOf(first.value).toEqualTypeOf<number | null>();
    await kv.listenQueue(async (message: { to: string }) => void message.to);
    kv.atomic().check(entry, one).set(['a'], 1).delete(['b']);
    // @ts-expect-error A key is a list.
    await kv.get('a');
    // @ts-expect-error There is no such mutation.
    kv.atomic().mutate({ type: 'add', key: ['a'], value: 1 });
    // @ts-expect-error Not in Deno.
    void kv.queue;
  });
});

test('an instance takes sums of numbers, messages to channels, and other queues', () => {
  compiled(async () => {
    const kv = null as unknown as HoldfastKv;
    const mails = null as unknown as Channel<string>;
    await kv
      .atomic()
      .mutate({ type: 'sum', key: ['a'], value: 1, max: 5, clamp: true })
      .produce(mails, 'hello', { delay: '5s' })
      .commit();
    // @ts-expect-error The channel takes texts.
    kv.atomic().produce(mails, 5);
    await kv.queue('jobs').listenQueue(async (job: number, { tx }) => tx.set(['done', job], true), { concurrency: 5 });
  });
});
