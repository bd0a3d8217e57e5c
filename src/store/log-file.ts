/**
 * A file of the commit log: numbered records in two segments, each on the disk when `append` returns.
 *
 * Each leader of a store writes a file of its own, and seals that of the leader before it. A leader looks at the seal
 * behind each append, before it reports it: so whoever has sealed a file and reads it then finds all that was ever
 * reported, and whatever a deposed leader still writes goes to a file that nobody reads.
 *
 * The file has its whole length from the beginning, written with zeros and synced. An append therefore changes
 * nothing that the file system keeps about the file, and `fdatasync` has one place to write. A record begins at a
 * sector, so no write touches a sector with something acknowledged in it.
 *
 * ```
 * file   = header, padded to a page | segment | segment
 * header = "holdfast log" version(u8) 000000 identity(16) sum(u32) seal(u8) busy(u8)
 * record = sum(u32) length(u32) number(f64) body, padded to a sector
 * ```
 *
 * The sum is the CRC-32 of the identity, the length, the number and the body, so that neither a record of another
 * log nor a payload that looks like one is taken for a record. All numbers are little endian.
 */
import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { StoreError } from '../model/errors.ts';
import type { Random } from '../model/random.ts';
import { asStoreError } from './lmdb-errors.ts';

/** The bytes of a segment. Both segments are kept in memory as well while they are in use. */
export const SEGMENT_BYTES: number = 1024 * 1024;

export type SegmentNumber = 0 | 1;

const HEADER_BYTES = 4_096;
const FILE_BYTES: number = HEADER_BYTES + 2 * SEGMENT_BYTES;
const MAGIC = 'holdfast log';
const VERSION = 1;
const VERSION_AT: number = MAGIC.length;
const IDENTITY_AT = 16;
/** The bytes of the name of a log. */
export const IDENTITY_BYTES = 16;
const SUM_AT: number = IDENTITY_AT + IDENTITY_BYTES;
const SEAL_AT: number = SUM_AT + 4;
const BUSY_AT: number = SEAL_AT + 1;

/** A record begins at a multiple of this, the most that every disk writes wholly or not at all. */
const SECTOR_BYTES = 512;
const RECORD_HEAD_BYTES = 16;
const [LENGTH_AT, NUMBER_AT] = [4, 8];

/** A record as it was read: its body is a view. */
export interface LogRecord {
  readonly body: Uint8Array;
  /** Where the next record begins. */
  readonly end: number;
}

/** The contents of a new file, and the identity that they have. */
export function emptyLog(random: Random): { readonly bytes: Uint8Array; readonly identity: string } {
  const bytes = Buffer.alloc(FILE_BYTES);
  bytes.write(MAGIC);
  bytes[VERSION_AT] = VERSION;
  random.fill(bytes.subarray(IDENTITY_AT, SUM_AT));
  bytes.writeUInt32LE(crc32(bytes.subarray(0, SUM_AT)), SUM_AT);
  return { bytes, identity: bytes.toString('hex', IDENTITY_AT, SUM_AT) };
}

export class LogFile {
  /** Names this log for the store that it belongs to: 32 hexadecimal digits. */
  readonly identity: string;
  readonly #fd: number;
  readonly #salt: number;
  readonly #seal = Buffer.alloc(1);

