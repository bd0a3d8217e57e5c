import { Binary, Code, Decimal128, Double, Int32, Long, MaxKey, MinKey, ObjectId, Timestamp } from 'bson';
import { describe, expect, test } from 'vitest';
import { encode } from '#holdfast/codec/bson.js';

class User {
  name = 'Peter';
}
class Tags extends Set<string> {}
class Index extends Map<string, number> {}
class Moment extends Date {}
class Packet extends Uint8Array {}
class Text extends Buffer {}
class List extends Array<number> {}

const only = 'only data can be stored';
const plain = 'store its data as a plain object';

function bufferMovedAway(): ArrayBuffer {
  const buffer = new ArrayBuffer(8);
  structuredClone(buffer, { transfer: [buffer] });
  return buffer;
}

function withHole(): number[] {
  const array = [1];
  array[2] = 3;
  return array;
}

const refused: [name: string, value: unknown, message: string][] = [
  ['a function', () => 1, `Cannot encode a function at "a": ${only}`],
  ['a class', User, `Cannot encode a function at "a": ${only}`],
  ['a symbol', Symbol('s'), `Cannot encode a symbol at "a": ${only}`],
  ['an instance', new User(), `Cannot encode an instance of the class User at "a": ${plain}`],
  ['a subclass of Set', new Tags(), `Cannot encode an instance of the class Tags at "a": ${plain}`],
  ['a subclass of Map', new Index(), `Cannot encode an instance of the class Index at "a": ${plain}`],
  ['a subclass of Date', new Moment(0), `Cannot encode an instance of the class Moment at "a": ${plain}`],
  ['a subclass of Uint8Array', new Packet(1), `Cannot encode an instance of the class Packet at "a": ${plain}`],
  [
    'a subclass of Buffer',
    Object.setPrototypeOf(Buffer.from('x'), Text.prototype),
    `Cannot encode an instance of the class Text at "a": ${plain}`,
  ],
  ['a subclass of Array', new List(), `Cannot encode an instance of the class List at "a": ${plain}`],
  ['a boxed string', Object('s'), `Cannot encode an instance of the class String at "a": ${plain}`],
  ['a WeakMap', new WeakMap(), `Cannot encode an instance of the class WeakMap at "a": ${plain}`],
  ['a WeakSet', new WeakSet(), `Cannot encode an instance of the class WeakSet at "a": ${plain}`],
  ['a WeakRef', new WeakRef({}), `Cannot encode an instance of the class WeakRef at "a": ${plain}`],
  ['a URL', new URL('http://a'), `Cannot encode an instance of the class URL at "a": ${plain}`],
  ['a false Map', Object.create(Map.prototype), `Cannot encode an instance of the class Map at "a": ${plain}`],
  ['an inherited object', Object.create({ b: 1 }), 'Cannot encode an object with a prototype of its own at "a"'],
  ['a RegExp', /x/, 'Cannot encode a RegExp at "a": store its source and flags'],
  [
    'an error',
    new RangeError('x'),
    'Cannot encode an error of the class RangeError at "a": store its name, message and stack',
  ],
  ['a Promise', Promise.resolve(1), 'Cannot encode a Promise at "a": await it first'],
  [
    'a SharedArrayBuffer',
    new SharedArrayBuffer(1),
    'Cannot encode a SharedArrayBuffer at "a": store a copy of its bytes',
  ],
  ['an invalid Date', new Date(NaN), 'Cannot encode an invalid Date at "a": store null instead'],
  ['moved bytes', bufferMovedAway(), 'Cannot encode bytes at "a": their buffer was transferred'],
  ['a hole', withHole(), 'Cannot encode a hole at "a[1]": store undefined or null instead'],
  ['billions of holes', Object.assign([1], { length: 4e9 }), 'Cannot encode a hole at "a[1]"'],
  ['a named property', Object.assign([1], { x: 1 }), 'Cannot encode the property "x" of the array at "a"'],
  ['a match', /b/.exec('abc'), 'Cannot encode the property "index" of the array at "a"'],
  ['a hole and a property', Object.assign(withHole(), { x: 1 }), 'Cannot encode the property "x" of the array at "a"'],
  [
    'a Map with a property',
    Object.assign(new Map(), { x: 1 }),
    'Cannot encode a Map with properties of its own at "a"',
  ],
  ['a Date with a property', Object.assign(new Date(0), { x: 1 }), 'Cannot encode a Date with properties of its own'],
  ['a Date with a symbol', Object.assign(new Date(0), { [Symbol('s')]: 1 }), 'Cannot encode the key Symbol(s) of "a"'],
  ['a symbol as key', { [Symbol('s')]: 1 }, 'Cannot encode the key Symbol(s) of "a": only strings can be keys'],
  ['a symbol on an array', Object.assign([], { [Symbol('s')]: 1 }), 'Cannot encode the key Symbol(s) of "a"'],
  ['the key __proto__', JSON.parse('{"__proto__":1}'), 'Cannot encode the key "__proto__" of "a"'],
  ['a key with NUL', { 'x\0y': 1 }, 'Cannot encode the key "x\\u0000y" of "a": it contains a NUL character'],
  ['a long key with NUL', { [`${'é'.repeat(50)}\0`]: 1 }, 'it contains a NUL character, use a Map instead'],
  ['half a surrogate pair as key', { '\ud83d': 1 }, 'Cannot encode the key "\\ud83d" of "a": it contains half of a'],
  ['ObjectId', new ObjectId(), 'Cannot encode an instance of the class ObjectId at "a"'],
  ['Long', Long.fromNumber(1), 'Cannot encode an instance of the class Long at "a"'],
  ['Int32', new Int32(1), 'Cannot encode an instance of the class Int32 at "a"'],
  ['Double', new Double(1), 'Cannot encode an instance of the class Double at "a"'],
  ['Decimal128', Decimal128.fromString('1'), 'Cannot encode an instance of the class Decimal128 at "a"'],
  ['Binary', new Binary(), 'Cannot encode an instance of the class Binary at "a"'],
  ['Code', new Code('x'), 'Cannot encode an instance of the class Code at "a"'],
  ['Timestamp', new Timestamp(1n), 'Cannot encode an instance of the class Timestamp at "a"'],
  ['MinKey', new MinKey(), 'Cannot encode an instance of the class MinKey at "a"'],
  ['MaxKey', new MaxKey(), 'Cannot encode an instance of the class MaxKey at "a"'],
];

