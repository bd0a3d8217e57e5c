/**
 * The quick way of V8's structured-clone form, see `v8-form.ts`, for what most values are: small, of plain objects, lists,
 * texts and numbers. The engine's own way makes objects that cost more than such a value does. Whatever is not plain is left
 * to that: then nothing is given.
 */
import { types } from 'node:util';
import { allocate } from '../model/bytes.ts';
import { HEADER, READ_VERSIONS, TAG } from './v8-form.ts';

/** A value whose form takes more is not written here. */
const MAX_BYTES: number = 16 * 1024;

/** Objects within a value. Each is compared with those before it: one that comes again is written as a reference, not here. */
const MAX_OBJECTS = 32;

const MAX_DEPTH = 32;

/** A text up to here is written character by character; a call of the platform costs as much as so many. */
const SHORT_TEXT = 24;

const DOUBLE_BYTES = 8;
/** A tag and the longest integer, or a double. */
const NUMBER_BYTES: number = 1 + DOUBLE_BYTES;

const WIDE_CHARACTER = /[\u0100-\uffff]/;

const DIGIT_0 = 0x30;
const DIGIT_9 = 0x39;

/** Stands for a value that is left to the engine. */
const NOT_PLAIN: unique symbol = Symbol('not plain');

/** Thrown to leave from within a value. Made once: to collect its stack costs more than a value. */
const LEAVE = new Error('The value is not plain');

class PlainWriter {
  readonly #bytes: Buffer = Buffer.allocUnsafeSlow(MAX_BYTES);
  readonly #objects: object[] = [];
  #at = 0;
  #isBusy = false;

  /** The form of the value behind a header of this version; `undefined` when the value is not plain. */
  write(value: unknown, version: number): Uint8Array | undefined {
    // A getter of the value may store another one.
    if (this.#isBusy) return undefined;
    this.#isBusy = true;
    this.#at = 2;
    try {
      this.#bytes[0] = HEADER;
      this.#bytes[1] = version;
      this.#value(value, 0);
      const written = allocate(this.#at);
      written.set(this.#bytes.subarray(0, this.#at));
      return written;
    } catch (error) {
      if (error === LEAVE) return undefined;
      throw error;
    } finally {
      this.#objects.length = 0;
      this.#isBusy = false;
    }
  }

  #value(value: unknown, depth: number): void {
    switch (typeof value) {
      case 'string':
        return this.#text(value);
      case 'number':
        return this.#number(value);
      case 'boolean':
        return this.#tag(value ? TAG.true : TAG.false);
      case 'undefined':
        return this.#tag(TAG.undefined);
      case 'object':
        return value === null ? this.#tag(TAG.null) : this.#object(value, depth);
      default:
        throw LEAVE;
    }
  }

  #object(object: object, depth: number): void {
    const known = this.#objects;
    if (depth === MAX_DEPTH || known.length === MAX_OBJECTS || known.includes(object)) throw LEAVE;
    if (types.isProxy(object)) throw LEAVE;
    known.push(object);
    if (Array.isArray(object)) this.#array(object, depth);
    else this.#fields(object, depth);
  }

  #fields(object: object, depth: number): void {
    const prototype: unknown = Object.getPrototypeOf(object);
    if (
      (prototype !== Object.prototype && prototype !== null) ||
      Object.prototype.toString.call(object) !== '[object Object]'
    )
      throw LEAVE;
    const keys = Object.keys(object);
    // Objects of the platform in disguise have no field.
    if (keys.length === 0) throw LEAVE;
    this.#tag(TAG.object);
    for (const key of keys) {
      const value = (object as Record<string, unknown>)[key];
      const first = key.charCodeAt(0);
      // Keys that are numbers are written as such; and a getter may have removed what comes behind it.
      if ((first >= DIGIT_0 && first <= DIGIT_9) || (value === undefined && !Object.hasOwn(object, key))) throw LEAVE;
      this.#text(key);
      this.#value(value, depth + 1);
    }
    this.#tag(TAG.objectEnd);
    this.#varint(keys.length);
  }

