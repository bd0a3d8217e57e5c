import { types } from 'node:util';
import { bytesUnder, byteSubtype } from './binary-types.ts';
import {
  ARRAY,
  DOCUMENT,
  MAP_TAG,
  MOST_HASHED_NUMBERS,
  NULL,
  OBJECT_TAG,
  SET_TAG,
  TAG_PREFIX,
  UNDEFINED,
} from './bson-format.ts';
import { BsonOutput } from './bson-output.ts';
import {
  arrayRefusal,
  circularRefusal,
  depthRefusal,
  detachedRefusal,
  hashedNumbersRefusal,
  keyRefusal,
  propertyRefusal,
  refusal,
  sizeRefusal,
  type Step,
} from './refusal.ts';

/** Those of a Buffer: its own, that of Uint8Array, that of all typed arrays, that of all objects. */
const MOST_PROTOTYPES = 4;

/**
 * Writes one value after another, and refuses what would not come back. It is not reentrant: a getter that encodes
 * something needs another writer.
 */
export class BsonWriter {
  readonly #output: BsonOutput = new BsonOutput(() => this.#tooLarge());
  #maxBytes = 0;
  #maxDepth = 0;
  #hashedNumbers = 0;
  /** The containers that are being written, outermost first, and the key of each in the one before. */
  readonly #containers: object[] = [];
  readonly #keys: (string | number)[] = [];

  /** Throws a `TypeError` for a value that is not data, a `RangeError` beyond a limit. */
  write(root: unknown, maxBytes: number, maxDepth: number): Uint8Array {
    this.#maxBytes = maxBytes;
    this.#maxDepth = maxDepth;
    this.#hashedNumbers = 0;
    this.#output.begin(maxBytes);
    return this.#output.finish(this.#value('', root));
  }

  /** Makes the writer ready for the next value, also after an error, and lets go of the last one. */
  reset(): void {
    if (this.#containers.length > 0) this.#containers.length = this.#keys.length = 0;
    this.#output.shrink();
  }

  /** Writes the value behind a key, and returns the type that belongs before the key. */
  #value(key: string | number, value: unknown): number {
    switch (typeof value) {
      case 'string':
        return this.#output.text(value);
      case 'number':
        return this.#output.number(value);
      case 'boolean':
        return this.#output.boolean(value);
      case 'bigint':
        return this.#output.bigint(value);
      case 'undefined':
        return UNDEFINED;
      case 'object':
        return value === null ? NULL : this.#object(key, value);
      default:
        throw refusal(value, this.#steps(key));
    }
  }

  #object(key: string | number, value: object): number {
    const prototype = Object.getPrototypeOf(value) as object | null;
    if (prototype === Object.prototype || prototype === null) return this.#plain(key, value as Record<string, unknown>);
    if (prototype === Array.prototype && Array.isArray(value)) return this.#array(key, value);
    return this.#builtIn(key, value, prototype);
  }

