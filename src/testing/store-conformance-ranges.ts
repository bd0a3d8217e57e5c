/** The part of the store conformance suite that is about reading: `get` and `range`. */
import assert from 'node:assert/strict';
import { compareKeys, type Epoch, type Write } from '../model/records.ts';
import type { Store } from '../store/store.ts';
import {
  ALL,
  bytes,
  collect,
  collectChunks,
  noise,
  put,
  remove,
  text,
  type CaseBody,
} from './store-conformance-tools.ts';

/** Keys in memcmp order: prefixes before what they begin, 0x80 above 0x7f, 0xff last. */
const ORDERED = [
  '',
  '\x00',
  '\x00\x00',
  '\x00\xff',
  '\x01',
  'A',
  'a',
  'a\x00',
  'a\x00b',
  'aa',
  'ab',
  'b',
  '\x7f',
  '\x80',
  '\x80\x00',
  '\xc3\xa9',
  '\xfe\xff',
  '\xff',
  '\xff\x00',
  '\xff\xfe',
  '\xff\xff',
  '\xff\xff\x00',
];

export const rangeCases: readonly CaseBody[] = [
  [
    'get() answers in the order asked, undefined for what is absent',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      await store.commit(epoch, 1n, [put('a', '1'), put('b', '2')]);
      const values = await store.get(epoch, ['b', 'x', 'a', 'b', ''].map(bytes));
      assert.deepEqual(
        values.map((value) => value && text(value)),
        ['2', undefined, '1', '2', undefined],
      );
      assert.deepEqual(await store.get(epoch, []), []);
    },
  ],
  [
    'get() answers about thousands of keys',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      const keys = Array.from({ length: 3_000 }, (_, i) => bytes(`key ${i}`));
      await store.commit(
        epoch,
        1n,
        keys.filter((_, i) => i % 3 !== 0).map((key) => put(key, key)),
      );
      const values = await store.get(epoch, keys);
      assert.deepEqual(
        values.map((value) => value && text(value)),
        keys.map((key, i) => (i % 3 === 0 ? undefined : text(key))),
      );
    },
  ],
  [
    'values that were read stay as they were through later commits and the end of the store',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      const large = noise(200_000, 1);
      await store.commit(epoch, 1n, [put('small', 'before'), put('large', large)]);
      const got = await store.get(epoch, [bytes('small'), bytes('large')]);
      const ranged = (await collectChunks(store, epoch, ALL)).flat();
      for (let i = 2n; i < 6n; i++) {
        await store.commit(epoch, i, [
          put('small', `after ${i}`),
          put('large', noise(200_000, Number(i))),
          remove(`${i}`),
        ]);
        await store.get(epoch, [bytes('small'), bytes('large')]);
      }
      await store.commit(epoch, 6n, [remove('small'), remove('large')]);
      await store.close();
      assert.equal(got[0] && text(got[0]), 'before');
      assert.ok(got[1] !== undefined && Buffer.compare(got[1], large) === 0);
      assert.deepEqual(
        ranged.map(({ key }) => text(key)),
        ['large', 'small'],
      );
      assert.ok(Buffer.compare(ranged[0]?.value as Uint8Array, large) === 0);
    },
  ],
  [
    'range() reads in memcmp order, whatever the order of writing',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      const shuffled = ORDERED.map((key, i) => [key, noise(4, i)] as const).sort(([, a], [, b]) => compareKeys(a, b));
      for (const [i, [key]] of shuffled.entries()) await store.commit(epoch, BigInt(i), [put(key, `<${key}>`)]);
      const expected = ORDERED.map((key) => [key, `<${key}>`]);
      assert.deepEqual(await collect(store, epoch, ALL), expected);
      assert.deepEqual(await collect(store, epoch, { ...ALL, reverse: true }), expected.toReversed());
    },
  ],
  [
    'range() includes its first key and excludes its last, both ways, with every limit',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      await store.commit(
        epoch,
        1n,
        ORDERED.map((key) => put(key, '')),
      );
      const bounds = [...ORDERED, '\x00\x01', 'a\x00a', 'c', '\xff\xff\xff'];
      for (const from of bounds) {
        for (const to of bounds) {
          for (const limit of [undefined, 0, 1, 3]) await checkRange(store, epoch, from, to, limit);
        }
      }
    },
  ],
  [
    'range() is in chunks of at most about 1,000 entries',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      await store.commit(epoch, 1n, numbered(3_500, 10));
      for (const reverse of [false, true]) {
        const chunks = await collectChunks(store, epoch, { ...ALL, reverse });
        assert.ok(chunks.length >= 3);
        for (const chunk of chunks) assert.ok(chunk.length > 0 && chunk.length <= 1_100);
        const keys = chunks.flat().map(({ key }) => Number(text(key)));
        const expected = Array.from({ length: 3_500 }, (_, i) => (reverse ? 3_499 - i : i));
        assert.deepEqual(keys, expected);
      }
      const limited = await collectChunks(store, epoch, { ...ALL, limit: 2_200 });
      assert.equal(limited.flat().length, 2_200);
    },
  ],
  [
    'range() is in chunks of at most about 1 MiB',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      await store.commit(epoch, 1n, numbered(60, 100_000));
      await store.commit(epoch, 2n, [put('000030', noise(3_000_000, 1))]);
      for (const reverse of [false, true]) {
        const chunks = await collectChunks(store, epoch, { ...ALL, reverse });
        for (const chunk of chunks) {
          const size = chunk.reduce((sum, { value }) => sum + value.length, 0);
          const largest = Math.max(...chunk.map(({ value }) => value.length));
          assert.ok(size <= 1_200_000 + largest, `a chunk of ${size} bytes`);
        }
        assert.equal(chunks.flat().length, 60);
      }
    },
  ],
  [
    'range() that is left early releases what it held',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      await store.commit(epoch, 1n, numbered(3_000, 100));
      for (let i = 0; i < 200; i++) {
        for await (const chunk of store.range(epoch, { ...ALL, reverse: i % 2 === 0 })) {
          if (chunk.length > 0) break;
        }
      }
      const unread = store.range(epoch, ALL)[Symbol.asyncIterator]();
      await unread.next();
      await store.commit(epoch, 2n, numbered(3_000, 90));
      await unread.return?.();
      const failing = async (): Promise<void> => {
        for await (const _ of store.range(epoch, ALL)) throw new Error('left by an exception');
      };
      await assert.rejects(failing(), /left by an exception/);
      await store.commit(epoch, 3n, [put('after', 'wards')]);
    },
  ],
  [
    'range() beside commits loses and doubles nothing that the commits leave alone',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      await store.commit(epoch, 1n, numbered(4_000, 50));
      for (const reverse of [false, true]) {
        let id = reverse ? 1_000n : 2n;
        const seen: string[] = [];
        for await (const chunk of store.range(epoch, { ...ALL, reverse })) {
          seen.push(...chunk.map(({ key }) => text(key)));
          const last = seen.at(-1) as string;
          await store.commit(epoch, id++, [remove(last), put(`${last}!`, 'added'), put('000000!', 'added')]);
          await store.commit(epoch, id++, [put(last, 'back'), remove(`${last}!`), remove('000000!')]);
        }
        const numbers = seen.filter((key) => !key.endsWith('!')).map(Number);
        assert.deepEqual(
          numbers,
          Array.from({ length: 4_000 }, (_, i) => (reverse ? 3_999 - i : i)),
        );
      }
    },
  ],
  [
    'range() of an empty store, and of an empty part, gives no entries',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      assert.deepEqual(await collect(store, epoch, ALL), []);
      await store.commit(epoch, 1n, [put('m', 'middle')]);
      assert.deepEqual(await collect(store, epoch, { from: bytes('a'), to: bytes('m') }), []);
      assert.deepEqual(await collect(store, epoch, { from: bytes('m\x00'), to: bytes('z'), reverse: true }), []);
    },
  ],
];

/** Puts of the keys 000000, 000001 and so on. */
function numbered(count: number, valueBytes: number): Write[] {
  return Array.from({ length: count }, (_, i) => put(String(i).padStart(6, '0'), noise(valueBytes, i)));
}

async function checkRange(
  store: Store,
  epoch: Epoch,
  from: string,
  to: string,
  limit: number | undefined,
): Promise<void> {
  const inside = ORDERED.filter(
    (key) => compareKeys(bytes(key), bytes(from)) >= 0 && compareKeys(bytes(key), bytes(to)) < 0,
  );
  for (const reverse of [false, true]) {
    const selector = { from: bytes(from), to: bytes(to), reverse, ...(limit === undefined ? {} : { limit }) };
    const expected = (reverse ? inside.toReversed() : inside).slice(0, limit);
    assert.deepEqual(
      (await collect(store, epoch, selector)).map(([key]) => key),
      expected,
    );
  }
}
