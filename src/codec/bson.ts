/**
 * The default codec of payloads: BSON (bsonspec.org, version 1.1), made lossless and strict.
 *
 * A value comes back as it was, or `encode` throws; nothing is dropped, cut or converted in silence. An object of JSON's
 * types, Dates and Uint8Arrays is stored as the plain BSON document that any BSON tool reads and writes. Only what BSON
 * has no place for takes one of two other forms: a **binary** of a subtype that BSON leaves to applications, or a
 * **tagged document**, whose one key starts with `$hf:`.
 *
 * | value | stored as |
 * |---|---|
 * | object | document (0x03), the keys in their order; an item of the table below if its first key starts with `$hf:` |
 * | array | array (0x04), the keys `0`, `1`, `2` … |
 * | string | string (0x02); binary 0x81, its UTF-16 units little endian, if UTF-8 cannot hold it (a lone surrogate) |
 * | number | int32 (0x10) if it is an integer of 32 bits other than -0, else double (0x01); NaN as 7ff8000000000000 |
 * | bigint | int64 (0x12) if it fits; else binary 0x80: a byte 1 if negative or 0, then the magnitude, big endian |
 * | true, false, null, undefined | boolean (0x08), null (0x0a), undefined (0x06) |
 * | Date | UTC datetime (0x09) |
 * | Uint8Array, Buffer | binary 0x00 |
 * | ArrayBuffer, DataView | binary 0x82, 0x83 |
 * | Int8Array, Uint8ClampedArray | binary 0x84, 0x85 |
 * | Int16Array, Uint16Array, Int32Array, Uint32Array | binary 0x86, 0x87, 0x88, 0x89, the elements little endian |
 * | Float32Array, Float64Array, BigInt64Array, BigUint64Array | binary 0x8a, 0x8b, 0x8c, 0x8d, likewise |
 *
 * | tagged document | stands for |
 * |---|---|
 * | `{ '$hf:map': [k, v, k, v, …] }` | Map, in its order |
 * | `{ '$hf:set': [item, …] }` | Set, in its order |
 * | `{ '$hf:object': { … } }` | an object whose first key starts with `$hf:` |
 * | `{ '$hf:root': value }` | a message that is not an object, a Map or a Set, which BSON cannot have as a root |
 *
 * A value has one form only, so equal bytes are equal values, and a decoded message encodes to the same bytes. Other
 * element types, subtypes and tags, a key that is there twice, `__proto__` as a key, text that is not UTF-8 and an array
 * whose keys are not its indices are refused by `decode`. Numbers are read from int32 and double alike, as other tools
 * may choose differently.
 *
 * What does not come back quite the same:
 * - a Buffer comes back as a Uint8Array, an object without a prototype as a plain one, and each view of bytes with a
 *   buffer of its own that holds just its bytes;
 * - an object that is reached by two ways comes back as two objects;
 * - a getter comes back as the value that it had; properties that are not enumerable, and those that were set on bytes by
 *   hand, are not data and are not looked at.
 *
 * What is refused: functions, symbols (as keys too), instances of classes other than those above (also of subclasses of
 * them), errors, RegExps, Promises, weak collections, SharedArrayBuffers, Float16Arrays, invalid Dates, holes in arrays,
 * named properties of arrays, Maps, Sets and Dates, circular references, and keys that are `__proto__` or contain NUL or
 * a lone surrogate (a Map takes these keys). So are, both ways, more than 10,000 numbers and bigints as keys of the Maps
 * and items of the Sets of one message: the hashes of numbers can be made to collide. Arrays have no such limit.
 *
 * To change the stored form: never change what bytes of {@link CODEC_BSON} mean, since stores and peers hold them. Even a
 * new tag makes messages that older processes refuse. Take the next free codec number, write with it only once all
 * readers know it, keep this reader, and add a file of bytes of the old form to the tests.
 */
import { types } from 'node:util';
import { HoldfastError } from '../model/errors.ts';
import { BsonReader } from './bson-reader.ts';
import { BsonWriter } from './bson-writer.ts';

/** The number by which each stored record names this codec. */
export const CODEC_BSON = 1;

