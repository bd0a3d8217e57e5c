/** Writes V8's structured-clone form, see `v8-form.ts`. What cannot be cloned is refused in the words of V8. */
import { types } from 'node:util';
import { ByteWriter } from '../model/bytes.ts';
import {
  ERROR_TAG,
  ERROR_TAGS,
  HEADER,
  MAX_WRITTEN_DEPTH,
  REG_EXP_FLAGS,
  TAG,
  tooDeep,
  VIEW_FLAG,
  VIEW_TAGS,
  WRITTEN_VERSION,
} from './v8-form.ts';

/** What the types of Node 20 do not know. */
type AnyBuffer = ArrayBuffer & {
  readonly resizable?: boolean;
  readonly maxByteLength?: number;
};

type AnyClass = abstract new () => unknown;

/** A platform may be without it. */
const { WebAssembly = {} } = globalThis as unknown as { readonly WebAssembly?: Readonly<Record<string, AnyClass>> };

/** Classes whose objects have content that is no field, and no form. The other ones `node:util` tells apart. */
const REFUSED_CLASSES: readonly AnyClass[] = [
  WeakRef as unknown as AnyClass,
  FinalizationRegistry as unknown as AnyClass,
  ...Object.getOwnPropertyNames(Intl).flatMap((name) => {
    const member = (Intl as unknown as Record<string, unknown>)[name];
    return typeof member === 'function' && 'prototype' in member ? [member as AnyClass] : [];
  }),
  ...['Memory', 'Instance', 'Table', 'Global'].flatMap((name) => WebAssembly[name] ?? []),
];

const REFUSED_KINDS = [
  types.isProxy,
  types.isPromise,
  types.isWeakMap,
  types.isWeakSet,
  types.isGeneratorObject,
  types.isMapIterator,
  types.isSetIterator,
  types.isArgumentsObject,
  types.isModuleNamespaceObject,
  types.isSymbolObject,
  types.isExternal,
] as const;

/** The prototypes of iterators that `node:util` does not tell apart. */
const ITERATORS: readonly object[] = [[].values(), ''[Symbol.iterator](), ''.matchAll(/a/g)].map(
  (iterator) => Object.getPrototypeOf(iterator) as object,
);

/** The longest index that V8 writes as an integer of 32 bits; a longer one is written as the text that it is. */
const INDEX = /^(?:0|[1-9]\d{0,9})$/;
const MAX_INT32 = 2 ** 31 - 1;

/**
 * A value in V8's form, behind a header. Views over the pool of Node's Buffers get a buffer of their own: the whole buffer
 * under a view is written, and others' bytes lie in that.
 *
 * @throws TypeError for what cannot be cloned, Error for a SharedArrayBuffer, RangeError for a value that is too deep
 */
export function writeV8Form(value: unknown): Uint8Array {
  const writer = new FormWriter();
  writer.header();
  writer.value(value);
  return writer.take();
}

/** Writes an object as its host has it: behind a number of the host's, the value that stands for it. */
export function writeHostObject(kind: number, record: unknown): Uint8Array {
  const writer = new FormWriter();
  writer.header();
  writer.hostObject(kind);
  writer.value(record);
  return writer.take();
}

class FormWriter {
  readonly #out = new ByteWriter();
  readonly #ids = new Map<object, number>();
  #nextId = 0;
  #depth = 0;

  take(): Uint8Array {
    return this.#out.take();
  }

  header(): void {
    this.#out.u8(HEADER);
    this.#out.varint(WRITTEN_VERSION);
  }

  hostObject(kind: number): void {
    this.#out.u8(TAG.hostObject);
    this.#out.varint(kind);
  }

  value(value: unknown): void {
    switch (typeof value) {
      case 'undefined':
        return this.#out.u8(TAG.undefined);
      case 'boolean':
        return this.#out.u8(value ? TAG.true : TAG.false);
      case 'number':
        return this.#number(value);
      case 'bigint':
        this.#out.u8(TAG.bigint);
        return this.#bigint(value);
      case 'string':
        return this.#text(value);
      case 'object':
        return value === null ? this.#out.u8(TAG.null) : this.#reference(value);
      case 'symbol':
      case 'function':
        throw notClonable(value);
    }
  }

