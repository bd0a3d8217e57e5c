/**
 * The stored form of an entry of KV.
 *
 * ```
 * entry = version(u8) encoding(u8) commitVersion(varint) expiresAt(f64) bytes
 * ```
 */
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import type { KvEncoding } from '../model/kv.ts';
import type { Value } from '../model/records.ts';
import type { StoredKv } from './state.ts';

const RECORD_VERSION = 1;

const scratch = new ByteWriter(8_192);

export function encodeEntry({ encoding, version, expiresAt, bytes }: StoredKv): Uint8Array {
  scratch.clear();
  scratch.u8(RECORD_VERSION);
  scratch.u8(encoding);
  scratch.varint(version);
  scratch.f64(expiresAt);
  scratch.raw(bytes);
  return scratch.finish();
}

export function readEntry(value: Value | undefined): StoredKv | undefined {
  if (value === undefined) return undefined;
  const reader = new ByteReader(value, 1);
  const encoding = reader.u8() as KvEncoding;
  const version = reader.varint();
  const expiresAt = reader.f64();
  return { encoding, version, expiresAt, bytes: reader.raw(reader.left) };
}
