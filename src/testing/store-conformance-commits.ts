/** The part of the store conformance suite that is about commits: order, atomicity, limits, `resolve`. */
import assert from 'node:assert/strict';
import { MAX_COMMIT_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES, type Write } from '../model/records.ts';
import { ALL, bytes, clear, collect, noise, put, remove, text, type CaseBody } from './store-conformance-tools.ts';

export const commitCases: readonly CaseBody[] = [
  [
    'commit() applies its writes in their order',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      await store.commit(epoch, 1n, [
        put('a', 'first'),
        put('a', 'second'),
        put('b', 'gone'),
        remove('b'),
        remove('c'),
        put('c', 'back'),
        put('d1', 'cleared'),
        clear('d', 'e'),
        put('d2', 'behind the clear'),
        remove('never there'),
      ]);
      assert.deepEqual(await collect(store, epoch, ALL), [
        ['a', 'second'],
        ['c', 'back'],
        ['d2', 'behind the clear'],
      ]);
    },
  ],
  [
    'commit() replaces and deletes what earlier commits wrote',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      await store.commit(epoch, 1n, [put('a', '1'), put('b', '1'), put('c', '1')]);
      await store.commit(epoch, 2n, [put('b', '2'), remove('c')]);
      await store.commit(epoch, 3n, [put('c', '3'), remove('a'), remove('a')]);
      assert.deepEqual(await collect(store, epoch, ALL), [
        ['b', '2'],
        ['c', '3'],
      ]);
    },
  ],
  [
    'commit() clears from the first key, included, to the last, excluded',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      const keys = ['', '\x00', 'a', 'a\x00', 'aa', 'b', 'b\x00', 'c', '\xfe', '\xff', '\xff\xff'];
      await store.commit(
        epoch,
        1n,
        keys.map((key) => put(key, key)),
      );
      const left = async (): Promise<string[]> => (await collect(store, epoch, ALL)).map(([key]) => key);
      await store.commit(epoch, 2n, [clear('a\x00', 'b')]);
      assert.deepEqual(await left(), ['', '\x00', 'a', 'b', 'b\x00', 'c', '\xfe', '\xff', '\xff\xff']);
      await store.commit(epoch, 3n, [clear('c', 'b'), clear('b', 'b'), clear('x', 'y')]);
      assert.deepEqual(await left(), ['', '\x00', 'a', 'b', 'b\x00', 'c', '\xfe', '\xff', '\xff\xff']);
      await store.commit(epoch, 4n, [clear('', 'a'), clear('b\x00', '\xff')]);
      assert.deepEqual(await left(), ['a', 'b', '\xff', '\xff\xff']);
      await store.commit(epoch, 5n, [clear('', '\xff\xff\xff')]);
      assert.deepEqual(await left(), []);
    },
  ],
  [
    'commit() clears many entries, old and new, large and small',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      const key = (i: number): string => String(i).padStart(6, '0');
      const many: Write[] = Array.from({ length: 5_000 }, (_, i) => put(key(i), `value ${i}`));
      await store.commit(epoch, 1n, many);
      await store.commit(epoch, 2n, [
        put(key(2_000), noise(64 * 1024, 1)),
        put(key(2_001), 'new'),
        clear(key(10), key(4_990)),
        put(key(3_000), 'later'),
      ]);
      const found = (await collect(store, epoch, ALL)).map(([name]) => name);
      const expected = Array.from({ length: 5_000 }, (_, i) => i).filter((i) => i < 10 || i === 3_000 || i >= 4_990);
      assert.deepEqual(found, expected.map(key));
    },
  ],
  [
    'commit() without writes is a commit',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      await store.commit(epoch, 1n, []);
      assert.equal(await store.resolve(epoch, 1n), 'applied');
      assert.deepEqual(await collect(store, epoch, ALL), []);
    },
  ],
  [
    'commit() keeps empty keys and empty values',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      await store.commit(epoch, 1n, [put('', 'empty key'), put('empty value', '')]);
      assert.deepEqual(await collect(store, epoch, ALL), [
        ['', 'empty key'],
        ['empty value', ''],
      ]);
      const [value] = await store.get(epoch, [bytes('empty value')]);
      assert.equal(value?.length, 0);
    },
  ],
  [
    'commit() takes keys, values and commits up to the documented limits',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      const longKey = noise(MAX_KEY_BYTES, 1);
      const longKeys = Array.from({ length: 20 }, (_, i) => {
        const key = new Uint8Array(MAX_KEY_BYTES).fill(0x61);
        key[MAX_KEY_BYTES - 1] = i;
        return key;
      });
      const largest = noise(MAX_VALUE_BYTES, 2);
      const quarter = Math.floor(MAX_COMMIT_BYTES / 4) - 1;
      await store.commit(epoch, 1n, [put(longKey, largest), ...longKeys.map((key) => put(key, `value ${key.at(-1)}`))]);
      await store.commit(
        epoch,
        2n,
        ['1', '2', '3', '4'].map((key, i) => put(key, noise(quarter, i))),
      );
      const [first, fourth] = await store.get(epoch, [longKey, bytes('4')]);
      assert.ok(first !== undefined && Buffer.compare(first, largest) === 0);
      assert.ok(fourth !== undefined && Buffer.compare(fourth, noise(quarter, 3)) === 0);
      const range = { from: new Uint8Array([0x61]), to: new Uint8Array([0x62]) };
      assert.deepEqual(
        (await collect(store, epoch, range)).map(([, value]) => value),
        longKeys.map((_, i) => `value ${i}`),
      );
    },
  ],
  [
    'commit() of thousands of writes is one commit',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      const writes = Array.from({ length: 2_500 }, (_, i) => put(noise(20, i), noise(100, i)));
      await store.commit(epoch, 1n, writes);
      assert.equal((await collect(store, epoch, ALL)).length, 2_500);
    },
  ],
  [
    'commit() keeps nothing of the buffers it was given',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      const [key, small, large] = [bytes('key'), bytes('value'), noise(100_000, 1)];
      await store.commit(epoch, 1n, [put(key, small), put('large', large)]);
      key.fill(0x78);
      small.fill(0x78);
      large.fill(0x78);
      const [kept, keptLarge] = await store.get(epoch, [bytes('key'), bytes('large')]);
      assert.equal(kept && text(kept), 'value');
      assert.ok(keptLarge !== undefined && Buffer.compare(keptLarge, noise(100_000, 1)) === 0);
    },
  ],
  [
    'commit() is seen by every store object once it has resolved',
    async ({ lead, open }) => {
      const { store, epoch } = await lead();
      const other = await open();
      for (let i = 1; i <= 10; i++) {
        await store.commit(epoch, BigInt(i), [put('counter', String(i))]);
        const [value] = await other.get(epoch, [bytes('counter')]);
        assert.equal(value && text(value), String(i));
      }
    },
  ],
  [
    'commit() is never seen in part by a reader that runs beside it',
    async ({ lead, open }) => {
      const { store, epoch } = await lead();
      const other = await open();
      const keys = ['a', 'm', 'z'].map(bytes);
      await store.commit(
        epoch,
        1n,
        keys.map((key) => put(key, '1')),
      );
      for (let i = 2; i <= 20; i++) {
        const commit = store.commit(
          epoch,
          BigInt(i),
          keys.map((key) => put(key, String(i))),
        );
        const seen = await Promise.all([other.get(epoch, keys), store.get(epoch, keys)]);
        for (const values of seen) assert.equal(new Set(values.map((value) => value && text(value))).size, 1);
        await commit;
      }
    },
  ],
  [
    'everything committed is there after a reopening',
    async ({ lead }) => {
      const first = await lead();
      const expected = new Map<string, string>();
      for (let i = 0; i < 200; i++) {
        const key = `key ${i % 50}`;
        const value = i % 10 === 0 ? text(noise(20_000, i)) : `value ${i}`;
        await first.store.commit(first.epoch, BigInt(i), [
          put(key, value),
          remove(`key ${(i * 7) % 50}`),
          put('last', `${i}`),
        ]);
        expected.set(key, value).delete(`key ${(i * 7) % 50}`);
        expected.set('last', `${i}`);
      }
      await first.store.close();
      const second = await lead();
      assert.deepEqual(new Map(await collect(second.store, second.epoch, ALL)), expected);
    },
  ],
  [
    'resolve() tells an applied commit from one that never was',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      assert.equal(await store.resolve(epoch, 41n), 'absent');
      await store.commit(epoch, 41n, [put('a', '1')]);
      await store.commit(epoch, 42n, [put('a', '2')]);
      assert.equal(await store.resolve(epoch, 42n), 'applied');
      assert.equal(await store.resolve(epoch, 43n), 'absent');
    },
  ],
  [
    'resolve() answers a later epoch about the last commit of the epoch before',
    async ({ lead }) => {
      const first = await lead();
      const huge = 2n ** 60n;
      await first.store.commit(first.epoch, huge, [put('a', '1')]);
      await first.store.close();
      const second = await lead();
      assert.equal(await second.store.resolve(second.epoch, huge), 'applied');
      assert.equal(await second.store.resolve(second.epoch, huge + 1n), 'absent');
    },
  ],
  [
    'resolve() says "unknown" when a later commit has hidden the trace',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      for (const id of [7n, 8n, 9n]) await store.commit(epoch, id, []);
      assert.equal(await store.resolve(epoch, 7n), 'unknown');
    },
  ],
  [
    'resolve() does not take a commit of two epochs ago for one of the epoch before',
    async ({ lead }) => {
      const first = await lead();
      await first.store.commit(first.epoch, 1n, []);
      await lead();
      const third = await lead();
      // The second epoch never committed, so its commit 1 does not exist, though the first epoch's does.
      assert.equal(await third.store.resolve(third.epoch, 1n), 'absent');
    },
  ],
];
