/**
 * Replies in their compact form: the same bytes in a session's record and in a frame. What a reply carries
 * as `value` is encoded by the caller, because a stored one is always a number and a sent one may be anything.
 */
import type { ByteReader, ByteWriter } from './bytes.ts';
import type { ProduceException, Reply } from './command.ts';
import { type ErrorCode, HoldfastError } from './errors.ts';
import type { KvEncoding, KvEntry, KvPage, KvRecord } from './kv.ts';
import { MESSAGE_ID_BYTES } from './message-id.ts';

const TAG = {
  done: 0,
  produced: 1,
  settled: 2,
  value: 3,
  refused: 4,
  kvRead: 5,
  kvCommitted: 6,
  kvConflict: 7,
  settledInPart: 8,
  producedVersions: 9,
  published: 10,
  bull: 11,
} as const;

export interface ValueCodec {
  write(writer: ByteWriter, value: unknown): void;
  read(reader: ByteReader): unknown;
}

export function writeReply(writer: ByteWriter, reply: Reply, values: ValueCodec): void {
  writer.u8(tagOf(reply));
  switch (reply.kind) {
    case 'done':
      break;
    case 'produced':
      writer.varint(reply.exceptions.length);
      for (const { index, what, id } of reply.exceptions) {
        writer.varint(index * 2 + (what === 'deduplicated' ? 1 : 0));
        if (id !== undefined) writer.raw(id);
      }
      if (reply.version !== undefined) writer.varint(reply.version);
      break;
    case 'settled':
      writePositions(writer, reply.lost);
      if (reply.conflicts.length > 0) writePositions(writer, reply.conflicts);
      break;
    case 'kvRead':
      writer.varint(reply.entries.length);
      for (const record of reply.entries) writeRecord(writer, record);
      writer.varint(reply.pages.length);
      for (const page of reply.pages) writePage(writer, page);
      break;
    case 'published':
      writer.varint(reply.stored);
      writer.varint(reply.deduplicated);
      break;
    case 'kvCommitted':
      writer.varint(reply.version);
      break;
    case 'kvConflict':
      break;
    case 'value':
      values.write(writer, reply.value);
      break;
    case 'bull':
      writer.text(JSON.stringify(reply.values));
      writer.varint(reply.refusals.length);
      for (const { index, code, message } of reply.refusals) {
        writer.varint(index);
        writer.text(code);
        writer.text(message);
      }
      break;
    case 'refused':
      writer.text(reply.code);
      writer.text(reply.message);
      break;
  }
}

export function readReply(reader: ByteReader, values: ValueCodec): Reply {
  const tag = reader.u8();
  switch (tag) {
    case TAG.done:
      return { kind: 'done' };
    case TAG.produced:
      return { kind: 'produced', exceptions: readList(reader, readException) };
    case TAG.producedVersions:
      return { kind: 'produced', exceptions: readList(reader, readException), version: reader.varint() };
    case TAG.published:
      return { kind: 'published', stored: reader.varint(), deduplicated: reader.varint() };
    case TAG.settled:
      return { kind: 'settled', lost: readPositions(reader), conflicts: [] };
    case TAG.settledInPart:
      return { kind: 'settled', lost: readPositions(reader), conflicts: readPositions(reader) };
    case TAG.kvRead:
      return { kind: 'kvRead', entries: readList(reader, readRecord), pages: readList(reader, readPage) };
    case TAG.kvCommitted:
      return { kind: 'kvCommitted', version: reader.varint() };
    case TAG.kvConflict:
      return { kind: 'kvConflict' };
    case TAG.value:
      return { kind: 'value', value: values.read(reader) };
    case TAG.bull:
      return {
        kind: 'bull',
        values: readJson(reader) as unknown[],
        refusals: readList(reader, () => ({
          index: reader.varint(),
          code: reader.text() as ErrorCode,
          message: reader.text(),
        })),
      };
    case TAG.refused:
      return { kind: 'refused', code: reader.text() as ErrorCode, message: reader.text() };
    default:
      throw new HoldfastError('PROTOCOL', `Cannot read a reply of kind ${tag}`);
  }
}

function readJson(reader: ByteReader): unknown {
  try {
    return JSON.parse(reader.text());
  } catch (cause) {
    throw new HoldfastError('PROTOCOL', 'Cannot read an answer: it is not JSON', { cause });
  }
}

function tagOf(reply: Reply): number {
  if (reply.kind === 'settled' && reply.conflicts.length > 0) return TAG.settledInPart;
  if (reply.kind === 'produced' && reply.version !== undefined) return TAG.producedVersions;
  return TAG[reply.kind];
}

/** Reads a counted list; a count above what the bytes can hold is found before anything is allocated for it. */
export function readList<T>(reader: ByteReader, read: (reader: ByteReader) => T): T[] {
  const count = reader.varint();
  if (count > reader.left) throw new HoldfastError('PROTOCOL', `Cannot read ${count} items from ${reader.left} bytes`);
  const items: T[] = [];
  for (let i = 0; i < count; i++) items.push(read(reader));
  return items;
}

function writePositions(writer: ByteWriter, positions: readonly number[]): void {
  writer.varint(positions.length);
  for (const position of positions) writer.varint(position);
}

function readPositions(reader: ByteReader): number[] {
  return readList(reader, (from) => from.varint());
}

/** An absent entry is a zero. */
function writeRecord(writer: ByteWriter, record: KvRecord | undefined): void {
  writer.u8(record?.encoding ?? 0);
  if (record === undefined) return;
  writer.varint(record.version);
  writer.bytes(record.bytes);
}

function readRecord(reader: ByteReader): KvRecord | undefined {
  const encoding = reader.u8();
  if (encoding === 0) return undefined;
  const version = reader.varint();
  return { encoding: encoding as KvEncoding, version, bytes: reader.bytes() };
}

function writePage(writer: ByteWriter, { entries, isEnd, last }: KvPage): void {
  writer.u8((isEnd ? 1 : 0) | (last === undefined ? 0 : 2));
  if (last !== undefined) writer.bytes(last);
  writer.varint(entries.length);
  for (const entry of entries) {
    writer.bytes(entry.key);
    writeRecord(writer, entry);
  }
}

function readPage(reader: ByteReader): KvPage {
  const flags = reader.u8();
  const last = flags & 2 ? reader.bytes() : undefined;
  const entries = readList(reader, (from): KvEntry => {
    const key = from.bytes();
    const record = readRecord(from);
    if (record === undefined) throw new HoldfastError('PROTOCOL', 'Cannot read a page: an entry has no value');
    return { key, ...record };
  });
  return { entries, isEnd: (flags & 1) !== 0, last };
}

function readException(reader: ByteReader): ProduceException {
  const folded = reader.varint();
  const index = Math.floor(folded / 2);
  if (folded % 2 === 0) return { index, what: 'backlogFull', id: undefined };
  return { index, what: 'deduplicated', id: reader.raw(MESSAGE_ID_BYTES).slice() };
}
