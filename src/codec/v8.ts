/**
 * The structured-clone form of V8: values of KV, and messages of its queues. Only clients read it; the broker passes the
 * bytes on.
 *
 * The form is V8's own, with typed arrays as V8 writes them, so that Deno reads it too. What the version of V8 here cannot
 * read for its number alone is read all the same: version 16 differs from 15 in nothing but a type of array. Where
 * `node:v8` has no such form, as on Bun, `v8-writer.ts` and `v8-reader.ts` stand in.
 */
import { types } from 'node:util';
import { Deserializer, Serializer } from 'node:v8';
import { HoldfastError } from '../model/errors.ts';
import { KV_ENCODING, type KvValue } from '../model/kv.ts';
import { KvU64 } from './kv-u64.ts';
import {
  laterRecordOf,
  notCloned,
  objectOf,
  platformKindWithin,
  type PlatformRecord,
  recordOf,
  StoredKey,
} from './platform-objects.ts';
import { HEADER, WRITTEN_VERSION } from './v8-form.ts';
import { readPlain, writePlain } from './v8-plain.ts';
import { readV8Form } from './v8-reader.ts';
import { isPiece, writeHostObject, writeV8Form } from './v8-writer.ts';

/** A version that is read whatever the version of V8 here is. */
const LOWERED_VERSION = 16;

/** Stands before what a host of V8 writes in its own form. */
const HOST_OBJECT = 0x5c;

/** The form of {@link HOST_OBJECT} in which a record follows, as Deno has it. */
const RECORD_FOLLOWS = 0xffff_ffff;

/** An object without any field, as V8 writes it. */
const EMPTY_OBJECT: Buffer = Buffer.from('o{\0');

/**
 * Encodes a value. A DOMException is kept as such only where it is the whole value; so are, by {@link encodeKvValueLater},
 * a Blob, a File and a CryptoKey. Within a value they are refused.
 *
 * @throws TypeError for what cannot be cloned, in the words of V8; Error for a SharedArrayBuffer
 */
export function encodeV8(value: unknown): Uint8Array {
  const plain = writePlain(value, OWN_VERSION ?? WRITTEN_VERSION);
  if (plain !== undefined) return plain;
  const record = recordOf(value);
  if (record !== undefined) return encodeRecord(record);
  const bytes = encoded(value);
  // Objects of the platform that V8 takes for those of a program come out without a field.
  if (typeof value === 'object' && value !== null && asBuffer(bytes).includes(EMPTY_OBJECT)) {
    const kind = platformKindWithin(value);
    if (kind !== undefined) throw notCloned(kind);
  }
  // Of a module within a value V8 writes nothing at all, and does not say so.
  if (typeof value === 'object' && value !== null && !isWhole(bytes)) {
    throw new TypeError('Wasm modules cannot be stored');
  }
  return bytes;
}

/** Decodes what {@link encodeV8} made; the value shares no memory with the bytes. @throws HoldfastError `UNDECODABLE` */
export function decodeV8(bytes: Uint8Array): unknown {
  const value = decoded(bytes);
  if (value instanceof StoredKey) throw undecodable('a CryptoKey cannot be read at once');
  return value;
}

/** A value of KV: a KvU64 and a Uint8Array as they are, anything else as {@link encodeV8}, which throws as that does. */
export function encodeKvValue(value: unknown): KvValue {
  if (value instanceof KvU64) {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value.value, true);
    return { encoding: KV_ENCODING.u64, bytes };
  }
  if (types.isUint8Array(value)) return { encoding: KV_ENCODING.bytes, bytes: Uint8Array.from(value) };
  return { encoding: KV_ENCODING.v8, bytes: encodeV8(value) };
}

/**
 * As {@link encodeKvValue}, and also a Blob, a File and a CryptoKey, which give their content only in a while.
 *
 * @throws as that; the promise rejects with a TypeError for a key that may not be extracted
 */
export function encodeKvValueLater(value: unknown): KvValue | Promise<KvValue> {
  const record = laterRecordOf(value);
  if (record === undefined) return encodeKvValue(value);
  return record.then((known) => ({ encoding: KV_ENCODING.v8, bytes: encodeRecord(known) }));
}

