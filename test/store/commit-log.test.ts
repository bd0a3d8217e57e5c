import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Epoch, KeyRange, Write } from '#holdfast/model/records.js';
import { openLmdbStore } from '#holdfast/store/lmdb.js';
import { openMemoryStore } from '#holdfast/store/memory.js';
import type { Store } from '#holdfast/store/store.js';
import { temporaryFolder } from './folders.ts';
import { acquire } from './writing.ts';

const folder = temporaryFolder();
let count = 0;

const RUNS = 60;

/** A write as a counterexample shows it: keys are texts, and values are lengths. */
type Change =
  | { readonly put: string; readonly bytes: number }
  | { readonly delete: string }
  | { readonly clear: readonly [from: string, to: string] };

type Step =
  | { readonly commit: readonly Change[] }
  | { readonly burst: number; readonly spread: number }
  | { readonly bulk: number }
  | { readonly get: readonly string[] }
  | { readonly range: readonly [from: string, to: string]; readonly reverse: boolean; readonly limit: number }
  | 'reopen';

/** Few keys, so that writes meet each other: in the log, in a fold and in their places. */
const key = fc.oneof(
  fc.integer({ min: 0, max: 300 }).map((number) => `key ${number}`),
  fc.string({ maxLength: 2, unit: fc.constantFrom('\0', 'a', 'k', 'z', '\xff') }),
);
const change: fc.Arbitrary<Change> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ put: key, bytes: fc.nat(40) }) },
  { weight: 1, arbitrary: fc.record({ put: key, bytes: fc.integer({ min: 4_000, max: 4_200 }) }) },
  { weight: 1, arbitrary: fc.record({ put: key, bytes: fc.integer({ min: 8_000, max: 90_000 }) }) },
  { weight: 4, arbitrary: fc.record({ delete: key }) },
  { weight: 1, arbitrary: fc.record({ clear: fc.tuple(key, key) }) },
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 30, arbitrary: fc.record({ commit: fc.array(change, { maxLength: 12 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({ burst: fc.integer({ min: 1, max: 40 }), spread: fc.integer({ min: 1, max: 300 }) }),
  },
  { weight: 1, arbitrary: fc.record({ bulk: fc.integer({ min: 200, max: 400 }) }) },
  { weight: 6, arbitrary: fc.record({ get: fc.array(key, { maxLength: 10 }) }) },
  {
    weight: 6,
    arbitrary: fc.record({ range: fc.tuple(key, key), reverse: fc.boolean(), limit: fc.constantFrom(0, 1, 7, 1_000) }),
  },
  { weight: 2, arbitrary: fc.constant('reopen' as const) },
);

test('an lmdb store with its log reads as a map does, through folds, bulk commits and reopenings', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 120, size: 'max' }), async (steps) => {
      const run = new Run(join(folder, String(count++)));
      await run.open();
      try {
        for (const each of steps) await run.take(each);
        await run.take('reopen');
      } finally {
        await run.close();
      }
    }),
    { numRuns: RUNS, interruptAfterTimeLimit: 100_000, markInterruptAsFailure: true },
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

  async take(step: Step): Promise<void> {
    if (step === 'reopen') await this.#reopen();
    else if ('commit' in step) await this.#commit(step.commit.map(writeOf));
    else if ('burst' in step) await this.#burst(step.burst, step.spread);
    else if ('bulk' in step) await this.#commit(Array.from({ length: step.bulk }, (_, i) => put(i, 300)));
    else if ('get' in step)
      await this.#compare(async (store, epoch) => (await store.get(epoch, step.get.map(bytes))).map(shown));
    else {
      const selector = {
        from: bytes(step.range[0]),
        to: bytes(step.range[1]),
        reverse: step.reverse,
        limit: step.limit,
      };
      await this.#compare((store, epoch) => collect(store, epoch, selector));
    }
  }

  async #reopen(): Promise<void> {
    await this.close();
    await this.open();
    await this.#compare((store, epoch) => collect(store, epoch, { from: bytes(''), to: bytes('\xff\xff\xff') }));
  }

  async #commit(writes: readonly Write[]): Promise<void> {
    const id = this.#commitId++;
    await this.#model.commit(this.#modelEpoch as Epoch, id, writes);
    await (this.#store as Store).commit(this.#epoch as Epoch, id, writes);
  }

  async #burst(commits: number, spread: number): Promise<void> {
    for (let i = 0; i < commits; i++) {
      const number = (i * 37) % spread;
      await this.#commit([put(number, i), { kind: 'delete', key: bytes(`key ${(number * 7) % spread}`) }]);
    }
  }

  async #compare(read: (store: Store, epoch: Epoch) => Promise<string[]>): Promise<void> {
    const expected = await read(this.#model, this.#modelEpoch as Epoch);
    expect(await read(this.#store as Store, this.#epoch as Epoch)).toEqual(expected);
    expect(await read(this.#reader as Store, this.#epoch as Epoch)).toEqual(expected);
  }
}

function writeOf(change: Change): Write {
  if ('put' in change) return { kind: 'put', key: bytes(change.put), value: filled(change.bytes) };
  if ('delete' in change) return { kind: 'delete', key: bytes(change.delete) };
  return { kind: 'clear', from: bytes(change.clear[0]), to: bytes(change.clear[1]) };
}

function put(number: number, length: number): Write {
  return { kind: 'put', key: bytes(`key ${number}`), value: filled(length) };
}

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}

function filled(length: number): Uint8Array {
  return new Uint8Array(length).fill(length);
}

async function collect(store: Store, epoch: Epoch, selector: KeyRange): Promise<string[]> {
  const found: string[] = [];
  for await (const chunk of store.range(epoch, selector)) {
    for (const { key, value } of chunk) found.push(`${Buffer.from(key).toString('latin1')}: ${shown(value)}`);
  }
  return found;
}

/** A value in a form that is compared and printed quickly. */
function shown(value: Uint8Array | undefined): string {
  return value === undefined ? 'absent' : `${value.length} bytes, ${crc32(value)}`;
}
