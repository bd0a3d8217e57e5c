/** Writing and reading of the compact binary forms: stored records and frames share these two classes. */
import { HoldfastError } from './errors.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

const INITIAL_BYTES = 256;

/** Writes into a buffer that grows. Multi-byte numbers are little endian. */
export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;

  constructor(initialBytes: number = INITIAL_BYTES) {
    this.#bytes = new Uint8Array(initialBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  f64(value: number): void {
    this.#reserve(8);
    this.#view.setFloat64(this.#length, value, true);
    this.#length += 8;
  }

  /** An unsigned integer up to 2^53 - 1, seven bits a byte, the lowest first. */
  varint(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`Cannot write ${value} as an unsigned integer`);
    this.#reserve(8);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest % 0x80) | 0x80;
      rest = rest < 2 ** 31 ? rest >>> 7 : Math.floor(rest / 0x80);
    }
    this.#bytes[this.#length++] = rest;
  }

  /** A signed integer within 2^52, folded so that small magnitudes stay short. */
  signed(value: number): void {
    this.varint(value < 0 ? -value * 2 - 1 : value * 2);
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Bytes behind their length. */
  bytes(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.raw(bytes);
  }

  /** UTF-8 text behind its length in bytes. */
  text(text: string): void {
    const most = text.length * 3;
    if (most >= 0x80) return this.bytes(encoder.encode(text));
    // Up to 127 bytes the length takes one byte, so the text can be written in place.
    this.#reserve(most + 1);
    const { written } = encoder.encodeInto(text, this.#bytes.subarray(this.#length + 1));
    this.#bytes[this.#length] = written;
    this.#length += written + 1;
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** What was written, without a copy. The writer must not be used again. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length) as Uint8Array<ArrayBuffer>;
  }

  clear(): void {
    this.#length = 0;
  }

  #reserve(extra: number): void {
    const needed = this.#length + extra;
    if (needed <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}

/** Reads what a {@link ByteWriter} wrote. Reading past the end throws `PROTOCOL`. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at: number;

  constructor(bytes: Uint8Array, at: number = 0) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = at;
  }

  get at(): number {
    return this.#at;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    this.#need(1);
    return this.#bytes[this.#at++] as number;
  }

  f64(): number {
    this.#need(8);
    const value = this.#view.getFloat64(this.#at, true);
    this.#at += 8;
    return value;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
      scale *= 0x80;
    }
    throw new HoldfastError('PROTOCOL', 'Cannot read an integer: it is longer than 53 bits');
  }

  signed(): number {
    const folded = this.varint();
    return folded % 2 === 0 ? folded / 2 : -(folded + 1) / 2;
  }

  /** A view of the next `length` bytes, not a copy. */
  raw(length: number): Uint8Array {
    this.#need(length);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  skip(length: number): void {
    this.#need(length);
    this.#at += length;
  }

  bytes(): Uint8Array {
    return this.raw(this.varint());
  }

  text(): string {
    try {
      return decoder.decode(this.bytes());
    } catch (cause) {
      throw new HoldfastError('PROTOCOL', 'Cannot read a text: it is not UTF-8', { cause });
    }
  }

  #need(length: number): void {
    if (this.#at + length > this.#bytes.length) {
      throw new HoldfastError('PROTOCOL', `Cannot read ${length} bytes: only ${this.left} are left`);
    }
  }
}
