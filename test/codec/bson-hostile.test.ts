import {
  Code,
  Decimal128,
  deserialize,
  Long,
  MaxKey,
  MinKey,
  ObjectId,
  serialize,
  Timestamp,
  UUID,
  type Document,
} from 'bson';
import { describe, expect, test } from 'vitest';
import { decode, encode } from '#holdfast/codec/bson.js';
import { HoldfastError } from '#holdfast/model/errors.js';
import { isSame } from './values.ts';

/** Decodes, and fails the test on any other error than the documented one. */
function attempt(bytes: Uint8Array): { value: unknown } | HoldfastError {
  try {
    return { value: decode(bytes) };
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'UNDECODABLE') return error;
    throw error;
  }
}

function refusal(bytes: Uint8Array): string {
  const result = attempt(bytes);
  if (result instanceof HoldfastError) return result.message;
  throw new Error(`Decoded ${Buffer.from(bytes).toString('hex')}`);
}

function bytesOf(...parts: (string | number[] | Uint8Array)[]): Buffer {
  return Buffer.concat(
    parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : Buffer.from(part))),
  );
}

/** A document with a size that fits its elements. */
function documentOf(...parts: (string | number[] | Uint8Array)[]): Buffer {
  const body = bytesOf(...parts);
  const size = Buffer.alloc(4);
  size.writeInt32LE(body.length + 5);
  return bytesOf(size, body, [0]);
}

const int32 = (value: number): number[] => [
  value & 0xff,
  (value >> 8) & 0xff,
  (value >> 16) & 0xff,
  (value >> 24) & 0xff,
];

