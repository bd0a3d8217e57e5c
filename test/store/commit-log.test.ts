import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Entry, Epoch, KeyRange, Write } from '#holdfast/model/records.js';
import { openLmdbStore } from '#holdfast/store/lmdb.js';
import { openMemoryStore } from '#holdfast/store/memory.js';
import type { Store } from '#holdfast/store/store.js';
import { temporaryFolder } from './folders.ts';

const folder = temporaryFolder();
let count = 0;

const RUNS = 60;

/** Few keys, so that writes meet each other: in the log, in a fold and in their places. */
const key = fc.oneof(
  fc.integer({ min: 0, max: 60 }).map((number) => Uint8Array.of(number >> 3, number & 7)),
  fc.uint8Array({ maxLength: 2 }),
  fc.integer({ min: 0, max: 300 }).map((number) => new Uint8Array(Buffer.from(`key ${number}`))),
);
const value = fc.oneof(
  { weight: 8, arbitrary: fc.uint8Array({ maxLength: 40 }) },
  { weight: 1, arbitrary: fc.integer({ min: 4_000, max: 4_200 }).map(filled) },
  { weight: 1, arbitrary: fc.integer({ min: 8_000, max: 90_000 }).map(filled) },
);
const write: fc.Arbitrary<Write> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ kind: fc.constant('put' as const), key, value }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const), from: key, to: key }) },
);
const range: fc.Arbitrary<KeyRange> = fc.record(
  { from: key, to: key, reverse: fc.boolean(), limit: fc.integer({ min: 0, max: 100 }) },
  { requiredKeys: ['from', 'to'] },
);

type Step =
  | { readonly do: 'commit'; readonly writes: readonly Write[] }
  | { readonly do: 'burst'; readonly commits: number; readonly spread: number }
  | { readonly do: 'bulk'; readonly puts: number }
  | { readonly do: 'get'; readonly keys: readonly Uint8Array[] }
  | { readonly do: 'range'; readonly range: KeyRange }
  | { readonly do: 'reopen' };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 30, arbitrary: fc.record({ do: fc.constant('commit' as const), writes: fc.array(write, { maxLength: 12 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('burst' as const),
      commits: fc.integer({ min: 1, max: 40 }),
      spread: fc.integer({ min: 1, max: 300 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('bulk' as const), puts: fc.integer({ min: 200, max: 400 }) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('get' as const), keys: fc.array(key, { maxLength: 10 }) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('range' as const), range }) },
  { weight: 2, arbitrary: fc.constant({ do: 'reopen' as const }) },
);

test('an lmdb store with its log reads as a map does, through folds, bulk commits and reopenings', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 120, size: 'max' }), async (steps) => {
      const run = new Run(join(folder, String(count++)));
      await run.open();
      try {
        for (const each of steps) await run.take(each);
        await run.take({ do: 'reopen' });
      } finally {
        await run.close();
      }
    }),
    { numRuns: RUNS, endOnFailure: false },
  );
}, 120_000);

/** The store under test beside the model, and a second store object that only reads. */
class Run {
  readonly #path: string;
  readonly #model = openMemoryStore();
  #modelEpoch: Epoch | undefined;
  #store: Store | undefined;
  #reader: Store | undefined;
  #epoch: Epoch | undefined;
  #commitId = 0n;

  constructor(path: string) {
    this.#path = path;
  }

  async open(): Promise<void> {
    this.#store = await openLmdbStore({ path: this.#path });
    this.#reader = await openLmdbStore({ path: this.#path });
    this.#epoch = await acquire(this.#store);
    this.#modelEpoch ??= await acquire(this.#model);
  }

  async close(): Promise<void> {
    await this.#store?.close();
    await this.#reader?.close();
  }

  async take(each: Step): Promise<void> {
    if (each.do === 'commit') await this.#commit(each.writes);
    else if (each.do === 'burst') await this.#burst(each);
    else if (each.do === 'bulk') await this.#commit(Array.from({ length: each.puts }, (_, i) => put(i, 300)));
    else if (each.do === 'get') await this.#compare((store, epoch) => store.get(epoch, each.keys));
    else if (each.do === 'range') await this.#compare((store, epoch) => collect(store, epoch, each.range));
    else {
      await this.close();
      await this.open();
      const all = { from: new Uint8Array(), to: Uint8Array.of(0xff, 0xff, 0xff) };
      await this.#compare((store, epoch) => collect(store, epoch, all));
    }
  }

  async #commit(writes: readonly Write[]): Promise<void> {
    const id = this.#commitId++;
    await this.#model.commit(this.#modelEpoch as Epoch, id, writes);
    await (this.#store as Store).commit(this.#epoch as Epoch, id, writes);
  }

  async #burst({ commits, spread }: { commits: number; spread: number }): Promise<void> {
    for (let i = 0; i < commits; i++) {
      const number = (i * 37) % spread;
      await this.#commit([put(number, i), { kind: 'delete', key: keyOf((number * 7) % spread) }]);
    }
  }

  async #compare<T>(read: (store: Store, epoch: Epoch) => Promise<T>): Promise<void> {
    const expected = await read(this.#model, this.#modelEpoch as Epoch);
    expect(await read(this.#store as Store, this.#epoch as Epoch)).toEqual(expected);
    expect(await read(this.#reader as Store, this.#epoch as Epoch)).toEqual(expected);
  }
}

function keyOf(number: number): Uint8Array {
  return new Uint8Array(Buffer.from(`key ${number}`));
}

function put(number: number, bytes: number): Write {
  return { kind: 'put', key: keyOf(number), value: filled(bytes) };
}

function filled(bytes: number): Uint8Array {
  return new Uint8Array(bytes).fill(bytes);
}

async function acquire(store: Store): Promise<Epoch> {
  const outcome = await store.acquire('test', await store.leader());
  if (!('won' in outcome)) throw new Error('The race is lost');
  return outcome.won;
}

async function collect(store: Store, epoch: Epoch, selector: KeyRange): Promise<Entry[]> {
  const entries: Entry[] = [];
  for await (const chunk of store.range(epoch, selector)) entries.push(...chunk);
  return entries;
}
