/**
 * Protocol buffers, as much of them as KV Connect needs: messages of bytes, whole numbers, booleans, messages and lists of
 * these, described by their fields. A message that breaks the form in any way is refused; fields that are not known are
 * passed over, and those that are left out have their defaults, as the form wants it.
 *
 * The form: https://protobuf.dev/programming-guides/encoding/
 */

/** A message that is none, or has more of something than it may. */
export class MalformedMessage extends Error {
  override readonly name: string = 'MalformedMessage';
  /** Says what there is too much of; `undefined` where the form is broken. */
  readonly excess: string | undefined;

  constructor(message: string, excess?: string) {
    super(message);
    this.excess = excess;
  }
}

const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

/** A varint of 64 bits has at most this many bytes. */
const MAX_VARINT_BYTES = 10;

const NO_BYTES = new Uint8Array();

/** One field of a message: how its values are written and read, and what it is where it is left out. */
export interface Field<T> {
  readonly number: number;
  readonly initial: () => T;
  /** Writes the field, or nothing where it is the default. */
  write(writer: Writer, value: T): void;
  /** Reads one occurrence; `before` is what those before it have given. */
  read(reader: Reader, wire: number, before: T): T;
}

export interface MessageType<T> {
  encode(message: T): Uint8Array<ArrayBuffer>;
  /** @throws MalformedMessage */
  decode(bytes: Uint8Array): T;
  /** @throws MalformedMessage */
  merge(into: T, bytes: Uint8Array): T;
  readonly initial: () => T;
}

/** A message of these fields. */
export function message<T extends object>(fields: { readonly [Name in keyof T]: Field<T[Name]> }): MessageType<T> {
  const named = Object.entries(fields) as [keyof T, Field<T[keyof T]>][];
  const byNumber = new Map(named.map(([name, field]) => [field.number, { name, field }]));
  const initial = (): T => Object.fromEntries(named.map(([name, field]) => [name, field.initial()])) as T;
  const merge = (into: T, bytes: Uint8Array): T => {
    for (const reader = new Reader(bytes); !reader.isAtEnd;) {
      const { number, wire } = reader.tag();
      const known = byNumber.get(number);
      if (known === undefined) reader.skip(wire);
      else into[known.name] = known.field.read(reader, wire, into[known.name]);
    }
    return into;
  };
  return {
    initial,
    merge,
    decode: (bytes) => merge(initial(), bytes),
    encode(content) {
      const writer = new Writer();
      for (const [name, field] of named) field.write(writer, content[name]);
      return writer.finish();
    },
  };
}

export function bytes(number: number): Field<Uint8Array> {
  return {
    number,
    initial: () => NO_BYTES,
    write: (writer, value) => {
      if (value.length > 0) writer.bytes(number, value);
    },
    read: (reader, wire) => reader.bytes(expectWire(wire, WIRE.bytes, number)),
  };
}

/** `int32`, or an enumeration. */
export function int32(number: number): Field<number> {
  return whole(number, (value) => Number(BigInt.asIntN(32, value)));
}

/** `int64`; beyond 2^53 it is as exact as a number is. */
export function int64(number: number): Field<number> {
  return whole(number, (value) => Number(BigInt.asIntN(64, value)));
}

export function bool(number: number): Field<boolean> {
  return {
    number,
    initial: () => false,
    write: (writer, value) => {
      if (value) writer.whole(number, 1n);
    },
    read: (reader, wire) => reader.varint(expectWire(wire, WIRE.varint, number)) !== 0n,
  };
}

/** A message within the message; `undefined` where it is left out. */
export function embedded<T>(number: number, type: MessageType<T>): Field<T | undefined> {
  return {
    number,
    initial: () => undefined,
    write: (writer, value) => {
      if (value !== undefined) writer.bytes(number, type.encode(value));
    },
    // One that comes in several parts is all of them together.
    read: (reader, wire, before) =>
      type.merge(before ?? type.initial(), reader.bytes(expectWire(wire, WIRE.bytes, number))),
  };
}

/** A list of messages, of at most `most`; with more of them the message is refused for the `excess`. */
export function messages<T>(
  number: number,
  type: MessageType<T>,
  most: number = Infinity,
  excess?: string,
): Field<T[]> {
  return {
    number,
    initial: () => [],
    write: (writer, list) => {
      for (const one of list) writer.bytes(number, type.encode(one));
    },
    read: (reader, wire, list) => {
      const one = reader.bytes(expectWire(wire, WIRE.bytes, number));
      return added(list, type.decode(one), most, excess);
    },
  };
}