/** A value, or the promise of one that is a CryptoKey: no value is itself a promise. @throws HoldfastError `UNDECODABLE` */
export function decodeKvValue({ encoding, bytes }: KvValue): unknown {
  switch (encoding) {
    case KV_ENCODING.v8: {
      const value = decoded(bytes);
      return value instanceof StoredKey ? imported(value) : value;
    }
    case KV_ENCODING.bytes:
      return Uint8Array.from(bytes);
    case KV_ENCODING.u64:
      if (bytes.length !== 8) throw new HoldfastError('UNDECODABLE', 'Cannot decode a number: it has not 8 bytes');
      return new KvU64(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
  }
}

async function imported(key: StoredKey): Promise<unknown> {
  try {
    return await key.import();
  } catch (cause) {
    throw undecodable('its CryptoKey cannot be imported', cause);
  }
}

function decoded(bytes: Uint8Array): unknown {
  try {
    const plain = readPlain(asBuffer(bytes));
    return plain === undefined ? read(bytes) : plain.value;
  } catch (cause) {
    throw undecodable('it is not in the form of V8', cause);
  }
}

function undecodable(why: string, cause?: unknown): HoldfastError {
  return new HoldfastError('UNDECODABLE', `Cannot decode a value: ${why}`, { cause });
}

function encodeRecord(record: PlatformRecord): Uint8Array {
  if (!hasV8Form) return writeHostObject(RECORD_FOLLOWS, record);
  const serializer = new PlainSerializer();
  serializer.writeHeader();
  serializer.writeRawBytes(Uint8Array.of(HOST_OBJECT));
  serializer.writeUint32(RECORD_FOLLOWS);
  serializer.writeValue(record);
  return serializer.releaseBuffer();
}

function encoded(value: unknown): Uint8Array {
  if (!hasV8Form) return writeV8Form(value);
  if (typeof value !== 'object' || value === null) return written(new PlainSerializer(), value);
  const finder = new ViewFinder();
  const bytes = written(finder, value);
  if (finder.views.length === 0) return bytes;
  if (!finder.views.some(isPiece)) return written(new PlainSerializer(), value);
  // V8 writes the whole buffer under a view. Under a piece of Node's pool lie bytes of others: each gets one of its own.
  return written(new PlainSerializer(), new ViewReturner(bytes, finder.views.map(ownBytes)).read());
}

function isWhole(bytes: Uint8Array): boolean {
  try {
    read(bytes);
    return true;
  } catch (error) {
    // Reading takes more of the stack than writing does: what is written may be too deep to be read.
    if (error instanceof RangeError) throw error;
    return false;
  }
}

function read(bytes: Uint8Array): unknown {
  return hasV8Form ? readByPlatform(bytes) : readByHand(bytes);
}

function readByHand(bytes: Uint8Array): unknown {
  let hasKeys = false;
  const value = readV8Form(bytes, (kind, readValue) => {
    const object = hostObject(kind, readValue);
    hasKeys ||= object instanceof StoredKey;
    return object;
  });
  return withoutKeysWithin(value, hasKeys);
}

function readByPlatform(bytes: Uint8Array): unknown {
  const reader = new Reader(readable(bytes));
  reader.readHeader();
  return withoutKeysWithin(reader.readValue(), reader.hasKeys);
}

function withoutKeysWithin(value: unknown, hasKeys: boolean): unknown {
  if (hasKeys && !(value instanceof StoredKey)) throw new TypeError('A CryptoKey within a value cannot be read');
  return value;
}

function hostObject(kind: number, readValue: () => unknown): unknown {
  if (kind !== RECORD_FOLLOWS) throw new TypeError('It holds an object of another host');
  return objectOf(readValue() as PlatformRecord);
}

/** Reads objects of the platform. */
class Reader extends Deserializer {
  hasKeys = false;

  /** @internal */
  _readHostObject(): unknown {
    const object = hostObject(this.readUint32(), () => this.readValue());
    this.hasKeys ||= object instanceof StoredKey;
    return object;
  }
}

/** Writes typed arrays as V8 does. */
class PlainSerializer extends Serializer {
  /** @internal V8 makes its errors with this. */
  _getDataCloneError: typeof Error = TypeError;
}

/** What Node adds to its serializer, and does not declare. */
interface HostSerializer {
  _setTreatArrayBufferViewsAsHostObjects(yes: boolean): void;
  writeUint32(value: number): void;
}

/** Writes in place of each view of bytes its number, and keeps them. */
class ViewFinder extends PlainSerializer {
  readonly views: ArrayBufferView[] = [];

  constructor() {
    super();
    (this as unknown as HostSerializer)._setTreatArrayBufferViewsAsHostObjects(true);
  }

  /** @internal */
  _writeHostObject(value: object): void {
    if (!ArrayBuffer.isView(value)) throw new TypeError(`#<${value.constructor.name}> could not be cloned.`);
    this.writeUint32(this.views.length);
    this.views.push(value);
  }
}

/** Reads what a {@link ViewFinder} wrote, with other views in the places of those that it found. */
class ViewReturner extends Deserializer {
  readonly #views: readonly ArrayBufferView[];

  constructor(bytes: Uint8Array, views: readonly ArrayBufferView[]) {
    super(asBuffer(bytes));
    this.#views = views;
  }

  read(): unknown {
    this.readHeader();
    return this.readValue();
  }

  /** @internal */
  _readHostObject(): ArrayBufferView {
    return this.#views[this.readUint32()] as ArrayBufferView;
  }
}

function ownBytes(view: ArrayBufferView): ArrayBufferView {
  return isPiece(view) ? Uint8Array.from(view as Buffer) : view;
}

function written(serializer: Serializer, value: unknown): Uint8Array {
  serializer.writeHeader();
  try {
    serializer.writeValue(value);
  } catch (error) {
    throw refusalOf(error);
  }
  return serializer.releaseBuffer();
}

/** Node speaks of its own classes in an Error, where V8 makes a TypeError. */
function refusalOf(error: unknown): unknown {
  const isNodes =
    error instanceof Error && error.constructor === Error && error.message.endsWith(' could not be cloned.');
  return isNodes && !error.message.startsWith('#<SharedArrayBuffer>') ? new TypeError(error.message) : error;
}

/** Bun has `node:v8` in name only: then the form is written and read by hand. */
const OWN_VERSION: number | undefined = platformVersion();
const hasV8Form: boolean = OWN_VERSION !== undefined;

function platformVersion(): number | undefined {
  try {
    const [header, version] = written(new PlainSerializer(), undefined);
    return header === HEADER ? version : undefined;
  } catch {
    return undefined;
  }
}

function readable(bytes: Uint8Array): Buffer {
  const buffer = asBuffer(bytes);
  if (
    OWN_VERSION === undefined ||
    OWN_VERSION >= LOWERED_VERSION ||
    buffer[0] !== HEADER ||
    buffer[1] !== LOWERED_VERSION
  )
    return buffer;
  const lowered = Buffer.from(buffer);
  lowered[1] = OWN_VERSION;
  return lowered;
}

/** The same bytes, not a copy. */
function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
