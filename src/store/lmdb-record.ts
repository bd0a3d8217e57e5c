/** The form of a record in LMDB: a checksum in front of the value, because LMDB pages carry none. */
import { crc32 } from 'node:zlib';
import { StoreError } from '../model/errors.ts';
import type { Key, Value } from '../model/records.ts';

const CHECKSUM_BYTES = 4;

/** Puts the checksum of key and value in front of the value. */
export function sealRecord(key: Key, value: Value): Uint8Array {
  const sealed = new Uint8Array(CHECKSUM_BYTES + value.length);
  sealed.set(value, CHECKSUM_BYTES);
  writeChecksum(sealed, checksum(key, value));
  return sealed;
}

/** The value of a sealed record, as a view. Throws `STORE_CORRUPT`, naming `key`, when it does not match its checksum. */
export function openRecord(key: Key, sealed: Uint8Array): Value {
  const value = new Uint8Array(
    sealed.buffer,
    sealed.byteOffset + CHECKSUM_BYTES,
    Math.max(sealed.length - CHECKSUM_BYTES, 0),
  );
  if (sealed.length >= CHECKSUM_BYTES && readChecksum(sealed) === checksum(key, value)) return value;
  throw new StoreError(
    'STORE_CORRUPT',
    'aborted',
    `Cannot read the record "${nameOf(key)}": its checksum does not match`,
  );
}

function checksum(key: Key, value: Value): number {
  return crc32(value, crc32(key));
}

function readChecksum(sealed: Uint8Array): number {
  return new DataView(sealed.buffer, sealed.byteOffset, CHECKSUM_BYTES).getUint32(0, true);
}

function writeChecksum(sealed: Uint8Array, sum: number): void {
  new DataView(sealed.buffer, sealed.byteOffset, CHECKSUM_BYTES).setUint32(0, sum, true);
}

/** A key for error messages: hexadecimal, cut when it is long. */
function nameOf(key: Key): string {
  const hex = Buffer.from(key.buffer, key.byteOffset, Math.min(key.length, 48)).toString('hex');
  return key.length > 48 ? `${hex}… (${key.length} bytes)` : hex;
}
