import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  checkReadable,
  checkWritable,
  decodeKvKey,
  encodeKvKey,
  type KvKey,
  type KvKeyPart,
} from '#holdfast/model/kv-key.js';

const hex = (key: KvKey): string => Buffer.from(encodeKvKey(key)).toString('hex');

const text = fc.string({ unit: 'binary', maxLength: 12 });
const bytes = fc.uint8Array({ maxLength: 12 });
const bigint = fc.oneof(fc.bigInt({ min: -300n, max: 300n }), fc.bigInt({ min: -(2n ** 90n), max: 2n ** 90n }));
const part: fc.Arbitrary<KvKeyPart> = fc.oneof(text, bytes, bigint, fc.double(), fc.boolean());
const key = fc.array(part, { maxLength: 4 });

describe('encodeKvKey()', () => {
  // What Deno 2.9.6 makes of these parts, read from its cursors.
  const known: readonly (readonly [KvKeyPart, string])[] = [
    ['', '0200'],
    ['a', '026100'],
    ['a\0b', '026100ff6200'],
    ['é😀', '02c3a9f09f988000'],
    ['\ud800', '02efbfbd00'],
    [Uint8Array.of(0, 1, 255), '0100ff01ff00'],
    [0n, '14'],
    [1n, '1501'],
    [-1n, '13fe'],
    [255n, '15ff'],
    [256n, '160100'],
    [-256n, '12feff'],
    [2n ** 64n - 1n, '1cffffffffffffffff'],
    [2n ** 64n, '1d09010000000000000000'],
    [1n - 2n ** 64n, '0c0000000000000000'],
    [-(2n ** 64n), '0bf6feffffffffffffffff'],
    [2n ** 100n, '1d0d10000000000000000000000000'],
    [-(2n ** 100n), '0bf2efffffffffffffffffffffffff'],
    [0, '218000000000000000'],
    [-0, '217fffffffffffffff'],
    [1, '21bff0000000000000'],
    [-1, '21400fffffffffffff'],
    [Number.NaN, '21fff8000000000000'],
    [Infinity, '21fff0000000000000'],
    [-Infinity, '21000fffffffffffff'],
    [false, '26'],
    [true, '27'],
  ];

  test.each(known)('makes of %s what Deno makes of it', (one, expected) => {
    expect(hex([one])).toBe(expected);
  });

  test('takes any view for its bytes', () => {
    expect(hex([new DataView(Uint8Array.of(9, 1, 2, 9).buffer, 1, 2) as unknown as Uint8Array])).toBe('01010200');
  });

  test('makes keys that decode to the same parts', () => {
    fc.assert(
      fc.property(key, (parts) => {
        expect(decodeKvKey(encodeKvKey(parts))).toEqual(parts);
      }),
    );
  });

  test('makes keys whose bytes have the documented order', () => {
    fc.assert(
      fc.property(key, key, (a, b) => {
        expect(Math.sign(Buffer.compare(encodeKvKey(a), encodeKvKey(b)))).toBe(documentedOrder(a, b));
      }),
      { numRuns: 2_000 },
    );
  });

  test('keeps the bigints of up to 255 bytes in order, and refuses longer ones', () => {
    const most = 256n ** 255n - 1n;
    const values = [-most, -most + 1n, -1n, 0n, most - 1n, most];
    const sorted = values.toSorted(() => 0).map((value) => hex([value]));
    expect(sorted.toSorted()).toEqual(sorted);
    for (const value of values) expect(decodeKvKey(encodeKvKey([value]))).toEqual([value]);
    for (const value of [most + 1n, -most - 1n]) {
      expect(() => encodeKvKey([value])).toThrow(
        new TypeError('BigUint requires more than 255 bytes to be represented'),
      );
    }
  });

  test.each([null, undefined, {}, [1], new Date(0), () => 1, Symbol('a'), new ArrayBuffer(2)])(
    'refuses the part %s',
    (one) => {
      expect(() => encodeKvKey([one as never])).toThrow(
        new TypeError('expected string, number, bigint, ArrayBufferView, boolean'),
      );
    },
  );

  test.each([
    ['x', 'string'],
    [5, 'Number'],
    [null, 'null'],
    [undefined, 'undefined'],
    [{ 0: 'a', length: 1 }, 'unknown'],
  ])('refuses %s as a key', (one, name) => {
    expect(() => encodeKvKey(one as never)).toThrow(
      new TypeError(`serde_v8 error: invalid type; expected: array, got: ${name}`),
    );
  });
});

test('checkWritable() and checkReadable() hold the limits to the byte', () => {
  const of = (length: number): Uint8Array => encodeKvKey(['a'.repeat(length - 2)]);
  expect(checkWritable(of(2_048))).toHaveLength(2_048);
  expect(() => checkWritable(of(2_049))).toThrow(new TypeError('Key too large for write (max 2048 bytes)'));
  expect(() => checkWritable(encodeKvKey([]))).toThrow(new TypeError('key cannot be empty'));
  expect(checkReadable(of(2_049))).toHaveLength(2_049);
  expect(checkReadable(encodeKvKey([]))).toHaveLength(0);
  expect(() => checkReadable(of(2_050))).toThrow(new TypeError('Key too large for read (max 2049 bytes)'));
});

describe('decodeKvKey()', () => {
  test.each(['00', '03', '1e', '0261', '026100ff', '02ff00', '2180', '1601', '1d', '1d09ff', '0bf6'])(
    'refuses the bytes %s',
    (text) => {
      expect(() => decodeKvKey(Buffer.from(text, 'hex'))).toThrow(expect.objectContaining({ code: 'UNDECODABLE' }));
    },
  );

  test('takes any bytes without any other error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (any) => {
        try {
          decodeKvKey(any);
        } catch (error) {
          expect(error).toMatchObject({ code: 'UNDECODABLE' });
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

/** The order that the documents name, by the values alone. */
function documentedOrder(a: KvKey, b: KvKey): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const order = partOrder(a[i] as KvKeyPart, b[i] as KvKeyPart);
    if (order !== 0) return order;
  }
  return Math.sign(a.length - b.length);
}

function partOrder(a: KvKeyPart, b: KvKeyPart): number {
  const kinds = ['object', 'string', 'bigint', 'number', 'boolean'];
  const kind = typeof a;
  if (kind !== typeof b) return Math.sign(kinds.indexOf(kind) - kinds.indexOf(typeof b));
  switch (kind) {
    case 'object':
      return sequenceOrder([...(a as Uint8Array)], [...(b as Uint8Array)]);
    case 'string':
      return sequenceOrder(codePoints(a as string), codePoints(b as string));
    case 'number':
      return numberOrder(a as number, b as number);
    default:
      return a === b ? 0 : (a as bigint) < (b as bigint) ? -1 : 1;
  }
}

function codePoints(one: string): number[] {
  return Array.from(one, (character) => character.codePointAt(0) as number);
}

function sequenceOrder(a: readonly number[], b: readonly number[]): number {
  const i = a.findIndex((one, at) => at >= b.length || one !== b[at]);
  if (i < 0) return a.length === b.length ? 0 : -1;
  return i >= b.length ? 1 : Math.sign((a[i] as number) - (b[i] as number));
}

/** NaN comes last, -0 before 0. */
function numberOrder(a: number, b: number): number {
  const rank = (one: number): number => (Number.isNaN(one) ? 1 : 0);
  if (rank(a) + rank(b) > 0) return rank(a) - rank(b);
  if (a === b) return (Object.is(a, -0) ? 0 : 1) - (Object.is(b, -0) ? 0 : 1);
  return a < b ? -1 : 1;
}
