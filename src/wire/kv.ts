/**
 * KV in requests, compact.
 *
 * ```
 * kvRead   = keys ranges
 * kvCommit = effects produced
 * kvWatch  = watch(varint) keys
 * keys     = count(varint) key*                    key = length(varint) bytes
 * ranges   = count(varint) (from(key) to(key) limit(varint) reverse(u8))*
 * effects  = count(varint) check* count(varint) mutation*
 * check    = key version(varint)
 * mutation = kind(u8) key [value] [expireInMs(f64)] [min(key)] [max(key)]
 * value    = encoding(u8) length(varint) bytes
 * ```
 */
import type { ByteReader, ByteWriter } from '../model/bytes.ts';
import { MAX_DURATION_MS } from '../model/duration.ts';
import { HoldfastError } from '../model/errors.ts';
import {
  KV_ENCODING,
  type KvCheck,
  type KvEffects,
  type KvEncoding,
  type KvMutation,
  type KvRange,
  type KvSumLimits,
  type KvValue,
  MAX_KV_CHECKS,
  MAX_KV_COMMIT_BYTES,
  MAX_KV_KEY_BYTES,
  MAX_KV_LIMIT,
  MAX_KV_MUTATIONS,
  MAX_KV_KEYS,
  MAX_KV_RANGES,
  MAX_KV_VALUE_BYTES,
} from '../model/kv.ts';
import { readList } from '../model/reply.ts';

const MUTATIONS = ['set', 'delete', 'sum', 'min', 'max'] as const;

/** Set in a mutation's byte: the key gets a versionstamp; the entry expires; a sum has bounds, and is clamped to them. */
const FLAG = { stamped: 0x08, expires: 0x10, min: 0x20, max: 0x40, clamped: 0x80 } as const;

const KIND_BITS = 0x07;

/** What a list of keys, checks or mutations spends of the frame's budget. */
export type Spend = () => void;

export function writeKeys(frame: ByteWriter, keys: readonly Uint8Array[]): void {
  frame.varint(keys.length);
  for (const key of keys) frame.bytes(key);
}

export function readKeys(frame: ByteReader, spend: Spend): Uint8Array[] {
  return atMost(MAX_KV_KEYS, 'keys', () =>
    readList(frame, (from) => {
      spend();
      return readKey(from, MAX_KV_KEY_BYTES + 1);
    }),
  );
}

export function writeRanges(frame: ByteWriter, ranges: readonly KvRange[]): void {
  frame.varint(ranges.length);
  for (const { from, to, limit, reverse } of ranges) {
    frame.bytes(from);
    frame.bytes(to);
    frame.varint(limit);
    frame.u8(reverse ? 1 : 0);
  }
}

export function readRanges(frame: ByteReader, spend: Spend): KvRange[] {
  return atMost(MAX_KV_RANGES, 'ranges', () =>
    readList(frame, (reader) => {
      spend();
      const from = readKey(reader, MAX_KV_KEY_BYTES + 1);
      const to = readKey(reader, MAX_KV_KEY_BYTES + 1);
      const limit = reader.varint();
      if (limit === 0 || limit > MAX_KV_LIMIT) throw impossible(`a limit of ${limit}`);
      return { from, to, limit, reverse: reader.u8() === 1 };
    }),
  );
}

export function writeEffects(frame: ByteWriter, { checks, mutations }: KvEffects): void {
  frame.varint(checks.length);
  for (const { key, version } of checks) {
    frame.bytes(key);
    frame.varint(version);
  }
  frame.varint(mutations.length);
  for (const mutation of mutations) writeMutation(frame, mutation);
}

export function readEffects(frame: ByteReader, spend: Spend): KvEffects {
  const start = frame.at;
  const checks = atMost(MAX_KV_CHECKS, 'checks', () => readList(frame, (from) => readCheck(from, spend)));
  const mutations = atMost(MAX_KV_MUTATIONS, 'mutations', () => readList(frame, (from) => readMutation(from, spend)));
  if (frame.at - start > MAX_KV_COMMIT_BYTES) throw impossible(`more than ${MAX_KV_COMMIT_BYTES} bytes`);
  return { checks, mutations };
}