describe('encode() refuses', () => {
  test.each(refused)('%s', (_name, value, message) => {
    expect(() => encode({ a: value })).toThrow(TypeError);
    expect(() => encode({ a: value })).toThrow(message);
    expect(() => encode([new Map([[1, value]])])).toThrow(TypeError);
    expect(() => encode(new Set([value]))).toThrow(TypeError);
    expect(() => encode(value)).toThrow(TypeError);
  });

  test('a view of bytes that were moved away', () => {
    const view = new Uint8Array(8);
    const data = new DataView(view.buffer);
    structuredClone(view, { transfer: [view.buffer] });
    for (const value of [view, data]) expect(() => encode(value)).toThrow('their buffer was transferred');
  });

  test('a Proxy whose prototypes have no end', () => {
    const endless: object = new Proxy({}, { getPrototypeOf: () => endless });
    expect(() => encode(endless)).toThrow(Error);
  });

  test('arguments and the global object', () => {
    const get = function (this: unknown): IArguments {
      return arguments;
    };
    expect(() => encode(get())).toThrow('Cannot encode the key Symbol(Symbol.iterator)');
    expect(() => encode(globalThis)).toThrow(TypeError);
  });
});

describe('encode() names the place', () => {
  const bad = (): void => undefined;
  const places: [path: string, value: unknown][] = [
    ['', bad],
    [' at "a.b[3]"', { a: { b: [0, 1, 2, bad] } }],
    [' at "[0][1]"', [[1, bad]]],
    [' at "a["x y"]["0"]"', { a: { 'x y': { 0: bad } } }],
    [
      ' at "<value 1>.k"',
      new Map<number, unknown>([
        [0, 1],
        [1, { k: bad }],
      ]),
    ],
    [' at "a<key 0>"', { a: new Map([[bad, 1]]) }],
    [' at "a<item 2>[0]"', { a: new Set<unknown>([0, 1, [bad]]) }],
  ];
  test.each(places)('%s', (path, value) => {
    expect(() => encode(value)).toThrow(`Cannot encode a function${path}: only data can be stored`);
  });

  test('in an object with a key like a tag', () => {
    expect(() => encode({ '$hf:x': { é: bad } })).toThrow('Cannot encode a function at "["$hf:x"].é": ');
  });

  test('in few words, however long the keys are', () => {
    let value: unknown = bad;
    for (let i = 0; i < 20; i++) value = { ['k'.repeat(10_000)]: value };
    expect(() => encode(value)).toThrow(/^.{20,350}$/);
  });
});

describe('encode() refuses a circular reference', () => {
  test('of an object, an array, a Map or a Set, and names where it closes', () => {
    const object: Record<string, unknown> = { list: [{}] };
    (object['list'] as unknown[]).push({ back: object });
    expect(() => encode(object)).toThrow(
      new TypeError('Cannot encode a circular reference at "list[1].back": store an id in its place'),
    );
    const array: unknown[] = [];
    array.push(array);
    const map = new Map<string, unknown>();
    map.set('me', map);
    const set = new Set<unknown>();
    set.add([set]);
    expect(() => encode(array)).toThrow('Cannot encode a circular reference at "[0]"');
    expect(() => encode(map)).toThrow('Cannot encode a circular reference at "<value 0>"');
    expect(() => encode(set)).toThrow('Cannot encode a circular reference at "<item 0>[0]"');
  });

  test('also when the size is exceeded before the depth', () => {
    const object: Record<string, unknown> = { data: 'x'.repeat(100_000) };
    object['self'] = object;
    expect(() => encode(object)).toThrow('Cannot encode a circular reference at "self"');
  });

  test('and works on afterwards', () => {
    const array: unknown[] = [];
    array.push(array);
    for (let i = 0; i < 3; i++) expect(() => encode(array)).toThrow('circular');
    expect(encode({})).toHaveLength(5);
  });
});