describe('decode() refuses', () => {
  test.each<[string, Document]>([
    ['a RegExp', { v: /a+/g }],
    ['code', { v: new Code('process.exit()') }],
    ['code with scope', { v: new Code('process.exit()', { a: 1 }) }],
    ['an ObjectId', { v: new ObjectId() }],
    ['a Timestamp', { v: new Timestamp(new Long(1, 2)) }],
    ['a Decimal128', { v: Decimal128.fromString('1.5') }],
    ['MinKey', { v: new MinKey() }],
    ['MaxKey', { v: new MaxKey() }],
    ['a UUID', { v: new UUID() }],
  ])('%s', (_name, document) => {
    expect(refusal(serialize(document))).toContain('allowed');
    expect(refusal(serialize({ a: [{ b: document }] }))).toContain('allowed');
  });

  test('every type of element that is not written', () => {
    const written = [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x08, 0x09, 0x0a, 0x10, 0x12];
    for (let type = 1; type < 256; type++) {
      if (!written.includes(type)) {
        expect(refusal(documentOf([type], 'v\0', new Uint8Array(40)))).toContain(`elements of type ${type} are not`);
      }
    }
  });

  test('every subtype of a binary that is not written', () => {
    for (let subtype = 1; subtype < 256; subtype++) {
      if (subtype < 0x80 || subtype > 0x8d) {
        expect(refusal(documentOf([5], 'v\0', int32(16), [subtype], new Uint8Array(16)))).toContain(
          `subtype ${subtype}`,
        );
      }
    }
  });

  test('binaries that no value makes', () => {
    const binary = (subtype: number, ...bytes: number[]): Buffer =>
      documentOf([5], 'v\0', int32(bytes.length), [subtype], bytes);
    const bad: [string, Buffer][] = [
      ['a bigint of no bytes', binary(0x80)],
      ['a bigint without a magnitude', binary(0x80, 0)],
      ['a bigint of no sign', binary(0x80, 2, 255, 255, 255, 255, 255, 255, 255, 255)],
      ['a bigint with a needless zero', binary(0x80, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255)],
      ['a bigint that fits 64 bits', binary(0x80, 1, 128, 0, 0, 0, 0, 0, 0, 0)],
      ['text of half a unit', binary(0x81, 0x3d)],
      ['text that UTF-8 can hold', binary(0x81, 0x61, 0)],
      ['an Int16Array of an odd size', binary(0x86, 1, 2, 3)],
      ['a Float64Array of four bytes', binary(0x8b, 1, 2, 3, 4)],
    ];
    for (const [name, bytes] of bad) expect(refusal(bytes), name).toContain('is malformed or not allowed');
  });

  test('__proto__ as a key, and sets no prototype', () => {
    for (const level of [
      JSON.parse('{"__proto__":{"polluted":1}}') as Document,
      { a: [JSON.parse('{"__proto__":1}')] },
    ]) {
      for (let i = 0; i < 2; i++) expect(refusal(serialize(level))).toContain('the key "__proto__" is not allowed');
    }
    expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false);
  });

  test('a key that is there twice', () => {
    expect(refusal(documentOf([0x0a], 'a\0', [0x0a], 'b\0', [0x0a], 'a\0'))).toContain('the key "a" is there twice');
    expect(refusal(documentOf([0x0a], 'constructor\0', [0x0a], 'constructor\0'))).toContain('is there twice');
  });

  test('arrays whose keys are not their indices', () => {
    const array = (...keys: string[]): Buffer =>
      documentOf([4], 'v\0', documentOf(...keys.map((key) => `\x0a${key}\0`)));
    for (const keys of [
      ['1'],
      ['a'],
      [''],
      ['00'],
      ['0', '0'],
      ['0', '2'],
      ['0', '01'],
      ['0', ''],
      ['0', ':'],
      ['0', '1a'],
    ]) {
      expect(refusal(array(...keys)), keys.join()).toContain('not in order');
    }
    expect(decode(array('0', '1'))).toStrictEqual({ v: [null, null] });
  });

  test('an array whose last key ends where the array does', () => {
    expect(refusal(documentOf([4], 'v\0', int32(7), [0x0a], '0\0', [0x0a], '1\0'))).toContain('not in order');
  });

  test('in few words, however long a key is', () => {
    const key = `${'k'.repeat(100_000)}\0`;
    expect(refusal(documentOf([0x0a], key, [0x0a], key)).length).toBeLessThan(150);
    expect(refusal(documentOf([0x0a], `$hf:${key}`)).length).toBeLessThan(150);
  });

  test('tags that are unknown, misplaced, crowded or needless', () => {
    const items = documentOf([0x0a], '0\0');
    const bad: [string, Buffer][] = [
      ['an unknown tag', documentOf([4], '$hf:list\0', items)],
      ['the bare prefix', documentOf([4], '$hf:\0', items)],
      ['a Map that is no array', documentOf([0x0a], '$hf:map\0')],
      ['a Map with a key without a value', documentOf([4], '$hf:map\0', items)],
      ['a Map with a key twice', documentOf([4], '$hf:map\0', documentOf('\x0a0\0\x0a1\0\x0a2\0\x0a3\0'))],
      ['a Set that is a document', documentOf([3], '$hf:set\0', items)],
      ['a Set with an item twice', documentOf([4], '$hf:set\0', documentOf('\x0a0\0\x0a1\0'))],
      ['a tag beside another key', documentOf([4], '$hf:set\0', items, [0x0a], 'a\0')],
      ['an object that needs no tag', documentOf([3], '$hf:object\0', documentOf([0x0a], 'a\0'))],
      ['an empty object that needs no tag', documentOf([3], '$hf:object\0', documentOf())],
      ['a root within a document', documentOf([3], 'a\0', documentOf([0x0a], '$hf:root\0'))],
      ['a root within a root', documentOf([4], '$hf:root\0', documentOf([3], '0\0', documentOf([0x0a], '$hf:root\0')))],
      ['a document as a tagged root', documentOf([3], '$hf:root\0', documentOf())],
    ];
    for (const [name, bytes] of bad) expect(refusal(bytes), name).toMatch(/tag|twice/);
  });

  test('text and keys that are not UTF-8', () => {
    const bad = [
      '\xff',
      '\xc3',
      '\xc0\x80',
      '\xed\xa0\x80',
      '\xf4\x90\x80\x80',
      '\xe2\x82',
      'ab\x80',
      '\xef\xbf\xbd\xff',
    ];
    for (const text of bad) {
      for (const padding of ['', 'x'.repeat(50)]) {
        const value = `${padding}${text}\0`;
        expect(refusal(documentOf([2], 'v\0', int32(value.length), value))).toContain('a string is not UTF-8');
        expect(refusal(documentOf([0x0a], value))).toContain('a string is not UTF-8');
      }
    }
  });

  test('sizes that lie', () => {
    const inner = documentOf([0x10], 'n\0', int32(1));
    const sizes = [-(2 ** 31), -1, 0, 1, 4, 5, inner.length - 1, inner.length + 1, 1000, 2 ** 31 - 1];
    for (const size of sizes) {
      const lying = bytesOf(int32(size), inner.subarray(4));
      const bytes = [lying, documentOf([3], 'v\0', lying), documentOf([4], 'v\0', lying)];
      for (const each of bytes) expect(refusal(each), String(size)).toContain('Cannot decode the bytes');
    }
    for (const size of [-(2 ** 31), -1, 0, 1, 2, 4, 1000, 2 ** 31 - 1]) {
      expect(refusal(documentOf([2], 'v\0', int32(size), 'ab\0'))).toContain('Cannot decode the bytes');
    }
    for (const size of [-(2 ** 31), -1, 1, 3, 1000, 2 ** 31 - 1]) {
      expect(refusal(documentOf([5], 'v\0', int32(size), [0], 'ab'))).toContain('Cannot decode the bytes');
    }
  });

  test('bytes that are cut off at any place, or go on', () => {
    const bytes = encode({
      a: 1,
      b: 'text',
      c: [1.5, { d: new Date(0) }],
      e: new Map([[1n, new Uint8Array(3)]]),
      f: true,
    });
    for (let length = 0; length < bytes.length; length++) refusal(bytes.subarray(0, length));
    expect(refusal(bytesOf(bytes, [0]))).toContain('other bytes follow');
  });

  test('parts that end in the wrong place', () => {
    const bad: [string, Buffer][] = [
      ['text of no bytes', documentOf([2], 'v\0', int32(0))],
      ['text without an end', documentOf([2], 'v\0', int32(3), 'abc')],
      ['text that ends with the end of the document', documentOf([2], 'v\0', int32(4), 'abc')],
      ['an integer that ends with the end of the document', documentOf([0x10], 'v\0', [1, 2, 3])],
      ['bytes that end with the end of the document', documentOf([5], 'v\0', int32(3), [0, 1, 2])],
      ['a key that ends with the end of the document', documentOf([0x0a], 'v')],
      ['a document without an end', documentOf([3], 'v\0', int32(8), [0x0a], 'a\0', [1])],
      ['an array without an end', documentOf([4], 'v\0', int32(8), [0x0a], '0\0', [1])],
      ['bytes behind the end of a document', documentOf([0x0a], 'v\0', [0], [0x0a], 'w\0')],
      ['bytes behind the end of an inner document', documentOf([3], 'v\0', documentOf([0, 0, 0]))],
      ['a document in the end of another', documentOf([3], 'v\0', int32(5))],
    ];
    for (const [name, bytes] of bad) expect(refusal(bytes), name).toContain('Cannot decode the bytes');
  });

  test('dates out of range and booleans that are neither', () => {
    const time = Buffer.alloc(8);
    for (const ms of [8_640_000_000_000_001n, -8_640_000_000_000_001n, 2n ** 63n - 1n, -(2n ** 63n)]) {
      time.writeBigInt64LE(ms);
      expect(refusal(documentOf([9], 'v\0', time))).toContain('a date is out of range');
    }
    expect(refusal(documentOf([8], 'v\0', [2]))).toContain('a boolean is neither true nor false');
  });

  test.each([
    ['documents', 3],
    ['arrays', 4],
  ])('100,000 levels of %s', (_name, type) => {
    const levels = 100_000;
    const bytes = Buffer.alloc(levels * 8 + 5);
    for (let level = 0; level < levels; level++) {
      bytes.writeInt32LE(bytes.length - level * 8, level * 7);
      bytes.write(`${String.fromCharCode(type)}0\0`, level * 7 + 4, 'latin1');
    }
    bytes.writeInt32LE(bytes.length - levels * 8, levels * 7);
    expect(refusal(bytes)).toContain('more than 64 levels');
  });

  test('what is not a Uint8Array, as a bad argument', () => {
    for (const bytes of ['text', [5, 0, 0, 0, 0], new ArrayBuffer(5), null, undefined]) {
      expect(() => decode(bytes as unknown as Uint8Array)).toThrow(TypeError);
    }
  });
});