  #number(value: number): void {
    if ((value | 0) === value && !Object.is(value, -0)) {
      this.#out.u8(TAG.int32);
      this.#out.signed(value);
    } else {
      this.#out.u8(TAG.double);
      this.#out.f64(value);
    }
  }

  /** The sign and the length of the digits, and the digits, eight bytes each. */
  #bigint(value: bigint): void {
    const isNegative = value < 0n;
    const hex = value === 0n ? '' : (isNegative ? -value : value).toString(16);
    const bytes = Buffer.from(hex.padStart(Math.ceil(hex.length / 16) * 16, '0'), 'hex').reverse();
    this.#out.varint(bytes.length * 2 + Number(isNegative));
    this.#out.raw(bytes);
  }

  #text(text: string): void {
    if (isOneByte(text)) {
      this.#out.u8(TAG.oneByte);
      this.#out.bytes(Buffer.from(text, 'latin1'));
      return;
    }
    const bytes = Buffer.from(text, 'utf16le');
    // V8 reads the units where they lie, so they stand at an even place.
    if ((this.#out.length + 1 + varintBytes(bytes.length)) % 2 === 1) this.#out.u8(TAG.padding);
    this.#out.u8(TAG.twoByte);
    this.#out.bytes(bytes);
  }

  #reference(object: object): void {
    const id = this.#ids.get(object);
    // A view follows its buffer, unless it was written before.
    if (id === undefined && ArrayBuffer.isView(object)) return this.#view(object);
    if (id === undefined) return this.#nested(object);
    this.#out.u8(TAG.reference);
    this.#out.varint(id);
  }

  #nested(object: object): void {
    if (this.#depth === MAX_WRITTEN_DEPTH) throw tooDeep();
    this.#depth += 1;
    this.#register(object);
    this.#object(object);
    this.#depth -= 1;
  }

  #register(object: object): void {
    this.#ids.set(object, this.#nextId++);
  }

  #object(object: object): void {
    if (REFUSED_KINDS.some((is) => is(object))) throw notClonable(object);
    if (Array.isArray(object)) return this.#array(object);
    if (types.isMap(object)) return this.#map(object);
    if (types.isSet(object)) return this.#set(object);
    if (types.isDate(object)) {
      this.#out.u8(TAG.date);
      return this.#out.f64(object.getTime());
    }
    if (types.isRegExp(object)) return this.#regExp(object);
    if (types.isNativeError(object)) return this.#error(object);
    if (types.isAnyArrayBuffer(object)) return this.#buffer(object);
    if (types.isBoxedPrimitive(object)) return this.#boxed(object);
    if (REFUSED_CLASSES.some((constructor) => object instanceof constructor)) throw notClonable(object);
    if (ITERATORS.includes(Object.getPrototypeOf(object) as object)) throw notClonable(object);
    // V8 writes nothing of it, and does not say so.
    if (isWasmModule(object)) throw new TypeError('Wasm modules cannot be stored');
    this.#out.u8(TAG.object);
    const count = this.#properties(object, Object.keys(object));
    this.#out.u8(TAG.objectEnd);
    this.#out.varint(count);
  }

  /** The fields by these names that are there when their turn comes: a getter may have removed some. */
  #properties(object: object, keys: readonly string[]): number {
    let count = 0;
    for (const key of keys) {
      if (!Object.hasOwn(object, key)) continue;
      const value = (object as Record<string, unknown>)[key];
      if (INDEX.test(key) && Number(key) <= MAX_INT32) this.#number(Number(key));
      else this.#text(key);
      this.value(value);
      count += 1;
    }
    return count;
  }

  #array(array: readonly unknown[]): void {
    const { length } = array;
    const keys = Object.keys(array);
    // Indexes come first, in their order: so the last one tells whether there are holes.
    const isDense = length === 0 || keys[length - 1] === String(length - 1);
    this.#out.u8(isDense ? TAG.dense : TAG.sparse);
    this.#out.varint(length);
    if (isDense) this.#items(array, length);
    const count = this.#properties(array, isDense ? keys.slice(length) : keys);
    this.#out.u8(isDense ? TAG.denseEnd : TAG.sparseEnd);
    this.#out.varint(count);
    this.#out.varint(length);
  }

  #items(array: readonly unknown[], length: number): void {
    for (let index = 0; index < length; index++) {
      // A getter may have removed it.
      if (Object.hasOwn(array, index)) this.value(array[index]);
      else this.#out.u8(TAG.hole);
    }
  }

  #map(map: ReadonlyMap<unknown, unknown>): void {
    // Its own methods may be replaced, and it may change while its values are read.
    const entries = [...(Map.prototype.entries.call(map) as Iterable<[unknown, unknown]>)];
    this.#out.u8(TAG.map);
    for (const [key, value] of entries) {
      this.value(key);
      this.value(value);
    }
    this.#out.u8(TAG.mapEnd);
    this.#out.varint(entries.length * 2);
  }

  #set(set: ReadonlySet<unknown>): void {
    const items = [...(Set.prototype.values.call(set) as Iterable<unknown>)];
    this.#out.u8(TAG.set);
    for (const item of items) this.value(item);
    this.#out.u8(TAG.setEnd);
    this.#out.varint(items.length);
  }

  #regExp({ source, flags }: RegExp): void {
    this.#out.u8(TAG.regExp);
    // One without a source says of itself "(?:)", and is read from either.
    this.#text(source);
    let bits = 0;
    for (let at = 0; at < flags.length; at++) bits |= 1 << REG_EXP_FLAGS.indexOf(flags.charAt(at));
    this.#out.varint(bits);
  }

  #error(error: Error): void {
    const { name, stack } = error;
    this.#out.u8(TAG.error);
    const errorTag = ERROR_TAGS.get(`${name}`);
    if (errorTag !== undefined) this.#out.u8(errorTag);
    const message = Object.getOwnPropertyDescriptor(error, 'message');
    if (message !== undefined && 'value' in message) {
      this.#out.u8(ERROR_TAG.message);
      this.#text(`${message.value as string}`);
    }
    const cause = Object.getOwnPropertyDescriptor(error, 'cause');
    if (cause !== undefined && 'value' in cause) {
      this.#out.u8(ERROR_TAG.cause);
      this.value(cause.value);
    }
    if (typeof stack === 'string') {
      this.#out.u8(ERROR_TAG.stack);
      this.#text(stack);
    }
    this.#out.u8(ERROR_TAG.end);
  }

  #boxed(object: object): void {
    if (types.isNumberObject(object)) {
      this.#out.u8(TAG.numberObject);
      this.#out.f64(Number.prototype.valueOf.call(object));
    } else if (types.isStringObject(object)) {
      this.#out.u8(TAG.stringObject);
      this.#text(String.prototype.valueOf.call(object));
    } else if (types.isBooleanObject(object)) {
      this.#out.u8(Boolean.prototype.valueOf.call(object) ? TAG.trueObject : TAG.falseObject);
    } else {
      this.#out.u8(TAG.bigintObject);
      this.#bigint(BigInt.prototype.valueOf.call(object));
    }
  }

  #buffer(buffer: ArrayBufferLike): void {
    if (types.isSharedArrayBuffer(buffer)) throw new Error('#<SharedArrayBuffer> could not be cloned.');
    const { resizable, maxByteLength } = buffer as AnyBuffer;
    const bytes = bytesUnder(buffer);
    this.#out.u8(resizable === true ? TAG.resizableBuffer : TAG.buffer);
    this.#out.varint(bytes.length);
    if (resizable === true) this.#out.varint(maxByteLength as number);
    this.#out.raw(bytes);
  }

  /** A view of a resizable buffer that follows its length keeps the length that it has: nothing tells the two apart. */
  #view(view: ArrayBufferView): void {
    const { buffer, byteOffset, byteLength } = isPiece(view) ? Uint8Array.from(view as Buffer) : view;
    this.#reference(buffer);
    this.#register(view);
    this.#out.u8(TAG.view);
    this.#out.u8(VIEW_TAGS.get(viewNameOf(view)) as number);
    this.#out.varint(byteOffset);
    this.#out.varint(byteLength);
    this.#out.varint((buffer as AnyBuffer).resizable === true ? VIEW_FLAG.isResizable : 0);
  }
}

