import { describe, expect, test } from 'vitest';
import { decode, encode } from '#holdfast/codec/bson.js';
import { isSame } from './values.ts';

function nest(levels: number, wrap: (inner: unknown) => unknown): unknown {
  let value: unknown = 1;
  for (let i = 0; i < levels; i++) value = wrap(value);
  return value;
}

const containers: [name: string, wrap: (inner: unknown) => unknown][] = [
  ['objects', (inner) => ({ a: inner })],
  ['arrays', (inner) => [inner]],
  ['Maps', (inner) => new Map([['a', inner]])],
  ['Map keys', (inner) => new Map([[inner, 'a']])],
  ['Sets', (inner) => new Set([inner])],
  ['objects with keys like tags', (inner) => ({ '$hf:root': inner })],
];

describe('maxDepth', () => {
  test.each(containers)('holds for %s, with the same levels for both ways', (_name, wrap) => {
    for (const [levels, limits] of [
      [64, {}],
      [1, { maxDepth: 1 }],
      [256, { maxDepth: 256 }],
    ] as const) {
      const bytes = encode(nest(levels, wrap), limits);
      expect(isSame(decode(bytes, limits), nest(levels, wrap))).toBe(true);
      expect(() => encode(nest(levels + 1, wrap), limits)).toThrow(RangeError);
    }
  });

  test.each(containers)('holds when %s are decoded', (_name, wrap) => {
    const bytes = encode(nest(65, wrap), { maxDepth: 65 });
    expect(() => decode(bytes)).toThrow(expect.objectContaining({ code: 'UNDECODABLE' }));
    expect(() => decode(bytes)).toThrow('more than 64 levels');
  });

  test('names the limit and the place', () => {
    expect(() => encode({ a: [{}] }, { maxDepth: 2 })).toThrow('Cannot encode more than 2 levels, reached at "a[0]": ');
  });

  test('stops a structure that has no end', () => {
    const endless = {
      get next(): unknown {
        return Object.create(null, Object.getOwnPropertyDescriptors(endless));
      },
    };
    expect(() => encode(endless)).toThrow('Cannot encode more than 64 levels');
  });
});

describe('maxBytes', () => {
  const roots: [name: string, make: (length: number) => unknown][] = [
    ['an object with text', (length) => ({ a: 'x'.repeat(length) })],
    ['text', (length) => 'x'.repeat(length)],
    ['wide text', (length) => 'é'.repeat(length)],
    ['broken text', (length) => '\ud800'.repeat(length)],
    ['bytes', (length) => new Uint8Array(length)],
    ['numbers', (length) => Array.from({ length: Math.floor(length / 8) }, (_, i) => i)],
    ['a Map', (length) => new Map(Array.from({ length: Math.floor(length / 20) }, (_, i) => [`${i}`, {}]))],
    ['keys', (length) => ({ ['k'.repeat(length)]: 1 })],
    ['a bigint', (length) => 2n ** BigInt(8 * length)],
  ];

  test.each(roots)('holds to the byte for %s', (_name, make) => {
    for (const length of [40, 5000, 300_000]) {
      const value = make(length);
      const { length: exact } = encode(value);
      const bytes = encode(value, { maxBytes: exact });
      expect(bytes).toHaveLength(exact);
      expect(isSame(decode(bytes, { maxBytes: exact }), value)).toBe(true);
      expect(() => encode(value, { maxBytes: exact - 1 })).toThrow(RangeError);
      expect(() => decode(bytes, { maxBytes: exact - 1 })).toThrow(expect.objectContaining({ code: 'UNDECODABLE' }));
    }
  });

  test('is 4 MiB if not given', () => {
    const overhead = encode({ a: '' }).length;
    expect(encode({ a: 'x'.repeat(4_194_304 - overhead) })).toHaveLength(4_194_304);
    expect(() => encode({ a: 'x'.repeat(4_194_305 - overhead) })).toThrow('Cannot encode more than 4194304 bytes');
    expect(() => decode(new Uint8Array(4_194_305))).toThrow('at most 4194304 are allowed');
  });

  test('stops values that multiply', () => {
    let value: unknown = [];
    for (let i = 0; i < 60; i++) value = [value, value];
    expect(() => encode(value)).toThrow(RangeError);
  });

  test('names the place', () => {
    const value = { a: [1, { b: 'x'.repeat(100) }] };
    expect(() => encode(value, { maxBytes: 50 })).toThrow('Cannot encode more than 50 bytes, reached at "a[1]": ');
  });
});

describe('numbers in Maps and Sets', () => {
  const numbers = (length: number): number[] => Array.from({ length }, (_, i) => i / 2);
  const bigints = (length: number): bigint[] => Array.from({ length }, (_, i) => BigInt(i));

  test('are kept up to 10,000 in a message', () => {
    const value = [new Set([...numbers(4000), ...bigints(1000)]), new Map(numbers(5000).map((n) => [n, n]))];
    expect(isSame(decode(encode(value)), value)).toBe(true);
    expect(() => encode({ value: [...value, new Set([1])] })).toThrow(
      new RangeError('Cannot encode more than 10000 numbers in Maps and Sets, reached at "value[2]": store an array'),
    );
  });

  test('have no limit as values of Maps, in arrays and as strings', () => {
    const value = [new Map(numbers(20_000).map((n) => [String(n), n])), numbers(20_000)];
    expect(isSame(decode(encode(value)), value)).toBe(true);
  });

  // Bigints with the same lowest 64 bits have the same hash: without the limit this takes minutes.
  test.each(['$hf:set', '$hf:map'])('that collide are refused in time, tagged %s', (tag) => {
    const items = Array.from({ length: 100_000 }, (_, i) => (BigInt(i + 1) << 64n) + 5n);
    const bytes = encode({ x: items });
    const renamed = Buffer.concat([Buffer.alloc(4), Buffer.from(`\x04${tag}\0`), bytes.subarray(7)]);
    renamed.writeInt32LE(renamed.length);
    expect(() => decode(renamed)).toThrow('more than 10000 numbers in Maps and Sets');
  });
});

describe('limits', () => {
  test.each([
    { maxBytes: 4 },
    { maxBytes: 268_435_457 },
    { maxBytes: 10.5 },
    { maxBytes: NaN },
    { maxDepth: 0 },
    { maxDepth: 257 },
  ])('refuse %o', (limits) => {
    expect(() => encode({}, limits)).toThrow(RangeError);
    expect(() => decode(encode({}), limits)).toThrow(RangeError);
  });

  test('refuse an unknown name and tell the known ones', () => {
    const limits = { maxByte: 10 } as object;
    expect(() => encode({}, limits)).toThrow(
      new TypeError('Cannot take the limit "maxByte": the limits are "maxBytes" and "maxDepth"'),
    );
  });
});