describe('decode() is not misled by Object.prototype', () => {
  test.each<[string, PropertyDescriptor]>([
    ['a setter', { set: () => expect.unreachable() }],
    ['a constant', { value: 1, writable: false }],
  ])('with %s on it', (_name, descriptor) => {
    Object.defineProperty(Object.prototype, 'planted', { configurable: true, ...descriptor });
    try {
      expect(Object.entries(decode(serialize({ planted: 2 })) as object)).toStrictEqual([['planted', 2]]);
    } finally {
      delete (Object.prototype as Record<string, unknown>)['planted'];
    }
  });
});

/** A small generator of random numbers (mulberry32), so that a seed gives the same bytes for ever. */
function randomSource(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

describe('decode() of damaged bytes', () => {
  const originals = [
    { k: 1, t: 1.5, p: 'text' },
    { id: 17, username: 'Peter', createdAt: new Date(5), tags: ['a', 'bb', 'ccc'], deep: { a: { b: [{ c: null }] } } },
    new Map<unknown, unknown>([
      [{ a: 1 }, new Set([1, 'x', undefined])],
      [2n ** 80n, -(2n ** 70n)],
    ]),
    [new Float64Array([1, NaN]), new Uint8Array([1, 2, 3]), new DataView(new ArrayBuffer(4)), 'x\ud800'],
    { '$hf:map': [1], constructor: true, '': '鍵🔑', 0: false, long: 'é'.repeat(40) },
    'root',
  ].map((value) => Buffer.from(encode(value)));
  const interesting = [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 16, 18, 0x24, 0x5f, 0x7f, 0x80, 0x8d, 0xff];

  function damaged(random: (below: number) => number): Buffer {
    const original = originals[random(originals.length)] as Buffer;
    let bytes: Buffer = Buffer.from(original);
    for (let changes = 1 + random(4); changes > 0; changes--) {
      const at = random(bytes.length);
      const other = originals[random(originals.length)] as Buffer;
      const from = random(other.length);
      switch (random(6)) {
        case 0:
          bytes[at] = (bytes[at] as number) ^ (1 << random(8));
          break;
        case 1:
          bytes[at] = interesting[random(interesting.length)] as number;
          break;
        case 2:
          if (at + 4 <= bytes.length) bytes.writeInt32LE(random(200) - 20, at);
          break;
        case 3:
          other.copy(bytes, at, from, from + random(20));
          break;
        case 4:
          bytes = bytesOf(bytes.subarray(0, at), other.subarray(from, from + random(20)), bytes.subarray(at));
          break;
        default:
          bytes = bytesOf(bytes.subarray(0, at), bytes.subarray(at + random(8)));
      }
      if (bytes.length < 5) bytes = Buffer.from(original);
    }
    // Half of them get a root that fits, for otherwise few would come past the first check.
    if (random(2) === 0) {
      bytes.writeInt32LE(bytes.length);
      bytes[bytes.length - 1] = 0;
    }
    return bytes;
  }

  test.each([1, 2, 3, 4])('returns storable data or throws UNDECODABLE, and pollutes nothing (seed %i)', (seed) => {
    const properties = Reflect.ownKeys(Object.prototype);
    const random = randomSource(seed);
    let decoded = 0;
    for (let run = 0; run < 10_000; run++) {
      const bytes = damaged(random);
      const result = attempt(bytes);
      if (result instanceof HoldfastError) continue;
      decoded += 1;
      const { value } = result;
      // What is accepted is well-formed BSON to others too, so that no two readers see different data.
      expect(() => deserialize(bytes)).not.toThrow();
      if (!isSame(decode(encode(value)), value)) expect.fail(`seed ${seed}, run ${run}: ${bytes.toString('hex')}`);
    }
    expect(decoded).toBeGreaterThan(300);
    expect(decoded).toBeLessThan(7_000);
    expect(Reflect.ownKeys(Object.prototype)).toStrictEqual(properties);
    expect(Object.getPrototypeOf(Object.prototype)).toBe(null);
  });
});