  /** @throws StoreError `STORE_CORRUPT`, `STORE_TOO_NEW`; what the file system throws */
  constructor(file: string) {
    this.#fd = openSync(file, 'r+');
    try {
      const header = Buffer.alloc(SUM_AT + 4);
      const length = readSync(this.#fd, header, 0, header.length, 0);
      const whole = length === header.length && header.readUInt32LE(SUM_AT) === crc32(header.subarray(0, SUM_AT));
      if (!whole || !header.toString('latin1').startsWith(MAGIC)) throw damaged('its header is damaged');
      if ((header[VERSION_AT] as number) > VERSION) {
        const message = `Cannot use the store: the version ${header[VERSION_AT]} of its commit log is newer than ${VERSION}`;
        throw new StoreError('STORE_TOO_NEW', 'aborted', message);
      }
      if (fstatSync(this.#fd).size !== FILE_BYTES) throw damaged('it has lost its end');
      const identity = header.subarray(IDENTITY_AT, SUM_AT);
      this.identity = identity.toString('hex');
      this.#salt = crc32(identity);
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  /** Whether a body of this length fits behind `at`. */
  static hasRoom(at: number, bodyBytes: number): boolean {
    return at + RECORD_HEAD_BYTES + bodyBytes <= SEGMENT_BYTES;
  }

  /** Reads a whole segment. */
  read(segment: SegmentNumber): Buffer {
    const bytes = Buffer.alloc(SEGMENT_BYTES);
    for (let read = 0; read < SEGMENT_BYTES;) {
      const count = readSync(this.#fd, bytes, read, SEGMENT_BYTES - read, positionOf(segment) + read);
      if (count === 0) throw damaged('it has lost its end');
      read += count;
    }
    return bytes;
  }

  /** The record with this number, when it is the one at `at`. */
  find(bytes: Buffer, at: number, number: number): LogRecord | undefined {
    if (at + RECORD_HEAD_BYTES > SEGMENT_BYTES || bytes.readDoubleLE(at + NUMBER_AT) !== number) return undefined;
    const end = at + RECORD_HEAD_BYTES + bytes.readUInt32LE(at + LENGTH_AT);
    if (end > SEGMENT_BYTES || bytes.readUInt32LE(at) !== this.#sumOf(bytes, at, end)) return undefined;
    return { body: bytes.subarray(at + RECORD_HEAD_BYTES, end), end: sectorBehind(end) };
  }

  /** Whether a segment has a record with this number or a later one, at any sector. */
  hasFrom(bytes: Buffer, number: number): boolean {
    for (let at = 0; at < SEGMENT_BYTES; at += SECTOR_BYTES) {
      const found = bytes.readDoubleLE(at + NUMBER_AT);
      if (found >= number && this.find(bytes, at, found) !== undefined) return true;
    }
    return false;
  }

  /**
   * Writes a record to the file and to `bytes`, the contents of the segment. It is on the disk when this returns.
   *
   * @throws StoreError with what is certain of the record
   */
  append(segment: SegmentNumber, bytes: Buffer, at: number, number: number, body: Uint8Array): LogRecord {
    const end = at + RECORD_HEAD_BYTES + body.length;
    bytes.writeUInt32LE(body.length, at + LENGTH_AT);
    bytes.writeDoubleLE(number, at + NUMBER_AT);
    bytes.set(body, at + RECORD_HEAD_BYTES);
    bytes.writeUInt32LE(this.#sumOf(bytes, at, end), at);
    this.#write(segment, bytes, at, end);
    return { body: bytes.subarray(at + RECORD_HEAD_BYTES, end), end: sectorBehind(end) };
  }

  /** Whether another leader reads the file, or has read it. */
  get isSealed(): boolean {
    readSync(this.#fd, this.#seal, 0, 1, SEAL_AT);
    return this.#seal[0] !== 0;
  }

  /** Has the leader that writes the file report nothing more. This is for processes that live, so it needs no sync. */
  seal(): void {
    writeSync(this.#fd, Buffer.of(1), 0, 1, SEAL_AT);
  }

  /** Says to other processes that live whether the leader is in a write transaction. */
  markBusy(busy: boolean): void {
    writeSync(this.#fd, Buffer.of(busy ? 1 : 0), 0, 1, BUSY_AT);
  }

  /** Whether the leader that writes the file is in a write transaction; or was, when it died. */
  get isBusy(): boolean {
    const busy = Buffer.alloc(1);
    readSync(this.#fd, busy, 0, 1, BUSY_AT);
    return busy[0] !== 0;
  }

  close(): void {
    closeSync(this.#fd);
  }

  #sumOf(bytes: Buffer, at: number, end: number): number {
    return crc32(bytes.subarray(at + LENGTH_AT, end), this.#salt);
  }

  #write(segment: SegmentNumber, bytes: Buffer, from: number, to: number): void {
    try {
      for (let at = from; at < to;) at += writeSync(this.#fd, bytes, at, to - at, positionOf(segment) + at);
    } catch (cause) {
      // Part of a record is none.
      throw asStoreError(cause, 'aborted', 'write the commit log');
    }
    try {
      fdatasyncSync(this.#fd);
    } catch (cause) {
      throw new StoreError('STORE_FAILED', 'unknown', 'Cannot sync the commit log', { cause });
    }
  }
}

function positionOf(segment: SegmentNumber): number {
  return HEADER_BYTES + segment * SEGMENT_BYTES;
}

function sectorBehind(at: number): number {
  return Math.ceil(at / SECTOR_BYTES) * SECTOR_BYTES;
}

export function damaged(what: string): StoreError {
  return new StoreError('STORE_CORRUPT', 'aborted', `Cannot read the commit log of the store: ${what}`);
}
