/** Reads V8's structured-clone form, see `v8-form.ts`. Its bytes are not trusted: whatever is wrong with them is an error. */
import { ByteReader } from '../model/bytes.ts';
import {
  ERROR_CLASSES,
  ERROR_TAG,
  FIRST_WITH_FLAGS,
  HEADER,
  MAX_READ_DEPTH,
  READ_VERSIONS,
  REG_EXP_FLAGS,
  TAG,
  tooDeep,
  VIEW_CLASSES,
  VIEW_FLAG,
} from './v8-form.ts';

const MAX_UINT32 = 2 ** 32 - 1;

/** Beyond it a bigint is larger than V8 has them. */
const MAX_BIGINT_BYTES = 2 ** 27;

/** What stands for an object of the host: its number, and a function that reads the value behind that. */
export type HostReader = (kind: number, read: () => unknown) => unknown;

/** The value that the bytes begin with; it shares no memory with them. @throws an error of whatever kind */
export function readV8Form(bytes: Uint8Array, host: HostReader): unknown {
  return new FormReader(bytes, host).read();
}

class FormReader {
  readonly #bytes: Uint8Array;
  readonly #in: ByteReader;
  readonly #host: HostReader;
  readonly #objects: (object | undefined)[] = [];
  #version = 0;
  #depth = 0;

  constructor(bytes: Uint8Array, host: HostReader) {
    this.#bytes = bytes;
    this.#in = new ByteReader(bytes);
    this.#host = host;
  }

