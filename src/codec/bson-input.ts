import { HoldfastError } from '../model/errors.ts';

const DIGIT_ZERO = 0x30;

/**
 * Keys that were read before, by a hash of their bytes. The same few keys come in every message of a channel, and one that
 * is found here is neither decoded nor interned again, which saves a third of the time of a small message.
 */
const knownKeys: string[] = Array.from({ length: 512 }, () => '');
const LONGEST_KNOWN_KEY = 32;

/**
 * For each length of a short text an array for its character codes. A text of ASCII characters that is made of them takes
 * half of the time of one from the decoder.
 */
const shortCodes: readonly number[][] = Array.from({ length: 13 }, (_, length) => Array.from({ length }, () => 0));

/**
 * Reads the parts of BSON elements. A `limit` is the end of the document around a part, without its last byte, which is
 * zero. Nothing is read beyond the limit, and whatever is wrong is an `UNDECODABLE` error.
 */
export class BsonInput {
  readonly #bytes: Buffer;
  readonly #start: number;
  #at: number;
  /** Where the message ends. */
  readonly end: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#start = start;
    this.#at = start;
    this.end = end;
  }

  /** The next byte. It must be known to lie before the end of the document, like its last byte. */
  byte(): number {
    return this.#bytes[this.#at++] as number;
  }

  /** Reads the size of a document that ends at `end` or before, and returns where it ends. */
  open(end: number): number {
    const start = this.#at;
    const documentEnd = start + this.int32(end);
    if (documentEnd <= this.#at || documentEnd > end) throw this.malformed('a size is wrong');
    if (this.#bytes[documentEnd - 1] !== 0) throw this.malformed('a document has no end');
    return documentEnd;
  }

  close(end: number): void {
    if (this.#at !== end) throw this.malformed('a document has more bytes than elements');
  }

  /** Whether the first key of the document that was opened starts with an ASCII text. */
  firstKeyStartsWith(prefix: string): boolean {
    return this.#equals(prefix, this.#at + 1);
  }

  key(limit: number): string {
    const bytes = this.#bytes;
    const start = this.#at;
    let end = start;
    let hash = 0;
    let bits = 0;
    for (; end < limit && bytes[end] !== 0; end++) {
      const byte = bytes[end] as number;
      hash = (Math.imul(hash, 31) + byte) | 0;
      bits |= byte;
    }
    if (end >= limit) throw this.malformed('a key has no end');
    this.#at = end + 1;
    if (bits >= 0x80 || end - start > LONGEST_KNOWN_KEY) return this.#text(start, end);
    const slot = (hash ^ (hash >>> 9)) & (knownKeys.length - 1);
    const known = knownKeys[slot] as string;
    return known.length === end - start && this.#equals(known, start) ? known : this.#newKey(slot, start, end);
  }

  #newKey(slot: number, start: number, end: number): string {
    const key = this.#bytes.toString('latin1', start, end);
    if (key === '__proto__') throw this.malformed('the key "__proto__" is not allowed');
    knownKeys[slot] = key;
    return key;
  }

  #equals(text: string, start: number): boolean {
    for (let i = 0; i < text.length; i++) {
      if (text.charCodeAt(i) !== this.#bytes[start + i]) return false;
    }
    return true;
  }

  /** Reads the key of an array's item, which is its index in decimal digits. */
  index(index: number, limit: number): void {
    const start = this.#at;
    let value = 0;
    let byte = this.byte();
    for (; byte !== 0 && value <= index; byte = this.byte()) {
      const digit = byte - DIGIT_ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    const hasNeedlessZero = this.#bytes[start] === DIGIT_ZERO && this.#at - start > 2;
    const isEmpty = this.#at - start === 1;
    if (byte !== 0 || value !== index || hasNeedlessZero || isEmpty || this.#at > limit) {
      throw this.malformed('the items of an array are not in order');
    }
  }

  boolean(limit: number): boolean {
    const byte = this.#bytes[this.#take(1, limit)] as number;
    if (byte > 1) throw this.malformed('a boolean is neither true nor false');
    return byte === 1;
  }

  int32(limit: number): number {
    const at = this.#take(4, limit);
    const bytes = this.#bytes;
    return (
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)
    );
  }

  int64(limit: number): bigint {
    return this.#bytes.readBigInt64LE(this.#take(8, limit));
  }

  /** An int64 as a number. Beyond 2^53 it is rounded. */
  roundedInt64(limit: number): number {
    const at = this.#take(8, limit);
    return this.#bytes.readInt32LE(at + 4) * 2 ** 32 + this.#bytes.readUInt32LE(at);
  }

  double(limit: number): number {
    return this.#bytes.readDoubleLE(this.#take(8, limit));
  }

  string(limit: number): string {
    const size = this.int32(limit);
    if (size < 1) throw this.malformed('a size is wrong');
    const start = this.#take(size, limit);
    const end = start + size - 1;
    if (this.#bytes[end] !== 0) throw this.malformed('a string has no end');
    return this.#text(start, end);
  }

  /** The subtype and the bytes of a binary. The bytes are not copied. */
  binary(limit: number): [subtype: number, bytes: Buffer] {
    const length = this.int32(limit);
    if (length < 0) throw this.malformed('a size is wrong');
    const subtypeAt = this.#take(1 + length, limit);
    return [this.#bytes[subtypeAt] as number, this.#bytes.subarray(subtypeAt + 1, subtypeAt + 1 + length)];
  }

  malformed(reason: string): HoldfastError {
    return new HoldfastError(
      'UNDECODABLE',
      `Cannot decode the bytes: ${reason}, before byte ${this.#at - this.#start}`,
    );
  }

  #text(start: number, end: number): string {
    const codes = shortCodes[end - start];
    return (codes === undefined ? undefined : this.#ascii(codes, start)) ?? this.#utf8(start, end);
  }

  /** Returns `undefined` if there is a character outside ASCII. */
  #ascii(codes: number[], start: number): string | undefined {
    for (let i = 0; i < codes.length; i++) {
      const byte = this.#bytes[start + i] as number;
      if (byte >= 0x80) return undefined;
      codes[i] = byte;
    }
    return String.fromCharCode(...codes);
  }

  #utf8(start: number, end: number): string {
    const text = this.#bytes.toString('utf8', start, end);
    // The decoder puts this character in the place of what is not UTF-8. It can also be there by right.
    if (text.includes('\ufffd') && !Buffer.from(text).equals(this.#bytes.subarray(start, end))) {
      throw this.malformed('a string is not UTF-8');
    }
    return text;
  }

  /** Moves past the next bytes and returns where they start. */
  #take(length: number, limit: number): number {
    const start = this.#at;
    if (start + length > limit) throw this.malformed('a value is cut off');
    this.#at = start + length;
    return start;
  }
}
