/**
 * The form of a record in LMDB, which has no checksums of its own: the value, and behind it the CRC-32 of key
 * and value. In a page, key and record lie next to each other.
 *
 * LMDB puts a long value on pages of its own, away from its key. So that a damaged key is found without
 * reading the value, a record with a value of more than 1,024 bytes begins with the CRC-32 of the key. It is
 * covered by the checksum at the end like the value. All numbers are little endian.
 */
import { crc32 } from 'node:zlib';
import { StoreError } from '../model/errors.ts';
import type { Key, Value } from '../model/records.ts';

/** The bytes of each of the two checksums. */
const CHECKSUM_BYTES = 4;

/** The longest value whose record has no checksum of the key. LMDB keeps at least 1,700 bytes with their key. */
const SHORT_VALUE_BYTES = 1_024;
const LONGEST_SHORT_RECORD_BYTES: number = SHORT_VALUE_BYTES + CHECKSUM_BYTES;

/** The value of a record, as a view. Throws `STORE_CORRUPT`, naming `key`, when the checksum does not match. */
export function openRecord(key: Key, record: Uint8Array): Value {
  const length = record.length - CHECKSUM_BYTES;
  if (length >= 0 && readSum(record, length) === crc32(record.subarray(0, length), crc32(key))) {
    const start = record.length > LONGEST_SHORT_RECORD_BYTES ? CHECKSUM_BYTES : 0;
    return new Uint8Array(record.buffer, record.byteOffset + start, length - start);
  }
  throw new StoreError('STORE_CORRUPT', 'aborted', `Cannot read the record "${nameOf(key)}": its checksum is wrong`);
}

/** Whether `bytes` is a key with the whole record of it right behind. */
export function matchesChecksum(bytes: Uint8Array, keyLength: number): boolean {
  const length = bytes.length - CHECKSUM_BYTES;
  return length >= keyLength && readSum(bytes, length) === crc32(bytes.subarray(0, length));
}

/** Whether `head` is the beginning of a long record of `key`, or the whole of a short one. */
export function matchesKey(key: Key, head: Uint8Array): boolean {
  if (head.length > LONGEST_SHORT_RECORD_BYTES) return readSum(head, 0) === crc32(key);
  const length = head.length - CHECKSUM_BYTES;
  return length >= 0 && readSum(head, length) === crc32(head.subarray(0, length), crc32(key));
}

const INITIAL_BYTES = 64 * 1024;

/**
 * Builds records in one buffer that is used again and again, because LMDB copies what it is given, and a new
 * buffer for each record would take longer than the record.
 */
export class Sealer {
  #buffer: Uint8Array = new Uint8Array(INITIAL_BYTES);

  /** The key behind `prefix`, and the record of the value, as views that the next call makes invalid. */
  seal(prefix: number, key: Key, value: Value): { readonly key: Key; readonly record: Uint8Array } {
    const keyEnd = key.length + 1;
    const start = keyEnd + (value.length > SHORT_VALUE_BYTES ? CHECKSUM_BYTES : 0);
    const end = start + value.length;
    if (end + CHECKSUM_BYTES > this.#buffer.length) this.#buffer = new Uint8Array(end + CHECKSUM_BYTES);
    const buffer = this.#buffer;
    buffer[0] = prefix;
    buffer.set(key, 1);
    if (start > keyEnd) writeSum(buffer, keyEnd, crc32(buffer.subarray(0, keyEnd)));
    buffer.set(value, start);
    writeSum(buffer, end, crc32(buffer.subarray(0, end)));
    return { key: buffer.subarray(0, keyEnd), record: buffer.subarray(keyEnd, end + CHECKSUM_BYTES) };
  }

  /** The key behind `prefix`, as a view that the next call makes invalid. */
  prefixed(prefix: number, key: Key): Key {
    this.#buffer[0] = prefix;
    this.#buffer.set(key, 1);
    return this.#buffer.subarray(0, key.length + 1);
  }
}

function readSum(bytes: Uint8Array, at: number): number {
  const [a, b, c, d] = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]] as [number, number, number, number];
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}

function writeSum(bytes: Uint8Array, at: number, sum: number): void {
  bytes[at] = sum;
  bytes[at + 1] = sum >>> 8;
  bytes[at + 2] = sum >>> 16;
  bytes[at + 3] = sum >>> 24;
}

/** A key for error messages: hexadecimal, cut when it is long. */
function nameOf(key: Key): string {
  const hex = Buffer.from(key.buffer, key.byteOffset, Math.min(key.length, 48)).toString('hex');
  return key.length > 48 ? `${hex}… (${key.length} bytes)` : hex;
}
