/**
 * Numbers of KV: what `sum`, `min` and `max` make of an entry and an operand. Of the structured-clone form of V8 the
 * machine reads numbers and bigints alone, which take a header and a few bytes; everything else stays opaque to it.
 *
 * ```
 * value  = 0xff version(u8) body                 versions 13 to 16 have the same bodies
 * body   = 'I' zigzag(varint) | 'U' varint | 'N' double(f64, little endian)
 *        | 'Z' flags(varint) digits              bit 0 of flags is the sign, the rest the number of bytes
 * ```
 *
 * The form is that of `ValueSerializer` in V8 (src/objects/value-serializer.cc); numbers are written in version 15.
 */
import { KV_ENCODING, type KvMutation, type KvSumLimits, type KvValue } from '../model/kv.ts';

/** What came of an operation; `refused` says why nothing did. */
export type Computed = { readonly value: KvValue } | { readonly refused: string };

type Operand =
  | { readonly type: 'KvU64'; readonly value: bigint }
  | { readonly type: 'BigInt'; readonly value: bigint }
  | { readonly type: 'Number'; readonly value: number };

const U64 = 2n ** 64n;

/** Does `kind` to an entry; one that is absent becomes the operand. */
export function compute(
  mutation: Extract<KvMutation, { kind: 'sum' | 'min' | 'max' }>,
  entry: KvValue | undefined,
): Computed {
  const { kind, value } = mutation;
  if (kind === 'sum') return sum(value, mutation.limits, entry);
  if (value.encoding !== KV_ENCODING.u64)
    return { refused: `Failed to perform '${kind}' mutation on a non-U64 operand` };
  if (entry === undefined) return { value };
  if (entry.encoding !== KV_ENCODING.u64) return notU64(kind);
  const [a, b] = [readU64(entry.bytes), readU64(value.bytes)];
  return { value: (kind === 'min') === a < b ? entry : value };
}

function sum(value: KvValue, limits: KvSumLimits | undefined, entry: KvValue | undefined): Computed {
  const given = readOperand(value);
  if (given === undefined) return { refused: 'Some of the parameters are not valid V8 values' };
  const current = entry === undefined ? undefined : readOperand(entry);
  if (entry !== undefined && current === undefined) return notU64('sum');
  const operand = current?.type === 'KvU64' ? asU64(given) : given;
  if (current !== undefined && current.type !== operand.type) {
    if (operand.type === 'KvU64') return notU64('sum');
    return { refused: `Cannot sum ${current.type} with ${operand.type}` };
  }
  if (operand.type === 'KvU64') {
    return {
      value: writeOperand({ type: 'KvU64', value: (((current?.value as bigint) ?? 0n) + operand.value) % U64 }),
    };
  }
  const total = add(current, operand);
  const bounded = limits === undefined ? total : within(total, limits);
  return typeof bounded === 'string' ? { refused: bounded } : { value: writeOperand(bounded) };
}

/** Beside a KvU64, Deno takes a bigint of its range for one. */
function asU64(operand: Operand): Operand {
  const { type, value } = operand;
  return type === 'BigInt' && value >= 0n && value < U64 ? { type: 'KvU64', value } : operand;
}

function add(current: Operand | undefined, operand: Operand): Operand {
  if (current === undefined) return operand;
  if (operand.type === 'Number') return { type: 'Number', value: (current.value as number) + operand.value };
  return { type: operand.type, value: (current.value as bigint) + operand.value };
}

/** The sum, or the bound that it passed, or why it cannot be. */
function within(total: Operand, { min, max, isClamped }: KvSumLimits): Operand | string {
  for (const [bytes, isPassed] of [
    [min, (bound: Operand) => total.value < bound.value],
    [max, (bound: Operand) => total.value > bound.value],
  ] as const) {
    if (bytes === undefined) continue;
    const bound = readOperand({ encoding: KV_ENCODING.v8, bytes });
    if (bound === undefined) return 'Some of the parameters are not valid V8 values';
    if (bound.type !== total.type) return 'Min/max parameters have different types than the operand';
    if (!isPassed(bound)) continue;
    return isClamped ? bound : 'The result of a Sum operation would exceed its range limit';
  }
  return total;
}

