/** The record of a group that has rules of its own, is paused, or has a rate. */
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import type { GroupRules } from '../model/policy.ts';
import type { StoredGroup } from './groups.ts';
import type { Group } from './memory.ts';

const RECORD_VERSION = 1;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What stands in the key of the record. */
export function groupKeyBytes({ key }: Group): Uint8Array {
  return encoder.encode(key);
}

export function encodeGroup({ own, paused, gate }: Group): Uint8Array {
  const record = new ByteWriter();
  record.u8(RECORD_VERSION);
  record.u8(paused ? 1 : 0);
  for (const field of [gate?.used, gate?.usedAt, gate?.heldUntil]) record.f64(field ?? 0);
  record.text(own === undefined ? '' : JSON.stringify(own));
  return record.finish();
}

export function readGroup(key: Uint8Array, value: Uint8Array): StoredGroup {
  const reader = new ByteReader(value, 1);
  const paused = reader.u8() === 1;
  const [used, usedAt, heldUntil] = [reader.f64(), reader.f64(), reader.f64()];
  const own = reader.text();
  return {
    key: decoder.decode(key),
    own: own === '' ? undefined : (JSON.parse(own) as Partial<GroupRules>),
    paused,
    used,
    usedAt,
    heldUntil,
  };
}