/** A list of texts of bytes. */
export function byteLists(number: number, most: number, excess: string): Field<Uint8Array[]> {
  return {
    number,
    initial: () => [],
    write: (writer, list) => {
      for (const one of list) writer.bytes(number, one);
    },
    read: (reader, wire, list) => added(list, reader.bytes(expectWire(wire, WIRE.bytes, number)), most, excess),
  };
}

/** A list of `uint32`, written together; others write them each for itself. */
export function uint32s(number: number, most: number, excess: string): Field<number[]> {
  const read = (reader: Reader): number => Number(BigInt.asUintN(32, reader.varint()));
  return {
    number,
    initial: () => [],
    write: (writer, list) => {
      if (list.length === 0) return;
      const packed = new Writer();
      for (const one of list) packed.varint(BigInt(one));
      writer.bytes(number, packed.finish());
    },
    read: (reader, wire, list) => {
      if (wire === WIRE.varint) return added(list, read(reader), most, excess);
      const packed = new Reader(reader.bytes(expectWire(wire, WIRE.bytes, number)));
      while (!packed.isAtEnd) added(list, read(packed), most, excess);
      return list;
    },
  };
}

function whole(number: number, narrow: (value: bigint) => number): Field<number> {
  return {
    number,
    initial: () => 0,
    write: (writer, value) => {
      if (value !== 0) writer.whole(number, BigInt.asUintN(64, BigInt(value)));
    },
    read: (reader, wire) => narrow(reader.varint(expectWire(wire, WIRE.varint, number))),
  };
}

function added<T>(list: T[], one: T, most: number, excess: string | undefined): T[] {
  if (list.length >= most) throw new MalformedMessage(`a list has more than ${most} elements`, excess);
  list.push(one);
  return list;
}

function expectWire(wire: number, expected: number, number: number): void {
  if (wire !== expected) throw new MalformedMessage(`field ${number} is written as kind ${wire}`);
}

/** Gathers pieces and puts them together once: what a list holds is not copied at each level. */
class Writer {
  readonly #pieces: Uint8Array[] = [];

  whole(number: number, value: bigint): void {
    this.#number(number * 8 + WIRE.varint);
    this.varint(value);
  }

  bytes(number: number, value: Uint8Array): void {
    this.#number(number * 8 + WIRE.bytes);
    this.#number(value.length);
    this.#pieces.push(value);
  }

  varint(value: bigint): void {
    const piece: number[] = [];
    let rest = value;
    for (; rest >= 0x80n; rest >>= 7n) piece.push(Number(rest & 0x7fn) | 0x80);
    piece.push(Number(rest));
    this.#pieces.push(Uint8Array.from(piece));
  }

  /** Of 31 bits: tags and lengths, of which there are many. */
  #number(value: number): void {
    const piece: number[] = [];
    let rest = value;
    for (; rest >= 0x80; rest >>>= 7) piece.push((rest & 0x7f) | 0x80);
    piece.push(rest);
    this.#pieces.push(Uint8Array.from(piece));
  }

  finish(): Uint8Array<ArrayBuffer> {
    const total = this.#pieces.reduce((sum, { length }) => sum + length, 0);
    const all = new Uint8Array(total);
    let at = 0;
    for (const piece of this.#pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(from: Uint8Array) {
    this.#bytes = from;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  tag(): { readonly number: number; readonly wire: number } {
    const tag = this.varint();
    const number = Number(tag >> 3n);
    if (number === 0 || tag >= 2n ** 32n) throw new MalformedMessage(`it has a field of number ${number}`);
    return { number, wire: Number(tag & 7n) };
  }

  /** @param _checked stands for the check of the wire's kind, which comes before */
  varint(_checked?: void): bigint {
    let value = 0n;
    for (let i = 0; i < MAX_VARINT_BYTES; i++) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw new MalformedMessage('it ends within a number');
      value |= BigInt(byte & 0x7f) << BigInt(7 * i);
      if (byte >= 0x80) continue;
      if (value >= 2n ** 64n) break;
      return value;
    }
    throw new MalformedMessage('a number has more than 64 bits');
  }

  bytes(_checked?: void): Uint8Array {
    const length = this.varint();
    return this.#take(length);
  }

  /** Passes over a field that is not known. */
  skip(wire: number): void {
    switch (wire) {
      case WIRE.varint:
        this.varint();
        break;
      case WIRE.fixed64:
        this.#take(8n);
        break;
      case WIRE.bytes:
        this.bytes();
        break;
      case WIRE.fixed32:
        this.#take(4n);
        break;
      default:
        throw new MalformedMessage(`a field is written as kind ${wire}`);
    }
  }

  #take(length: bigint): Uint8Array {
    if (length > BigInt(this.#bytes.length - this.#at)) throw new MalformedMessage('it ends within a field');
    const from = this.#at;
    this.#at += Number(length);
    return this.#bytes.subarray(from, this.#at);
  }
}
