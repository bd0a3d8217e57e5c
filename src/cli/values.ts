/**
 * Values of messages, for people and for programs.
 *
 * As JSON nothing is lost: what JSON has no place for is an object with one key that starts with `$hf:`.
 *
 * | value | JSON |
 * |---|---|
 * | undefined | `{"$hf:undefined":true}` |
 * | NaN, Infinity, -Infinity, -0 | `{"$hf:number":"NaN"}` |
 * | bigint | `{"$hf:bigint":"12"}` |
 * | Date | `{"$hf:date":"2030-01-01T00:00:00.000Z"}` |
 * | Uint8Array | `{"$hf:bytes":"base64"}` |
 * | other typed arrays, DataView, ArrayBuffer | `{"$hf:Int16Array":"base64 of the bytes, little endian"}` |
 * | Map | `{"$hf:map":[key, value, key, value, …]}` |
 * | Set | `{"$hf:set":[item, …]}` |
 * | an object with a key that starts with `$hf:` | `{"$hf:object":{…}}` |
 */
import { inspect, types } from 'node:util';
import { safeText } from './text.ts';

const TAG = '$hf:';

/** The value as JSON has it, without a loss. */
export function toJson(value: unknown): unknown {
  switch (typeof value) {
    case 'undefined':
      return tagged('undefined', true);
    case 'bigint':
      return tagged('bigint', String(value));
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0) ? value : tagged('number', numberText(value));
    case 'object':
      return value === null ? null : objectToJson(value);
    default:
      return value;
  }
}

/** The value in one line, cut where it is long. */
export function showBriefly(value: unknown): string {
  return show(value, { breakLength: Infinity, compact: true, maxArrayLength: 20, maxStringLength: 200 }).join('');
}

/** The value in as many lines as it takes. */
export function showInFull(value: unknown, width: number): string[] {
  const breakLength = Number.isFinite(width) ? width : 100;
  return show(value, { breakLength, compact: 3, maxArrayLength: 1_000, maxStringLength: 100_000 });
}

function show(value: unknown, limits: Parameters<typeof inspect>[1]): string[] {
  // Own methods of values are data, not instructions.
  const text = inspect(value, { depth: 64, customInspect: false, ...limits });
  return text.split('\n').map(safeText);
}

function objectToJson(value: object): unknown {
  if (Array.isArray(value)) return value.map(toJson);
  if (value instanceof Date) return tagged('date', value.toISOString());
  if (value instanceof Map) return tagged('map', [...value].flat(1).map(toJson));
  if (value instanceof Set) return tagged('set', [...value].map(toJson));
  if (types.isAnyArrayBuffer(value)) return tagged('ArrayBuffer', base64(new Uint8Array(value)));
  if (ArrayBuffer.isView(value)) {
    const name = value instanceof Uint8Array ? 'bytes' : value.constructor.name;
    return tagged(name, base64(new Uint8Array(value.buffer, value.byteOffset, value.byteLength)));
  }
  const entries = Object.entries(value).map(([key, part]) => [key, toJson(part)] as const);
  const object = Object.fromEntries(entries);
  return entries.some(([key]) => key.startsWith(TAG)) ? tagged('object', object) : object;
}

function tagged(name: string, value: unknown): unknown {
  return { [TAG + name]: value };
}

function numberText(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value);
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}