  /** Built-in types are told by what they are, so that those of another realm (`node:vm`, some test runners) count. */
  #builtIn(key: string | number, value: object, prototype: object): number {
    const prototypes = countPrototypes(value);
    if (prototypes === 2) {
      if (types.isDate(value)) return this.#date(key, value);
      if (types.isMap(value)) return this.#map(key, value);
      if (types.isSet(value)) return this.#set(key, value);
      if (Array.isArray(value)) return this.#array(key, value);
    }
    if (prototypes === 1 && Object.hasOwn(prototype, 'isPrototypeOf')) {
      return this.#plain(key, value as Record<string, unknown>);
    }
    const subtype = byteSubtype(value, prototypes);
    if (subtype === undefined) throw refusal(value, this.#steps(key));
    const bytes = bytesUnder(value);
    if (bytes === undefined) throw detachedRefusal(this.#steps(key));
    return this.#output.binary(subtype, bytes);
  }

  #date(key: string | number, date: Date): number {
    const time = date.getTime();
    if (Number.isNaN(time)) throw refusal(date, this.#steps(key));
    if (hasSymbol(date) || Object.keys(date).length > 0) throw propertyRefusal(date, this.#steps(key));
    return this.#output.date(time);
  }

  #plain(key: string | number, object: Record<string, unknown>): number {
    this.#enter(key, object);
    const names = Object.keys(object);
    if (names[0]?.startsWith(TAG_PREFIX) === true) {
      const start = this.#output.open();
      this.#tag(OBJECT_TAG, DOCUMENT);
      this.#properties(object, names);
      this.#output.close(start);
    } else {
      this.#properties(object, names);
    }
    this.#leave();
    return DOCUMENT;
  }

  #properties(object: Record<string, unknown>, names: readonly string[]): void {
    const start = this.#output.open();
    for (const name of names) {
      const typeAt = this.#output.key(name);
      if (typeAt === -1) throw keyRefusal(name, this.#steps());
      this.#output.setType(typeAt, this.#value(name, object[name]));
    }
    this.#output.close(start);
  }

  #array(key: string | number, array: readonly unknown[]): number {
    this.#enter(key, array);
    const { length } = array;
    // Holes make it less and named properties make it more. Object.keys says the same and takes five times as long.
    if (Object.values(array).length !== length) throw arrayRefusal(array, this.#steps());
    const start = this.#output.open();
    for (let i = 0; i < length; i++) {
      const item = array[i];
      if (item === undefined && !Object.hasOwn(array, i)) throw arrayRefusal(array, this.#steps());
      this.#item(i, item);
    }
    this.#output.close(start);
    this.#leave();
    return ARRAY;
  }

  #map(key: string | number, map: Map<unknown, unknown>): number {
    return this.#collection(key, map, MAP_TAG, () => {
      let index = 0;
      for (const [mapKey, mapValue] of map) {
        this.#countHashed(mapKey);
        this.#item(index++, mapKey);
        this.#item(index++, mapValue);
      }
    });
  }

  #set(key: string | number, set: Set<unknown>): number {
    return this.#collection(key, set, SET_TAG, () => {
      let index = 0;
      for (const item of set) {
        this.#countHashed(item);
        this.#item(index++, item);
      }
    });
  }

  #countHashed(key: unknown): void {
    if (typeof key !== 'number' && typeof key !== 'bigint') return;
    if (++this.#hashedNumbers > MOST_HASHED_NUMBERS) throw hashedNumbersRefusal(MOST_HASHED_NUMBERS, this.#steps());
  }

  #collection(key: string | number, collection: object, tag: string, writeItems: () => void): number {
    this.#enter(key, collection);
    if (Object.keys(collection).length > 0) throw propertyRefusal(collection, this.#steps());
    const start = this.#output.open();
    this.#tag(tag, ARRAY);
    const itemsStart = this.#output.open();
    writeItems();
    this.#output.close(itemsStart);
    this.#output.close(start);
    this.#leave();
    return DOCUMENT;
  }

  #tag(tag: string, type: number): void {
    this.#output.setType(this.#output.key(tag), type);
  }

  #item(index: number, item: unknown): void {
    const typeAt = this.#output.index(index);
    this.#output.setType(typeAt, this.#value(index, item));
  }

  #enter(key: string | number, container: object): void {
    this.#containers.push(container);
    this.#keys.push(key);
    if (this.#containers.length > this.#maxDepth) {
      throw this.#circular() ?? depthRefusal(this.#maxDepth, this.#steps());
    }
    if (hasSymbol(container)) throw propertyRefusal(container, this.#steps());
  }

  #leave(): void {
    this.#containers.pop();
    this.#keys.pop();
  }

  /** The way to the container that is being written, or with a key to the value that it has under this key. */
  #steps(key?: string | number): Step[] {
    const keys = this.#keys.slice(1);
    if (key !== undefined) keys.push(key);
    return keys.flatMap((step, level) => {
      const container = this.#containers[level];
      return container === undefined ? [] : [[container, step] satisfies Step];
    });
  }

  #tooLarge(): TypeError | RangeError {
    return this.#circular() ?? sizeRefusal(this.#maxBytes, this.#steps());
  }

  /** The limits are also what ends the walk around a cycle. Then the cycle is the message, for it is the cause. */
  #circular(): TypeError | undefined {
    const again = this.#containers.findIndex((container, level) => this.#containers.indexOf(container) < level);
    return again === -1 ? undefined : circularRefusal(this.#steps().slice(0, again));
  }
}

function hasSymbol(value: object): boolean {
  return Object.getOwnPropertySymbols(value).length > 0;
}

/** The prototypes above a value. A chain that is longer than that of any built-in type is not followed to its end. */
function countPrototypes(value: object): number {
  let count = 0;
  let prototype = Object.getPrototypeOf(value) as object | null;
  for (
    ;
    prototype !== null && count <= MOST_PROTOTYPES;
    prototype = Object.getPrototypeOf(prototype) as object | null
  ) {
    count++;
  }
  return count;
}