function bytesUnder(buffer: ArrayBuffer): Uint8Array {
  try {
    return new Uint8Array(buffer);
  } catch {
    throw new TypeError('An ArrayBuffer is detached and could not be cloned.');
  }
}

function isWasmModule(object: object): boolean {
  const { Module } = WebAssembly;
  return Module !== undefined && object instanceof Module;
}

/** A part of the pool that Node cuts small Buffers from, or of some other buffer. */
export function isPiece(view: ArrayBufferView): boolean {
  return Buffer.isBuffer(view) && view.byteLength < view.buffer.byteLength;
}

const TYPED_ARRAY = Object.getPrototypeOf(Uint8Array.prototype) as object;

/** The name of the class that the platform made it of, whatever class extends that. */
function viewNameOf(view: ArrayBufferView): string {
  return (Reflect.get(TYPED_ARRAY, Symbol.toStringTag, view) as string | undefined) ?? 'DataView';
}

function isOneByte(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0xff) return false;
  return true;
}

function varintBytes(value: number): number {
  return Math.max(1, Math.ceil((32 - Math.clz32(value)) / 7));
}

/** As V8 has it: a function and a symbol as they are written, an object by its class. */
function notClonable(value: object | symbol): TypeError {
  return new TypeError(`${nameOf(value)} could not be cloned.`);
}

function nameOf(value: object | symbol): string {
  if (typeof value === 'function') return Function.prototype.toString.call(value);
  if (typeof value === 'symbol') return String(value);
  // Nothing is asked of a proxy, whose handlers are the program's.
  if (types.isProxy(value)) return '#<Object>';
  if (types.isSymbolObject(value)) return '[object Symbol]';
  if (types.isModuleNamespaceObject(value)) return '[object Module]';
  const { constructor } = value as { constructor: unknown };
  if (typeof constructor === 'function' && constructor.name !== '') return `#<${constructor.name}>`;
  return Object.prototype.toString.call(value);
}
