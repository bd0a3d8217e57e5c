import { bigintBytes, fitsInt64, isWellFormed } from './binary-types.ts';
import {
  BIGINT,
  BINARY,
  BOOLEAN,
  DATE,
  DOCUMENT,
  DOUBLE,
  INT32,
  INT64,
  ROOT_TAG,
  STRING,
  UTF16_TEXT,
} from './bson-format.ts';

const INITIAL_BYTES = 16_384;
/** A buffer that has grown beyond this is given back after the message. */
const KEPT_BYTES = 1_048_576;
/** Room that is reserved with each key: enough for each value of a fixed size, and for an index as the key. */
const ROOM_BYTES = 24;
const UTF8_BYTES_PER_UNIT = 3;
/** Up to this length a loop is faster than a call of the encoder. */
const SHORT_TEXT = 24;
/** Of a longer text the bytes are counted first, so that it does not take a buffer three times too large. */
const LONG_TEXT = 4096;

/** What comes before a root that has to be tagged: the size, the type of the element, its key. */
const ROOT_HEADER = Buffer.from(`\0\0\0\0\0${ROOT_TAG}\0`, 'latin1');
const ROOT_TYPE_AT = 4;

/**
 * Writes the elements of BSON documents into a buffer that grows and is used again. The type of an element stands before
 * its key and is known only when its value was looked at. So {@link key} and {@link index} leave a place for it, each
 * method that writes a value returns its type, and {@link setType} puts the two together.
 */
export class BsonOutput {
  readonly #tooLarge: () => Error;
  #bytes: Buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  #view: DataView = new DataView(this.#bytes.buffer);
  #at = 0;
  #maxBytes = 0;

  /** `tooLarge` makes the error that is thrown when a message exceeds its limit. */
  constructor(tooLarge: () => Error) {
    this.#tooLarge = tooLarge;
  }

  /** Starts a message. Its root value is written next. */
  begin(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    this.#at = ROOT_HEADER.length;
  }

