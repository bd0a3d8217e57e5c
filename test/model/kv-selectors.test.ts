import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeKvKey, type KvKey } from '#holdfast/model/kv-key.js';
import {
  areEmpty,
  boundsBehind,
  boundsOf,
  checkSelector,
  cursorAt,
  type KvBounds,
  type KvListSelector,
} from '#holdfast/model/kv-selector.js';

const bounds = (selector: KvListSelector): KvBounds => boundsOf(checkSelector(selector));
const isIn = ({ from, to }: KvBounds, key: KvKey): boolean =>
  Buffer.compare(encodeKvKey(key), from) >= 0 && Buffer.compare(encodeKvKey(key), to) < 0;

test('a prefix selects what goes on behind it, and neither itself nor another text', () => {
  const selected = bounds({ prefix: ['a'] });
  for (const key of [
    ['a', 1],
    ['a', ''],
    ['a', Uint8Array.of()],
    ['a', true, 1],
  ])
    expect(isIn(selected, key)).toBe(true);
  for (const key of [['a'], ['ab'], ['a\0', 1], ['b', 1], []]) expect(isIn(selected, key)).toBe(false);
});

test('an empty prefix selects every key', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.string(), fc.bigInt(), fc.double(), fc.boolean()), { minLength: 1 }), (key) => {
      expect(isIn(bounds({ prefix: [] }), key)).toBe(true);
    }),
  );
});

test('start is selected, end is not', () => {
  const range = bounds({ start: ['a', 1], end: ['a', 3] });
  expect([0, 1, 2, 3].filter((i) => isIn(range, ['a', i]))).toEqual([1, 2]);
  expect([0, 1, 2].filter((i) => isIn(bounds({ prefix: ['a'], start: ['a', 1] }), ['a', i]))).toEqual([1, 2]);
  expect([0, 1, 2].filter((i) => isIn(bounds({ prefix: ['a'], end: ['a', 1] }), ['a', i]))).toEqual([0]);
  expect(areEmpty(bounds({ start: ['a'], end: ['a'] }))).toBe(true);
});

test.each<[object, string]>([
  [{}, `Selector must specify either 'prefix' or both 'start' and 'end' key`],
  [{ start: ['a'] }, `Selector must specify either 'prefix' or both 'start' and 'end' key`],
  [{ end: ['a'] }, `Selector must specify either 'prefix' or both 'start' and 'end' key`],
  [
    { prefix: ['a'], start: ['a', 1], end: ['a', 2] },
    `Selector can not specify both 'start' and 'end' key when specifying 'prefix'`,
  ],
  [{ prefix: ['a'], start: ['b'] }, 'Start key is not in the keyspace defined by prefix'],
  [{ prefix: ['a'], start: ['a'] }, 'Start key is not in the keyspace defined by prefix'],
  [{ prefix: ['a'], end: ['b'] }, 'End key is not in the keyspace defined by prefix'],
  [{ prefix: ['a'], end: ['a'] }, 'End key is not in the keyspace defined by prefix'],
  [{ start: ['b'], end: ['a'] }, 'Start key is greater than end key'],
  [{ prefix: ['a'.repeat(2_047)] }, 'Key too large for read (max 2049 bytes)'],
  [{ start: ['a'.repeat(2_048)], end: ['b'] }, 'Key too large for read (max 2049 bytes)'],
])('%j is refused', (selector, message) => {
  expect(() => bounds(selector as KvListSelector)).toThrow(new TypeError(message));
});

test('a prefix of as many bytes as a key may have is taken', () => {
  expect(bounds({ prefix: ['a'.repeat(2_046)] }).to).toHaveLength(2_049);
});

describe('a cursor', () => {
  // What Deno 2.9.6 gives.
  test.each<[KvListSelector, KvKey, string]>([
    [{ prefix: ['l'] }, ['l', 0], 'IYAAAAAAAAAA'],
    [{ prefix: ['l'] }, ['l', 1], 'Ib_wAAAAAAAA'],
    [{ prefix: ['l'], start: ['l', 2] }, ['l', 2], 'IcAAAAAAAAAA'],
    [{ start: ['l', 1], end: ['l', 4] }, ['l', 1], 'v_AAAAAAAAA='],
    [{ start: ['l'], end: ['m'] }, ['l', 0], 'bAAhgAAAAAAAAAA='],
  ])('%j at %j is the rest of the key as base64url', (selector, key, cursor) => {
    expect(cursorAt(bounds(selector), encodeKvKey(key))).toBe(cursor);
  });

  const some = bounds({ prefix: ['l'] });
  const at = (i: number): string => cursorAt(some, encodeKvKey(['l', i]));

  test('goes on behind its key, both ways', () => {
    const among = (range: KvBounds): number[] => [0, 1, 2, 3, 4].filter((i) => isIn(range, ['l', i]));
    expect(among(boundsBehind(some, at(2), false))).toEqual([3, 4]);
    expect(among(boundsBehind(some, at(2), true))).toEqual([0, 1]);
  });

  test.each(['!', 'AA', '_w', 'A', 'AA==x', 'A A='])('that is "%s" is invalid', (cursor) => {
    expect(() => boundsBehind(some, cursor, false)).toThrow(new TypeError('invalid cursor'));
  });

  test('before the beginning, seen in the direction of the list, is out of bounds', () => {
    const behindTwo = bounds({ prefix: ['l'], start: ['l', 2] });
    const beforeTwo = bounds({ prefix: ['l'], end: ['l', 2] });
    expect(() => boundsBehind(behindTwo, at(0), false)).toThrow(new TypeError('cursor out of bounds'));
    expect(() => boundsBehind(beforeTwo, at(3), true)).toThrow(new TypeError('cursor out of bounds'));
    expect(areEmpty(boundsBehind(behindTwo, at(0), true))).toBe(true);
    expect(areEmpty(boundsBehind(beforeTwo, at(3), false))).toBe(true);
  });

  test('of more bytes than a key has is refused', () => {
    const cursor = Buffer.alloc(2_100, 1).toString('base64');
    expect(() => boundsBehind(some, cursor, true)).toThrow(new TypeError('Key too large for read (max 2049 bytes)'));
  });
});
