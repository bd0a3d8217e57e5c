/** Values for the tests of the codec: how to make them, and when two of them are the same. */
import fc from 'fast-check';

const edgeNumbers = [
  0,
  -0,
  NaN,
  Infinity,
  -Infinity,
  2 ** 31 - 1,
  2 ** 31,
  -(2 ** 31),
  -(2 ** 31) - 1,
  2 ** 53,
  -(2 ** 53),
  Number.MAX_SAFE_INTEGER,
  Number.MIN_VALUE,
  Number.MAX_VALUE,
  1e21,
  0.1,
];

export const edgeBigints: bigint[] = [7, 8, 15, 31, 32, 63, 64, 65, 127, 4096]
  .flatMap((bits) => [2n ** BigInt(bits) - 1n, 2n ** BigInt(bits), 2n ** BigInt(bits) + 1n])
  .flatMap((value) => [value, -value]);

/** Keys that mean something to BSON, to MongoDB, to JavaScript or to the codec. All of them are data. */
export const trickyKeys = [
  '',
  '0',
  '1',
  '01',
  '4294967295',
  '-1',
  '$ref',
  '$id',
  '$db',
  '$set',
  '$numberLong',
  'a.b',
  '.',
  '_bsontype',
  'toBSON',
  'toJSON',
  'constructor',
  'prototype',
  'hasOwnProperty',
  'valueOf',
  '__defineGetter__',
  '__proto',
  'length',
  'then',
  '$hf:',
  '$hf:map',
  '$hf:set',
  '$hf:object',
  '$hf:root',
  '$hf',
  'ключ',
  '鍵',
  '🔑',
  'k'.repeat(40),
] as const;

/** Strings of any UTF-16 units, so lone surrogates, NUL and U+FFFD are among them. */
const anyText = fc
  .array(fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.constantFrom(0, 0x41, 0xd83d, 0xde00, 0xfffd)))
  .map((units) => String.fromCharCode(...units));

const text = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), anyText);

const key = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom(...trickyKeys) },
  { weight: 3, arbitrary: fc.string({ unit: 'binary' }).filter((k) => !k.includes('\0') && k !== '__proto__') },
);

const bytes = fc.uint8Array({ maxLength: 40 });

const views = fc.oneof(
  bytes,
  fc.int8Array(),
  fc.uint8ClampedArray(),
  fc.int16Array(),
  fc.uint16Array(),
  fc.int32Array(),
  fc.uint32Array(),
  fc.float32Array(),
  fc.float64Array(),
  fc.bigInt64Array(),
  fc.bigUint64Array(),
  bytes.map((content) => new DataView(content.slice().buffer)),
  bytes.map((content) => content.slice().buffer),
  bytes.map((content) => Buffer.from(content)),
  // A view of the middle of a buffer: only what it shows is data.
  bytes.map((content) => new Uint8Array([9, ...content, 9]).subarray(1, content.length + 1)),
);

const leaf = fc.oneof(
  fc.constantFrom(null, undefined, true, false, ...edgeNumbers),
  fc.integer(),
  fc.double(),
  text,
  fc.bigInt(),
  fc.constantFrom(...edgeBigints),
  fc.date({ noInvalidDate: true }),
  views,
);

/** Any value that the codec promises to keep. */
export const storable: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    { weight: 3, arbitrary: leaf },
    { weight: 2, arbitrary: tie('object') },
    { weight: 2, arbitrary: fc.array(tie('value'), { maxLength: 6 }) },
    { weight: 1, arbitrary: fc.array(fc.tuple(tie('value'), tie('value')), { maxLength: 4 }).map((e) => new Map(e)) },
    { weight: 1, arbitrary: fc.array(tie('value'), { maxLength: 4 }).map((items) => new Set(items)) },
  ),
  object: fc
    .tuple(fc.array(fc.tuple(key, tie('value')), { maxLength: 6 }), fc.boolean())
    .map(
      ([entries, isBare]) => Object.assign(isBare ? Object.create(null) : {}, Object.fromEntries(entries)) as object,
    ),
})).value;

/** Objects that BSON has a form of its own for: JSON's types, Dates and Uint8Arrays under ordinary keys. */
export const plainDocument: fc.Arbitrary<Record<string, unknown>> = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, true, false, ...edgeNumbers),
    fc.integer(),
    fc.double(),
    fc.string({ unit: 'binary' }),
    fc.date({ noInvalidDate: true }),
    bytes,
    tie('document'),
    fc.array(tie('value'), { maxLength: 12 }),
  ),
  document: fc.dictionary(
    fc.string({ unit: 'binary' }).filter((k) => !/^(?:\$|_bsontype$|__proto__$)|\0/.test(k)),
    tie('value'),
    { maxKeys: 6, noNullPrototype: true },
  ),
})).document as fc.Arbitrary<Record<string, unknown>>;

/**
 * Whether two values are the same data: the same types, the same numbers by `Object.is`, the same own keys in the same
 * order. A Buffer counts as a Uint8Array, and an object without a prototype as a plain one.
 */
export function isSame(left: unknown, right: unknown): boolean {
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) {
    return Object.is(left, right);
  }
  if (typeName(left) !== typeName(right)) return false;
  if (left instanceof Date && right instanceof Date) return Object.is(left.getTime(), right.getTime());
  if (left instanceof ArrayBuffer || ArrayBuffer.isView(left)) return bytesOf(left).equals(bytesOf(right));
  return isSameList(parts(left), parts(right));
}

function isSameList(left: unknown[], right: unknown[]): boolean {
  return left.length === right.length && left.every((item, index) => isSame(item, right[index]));
}

function parts(container: object): unknown[] {
  if (container instanceof Map) return [...container].flat();
  if (container instanceof Set) return [...container];
  return Object.entries(container).flat();
}

function typeName(value: object): string {
  if (Buffer.isBuffer(value)) return 'Uint8Array';
  const prototype = Object.getPrototypeOf(value) as object | null;
  return prototype === null ? 'Object' : prototype.constructor.name;
}

function bytesOf(value: unknown): Buffer {
  if (value instanceof ArrayBuffer) return Buffer.from(value);
  const { buffer, byteOffset, byteLength } = value as ArrayBufferView;
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
}
