import { deserialize, serialize } from 'bson';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decode, encode } from '#holdfast/codec/bson.js';
import { isSame, plainDocument } from './values.ts';

const forBsonTools = { promoteBuffers: true, useBigInt64: true };

describe('a plain document', () => {
  test('is encoded to the bytes of the bson package', () => {
    fc.assert(
      fc.property(plainDocument, (document) => Buffer.from(encode(document)).equals(serialize(document))),
      { numRuns: 500 },
    );
  });

  test('of the bson package is decoded', () => {
    fc.assert(
      fc.property(plainDocument, (document) => isSame(decode(serialize(document)), document)),
      { numRuns: 500 },
    );
  });

  test('is decoded by the bson package', () => {
    fc.assert(
      fc.property(plainDocument, (document) => isSame(deserialize(encode(document), forBsonTools), document)),
      { numRuns: 500 },
    );
  });
});

test('A bson tool shows tagged values, undefined and bigints', () => {
  const value = { map: new Map([['a', 1n]]), set: new Set([undefined]), root: 5 };
  expect(deserialize(encode(value), forBsonTools)).toStrictEqual({
    map: { '$hf:map': ['a', 1n] },
    set: { '$hf:set': [undefined] },
    root: 5,
  });
  expect(deserialize(encode([1, 'b']))).toStrictEqual({ '$hf:root': [1, 'b'] });
});

/** The bytes of a document in hexadecimal digits, around those of its elements. */
function documentOf(elements: string): string {
  const size = Buffer.alloc(4);
  size.writeInt32LE(elements.length / 2 + 5);
  return `${size.toString('hex')}${elements}00`;
}

/** A document of one element. */
function element(type: string, content: string, key = 'v'): string {
  return documentOf(type + keyOf(key) + content);
}

function keyOf(name: string): string {
  return Buffer.from(`${name}\0`).toString('hex');
}

/** The stored form, byte by byte. Stores hold such bytes: a line that fails here must not be changed to pass. */
const forms: [name: string, value: unknown, hex: string][] = [
  ['an empty object', {}, '0500000000'],
  ['a double', { v: 1.5 }, element('01', '000000000000f83f')],
  ['minus zero', { v: -0 }, element('01', '0000000000000080')],
  ['NaN', { v: NaN }, element('01', '000000000000f87f')],
  ['an integer beyond 32 bits', { v: 2 ** 31 }, element('01', '000000000000e041')],
  ['an integer', { v: -2 }, element('10', 'feffffff')],
  ['a string', { v: 'aé' }, element('02', '0400000061c3a900')],
  ['a string with half a surrogate pair', { v: 'a\ud83d' }, element('05', '040000008161003dd8')],
  ['an object', { v: { v: null } }, element('03', element('0a', ''))],
  ['an array', { v: [true] }, element('04', element('08', '01', '0'))],
  ['undefined', { v: undefined }, element('06', '')],
  ['false', { v: false }, element('08', '00')],
  ['a date', { v: new Date(-1) }, element('09', 'ffffffffffffffff')],
  ['null', { v: null }, element('0a', '')],
  ['a bigint', { v: -2n }, element('12', 'feffffffffffffff')],
  ['a long bigint', { v: 2n ** 63n }, element('05', '0900000080008000000000000000')],
  ['a long negative bigint', { v: -(2n ** 64n) }, element('05', '0a0000008001010000000000000000')],
  ['a Uint8Array', { v: new Uint8Array([1, 2]) }, element('05', '02000000000102')],
  ['a Buffer', { v: Buffer.from([1, 2]) }, element('05', '02000000000102')],
  ['an ArrayBuffer', { v: new Uint8Array([1]).buffer }, element('05', '010000008201')],
  ['a DataView', { v: new DataView(new Uint8Array([1]).buffer) }, element('05', '010000008301')],
  ['an Int8Array', { v: new Int8Array([-1]) }, element('05', '0100000084ff')],
  ['a Uint8ClampedArray', { v: new Uint8ClampedArray([300]) }, element('05', '0100000085ff')],
  ['an Int16Array', { v: new Int16Array([-2]) }, element('05', '0200000086feff')],
  ['a Uint16Array', { v: new Uint16Array([258]) }, element('05', '02000000870201')],
  ['an Int32Array', { v: new Int32Array([-2]) }, element('05', '0400000088feffffff')],
  ['a Uint32Array', { v: new Uint32Array([258]) }, element('05', '040000008902010000')],
  ['a Float32Array', { v: new Float32Array([1.5]) }, element('05', '040000008a0000c03f')],
  ['a Float64Array', { v: new Float64Array([1.5]) }, element('05', '080000008b000000000000f83f')],
  ['a BigInt64Array', { v: new BigInt64Array([-2n]) }, element('05', '080000008cfeffffffffffffff')],
  ['a BigUint64Array', { v: new BigUint64Array([258n]) }, element('05', '080000008d0201000000000000')],
  ['a Map', new Map([[1, null]]), element('04', documentOf(`10${keyOf('0')}01000000` + `0a${keyOf('1')}`), '$hf:map')],
  ['a Set', new Set([null]), element('04', element('0a', '', '0'), '$hf:set')],
  ['an object that looks tagged', { '$hf:map': null }, element('03', element('0a', '', '$hf:map'), '$hf:object')],
  [
    'an object with such a key elsewhere',
    { v: null, '$hf:x': null },
    documentOf(`0a${keyOf('v')}` + `0a${keyOf('$hf:x')}`),
  ],
  ['a root that is a number', 7, element('10', '07000000', '$hf:root')],
  ['a root that is undefined', undefined, element('06', '', '$hf:root')],
  ['a root that is an array', [], element('04', '0500000000', '$hf:root')],
  ['a root that is bytes', new Uint8Array([1]), element('05', '010000000001', '$hf:root')],
];

describe('the stored form of', () => {
  test.each(forms)('%s', (_name, value, hex) => {
    expect(Buffer.from(encode(value)).toString('hex')).toBe(hex);
    expect(isSame(decode(Buffer.from(hex, 'hex')), value)).toBe(true);
  });
});

test('encode() writes every NaN in the same bits', () => {
  const [odd] = new Float64Array(new BigUint64Array([0xfff8_0000_dead_beefn]).buffer);
  expect(Buffer.from(encode({ v: odd })).equals(encode({ v: NaN }))).toBe(true);
});

test('decode() takes integers that another tool wrote as doubles', () => {
  expect(decode(Buffer.from(element('01', '000000000000f03f'), 'hex'))).toStrictEqual({ v: 1 });
});
