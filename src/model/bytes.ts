/** Writing and reading of the compact binary forms: stored records and frames share these two classes. */
import { HoldfastError } from './errors.ts';

const encoder = new TextEncoder();
/** A byte order mark at the beginning of a text is a part of it, like every other character. */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const INITIAL_BYTES = 256;

/** Small pieces of memory are cut from slabs of this size: making an ArrayBuffer costs more than filling it. */
const SLAB_BYTES: number = 32 * 1024;
let slab = new Uint8Array(SLAB_BYTES);
let slabUsed = 0;

/**
 * Memory of this many bytes, not cleared. It shares its buffer with other pieces, so it must not be transferred,
 * and whoever keeps one for long keeps its whole slab.
 */
export function allocate(bytes: number): Uint8Array {
  if (bytes > SLAB_BYTES / 8) return new Uint8Array(bytes);
  if (slabUsed + bytes > SLAB_BYTES) {
    slab = new Uint8Array(SLAB_BYTES);
    slabUsed = 0;
  }
  slabUsed += bytes;
  return slab.subarray(slabUsed - bytes, slabUsed);
}

/** The bytes of a text that holds one byte a character. */
export function bytesOf(latin1: string): Uint8Array {
  const bytes = new Uint8Array(latin1.length);
  for (let i = 0; i < latin1.length; i++) bytes[i] = latin1.charCodeAt(i);
  return bytes;
}

/** Up to a few thousand bytes as a text of one character a byte, to find things by. */
export function textOf(bytes: Uint8Array): string {
  return String.fromCharCode.apply(undefined, bytes as unknown as number[]);
}

/** A double seen as its bytes: quicker than a DataView for each buffer. */
const double = new Float64Array(1);
const doubleBytes = new Uint8Array(double.buffer);
/** Which byte of a double comes n-th in little endian order. */
const DOUBLE_ORDER =
  new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? [0, 1, 2, 3, 4, 5, 6, 7] : [7, 6, 5, 4, 3, 2, 1, 0];

/**
 * The same number, held as a small integer where it is one: what comes out of floating-point arithmetic would take
 * 16 bytes of its own in every object that keeps it.
 */
export function small31(value: number): number {
  return value === (value | 0) ? value | 0 : value;
}

/** Writes into a buffer that grows. Multi-byte numbers are little endian. */
export class ByteWriter {
  #bytes: Uint8Array;
  #length = 0;

  constructor(initialBytes: number = INITIAL_BYTES) {
    this.#bytes = new Uint8Array(initialBytes);
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): void {
    if (this.#length === this.#bytes.length) this.#grow(1);
    this.#bytes[this.#length++] = value;
  }

  f64(value: number): void {
    this.#reserve(8);
    double[0] = value;
    for (let i = 0; i < 8; i++) this.#bytes[this.#length++] = doubleBytes[DOUBLE_ORDER[i] as number] as number;
  }

  /** An unsigned integer up to 2^53 - 1, seven bits a byte, the lowest first. */
  varint(value: number): void {
    this.#reserve(8);
    if (value < 0x80 && value >= 0 && Number.isInteger(value)) {
      this.#bytes[this.#length++] = value;
      return;
    }
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`Cannot write ${value} as an unsigned integer`);
    let rest = value;
    while (rest >= 2 ** 31) {
      this.#bytes[this.#length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[this.#length++] = rest;
  }

  /** A signed integer within 2^52, folded so that small magnitudes stay short. */
  signed(value: number): void {
    this.varint(value < 0 ? -value * 2 - 1 : value * 2);
  }

  /** An unsigned integer of 32 bits. */
  u32(value: number): void {
    this.#reserve(4);
    this.#length += 4;
    this.patchU32(this.#length - 4, value);
  }

  /** Writes over a 32-bit integer that was written at this position. */
  patchU32(at: number, value: number): void {
    for (let i = 0; i < 4; i++) this.#bytes[at + i] = value >>> (8 * i);
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
    if (text.length < 0x80 && this.#asciiText(text)) return;
    this.bytes(encoder.encode(text));
  }

  /**
   * Writes a text of up to 127 characters in place, unless it has some beyond ASCII: for so little, the encoder takes longer to
   * call. The length takes one byte.
   */
  #asciiText(text: string): boolean {
    this.#reserve(text.length + 1);
    const bytes = this.#bytes;
    const start = this.#length + 1;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code >= 0x80) return false;
      bytes[start + i] = code;
    }
    bytes[this.#length] = text.length;
    this.#length = start + text.length;
    return true;
  }

  /** A copy of what was written, in memory from {@link allocate}. */
  finish(): Uint8Array {
    const copy = allocate(this.#length);
    copy.set(this.#bytes.subarray(0, this.#length));
    return copy;
  }

  /** What was written, as a view that the next write makes invalid. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** What was written, without a copy. The writer must not be used again. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length) as Uint8Array<ArrayBuffer>;
  }

  clear(): void {
    this.#length = 0;
  }

  #reserve(extra: number): void {
    if (this.#length + extra > this.#bytes.length) this.#grow(extra);
  }

  #grow(extra: number): void {
    const larger = new Uint8Array(Math.max(this.#length + extra, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}

/** Reads what a {@link ByteWriter} wrote. Reading past the end throws `PROTOCOL`. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, at: number = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get at(): number {
    return this.#at;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) this.#need(1);
    this.#at += 1;
    return byte as number;
  }

  f64(): number {
    this.#need(8);
    for (let i = 0; i < 8; i++) doubleBytes[DOUBLE_ORDER[i] as number] = this.#bytes[this.#at++] as number;
    return double[0] as number;
  }

  varint(): number {
    // Up to four bytes stay within the engine's small integers, which take no memory of their own in an object.
    let small = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.u8();
      if (byte < 0x80) return small | (byte << shift);
      small |= (byte & 0x7f) << shift;
    }
    let value = small;
    let scale = 2 ** 28;
    for (let i = 4; i < 8; i++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return small31(value);
      }
      scale *= 0x80;
    }
    throw new HoldfastError('PROTOCOL', 'Cannot read an integer: it is longer than 53 bits');
  }

  u32(): number {
    this.#need(4);
    let value = 0;
    for (let i = 3; i >= 0; i--) value = value * 256 + (this.#bytes[this.#at + i] as number);
    this.#at += 4;
    return value;
  }

  signed(): number {
    const folded = this.varint();
    if (folded < 2 ** 30) return (folded >>> 1) ^ -(folded & 1);
    return small31(folded % 2 === 0 ? folded / 2 : -(folded + 1) / 2);
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