  #array(array: readonly unknown[], depth: number): void {
    const { length } = array;
    if (Object.getPrototypeOf(array) !== Array.prototype || Object.keys(array).length !== length) throw LEAVE;
    this.#tag(TAG.dense);
    this.#varint(length);
    for (let index = 0; index < length; index++) {
      const value = array[index];
      if (value === undefined && !Object.hasOwn(array, index)) throw LEAVE;
      this.#value(value, depth + 1);
    }
    this.#tag(TAG.denseEnd);
    this.#varint(0);
    this.#varint(length);
  }

  #number(value: number): void {
    this.#reserve(NUMBER_BYTES);
    if ((value | 0) === value && !Object.is(value, -0)) {
      this.#bytes[this.#at++] = TAG.int32;
      this.#varint(((value << 1) ^ (value >> 31)) >>> 0);
    } else {
      this.#bytes[this.#at] = TAG.double;
      this.#bytes.writeDoubleLE(value, this.#at + 1);
      this.#at += NUMBER_BYTES;
    }
  }

  #text(text: string): void {
    const { length } = text;
    // The tag, padding before it, the length, and each character as two bytes at most.
    this.#reserve(NUMBER_BYTES + length * 2);
    if (length <= SHORT_TEXT && this.#shortText(text)) return;
    if (WIDE_CHARACTER.test(text)) return this.#wideText(text);
    this.#bytes[this.#at++] = TAG.oneByte;
    this.#varint(length);
    this.#at += this.#bytes.write(text, this.#at, 'latin1');
  }

  /** Writes a text whose length takes one byte, if every character of it takes one. */
  #shortText(text: string): boolean {
    const bytes = this.#bytes;
    let at = this.#at;
    bytes[at++] = TAG.oneByte;
    bytes[at++] = text.length;
    for (let i = 0; i < text.length; i++) {
      const character = text.charCodeAt(i);
      if (character > 0xff) return false;
      bytes[at++] = character;
    }
    this.#at = at;
    return true;
  }

  /** Its characters stand at an even place. */
  #wideText(text: string): void {
    const bytes = text.length * 2;
    const lengthBytes = bytes < 0x80 ? 1 : bytes < 0x4000 ? 2 : 3;
    if ((this.#at + 1 + lengthBytes) % 2 === 1) this.#bytes[this.#at++] = TAG.padding;
    this.#bytes[this.#at++] = TAG.twoByte;
    this.#varint(bytes);
    this.#at += this.#bytes.write(text, this.#at, 'utf16le');
  }

  #tag(tag: number): void {
    this.#reserve(1);
    this.#bytes[this.#at++] = tag;
  }

  /** An unsigned integer of 32 bits. */
  #varint(value: number): void {
    this.#reserve(NUMBER_BYTES);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[this.#at++] = rest;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes > MAX_BYTES) throw LEAVE;
  }
}

class PlainReader {
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;

  /** The value of this form, if it is plain. */
  read(bytes: Buffer): { readonly value: unknown } | undefined {
    const version = bytes[1] ?? 0;
    if (bytes[0] !== HEADER || version < READ_VERSIONS.min || version > READ_VERSIONS.max) return undefined;
    this.#bytes = bytes;
    this.#at = 2;
    const value = this.#value(0);
    return value === NOT_PLAIN ? undefined : { value };
  }

  #value(depth: number): unknown {
    switch (this.#bytes[this.#at++]) {
      case TAG.undefined:
        return undefined;
      case TAG.null:
        return null;
      case TAG.true:
        return true;
      case TAG.false:
        return false;
      case TAG.int32:
        return this.#int32();
      case TAG.double:
        return this.#double();
      case TAG.oneByte:
        return this.#text();
      case TAG.object:
        return depth === MAX_DEPTH ? NOT_PLAIN : this.#fields(depth + 1);
      case TAG.dense:
        return depth === MAX_DEPTH ? NOT_PLAIN : this.#array(depth + 1);
      default:
        return NOT_PLAIN;
    }
  }

  #fields(depth: number): unknown {
    const object: Record<string, unknown> = {};
    let count = 0;
    for (; this.#bytes[this.#at] !== TAG.objectEnd; count++) {
      if (this.#bytes[this.#at++] !== TAG.oneByte) return NOT_PLAIN;
      const key = this.#text();
      // One that stands there twice, or that the prototype has.
      if (typeof key !== 'string' || key in object) return NOT_PLAIN;
      const value = this.#value(depth);
      if (value === NOT_PLAIN) return NOT_PLAIN;
      object[key] = value;
    }
    this.#at += 1;
    return this.#bytes[this.#at++] === count && count < 0x80 ? object : NOT_PLAIN;
  }

  #array(depth: number): unknown {
    const length = this.#varint();
    if (length > this.#bytes.length - this.#at) return NOT_PLAIN;
    const array: unknown[] = [];
    for (let index = 0; index < length; index++) {
      const value = this.#value(depth);
      if (value === NOT_PLAIN) return NOT_PLAIN;
      array.push(value);
    }
    const isWhole = this.#bytes[this.#at++] === TAG.denseEnd && this.#varint() === 0 && this.#varint() === length;
    return isWhole ? array : NOT_PLAIN;
  }

  #int32(): unknown {
    const folded = this.#varint();
    return folded > MAX_UINT32 ? NOT_PLAIN : (folded >>> 1) ^ -(folded & 1);
  }

  #double(): unknown {
    if (this.#at + DOUBLE_BYTES > this.#bytes.length) return NOT_PLAIN;
    this.#at += DOUBLE_BYTES;
    return this.#bytes.readDoubleLE(this.#at - DOUBLE_BYTES);
  }

  #text(): unknown {
    const length = this.#varint();
    const from = this.#at;
    if (from + length > this.#bytes.length) return NOT_PLAIN;
    this.#at += length;
    return this.#bytes.toString('latin1', from, this.#at);
  }

  /** An unsigned integer; one of more than 32 bits, or behind the end of the bytes, is larger than any length here. */
  #varint(): number {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 28; scale *= 0x80) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) return Infinity;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    return Infinity;
  }
}

const MAX_UINT32 = 2 ** 32 - 1;

const writer = new PlainWriter();
const reader = new PlainReader();

/** The form of a value behind a header of this version; `undefined` when the value is not plain. */
export function writePlain(value: unknown, version: number): Uint8Array | undefined {
  return writer.write(value, version);
}

/** The value of this form; `undefined` when it is not plain. It shares no memory with the bytes. */
export function readPlain(bytes: Buffer): { readonly value: unknown } | undefined {
  return reader.read(bytes);
}
