import { fromBinary } from './binary-types.ts';
import {
  ARRAY,
  BINARY,
  BOOLEAN,
  DATE,
  DOCUMENT,
  DOUBLE,
  INT32,
  INT64,
  LAST_DATE_MS,
  MAP_TAG,
  MOST_HASHED_NUMBERS,
  NULL,
  OBJECT_TAG,
  ROOT_TAG,
  SET_TAG,
  STRING,
  TAG_PREFIX,
  UNDEFINED,
} from './bson-format.ts';
import { BsonInput } from './bson-input.ts';
import { quote } from './refusal.ts';

/**
 * Reads one message. Bytes are checked before they are believed: a size against the document around it, the depth before
 * the next level, a type against the few that are ever written. Whatever is wrong is an `UNDECODABLE` error.
 */
export class BsonReader {
  readonly #input: BsonInput;
  readonly #maxDepth: number;
  #hashedNumbers = 0;

  /** Reads what stands between `start` and `end`. */
  constructor(bytes: Buffer, start: number, end: number, maxDepth: number) {
    this.#input = new BsonInput(bytes, start, end);
    this.#maxDepth = maxDepth;
  }

  read(): unknown {
    const end = this.#input.open(this.#input.end);
    if (end !== this.#input.end) throw this.#input.malformed('other bytes follow the document');
    return this.#document(end, 1, true);
  }

  /** Reads what follows the size of a document: an object or a tagged value. */
  #document(end: number, depth: number, isRoot: boolean): unknown {
    if (this.#input.firstKeyStartsWith(TAG_PREFIX)) return this.#tagged(end, depth, isRoot);
    return this.#object(end, depth);
  }

  /** A tagged value is the only element of its document, and takes no level of its own. */
  #tagged(end: number, depth: number, isRoot: boolean): unknown {
    const type = this.#input.byte();
    const tag = this.#input.key(end - 1);
    let value: unknown;
    if (tag === MAP_TAG && type === ARRAY) value = this.#map(end - 1, depth);
    else if (tag === SET_TAG && type === ARRAY) value = this.#set(end - 1, depth);
    else if (tag === OBJECT_TAG && type === DOCUMENT) value = this.#escaped(end - 1, depth);
    else if (tag === ROOT_TAG && type !== DOCUMENT && isRoot) value = this.#value(type, end - 1, depth - 1);
    else throw this.#input.malformed(`${quote(tag)} is not a known tag of this type at this place`);
    if (this.#input.byte() !== 0) throw this.#input.malformed('a tagged value is not alone');
    this.#input.close(end);
    return value;
  }

  #map(limit: number, depth: number): Map<unknown, unknown> {
    const items = this.#array(this.#input.open(limit), depth);
    for (let i = 0; i < items.length; i += 2) this.#countHashed(items[i]);
    const map = new Map<unknown, unknown>();
    for (let i = 0; i + 1 < items.length; i += 2) map.set(items[i], items[i + 1]);
    if (map.size * 2 !== items.length) throw this.#input.malformed('a Map has a key twice or without a value');
    return map;
  }

  #set(limit: number, depth: number): Set<unknown> {
    const items = this.#array(this.#input.open(limit), depth);
    for (const item of items) this.#countHashed(item);
    const set = new Set(items);
    if (set.size !== items.length) throw this.#input.malformed('a Set has an item twice');
    return set;
  }

  #countHashed(key: unknown): void {
    if (typeof key !== 'number' && typeof key !== 'bigint') return;
    if (++this.#hashedNumbers > MOST_HASHED_NUMBERS) {
      throw this.#input.malformed(`more than ${MOST_HASHED_NUMBERS} numbers in Maps and Sets`);
    }
  }

  #escaped(limit: number, depth: number): Record<string, unknown> {
    const end = this.#input.open(limit);
    if (!this.#input.firstKeyStartsWith(TAG_PREFIX)) throw this.#input.malformed('an object is tagged without need');
    return this.#object(end, depth);
  }

  #object(end: number, depth: number): Record<string, unknown> {
    this.#checkDepth(depth);
    const input = this.#input;
    const object: Record<string, unknown> = {};
    for (let type = input.byte(); type !== 0; type = input.byte()) {
      const key = input.key(end - 1);
      const value = this.#value(type, end - 1, depth);
      if (key in object) this.#define(object, key, value);
      else object[key] = value;
    }
    input.close(end);
    return object;
  }

  /** Sets a property that the object has already, which is an error, or that it inherits, such as `constructor`. */
  #define(object: Record<string, unknown>, key: string, value: unknown): void {
    if (Object.hasOwn(object, key)) throw this.#input.malformed(`the key ${quote(key)} is there twice`);
    Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
  }

  #array(end: number, depth: number): unknown[] {
    this.#checkDepth(depth);
    const input = this.#input;
    const items: unknown[] = [];
    for (let type = input.byte(); type !== 0; type = input.byte()) {
      input.index(items.length, end - 1);
      items.push(this.#value(type, end - 1, depth));
    }
    input.close(end);
    return items;
  }

  /** Reads the value of an element that ends before `limit`. `depth` is the level of the container around it. */
  #value(type: number, limit: number, depth: number): unknown {
    switch (type) {
      case STRING:
        return this.#input.string(limit);
      case INT32:
        return this.#input.int32(limit);
      case DOUBLE:
        return this.#input.double(limit);
      case DOCUMENT:
        return this.#document(this.#input.open(limit), depth + 1, false);
      case ARRAY:
        return this.#array(this.#input.open(limit), depth + 1);
      case BOOLEAN:
        return this.#input.boolean(limit);
      case NULL:
        return null;
      case UNDEFINED:
        return undefined;
      case DATE:
        return this.#date(limit);
      case INT64:
        return this.#input.int64(limit);
      case BINARY:
        return this.#binary(limit);
      default:
        throw this.#input.malformed(`elements of type ${type} are not allowed`);
    }
  }

  #date(limit: number): Date {
    const time = this.#input.roundedInt64(limit);
    if (Math.abs(time) > LAST_DATE_MS) throw this.#input.malformed('a date is out of range');
    return new Date(time);
  }

  #binary(limit: number): unknown {
    const [subtype, bytes] = this.#input.binary(limit);
    const value = fromBinary(subtype, bytes);
    if (value === undefined) throw this.#input.malformed(`a binary of subtype ${subtype} is malformed or not allowed`);
    return value;
  }

  #checkDepth(depth: number): void {
    if (depth > this.#maxDepth) throw this.#input.malformed(`more than ${this.#maxDepth} levels`);
  }
}