  /** Ends a message with a root of this type, and returns a copy of it. */
  finish(rootType: number): Uint8Array {
    let start = ROOT_HEADER.length;
    if (rootType !== DOCUMENT) {
      start = 0;
      this.#bytes.set(ROOT_HEADER);
      this.#bytes[ROOT_TYPE_AT] = rootType;
      this.close(start);
    }
    const length = this.#at - start;
    if (length > this.#maxBytes) throw this.#tooLarge();
    const message = Buffer.allocUnsafe(length);
    this.#bytes.copy(message, 0, start, this.#at);
    return message;
  }

  /** Gives an unusually large buffer back. */
  shrink(): void {
    if (this.#bytes.length > KEPT_BYTES) this.#resize(INITIAL_BYTES);
  }

  /** Writes a key and returns the place of its type, or -1 if BSON cannot hold this key, or must not. */
  key(key: string): number {
    this.#refuseBeyond(key.length);
    this.#reserve(ROOM_BYTES + key.length * UTF8_BYTES_PER_UNIT);
    const bytes = this.#bytes;
    const typeAt = this.#at;
    let end = typeAt + 1;
    for (let i = 0; i < key.length; i++) {
      const code = key.charCodeAt(i);
      if (code === 0 || code >= 0x80) {
        if (key.includes('\0') || !isWellFormed(key)) return -1;
        end = typeAt + 1 + bytes.write(key, typeAt + 1, 'utf8');
        break;
      }
      bytes[end++] = code;
    }
    if (key === '__proto__') return -1;
    bytes[end] = 0;
    this.#at = end + 1;
    return typeAt;
  }

  /** Writes the key of an array's item, which is its index in decimal digits, and returns the place of its type. */
  index(index: number): number {
    this.#reserve(ROOM_BYTES);
    const typeAt = this.#at;
    let end = typeAt + 2;
    for (let bound = 10; bound <= index; bound *= 10) end++;
    this.#bytes[end] = 0;
    this.#at = end + 1;
    for (let rest = index; end > typeAt + 1; rest = Math.floor(rest / 10)) this.#bytes[--end] = 0x30 + (rest % 10);
    return typeAt;
  }

  setType(typeAt: number, type: number): void {
    this.#bytes[typeAt] = type;
  }

  /** Starts a document or an array, and returns the place of its size. */
  open(): number {
    this.#reserve(ROOM_BYTES);
    this.#at += 4;
    return this.#at - 4;
  }

  /** Ends the document or the array whose size has this place. */
  close(start: number): void {
    this.#reserve(1);
    this.#bytes[this.#at++] = 0;
    this.#view.setInt32(start, this.#at - start, true);
  }

  boolean(value: boolean): number {
    this.#bytes[this.#at++] = value ? 1 : 0;
    return BOOLEAN;
  }

  number(value: number): number {
    const integer = value | 0;
    const isNegativeZero = integer === 0 && 1 / value < 0;
    if (integer === value && !isNegativeZero) {
      this.#view.setInt32(this.#at, integer, true);
      this.#at += 4;
      return INT32;
    }
    // The bits of a NaN can differ. One pattern is written, so that equal values are equal bytes.
    this.#view.setFloat64(this.#at, Number.isNaN(value) ? NaN : value, true);
    this.#at += 8;
    return DOUBLE;
  }

  bigint(value: bigint): number {
    if (!fitsInt64(value)) return this.binary(BIGINT, bigintBytes(value));
    this.#view.setBigInt64(this.#at, value, true);
    this.#at += 8;
    return INT64;
  }

  /** `time` is a valid time value, in milliseconds since 1970. */
  date(time: number): number {
    this.#view.setUint32(this.#at, time >>> 0, true);
    this.#view.setInt32(this.#at + 4, Math.floor(time / 2 ** 32), true);
    this.#at += 8;
    return DATE;
  }

  text(text: string): number {
    const { length } = text;
    this.#refuseBeyond(length);
    this.#reserve(ROOM_BYTES + (length > LONG_TEXT ? Buffer.byteLength(text) : length * UTF8_BYTES_PER_UNIT));
    const start = this.#at + 4;
    let end = length <= SHORT_TEXT ? this.#ascii(text, start) : -1;
    if (end === -1) {
      end = start + this.#bytes.write(text, start, 'utf8');
      const isAscii = end - start === length;
      if (!isAscii && !isWellFormed(text)) return this.binary(UTF16_TEXT, Buffer.from(text, 'utf16le'));
    }
    this.#bytes[end] = 0;
    this.#at = end + 1;
    this.#view.setInt32(start - 4, this.#at - start, true);
    return STRING;
  }

  /** Writes a text of ASCII characters and returns its end. Returns -1 if there is another character. */
  #ascii(text: string, start: number): number {
    const bytes = this.#bytes;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code >= 0x80) return -1;
      bytes[start + i] = code;
    }
    return start + text.length;
  }

  binary(subtype: number, bytes: Uint8Array): number {
    this.#refuseBeyond(bytes.length);
    this.#reserve(ROOM_BYTES + bytes.length);
    this.#view.setInt32(this.#at, bytes.length, true);
    this.#bytes[this.#at + 4] = subtype;
    this.#bytes.set(bytes, this.#at + 5);
    this.#at += 5 + bytes.length;
    return BINARY;
  }

  /** Refuses early what is certainly too large, before a buffer is made for it. */
  #refuseBeyond(bytes: number): void {
    if (this.#at + bytes > this.#maxBytes + ROOT_HEADER.length) throw this.#tooLarge();
  }

  #reserve(bytes: number): void {
    const needed = this.#at + bytes;
    if (needed <= this.#bytes.length) return;
    this.#refuseBeyond(0);
    this.#resize(Math.max(needed, this.#bytes.length * 2));
  }

  #resize(length: number): void {
    const bytes = Buffer.allocUnsafeSlow(length);
    this.#bytes.copy(bytes, 0, 0, Math.min(this.#at, length));
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}
