import { deserialize, serialize } from 'node:v8';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeV8 } from '#holdfast/codec/v8.js';
import { readPlain, writePlain } from '#holdfast/codec/v8-plain.js';

const VERSION = serialize(0)[1] as number;

const write = (value: unknown): Uint8Array | undefined => writePlain(value, VERSION);
const hex = (bytes: Uint8Array | undefined): string | undefined => bytes && Buffer.from(bytes).toString('hex');

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 200 }),
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.string({ maxLength: 200 }),
);
const key = text.filter((name) => !/^\d/u.test(name) && !(name in {}));

/** V8 writes small integers that come out of arithmetic as doubles at times, which reads the same. */
const { value: plain } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    text,
    fc.integer(),
    fc.double(),
    fc.boolean(),
    fc.constantFrom(null, undefined, 0, -1, 2 ** 31 - 1, -(2 ** 31), 0.5, Number.NaN, Infinity),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(key, tie('value'), { minKeys: 1, maxKeys: 4, noNullPrototype: false }),
  ),
}));

describe('the quick way of plain values', () => {
  test('writes what V8 reads, reads what V8 writes, and is taken for nearly all of them', () => {
    let taken = 0;
    fc.assert(
      fc.property(plain, (value) => {
        const bytes = write(value);
        if (bytes !== undefined) {
          taken += 1;
          expect(deserialize(bytes)).toEqual(deserialize(serialize(value)));
          // A wide text is written and not read.
          const again = readPlain(Buffer.from(bytes));
          if (again !== undefined) expect(again.value).toEqual(deserialize(bytes));
        }
        const read = readPlain(serialize(value));
        if (read !== undefined) expect(read.value).toEqual(deserialize(serialize(value)));
      }),
      { numRuns: 2_000 },
    );
    expect(taken).toBeGreaterThan(1_900);
  });

  test.each<[string, unknown]>([
    ['a job', { k: 1, name: 'welcome', tags: ['a', 'ü'], nested: { at: 1.5, no: null, gone: undefined } }],
    ['integers', [0, 1, -1, 63, 64, -64, -65, 2 ** 30, -(2 ** 30)]],
    ['doubles', [0.1, -0, 2 ** 40, Number.MAX_VALUE]],
    ['wide texts at even and odd places', ['→', 'a', '→→', 'aa', 'x'.repeat(70) + '→', '\ud800']],
    ['long texts', ['a'.repeat(24), 'a'.repeat(25), 'a'.repeat(127), 'a'.repeat(128), 'ÿ'.repeat(3_000)]],
    ['an object without a prototype', Object.assign(Object.create(null) as object, { a: 1 })],
  ])('writes %s byte for byte as V8 does', (_name, value) => {
    expect(hex(write(value))).toBe(serialize(value).toString('hex'));
  });

  const shared = { a: 1 };
  const cyclic: unknown[] = [];
  cyclic.push(cyclic);
  const sparse = [1];
  sparse[2] = 3;
  let deep: unknown = 1;
  for (let i = 0; i < 40; i++) deep = [deep];
  class Own {
    a = 1;
  }

  test.each<[string, unknown]>([
    ['the same object twice', [shared, shared]],
    ['a cycle', cyclic],
    ['a proxy', new Proxy({ a: 1 }, {})],
    ['a list behind a proxy', new Proxy([1], {})],
    ['an object of a class', new Own()],
    ['a Map in disguise', Object.setPrototypeOf(new Map([[1, 2]]), Object.prototype)],
    [
      'arguments',
      (() =>
        (function (..._: number[]) {
          return arguments;
        })(1))(),
    ],
    ['a hole', sparse],
    ['a list with a field', Object.assign([1], { a: 1 })],
    ['keys that are numbers', { 1: 'a' }],
    ['a Date', [new Date(0)]],
    ['bytes', { a: new Uint8Array(1) }],
    ['a bigint', 1n],
    ['a function', { a: () => {} }],
    ['a symbol', Symbol('a')],
    ['what is deep', deep],
    ['what is large', 'a'.repeat(20_000)],
    ['what has many objects', Array.from({ length: 40 }, () => ({ a: 1 }))],
    ['an object without a field', {}],
  ])('leaves %s to the engine', (_name, value) => {
    expect(write(value)).toBeUndefined();
  });

  test('leaves what a getter takes away while it is written to the engine', () => {
    const value = {
      get a() {
        Reflect.deleteProperty(this, 'b');
        return 1;
      },
      b: 2,
    };
    expect(write(value)).toBeUndefined();
  });

  test('is not confused by a getter that stores a value of its own, or that throws', () => {
    const inner: unknown[] = [];
    const value = {
      before: 'x',
      get own() {
        inner.push(deserialize(encodeV8({ inner: true })));
        return 2;
      },
      after: 'y',
    };
    expect(deserialize(encodeV8(value))).toEqual({ before: 'x', own: 2, after: 'y' });
    expect(inner).toEqual([{ inner: true }]);
    const throwing = {
      get a(): number {
        throw new RangeError('no');
      },
    };
    expect(() => encodeV8(throwing)).toThrow(new RangeError('no'));
    expect(deserialize(encodeV8({ a: 1 }))).toEqual({ a: 1 });
  });

  test('reads no bytes otherwise than V8 does, whatever they are', () => {
    fc.assert(
      fc.property(plain, fc.nat(), fc.nat(255), (value, place, byte) => {
        const bytes = Buffer.from(serialize(value));
        const at = 2 + (place % Math.max(1, bytes.length - 2));
        bytes[at] = byte;
        const read = readPlain(place % 3 === 0 ? bytes.subarray(0, at) : bytes);
        if (read !== undefined)
          expect(read.value).toEqual(deserialize(place % 3 === 0 ? bytes.subarray(0, at) : bytes));
      }),
      { numRuns: 5_000 },
    );
  });

  test('reads a key of the prototype, and one that stands there twice, no otherwise than V8', () => {
    expect(readPlain(serialize(JSON.parse('{"__proto__": {"a": 1}}')))).toBeUndefined();
    expect(readPlain(serialize({ toString: 1 }))).toBeUndefined();
    expect(readPlain(Buffer.from('\u00ff\u000fo"\u0001aI\u0002"\u0001aI\u0002{\u0002', 'latin1'))).toBeUndefined();
  });
});
