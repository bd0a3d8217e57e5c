import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CODEC_BSON, decode, encode } from '#holdfast/codec/bson.js';
import { edgeBigints, isSame, storable, trickyKeys } from './values.ts';

const again = (value: unknown): unknown => decode(encode(value));

describe('encode() and decode()', () => {
  test('give every supported value back as it was', () => {
    fc.assert(
      fc.property(storable, (value) => isSame(again(value), value)),
      { numRuns: 3000 },
    );
  });

  test('give what they decoded the same bytes again', () => {
    fc.assert(
      fc.property(storable, (value) => {
        const bytes = encode(value);
        return Buffer.from(encode(decode(bytes))).equals(bytes);
      }),
      { numRuns: 1000 },
    );
  });

  test('keep any value or refuse it, and never change it', () => {
    const anything = fc.anything({
      withBigInt: true,
      withBoxedValues: true,
      withDate: true,
      withMap: true,
      withNullPrototype: true,
      withObjectString: true,
      withSet: true,
      withSparseArray: true,
      withTypedArray: true,
      withUnicodeString: true,
    });
    let kept = 0;
    fc.assert(
      fc.property(anything, (value) => {
        let bytes: Uint8Array;
        try {
          bytes = encode(value);
        } catch (error) {
          return error instanceof TypeError;
        }
        kept += 1;
        return isSame(decode(bytes), value);
      }),
      { numRuns: 3000 },
    );
    expect(kept).toBeGreaterThan(500);
  });

  test('keep roots of every kind', () => {
    const roots = [
      undefined,
      null,
      true,
      'text',
      '',
      0,
      -0,
      NaN,
      5n,
      2n ** 70n,
      new Date(0),
      [],
      [1],
      {},
      new Map(),
      new Set([1]),
    ];
    roots.forEach((root, index) => expect(isSame(again(root), root), `root ${index}`).toBe(true));
  });

  test('keep undefined as a property, as an item and as an entry', () => {
    expect(again({ a: undefined })).toStrictEqual({ a: undefined });
    expect(again([undefined])).toStrictEqual([undefined]);
    expect(again(new Map([[undefined, undefined]]))).toStrictEqual(new Map([[undefined, undefined]]));
  });

  test('keep bigints of any size apart from numbers', () => {
    for (const value of [0n, 1n, ...edgeBigints]) expect(again({ value })).toStrictEqual({ value });
    expect(again([1, 1n])).toStrictEqual([1, 1n]);
  });

  test('keep every tricky key, alone, first, last and within itself', () => {
    for (const key of trickyKeys) {
      const inner = { [key]: 1 };
      for (const value of [inner, { [key]: inner, z: 1 }, { z: 1, [key]: inner }, { [key]: [inner] }]) {
        expect(isSame(again(value), value), key).toBe(true);
      }
    }
  });

  test('keep objects that look like tagged values', () => {
    const lookalikes = [
      { '$hf:map': [] },
      { '$hf:set': [1] },
      { '$hf:root': 1 },
      { '$hf:object': { '$hf:object': { '$hf:map': [1, 2] } } },
      { a: { '$hf:root': new Map([[{ '$hf:set': [] }, 1]]) } },
    ];
    for (const value of lookalikes) expect(again(value)).toStrictEqual(value);
  });

  test('keep keys such as constructor as own properties and nothing else', () => {
    const value = { constructor: 1, prototype: { a: 1 }, toString: 'text', hasOwnProperty: null };
    const copy = again(value) as Record<string, unknown>;
    expect(Object.keys(copy)).toStrictEqual(Object.keys(value));
    expect(Object.getPrototypeOf(copy)).toBe(Object.prototype);
  });

  test('keep the order of keys and entries', () => {
    const copy = again({
      z: 1,
      a: new Map([
        ['y', 1],
        ['b', 2],
      ]),
      m: new Set([3, 1, 2]),
    }) as Record<string, unknown>;
    expect(Object.keys(copy)).toStrictEqual(['z', 'a', 'm']);
    expect([...(copy['a'] as Map<string, number>).keys()]).toStrictEqual(['y', 'b']);
    expect([...(copy['m'] as Set<number>)]).toStrictEqual([3, 1, 2]);
  });

  test('keep strings of every kind and length', () => {
    const pieces = ['a', 'é', '鍵', '🔑', '\ud800', '\udc00', '\0', '\ufffd', '\ufeff'];
    for (const piece of pieces) {
      for (const length of [1, 2, 7, 8, 12, 13, 24, 25, 100, 4095, 4096, 4097, 20_000]) {
        const text = piece.repeat(length);
        expect(again({ text, mixed: `${text}z` }), `${length} of ${JSON.stringify(piece)}`).toStrictEqual({
          text,
          mixed: `${text}z`,
        });
      }
    }
  });

  test('keep arrays of every length up to two digits and at each next digit', () => {
    for (const length of [...Array.from({ length: 101 }, (_, i) => i), 999, 1000, 1001, 10_001, 100_001]) {
      const array = Array.from({ length }, (_, i) => i % 3);
      expect(isSame(again({ array }), { array }), String(length)).toBe(true);
    }
  });

  test('give bytes back as Uint8Arrays that share no memory with the message', () => {
    const message = Buffer.from(encode(Buffer.from('abc')));
    const copy = decode(message) as Uint8Array;
    message.fill(0);
    expect(Object.getPrototypeOf(copy)).toBe(Uint8Array.prototype);
    expect(copy).toStrictEqual(new Uint8Array([97, 98, 99]));
    expect(copy.buffer.byteLength).toBe(3);
  });

  test('hand out messages that later ones do not overwrite', () => {
    const first = encode({ n: 1 });
    encode({ n: 2, more: 'x'.repeat(100_000) });
    expect(decode(first)).toStrictEqual({ n: 1 });
  });

  test('keep values that end anywhere near the end of the buffer', () => {
    const initialBytes = 16_384;
    const large = 'x'.repeat(2 ** 20);
    let inner: unknown = 1;
    for (let i = 0; i < 30; i++) inner = [inner];
    for (let length = initialBytes - 330; length < initialBytes - 180; length++) {
      // A large message makes the writer give its buffer back and start with a new one.
      encode(large);
      const value = { text: 'x'.repeat(length), inner };
      if (!isSame(again(value), value)) expect.fail(`text of ${length} characters`);
    }
  });

  test('read a getter once and keep its value, even if it encodes something itself', () => {
    let reads = 0;
    const value = {
      before: 'a',
      get inner() {
        reads += 1;
        return decode(encode({ reads, text: 'b'.repeat(20_000) }));
      },
      after: 'c',
    };
    expect(again(value)).toStrictEqual({ before: 'a', inner: { reads: 1, text: 'b'.repeat(20_000) }, after: 'c' });
    expect(reads).toBe(1);
  });

  test('pass on what a getter throws, and go on with the next value', () => {
    const broken = {
      a: {
        get b(): never {
          throw new Error('no value');
        },
      },
    };
    expect(() => encode(broken)).toThrow('no value');
    expect(again({ a: 1 })).toStrictEqual({ a: 1 });
  });

  test('take values of another realm', () => {
    const source = `({ o: { a: [1, , 2].filter(() => true) }, m: new Map([[1, new Set([2])]]), d: new Date(5), b: new Uint8Array(2) })`;
    const expected = { o: { a: [1, 2] }, m: new Map([[1, new Set([2])]]), d: new Date(5), b: new Uint8Array(2) };
    expect(again(runInNewContext(source))).toStrictEqual(expected);
  });

  test('take a Proxy that looks like an object or an array', () => {
    expect(again(new Proxy({ a: 1 }, {}))).toStrictEqual({ a: 1 });
    expect(again(new Proxy([1, 2], {}))).toStrictEqual([1, 2]);
  });

  test('write the elements of an array and the keys of an object that share a value twice', () => {
    const shared = { a: 1 };
    expect(again([shared, shared])).toStrictEqual([{ a: 1 }, { a: 1 }]);
  });
});

test('CODEC_BSON is the number in stored records', () => {
  expect(CODEC_BSON).toBe(1);
});