/** About what the effects take in a frame. */
export function effectsBytes({ checks, mutations }: KvEffects): number {
  let bytes = 8;
  for (const { key } of checks) bytes += key.length + 10;
  for (const mutation of mutations) {
    bytes += mutation.key.length + 12;
    if (mutation.kind !== 'delete') bytes += mutation.value.bytes.length + 8;
  }
  return bytes;
}

function readCheck(frame: ByteReader, spend: Spend): KvCheck {
  spend();
  return { key: readKey(frame, MAX_KV_KEY_BYTES + 1), version: frame.varint() };
}

function writeMutation(frame: ByteWriter, mutation: KvMutation): void {
  const expires = mutation.kind === 'set' && mutation.expireInMs !== undefined;
  const limits = mutation.kind === 'sum' ? mutation.limits : undefined;
  frame.u8(
    MUTATIONS.indexOf(mutation.kind) |
      (mutation.kind === 'set' && mutation.isStamped ? FLAG.stamped : 0) |
      (expires ? FLAG.expires : 0) |
      (limits?.min === undefined ? 0 : FLAG.min) |
      (limits?.max === undefined ? 0 : FLAG.max) |
      (limits?.isClamped === true ? FLAG.clamped : 0),
  );
  frame.bytes(mutation.key);
  if (mutation.kind === 'delete') return;
  frame.u8(mutation.value.encoding);
  frame.bytes(mutation.value.bytes);
  if (mutation.kind === 'set' && mutation.expireInMs !== undefined) frame.f64(mutation.expireInMs);
  if (limits?.min !== undefined) frame.bytes(limits.min);
  if (limits?.max !== undefined) frame.bytes(limits.max);
}

function readMutation(frame: ByteReader, spend: Spend): KvMutation {
  spend();
  const flags = frame.u8();
  const kind = MUTATIONS[flags & KIND_BITS];
  const key = readKey(frame, MAX_KV_KEY_BYTES);
  if (key.length === 0) throw impossible('an empty key');
  switch (kind) {
    case 'delete':
      return { kind, key };
    case 'set': {
      const value = readValue(frame);
      const expireInMs = flags & FLAG.expires ? frame.f64() : undefined;
      if (expireInMs !== undefined && !(expireInMs >= 0 && expireInMs <= MAX_DURATION_MS)) {
        throw impossible(`an expiry in ${expireInMs} ms`);
      }
      return { kind, key, value, expireInMs, isStamped: (flags & FLAG.stamped) !== 0 };
    }
    case 'sum':
      return { kind, key, value: readValue(frame), limits: readSumLimits(frame, flags) };
    case 'min':
    case 'max':
      return { kind, key, value: readValue(frame) };
    default:
      throw impossible(`a mutation of kind ${flags & KIND_BITS}`);
  }
}

function readSumLimits(frame: ByteReader, flags: number): KvSumLimits | undefined {
  if ((flags & (FLAG.min | FLAG.max)) === 0) return undefined;
  const min = flags & FLAG.min ? frame.bytes() : undefined;
  const max = flags & FLAG.max ? frame.bytes() : undefined;
  return { min, max, isClamped: (flags & FLAG.clamped) !== 0 };
}

function readValue(frame: ByteReader): KvValue {
  const encoding = frame.u8();
  const bytes = frame.bytes();
  if (encoding < KV_ENCODING.v8 || encoding > KV_ENCODING.bytes) throw impossible(`a value in encoding ${encoding}`);
  if (encoding === KV_ENCODING.u64 && bytes.length !== 8) throw impossible(`a number of ${bytes.length} bytes`);
  if (bytes.length > MAX_KV_VALUE_BYTES) throw impossible(`a value of ${bytes.length} bytes`);
  return { encoding: encoding as KvEncoding, bytes };
}

function readKey(frame: ByteReader, maxBytes: number): Uint8Array {
  const key = frame.bytes();
  if (key.length > maxBytes) throw impossible(`a key of ${key.length} bytes`);
  return key;
}

function atMost<T>(most: number, what: string, read: () => T[]): T[] {
  const list = read();
  if (list.length > most) throw impossible(`${list.length} ${what}`);
  return list;
}

function impossible(what: string): HoldfastError {
  return new HoldfastError('PROTOCOL', `Cannot take ${what}`);
}
