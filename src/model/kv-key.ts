/**
 * Keys of KV: lists of parts, and the bytes that they are stored and ordered by. The form is that of Deno KV and of KV
 * Connect, so that the clients of either find each other's keys:
 *
 * ```
 * bytes    01 BYTES 00            a byte 00 within is written 00 ff
 * string   02 UTF-8 00            likewise
 * bigint   0b..1d                 see `writeBigint`
 * number   21 8 bytes             the double, big endian; all bits flipped when it is negative, else the first
 * false    26, true 27
 * ```
 *
 * So the bytes of keys have this order, part by part: Uint8Array < string < bigint < number < boolean; texts by their
 * code points, numbers by their value with -0 before 0 and NaN behind Infinity, and a key before those that go on
 * behind it. Half of a surrogate pair is stored as U+FFFD, as `TextEncoder` writes it.
 */
import { ByteWriter } from './bytes.ts';
import { HoldfastError } from './errors.ts';
import { MAX_KV_KEY_BYTES } from './kv.ts';

/** A symbol is none but the versionstamp of the commit, and only as the last part of a key that is set. */
export type KvKeyPart = Uint8Array | string | number | bigint | boolean | symbol;

export type KvKey = readonly KvKeyPart[];

const TAG = { bytes: 0x01, string: 0x02, zero: 0x14, double: 0x21, false: 0x26, true: 0x27 } as const;

/** A bigint whose magnitude has more than 8 bytes has one of these tags, and the number of its bytes behind it. */
const LONG_NEGATIVE = 0x0b;
const LONG_POSITIVE = 0x1d;

/** The magnitude of a bigint has at most this many bytes. */
const MAX_BIGINT_BYTES = 255;

/** Of a bigint that needs no length behind its tag. */
const SHORT_BIGINT_BYTES = 8;

const NAN = Uint8Array.of(0x7f, 0xf8, 0, 0, 0, 0, 0, 0);

const ESCAPED_ZERO = Uint8Array.of(0x00, 0xff);

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The bytes of a key. Their number is for {@link checkWritable} and {@link checkReadable} to judge.
 *
 * @throws TypeError for what is no key, in the words of Deno
 */
export function encodeKvKey(key: KvKey): Uint8Array {
  checkType('array', key);
  const writer = new ByteWriter(64);
  for (const part of key) writePart(writer, part);
  return writer.finish();
}

/** @throws TypeError for a key that no entry can have */
export function checkWritable(key: Uint8Array): Uint8Array {
  if (key.length === 0) throw new TypeError('key cannot be empty');
  if (key.length <= MAX_KV_KEY_BYTES) return key;
  throw new TypeError(`Key too large for write (max ${MAX_KV_KEY_BYTES} bytes)`);
}

/** To Deno one entry is a range that ends a byte behind it, so its key has one byte less. @throws TypeError */
export function checkEntryReadable(key: Uint8Array): Uint8Array {
  if (key.length <= MAX_KV_KEY_BYTES) return key;
  throw tooLargeToRead();
}

/** One byte more than an entry's, for the ends of ranges. @throws TypeError */
export function checkReadable(key: Uint8Array): Uint8Array {
  if (key.length <= MAX_KV_KEY_BYTES + 1) return key;
  throw tooLargeToRead();
}

function tooLargeToRead(): TypeError {
  return new TypeError(`Key too large for read (max ${MAX_KV_KEY_BYTES + 1} bytes)`);
}

/** @throws TypeError for what is of another type, in the words of Deno */
export function checkType(expected: 'array' | 'string' | 'integer', value: unknown): void {
  const is =
    expected === 'array' ? Array.isArray(value) : typeof value === (expected === 'integer' ? 'number' : expected);
  if (!is) throw new TypeError(`serde_v8 error: invalid type; expected: ${expected}, got: ${nameOfType(value)}`);
}

/** The parts of a key. @throws HoldfastError `UNDECODABLE` */
export function decodeKvKey(bytes: Uint8Array): KvKeyPart[] {
  const parts: KvKeyPart[] = [];
  for (let at = 0; at < bytes.length;) at = readPart(bytes, at, parts);
  return parts;
}

function nameOfType(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value === 'object') return 'unknown';
  return typeof value === 'number' ? 'Number' : typeof value;
}