/** How large a message can be. The same limits hold for both ways, so that what was encoded can be decoded. */
export interface CodecLimits {
  /**
   * The most bytes of an encoded message, 5 to 268,435,456. Messages are held in memory whole and several at a time: store
   * large data elsewhere and send a reference to it.
   *
   * @default 4_194_304
   */
  readonly maxBytes?: number;
  /**
   * The most levels of objects, arrays, Maps and Sets within each other, 1 to 256; `{}` is one level. Each one takes a
   * part of the stack.
   *
   * @default 64
   */
  readonly maxDepth?: number;
}

const DEFAULT_LIMITS: Required<CodecLimits> = { maxBytes: 4_194_304, maxDepth: 64 };
/** The empty document. */
const LEAST_BYTES = 5;
/** Half of the longest string of V8, so that whatever fits can be made a string. */
const MOST_BYTES = 268_435_456;
const MOST_DEPTH = 256;

let idleWriter: BsonWriter | undefined = new BsonWriter();

/**
 * Encodes a value to bytes.
 *
 * The result may lie in a pool together with other Buffers, as those of `Buffer.from` do: copy it before its
 * `ArrayBuffer` is transferred. An error that a getter throws is passed on.
 *
 * @throws {TypeError} The value, or a part of it, is not data that comes back as it was. The message says which part.
 * @throws {RangeError} The value is too large, nests too deep, or has too many numbers in Maps and Sets.
 */
export function encode(value: unknown, limits?: CodecLimits): Uint8Array {
  const { maxBytes, maxDepth } = limits === undefined ? DEFAULT_LIMITS : checkedLimits(limits);
  // A getter within the value can call this function while the writer is in use. Then it gets a writer of its own.
  const writer = idleWriter ?? new BsonWriter();
  idleWriter = undefined;
  try {
    return writer.write(value, maxBytes, maxDepth);
  } finally {
    writer.reset();
    idleWriter = writer;
  }
}

/**
 * Decodes what {@link encode} made. It is safe on bytes from anywhere: the limits bound its time and memory, it makes only
 * the types of the table above, and it sets no prototype. The value shares no memory with the bytes. A Buffer is decoded a
 * little faster than another Uint8Array.
 *
 * @throws {HoldfastError} `UNDECODABLE`: the bytes are not of this codec, or beyond a limit.
 * @throws {TypeError} `bytes` is not a Uint8Array.
 */
export function decode(bytes: Uint8Array, limits?: CodecLimits): unknown {
  const checked = limits === undefined ? DEFAULT_LIMITS : checkedLimits(limits);
  if (!types.isUint8Array(bytes)) throw new TypeError(`Cannot decode a ${typeof bytes}: it is not a Uint8Array`);
  return read(bytes, 0, bytes.length, checked);
}

/** Decodes what stands between `start` and `end` of `bytes`; otherwise as {@link decode} with its default limits. */
export function decodeWithin(bytes: Uint8Array, start: number, end: number): unknown {
  return read(bytes, start, end, DEFAULT_LIMITS);
}

function read(bytes: Uint8Array, start: number, end: number, limits: Required<CodecLimits>): unknown {
  const { maxBytes, maxDepth } = limits;
  if (end - start > maxBytes) {
    throw new HoldfastError('UNDECODABLE', `Cannot decode ${end - start} bytes: at most ${maxBytes} are allowed`);
  }
  const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return new BsonReader(buffer, start, end, maxDepth).read();
}

/** The limits that were checked last: most callers have one set of their own. */
let known: { readonly given: CodecLimits; readonly checked: Required<CodecLimits> } | undefined;

function checkedLimits(limits: CodecLimits): Required<CodecLimits> {
  if (known?.given === limits && Object.isFrozen(limits)) return known.checked;
  known = { given: limits, checked: check(limits) };
  return known.checked;
}

function check({ maxBytes, maxDepth, ...others }: CodecLimits): Required<CodecLimits> {
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) {
    throw new TypeError(`Cannot take the limit ${JSON.stringify(unknown)}: the limits are "maxBytes" and "maxDepth"`);
  }
  return {
    maxBytes: checkedLimit('maxBytes', maxBytes ?? DEFAULT_LIMITS.maxBytes, LEAST_BYTES, MOST_BYTES),
    maxDepth: checkedLimit('maxDepth', maxDepth ?? DEFAULT_LIMITS.maxDepth, 1, MOST_DEPTH),
  };
}

function checkedLimit(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new RangeError(`Cannot take ${String(value)} as "${name}": it is an integer from ${least} to ${most}`);
}
