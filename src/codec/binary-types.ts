/** The built-in types that are kept in BSON binaries: bytes in all their forms, long bigints, text that is not UTF-8. */
import { endianness } from 'node:os';
import { toUSVString, types } from 'node:util';
import {
  ARRAY_BUFFER,
  BIGINT,
  BIGINT64_ARRAY,
  BIGUINT64_ARRAY,
  BYTES,
  DATA_VIEW,
  FLOAT32_ARRAY,
  FLOAT64_ARRAY,
  INT16_ARRAY,
  INT32_ARRAY,
  INT8_ARRAY,
  UINT16_ARRAY,
  UINT32_ARRAY,
  UINT8_CLAMPED_ARRAY,
  UTF16_TEXT,
} from './bson-format.ts';

/** How one built-in type of bytes is kept. */
interface ByteType {
  readonly subtype: number;
  readonly name: string;
  /** The prototypes above an instance. An instance of a subclass has more of them. */
  readonly prototypes: number;
  readonly elementBytes: number;
  readonly from: (buffer: ArrayBuffer) => unknown;
}

type TypedArrayConstructor = { new (buffer: ArrayBuffer): ArrayBufferView; name: string; BYTES_PER_ELEMENT: number };

const typedArray = (subtype: number, type: TypedArrayConstructor): ByteType => ({
  subtype,
  name: type.name,
  prototypes: 3,
  elementBytes: type.BYTES_PER_ELEMENT,
  from: (buffer) => new type(buffer),
});

const byteTypes: readonly ByteType[] = [
  typedArray(BYTES, Uint8Array),
  typedArray(INT8_ARRAY, Int8Array),
  typedArray(UINT8_CLAMPED_ARRAY, Uint8ClampedArray),
  typedArray(INT16_ARRAY, Int16Array),
  typedArray(UINT16_ARRAY, Uint16Array),
  typedArray(INT32_ARRAY, Int32Array),
  typedArray(UINT32_ARRAY, Uint32Array),
  typedArray(FLOAT32_ARRAY, Float32Array),
  typedArray(FLOAT64_ARRAY, Float64Array),
  typedArray(BIGINT64_ARRAY, BigInt64Array),
  typedArray(BIGUINT64_ARRAY, BigUint64Array),
  { subtype: ARRAY_BUFFER, name: 'ArrayBuffer', prototypes: 2, elementBytes: 1, from: (buffer) => buffer },
  { subtype: DATA_VIEW, name: 'DataView', prototypes: 2, elementBytes: 1, from: (buffer) => new DataView(buffer) },
];

// Elements are stored little endian, which is also how memory holds them on all common processors. On the others
// (IBM Z) the arrays with longer elements are refused: better than bytes that turn into other numbers elsewhere.
const keptTypes = byteTypes.filter(({ elementBytes }) => elementBytes === 1 || endianness() === 'LE');
const typesByName = new Map(keptTypes.map((type) => [type.name, type]));
const typesBySubtype = new Map(keptTypes.map((type) => [type.subtype, type]));

// The built-in getter reads the true type. The property of an instance could be shadowed.
const typedArrayTag = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype) as object,
  Symbol.toStringTag,
);

const BUFFER_PROTOTYPES = 4;

/**
 * The subtype of a typed array, a Buffer, a DataView or an ArrayBuffer; `undefined` for all else, also for an instance of
 * a subclass. `prototypes` is the number of prototypes above the value.
 */
export function byteSubtype(value: object, prototypes: number): number | undefined {
  if (Buffer.isBuffer(value)) return prototypes === BUFFER_PROTOTYPES ? BYTES : undefined;
  const type = typesByName.get(builtInName(value));
  return type?.prototypes === prototypes ? type.subtype : undefined;
}

function builtInName(value: object): string {
  if (types.isTypedArray(value)) return typedArrayTag?.get?.call(value) as string;
  if (types.isDataView(value)) return 'DataView';
  return types.isArrayBuffer(value) ? 'ArrayBuffer' : '';
}

/** The bytes under a value that has a {@link byteSubtype}, not copied; `undefined` if its buffer was transferred away. */
export function bytesUnder(value: object): Uint8Array | undefined {
  try {
    if (!ArrayBuffer.isView(value)) return new Uint8Array(value as ArrayBuffer);
    if (types.isUint8Array(value) && value.length > 0) return value;
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  } catch {
    return undefined;
  }
}

/** The bytes of a bigint beyond 64 bits: 1 if it is negative and 0 if not, then its magnitude, big endian. */
export function bigintBytes(value: bigint): Uint8Array {
  const digits = (value < 0n ? -value : value).toString(16);
  return Buffer.from((value < 0n ? '01' : '00') + (digits.length % 2 === 0 ? digits : `0${digits}`), 'hex');
}

/** Whether a bigint is kept as an int64 of BSON. */
export function fitsInt64(value: bigint): boolean {
  return BigInt.asIntN(64, value) === value;
}

/** Whether UTF-8 can hold a text: it cannot if half of a surrogate pair stands alone in it. */
export function isWellFormed(text: string): boolean {
  return toUSVString(text) === text;
}

/**
 * The value of a BSON binary. The bytes are copied, so that the value neither pins nor shares the memory of the message.
 * Returns `undefined` if no such value is ever written in this way.
 */
export function fromBinary(subtype: number, bytes: Buffer): unknown {
  const type = typesBySubtype.get(subtype);
  if (type !== undefined) {
    if (bytes.length % type.elementBytes !== 0) return undefined;
    const copy = new Uint8Array(bytes.length);
    copy.set(bytes);
    return type.from(copy.buffer);
  }
  if (subtype === BIGINT) return toBigint(bytes);
  if (subtype === UTF16_TEXT) return toText(bytes);
  return undefined;
}

function toBigint(bytes: Buffer): bigint | undefined {
  const [sign, first] = bytes;
  if (sign === undefined || sign > 1 || first === undefined || first === 0) return undefined;
  const magnitude = BigInt(`0x${bytes.toString('hex', 1)}`);
  const value = sign === 1 ? -magnitude : magnitude;
  return fitsInt64(value) ? undefined : value;
}

function toText(bytes: Buffer): string | undefined {
  if (bytes.length % 2 !== 0) return undefined;
  const text = bytes.toString('utf16le');
  return isWellFormed(text) ? undefined : text;
}