function writePart(writer: ByteWriter, part: unknown): void {
  switch (typeof part) {
    case 'string':
      writer.u8(TAG.string);
      return writeEscaped(writer, encoder.encode(part));
    case 'number':
      writer.u8(TAG.double);
      return writer.raw(orderedDouble(part));
    case 'bigint':
      return writeBigint(writer, part);
    case 'boolean':
      return writer.u8(part ? TAG.true : TAG.false);
    default:
      if (!ArrayBuffer.isView(part)) {
        throw new TypeError('expected string, number, bigint, ArrayBufferView, boolean');
      }
      writer.u8(TAG.bytes);
      return writeEscaped(writer, new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  }
}

function writeEscaped(writer: ByteWriter, bytes: Uint8Array): void {
  let from = 0;
  for (let zero = bytes.indexOf(0); zero >= 0; zero = bytes.indexOf(0, from)) {
    writer.raw(bytes.subarray(from, zero));
    writer.raw(ESCAPED_ZERO);
    from = zero + 1;
  }
  writer.raw(bytes.subarray(from));
  writer.u8(0);
}

/**
 * The tag grows with the number, then come the bytes of the magnitude, the highest first: of a negative one with all
 * bits flipped. A magnitude of n bytes has the tag 14 + n or 14 - n up to 8, else one tag with n (or ff - n) behind it.
 */
function writeBigint(writer: ByteWriter, value: bigint): void {
  if (value === 0n) return writer.u8(TAG.zero);
  const isNegative = value < 0n;
  const digits = (isNegative ? -value : value).toString(16);
  const magnitude = Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, 'hex');
  const { length } = magnitude;
  if (length > MAX_BIGINT_BYTES) throw new TypeError('BigUint requires more than 255 bytes to be represented');
  if (length <= SHORT_BIGINT_BYTES) {
    writer.u8(isNegative ? TAG.zero - length : TAG.zero + length);
  } else {
    writer.u8(isNegative ? LONG_NEGATIVE : LONG_POSITIVE);
    writer.u8(isNegative ? 0xff - length : length);
  }
  if (isNegative) flip(magnitude);
  writer.raw(magnitude);
}

function orderedDouble(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  // A NaN may have any bits, and its key has only one form.
  if (Number.isNaN(value)) bytes.set(NAN);
  else new DataView(bytes.buffer).setFloat64(0, value);
  if ((bytes[0] as number) >= 0x80) flip(bytes);
  else bytes[0] = (bytes[0] as number) | 0x80;
  return bytes;
}

function flip(bytes: Uint8Array): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = 0xff - (bytes[i] as number);
}

/** Reads the part that begins at `at` and gives the place behind it. */
function readPart(bytes: Uint8Array, at: number, parts: KvKeyPart[]): number {
  const tag = bytes[at] as number;
  const start = at + 1;
  switch (tag) {
    case TAG.bytes:
    case TAG.string: {
      const end = endOfEscaped(bytes, start);
      const content = unescaped(bytes.subarray(start, end));
      parts.push(tag === TAG.bytes ? content : textOf(content));
      return end + 1;
    }
    case TAG.double: {
      const copy = take(bytes, start, 8);
      if ((copy[0] as number) >= 0x80) copy[0] = (copy[0] as number) & 0x7f;
      else flip(copy);
      parts.push(new DataView(copy.buffer).getFloat64(0));
      return start + 8;
    }
    case TAG.false:
    case TAG.true:
      parts.push(tag === TAG.true);
      return start;
    default:
      return readBigint(bytes, tag, start, parts);
  }
}

function readBigint(bytes: Uint8Array, tag: number, start: number, parts: KvKeyPart[]): number {
  if (tag < LONG_NEGATIVE || tag > LONG_POSITIVE) throw undecodable(`it has a part of kind ${tag}`);
  if (tag === TAG.zero) {
    parts.push(0n);
    return start;
  }
  const isNegative = tag < TAG.zero;
  const isLong = tag === LONG_NEGATIVE || tag === LONG_POSITIVE;
  const [counted = 0] = isLong ? take(bytes, start, 1) : [Math.abs(tag - TAG.zero)];
  const length = isLong && isNegative ? 0xff - counted : counted;
  const from = isLong ? start + 1 : start;
  const magnitude = take(bytes, from, length);
  if (isNegative) flip(magnitude);
  const value = BigInt(`0x${Buffer.from(magnitude.buffer).toString('hex') || '0'}`);
  parts.push(isNegative ? -value : value);
  return from + length;
}

/** Where the zero stands that ends an escaped text: one without ff behind it. */
function endOfEscaped(bytes: Uint8Array, start: number): number {
  for (let zero = bytes.indexOf(0, start); zero >= 0; zero = bytes.indexOf(0, zero + 2)) {
    if (bytes[zero + 1] !== 0xff) return zero;
  }
  throw undecodable('a text in it does not end');
}

function unescaped(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(bytes.length);
  let length = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    copy[length++] = byte;
    if (byte === 0) i += 1;
  }
  return length === copy.length ? copy : copy.slice(0, length);
}

function textOf(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw undecodable('a text in it is not UTF-8');
  }
}

/** A copy of these bytes. */
function take(bytes: Uint8Array, from: number, length: number): Uint8Array<ArrayBuffer> {
  if (from + length > bytes.length) throw undecodable('it ends within a part');
  const copy = new Uint8Array(length);
  copy.set(bytes.subarray(from, from + length));
  return copy;
}

function undecodable(reason: string): HoldfastError {
  return new HoldfastError('UNDECODABLE', `Cannot decode a key: ${reason}`);
}