function notU64(kind: string): Computed {
  return { refused: `Failed to perform '${kind}' mutation on a non-U64 value in the database` };
}

function readOperand({ encoding, bytes }: KvValue): Operand | undefined {
  if (encoding === KV_ENCODING.u64) return { type: 'KvU64', value: readU64(bytes) };
  return encoding === KV_ENCODING.v8 ? readV8(bytes) : undefined;
}

function writeOperand(operand: Operand): KvValue {
  switch (operand.type) {
    case 'KvU64':
      return { encoding: KV_ENCODING.u64, bytes: littleEndian(operand.value, 8) };
    case 'BigInt':
      return { encoding: KV_ENCODING.v8, bytes: writeBigInt(operand.value) };
    case 'Number':
      return { encoding: KV_ENCODING.v8, bytes: writeNumber(operand.value) };
  }
}

const TAG = { int32: 0x49, uint32: 0x55, double: 0x4e, bigint: 0x5a } as const;
const HEADER = [0xff, 0x0f] as const;
const VERSIONS = { from: 13, to: 16 } as const;

function readV8(bytes: Uint8Array): Operand | undefined {
  const [mark, version = 0, tag] = bytes;
  if (mark !== HEADER[0] || version < VERSIONS.from || version > VERSIONS.to) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (tag === TAG.double) {
    // Two-byte strings are padded to an even position, doubles are not.
    return bytes.length === 11 ? { type: 'Number', value: view.getFloat64(3, true) } : undefined;
  }
  const number = readVarint(bytes, 3);
  if (number === undefined) return undefined;
  const { value, end } = number;
  const isWhole = end === bytes.length;
  switch (tag) {
    case TAG.int32:
      return isWhole ? { type: 'Number', value: (value >>> 1) ^ -(value & 1) } : undefined;
    case TAG.uint32:
      return isWhole ? { type: 'Number', value: value >>> 0 } : undefined;
    case TAG.bigint: {
      const digits = bytes.subarray(end);
      if (digits.length !== value >>> 1) return undefined;
      const magnitude = fromLittleEndian(digits);
      return { type: 'BigInt', value: value & 1 ? -magnitude : magnitude };
    }
    default:
      return undefined;
  }
}

function readVarint(bytes: Uint8Array, start: number): { value: number; end: number } | undefined {
  let value = 0;
  for (let at = start, shift = 0; shift < 35; at++, shift += 7) {
    const byte = bytes[at];
    if (byte === undefined) return undefined;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return { value, end: at + 1 };
  }
  return undefined;
}

/** As V8 does it: whole numbers of 31 bits are short. */
function writeNumber(value: number): Uint8Array {
  const isSmall = Number.isInteger(value) && Math.abs(value) < 2 ** 30 && !Object.is(value, -0);
  if (isSmall) return Uint8Array.from([...HEADER, TAG.int32, ...varint(value < 0 ? -value * 2 - 1 : value * 2)]);
  const bytes = new Uint8Array(11);
  bytes.set([...HEADER, TAG.double]);
  new DataView(bytes.buffer).setFloat64(3, value, true);
  return bytes;
}

function writeBigInt(value: bigint): Uint8Array {
  const isNegative = value < 0n;
  const magnitude = isNegative ? -value : value;
  // V8 counts digits of 64 bits.
  const length = Math.ceil(magnitude.toString(16).length / 16) * (magnitude === 0n ? 0 : 8);
  return Uint8Array.from([
    ...HEADER,
    TAG.bigint,
    ...varint(length * 2 + (isNegative ? 1 : 0)),
    ...littleEndian(magnitude, length),
  ]);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return bytes;
}

function readU64(bytes: Uint8Array): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(0, true);
}

function fromLittleEndian(bytes: Uint8Array): bigint {
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).reverse();
  return digits.length === 0 ? 0n : BigInt(`0x${digits.join('')}`);
}

function littleEndian(value: bigint, length: number): Uint8Array {
  const digits = value.toString(16).padStart(length * 2, '0');
  return Uint8Array.from({ length }, (_, i) =>
    Number.parseInt(digits.slice((length - 1 - i) * 2, (length - i) * 2), 16),
  );
}