  read(): unknown {
    if (this.#in.u8() !== HEADER) throw wrong('it has no header');
    this.#version = this.#uint32();
    const { min, max } = READ_VERSIONS;
    if (this.#version < min || this.#version > max) throw wrong(`version ${this.#version} is not known`);
    return this.#value();
  }

  #value(): unknown {
    if (this.#depth === MAX_READ_DEPTH) throw tooDeep();
    this.#depth += 1;
    let tag = this.#tag();
    for (; tag === TAG.objectCount; tag = this.#tag()) this.#uint32();
    const value = this.#tagged(tag);
    this.#depth -= 1;
    // A view stands behind its buffer.
    if (!(value instanceof ArrayBuffer) || this.#peek() !== TAG.view) return value;
    this.#tag();
    return this.#view(value);
  }

  #tagged(tag: number): unknown {
    switch (tag) {
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
      case TAG.uint32:
        return this.#uint32();
      case TAG.double:
        return this.#in.f64();
      case TAG.bigint:
        return this.#bigint();
      case TAG.utf8:
      case TAG.oneByte:
      case TAG.twoByte:
        return this.#text(tag);
      case TAG.reference:
        return this.#referenced(this.#uint32());
      default:
        return this.#object(tag, this.#objects.push(undefined) - 1);
    }
  }

  #object(tag: number, id: number): object {
    switch (tag) {
      case TAG.object:
        return this.#plain(this.#known(id, {}));
      case TAG.dense:
        return this.#dense(this.#known(id, []));
      case TAG.sparse:
        return this.#sparse(this.#known(id, []));
      case TAG.map:
        return this.#map(this.#known(id, new Map()));
      case TAG.set:
        return this.#set(this.#known(id, new Set()));
      case TAG.error:
        return this.#error(id);
      case TAG.hostObject:
        return this.#known(id, this.#hostObject());
      default:
        return this.#known(id, this.#leaf(tag));
    }
  }

  /** An object that holds no other. */
  #leaf(tag: number): object {
    switch (tag) {
      case TAG.date:
        return new Date(this.#in.f64());
      case TAG.trueObject:
        return Object(true) as object;
      case TAG.falseObject:
        return Object(false) as object;
      case TAG.numberObject:
        return Object(this.#in.f64()) as object;
      case TAG.bigintObject:
        return Object(this.#bigint()) as object;
      case TAG.stringObject:
        return Object(this.#text(this.#tag())) as object;
      case TAG.regExp:
        return this.#regExp();
      case TAG.buffer:
        return this.#buffer(this.#uint32());
      case TAG.resizableBuffer:
        return this.#resizableBuffer(this.#uint32(), this.#uint32());
      default:
        throw wrong(`there is no tag ${tag}`);
    }
  }

  #known<O extends object>(id: number, object: O): O {
    this.#objects[id] = object;
    return object;
  }

  #referenced(id: number): object {
    const object = this.#objects[id];
    if (object === undefined) throw wrong(`there is no object ${id}`);
    return object;
  }

  #plain(object: object): object {
    const count = this.#properties(object, TAG.objectEnd);
    if (count !== this.#uint32()) throw wrong('the fields of an object are not as many as it says');
    return object;
  }

  #dense(array: unknown[]): unknown[] {
    const length = this.#uint32();
    // Each takes a byte at least.
    if (length > this.#in.left) throw wrong('an array is longer than all the bytes');
    array.length = length;
    for (let index = 0; index < length; index++) {
      if (this.#peek() === TAG.hole) this.#tag();
      else define(array, index, this.#value());
    }
    return this.#arrayEnd(array, length, TAG.denseEnd);
  }

  #sparse(array: unknown[]): unknown[] {
    const length = this.#uint32();
    array.length = length;
    return this.#arrayEnd(array, length, TAG.sparseEnd);
  }

  #arrayEnd(array: unknown[], length: number, end: number): unknown[] {
    const count = this.#properties(array, end);
    if (count !== this.#uint32() || length !== this.#uint32() || length !== array.length) {
      throw wrong('the fields of an array are not as many as it says');
    }
    return array;
  }

  /** How many there were before the tag that ends them. */
  #properties(object: object, end: number): number {
    let count = 0;
    for (; this.#peek() !== end; count++) {
      const key = this.#value();
      if (typeof key !== 'string' && typeof key !== 'number') throw wrong('a key is neither a text nor a number');
      if (Object.hasOwn(object, key)) throw wrong('a key stands there twice');
      define(object, key, this.#value());
    }
    this.#tag();
    return count;
  }

  #map(map: Map<unknown, unknown>): Map<unknown, unknown> {
    let count = 0;
    for (; this.#peek() !== TAG.mapEnd; count += 2) map.set(this.#value(), this.#value());
    this.#tag();
    if (count !== this.#uint32()) throw wrong('the entries of a Map are not as many as it says');
    return map;
  }

  #set(set: Set<unknown>): Set<unknown> {
    let count = 0;
    for (; this.#peek() !== TAG.setEnd; count++) set.add(this.#value());
    this.#tag();
    if (count !== this.#uint32()) throw wrong('the items of a Set are not as many as it says');
    return set;
  }

  #hostObject(): object {
    const object = this.#host(this.#uint32(), () => this.#value());
    if (typeof object !== 'object' || object === null) throw wrong('an object of the host is none');
    return object;
  }

  #error(id: number): Error {
    let tag = this.#tag();
    const constructor = ERROR_CLASSES.get(tag) ?? Error;
    if (constructor !== Error) tag = this.#tag();
    const error = this.#known(id, errorWithoutFields(constructor));
    let stack: string | undefined;
    for (; tag !== ERROR_TAG.end; tag = this.#tag()) {
      if (tag === ERROR_TAG.message) defineHidden(error, 'message', this.#text(this.#tag()));
      else if (tag === ERROR_TAG.cause) defineHidden(error, 'cause', this.#value());
      else if (tag === ERROR_TAG.stack) stack = this.#text(this.#tag());
      else throw wrong(`an error has no part ${tag}`);
    }
    defineHidden(error, 'stack', stack);
    return error;
  }

  #regExp(): RegExp {
    const source = this.#text(this.#tag());
    const bits = this.#uint32();
    if (bits >= 2 ** REG_EXP_FLAGS.length) throw wrong('a RegExp has a flag that is not known');
    let flags = '';
    // The flag of V8 alone is refused by the RegExp itself.
    for (let bit = 0; bit < REG_EXP_FLAGS.length; bit++) if ((bits & (1 << bit)) !== 0) flags += REG_EXP_FLAGS[bit];
    return new RegExp(source, flags);
  }

  #buffer(length: number): ArrayBuffer {
    return Uint8Array.from(this.#in.raw(length)).buffer;
  }

  #resizableBuffer(length: number, maxByteLength: number): ArrayBuffer {
    const content = this.#in.raw(length);
    const Resizable = ArrayBuffer as new (length: number, options: { maxByteLength: number }) => ArrayBuffer;
    const buffer = new Resizable(length, { maxByteLength });
    new Uint8Array(buffer).set(content);
    return buffer;
  }

  #view(buffer: ArrayBuffer): ArrayBufferView {
    const id = this.#objects.push(undefined) - 1;
    const View = VIEW_CLASSES.get(this.#in.u8());
    const [offset, length] = [this.#uint32(), this.#uint32()];
    const flags = this.#version < FIRST_WITH_FLAGS ? 0 : this.#uint32();
    if (View === undefined) throw wrong('a view is of no class that is known here');
    const size = View.BYTES_PER_ELEMENT ?? 1;
    const isResizable = (buffer as { readonly resizable?: boolean }).resizable === true;
    if (offset > buffer.byteLength || length > buffer.byteLength - offset || length % size !== 0) {
      throw wrong('a view does not lie in its buffer');
    }
    if (isResizable !== ((flags & VIEW_FLAG.isResizable) !== 0)) throw wrong('a view is not of its buffer');
    if ((flags & VIEW_FLAG.followsLength) === 0) return this.#known(id, new View(buffer, offset, length / size));
    if (!isResizable) throw wrong('a view follows a buffer that keeps its length');
    return this.#known(id, new View(buffer, offset));
  }

  #text(tag: number): string {
    if (tag !== TAG.oneByte && tag !== TAG.twoByte && tag !== TAG.utf8) throw wrong('there is no text');
    const { buffer, byteOffset, byteLength } = this.#in.raw(this.#uint32());
    const bytes = Buffer.from(buffer, byteOffset, byteLength);
    if (tag === TAG.oneByte) return bytes.toString('latin1');
    if (tag === TAG.utf8) return bytes.toString('utf8');
    if (byteLength % 2 === 1) throw wrong('a text ends within a unit');
    return bytes.toString('utf16le');
  }

  #bigint(): bigint {
    const bits = this.#uint32();
    const length = Math.floor(bits / 2);
    if (length > MAX_BIGINT_BYTES) throw wrong('a bigint is too large');
    if (bits === 0) return 0n;
    if (length === 0) throw wrong('there is no negative bigint of 0');
    const digits = Buffer.from(this.#in.raw(length)).reverse().toString('hex');
    return bits % 2 === 1 ? -BigInt(`0x${digits}`) : BigInt(`0x${digits}`);
  }

  #int32(): number {
    const value = this.#in.signed();
    if (value !== (value | 0)) throw wrong('an integer has more than 32 bits');
    return value;
  }

  #uint32(): number {
    const value = this.#in.varint();
    if (value > MAX_UINT32) throw wrong('an integer has more than 32 bits');
    return value;
  }

  #tag(): number {
    for (;;) {
      const tag = this.#in.u8();
      if (tag !== TAG.padding) return tag;
    }
  }

  #peek(): number | undefined {
    let at = this.#in.at;
    while (this.#bytes[at] === TAG.padding) at += 1;
    return this.#bytes[at];
  }
}

/** As a field of its own, also where the prototype has one by that name. */
function define(object: object, key: string | number, value: unknown): void {
  if (key in object)
    Object.defineProperty(object, key, { value, configurable: true, enumerable: true, writable: true });
  else (object as Record<string | number, unknown>)[key] = value;
}

function defineHidden(object: object, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, configurable: true, enumerable: false, writable: true });
}

/** Without what the platform adds to an error that it makes: where in the program that was. */
function errorWithoutFields(constructor: ErrorConstructor): Error {
  const error = new constructor();
  for (const key of Object.getOwnPropertyNames(error)) Reflect.deleteProperty(error, key);
  return error;
}

function wrong(what: string): TypeError {
  return new TypeError(`Cannot read the form of V8: ${what}`);
}
