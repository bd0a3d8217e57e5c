/**
 * The form of a backup: the writes that make an empty store what it was at one moment, in a file of checked records.
 *
 * ```
 * backup = "HFBACKUP" version(u32) record*
 * record = length(u32) crc32(u32) body           the checksum covers the length and the body
 * body   = 1 space(text) startedAt(f64)                    header, the first record
 *        | 2 write*                                        in the order in which they are to be applied
 *        | 3 writes(varint) endedAt(f64) sha256(32)        end, the last record
 * write  = 0 key(bytes) value(bytes) | 1 key(bytes) | 2 from(bytes) to(bytes)      put, delete, clear
 * ```
 *
 * The checksum of a record begins with that of the record before it, so that none can be missing, come twice, or stand
 * elsewhere; the SHA-256 is that of all bytes before the end record. Keys and values are those of the store, as
 * `machine/layout.ts` describes them. To change the form, raise the version, write the new one only, and keep reading
 * the old ones: a backup lives longer than the program that made it.
 */
import { createHash, type Hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import { HoldfastError } from '../model/errors.ts';
import type { Write } from '../model/records.ts';

const MAGIC: Uint8Array = Buffer.from('HFBACKUP');
const VERSION = 1;
const START_BYTES: number = MAGIC.length + 4;

const HEADER_BYTES = 8;

/** A longer record is damage; one holds about 2 MiB, and the largest value at most. */
const MAX_RECORD_BYTES: number = 32 * 1024 * 1024;

const SHA256_BYTES = 32;

const RECORD = { header: 1, writes: 2, end: 3 } as const;
const WRITE = { put: 0, delete: 1, clear: 2 } as const;

/** What a backup says of itself. */
export interface BackupHeader {
  readonly space: string;
  /** When it was begun and ended, in epoch milliseconds. The store is as it was at the end. */
  readonly startedAt: number;
}

export interface BackupEnd {
  readonly writes: number;
  readonly endedAt: number;
}

export type BackupRecord =
  | { readonly kind: 'header'; readonly header: BackupHeader }
  | { readonly kind: 'writes'; readonly writes: readonly Write[] }
  | { readonly kind: 'end'; readonly end: BackupEnd };

/** Makes the bytes of one backup, record by record. */
export class BackupWriter {
  readonly #hash: Hash = createHash('sha256');
  #checksum = 0;
  #writes = 0;

  header({ space, startedAt }: BackupHeader): Uint8Array {
    const start = new ByteWriter(64);
    start.raw(MAGIC);
    start.u32(VERSION);
    this.#hash.update(start.view());
    const body = new ByteWriter(128);
    body.u8(RECORD.header);
    body.text(space);
    body.f64(startedAt);
    return Buffer.concat([start.view(), this.#record(body)]);
  }

  writes(writes: readonly Write[]): Uint8Array {
    const body = new ByteWriter(writes.reduce((sum, write) => sum + bytesOf(write), 1));
    body.u8(RECORD.writes);
    for (const write of writes) {
      body.u8(WRITE[write.kind]);
      body.bytes(write.kind === 'clear' ? write.from : write.key);
      if (write.kind === 'put') body.bytes(write.value);
      else if (write.kind === 'clear') body.bytes(write.to);
    }
    this.#writes += writes.length;
    return this.#record(body);
  }

  end(endedAt: number): Uint8Array {
    const body = new ByteWriter(64);
    body.u8(RECORD.end);
    body.varint(this.#writes);
    body.f64(endedAt);
    body.raw(this.#hash.digest());
    return seal(body.view(), this.#checksum).record;
  }

  #record(body: ByteWriter): Uint8Array {
    const { record, checksum } = seal(body.view(), this.#checksum);
    this.#checksum = checksum;
    this.#hash.update(record);
    return record;
  }
}

/**
 * Reads a backup from chunks of any size, and checks it. What it has given may still turn out to be part of a damaged
 * backup, until the end record has come.
 *
 * @throws HoldfastError `BACKUP_DAMAGED` when the bytes are not a whole backup; `STORE_TOO_NEW` for one of a later version
 */
export async function* readBackup(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<BackupRecord, void> {
  const input = new Input(chunks);
  const hash = createHash('sha256');
  const start = await input.take(START_BYTES);
  checkStart(start);
  hash.update(start);
  let checksum = 0;
  let writes = 0;
  for (let isFirst = true; ; isFirst = false) {
    const at = input.at;
    const header = Buffer.from(await input.take(HEADER_BYTES));
    const length = header.readUInt32LE(0);
    if (length === 0 || length > MAX_RECORD_BYTES) throw damaged(at, `a record cannot have ${length} bytes`);
    const body = await input.take(length);
    checksum = crc32(body, crc32(header.subarray(0, 4), checksum));
    if (checksum !== header.readUInt32LE(4)) throw damaged(at, 'a record does not match its checksum');
    const record = readRecord(body, at);
    if ((record.kind === 'header') !== isFirst) throw damaged(at, 'its records are not in order');
    if (record.kind === 'end') {
      const digest = body.subarray(body.length - SHA256_BYTES);
      if (!hash.digest().equals(digest)) throw damaged(at, 'it does not match its SHA-256');
      if (record.end.writes !== writes) throw damaged(at, `it has ${writes} writes instead of ${record.end.writes}`);
      if (!(await input.isOver())) throw damaged(input.at, 'there is more behind its end');
      yield record;
      return;
    }
    hash.update(header);
    hash.update(body);
    if (record.kind === 'writes') writes += record.writes.length;
    yield record;
  }
}

function seal(body: Uint8Array, checksumBefore: number): { record: Uint8Array; checksum: number } {
  const record = Buffer.allocUnsafe(HEADER_BYTES + body.length);
  record.writeUInt32LE(body.length, 0);
  record.set(body, HEADER_BYTES);
  const checksum = crc32(body, crc32(record.subarray(0, 4), checksumBefore));
  record.writeUInt32LE(checksum, 4);
  return { record, checksum };
}

function checkStart(start: Uint8Array): void {
  if (!MAGIC.every((byte, i) => start[i] === byte)) throw damaged(0, 'it does not begin as one');
  const version = new ByteReader(start, MAGIC.length).u32();
  if (version > VERSION) {
    const message = `Cannot read the backup: it has version ${version}, and this package knows versions up to ${VERSION}`;
    throw new HoldfastError('STORE_TOO_NEW', message);
  }
  if (version === 0) throw damaged(0, 'it has no version');
}

function readRecord(body: Uint8Array, at: number): BackupRecord {
  const reader = new ByteReader(body);
  try {
    switch (reader.u8()) {
      case RECORD.header:
        return { kind: 'header', header: { space: reader.text(), startedAt: reader.f64() } };
      case RECORD.writes:
        return { kind: 'writes', writes: readWrites(reader) };
      case RECORD.end: {
        const end = { writes: reader.varint(), endedAt: reader.f64() };
        reader.skip(SHA256_BYTES);
        return { kind: 'end', end };
      }
      default:
        throw damaged(at, 'a record is of no known kind');
    }
  } catch (cause) {
    if (cause instanceof HoldfastError && cause.code === 'BACKUP_DAMAGED') throw cause;
    throw damaged(at, 'a record makes no sense', cause);
  }
}

function readWrites(reader: ByteReader): Write[] {
  const writes: Write[] = [];
  while (reader.left > 0) {
    const kind = reader.u8();
    const key = reader.bytes();
    if (kind === WRITE.put) writes.push({ kind: 'put', key, value: reader.bytes() });
    else if (kind === WRITE.delete) writes.push({ kind: 'delete', key });
    else if (kind === WRITE.clear) writes.push({ kind: 'clear', from: key, to: reader.bytes() });
    else throw new HoldfastError('PROTOCOL', `Cannot read a write of kind ${kind}`);
  }
  return writes;
}

/** The rough size of a write in a backup. */
export function bytesOf(write: Write): number {
  if (write.kind === 'clear') return write.from.length + write.to.length + 8;
  return write.key.length + (write.kind === 'put' ? write.value.length : 0) + 8;
}

function damaged(at: number, why: string, cause?: unknown): HoldfastError {
  const message = `Cannot use the backup: ${why}, at byte ${at}`;
  return new HoldfastError('BACKUP_DAMAGED', message, cause === undefined ? undefined : { cause });
}

/** Takes pieces of a wanted size from chunks of any size. */
class Input {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array();
  /** How many bytes were taken. */
  at = 0;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  async take(count: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (let missing = count; missing > 0;) {
      if (this.#rest.length === 0 && !(await this.#fill())) throw damaged(this.at, 'it ends too early');
      const part = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(part.length);
      parts.push(part);
      missing -= part.length;
    }
    this.at += count;
    return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
  }

  async isOver(): Promise<boolean> {
    return this.#rest.length === 0 && !(await this.#fill());
  }

  async #fill(): Promise<boolean> {
    for (;;) {
      const { done, value } = await this.#chunks.next();
      if (done === true) return false;
      if (value.length === 0) continue;
      this.#rest = value;
      return true;
    }
  }
}
