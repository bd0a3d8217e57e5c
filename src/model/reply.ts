/**
 * Replies in their compact form: the same bytes in a session's record and in a frame. What a reply carries
 * as `value` is encoded by the caller, because a stored one is always a number and a sent one may be anything.
 */
import type { ByteReader, ByteWriter } from './bytes.ts';
import type { ProduceException, Reply } from './command.ts';
import { type ErrorCode, HoldfastError } from './errors.ts';
import { MESSAGE_ID_BYTES } from './message-id.ts';

const TAG = { done: 0, produced: 1, settled: 2, value: 3, refused: 4 } as const;

export interface ValueCodec {
  write(writer: ByteWriter, value: unknown): void;
  read(reader: ByteReader): unknown;
}

export function writeReply(writer: ByteWriter, reply: Reply, values: ValueCodec): void {
  writer.u8(TAG[reply.kind]);
  switch (reply.kind) {
    case 'done':
      break;
    case 'produced':
      writer.varint(reply.exceptions.length);
      for (const { index, what, id } of reply.exceptions) {
        writer.varint(index * 2 + (what === 'deduplicated' ? 1 : 0));
        if (id !== undefined) writer.raw(id);
      }
      break;
    case 'settled':
      writer.varint(reply.lost.length);
      for (const position of reply.lost) writer.varint(position);
      break;
    case 'value':
      values.write(writer, reply.value);
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
    case TAG.settled:
      return { kind: 'settled', lost: readList(reader, (from) => from.varint()) };
    case TAG.value:
      return { kind: 'value', value: values.read(reader) };
    case TAG.refused:
      return { kind: 'refused', code: reader.text() as ErrorCode, message: reader.text() };
    default:
      throw new HoldfastError('PROTOCOL', `Cannot read a reply of kind ${tag}`);
  }
}

/** Reads a counted list; a count above what the bytes can hold is found before anything is allocated for it. */
export function readList<T>(reader: ByteReader, read: (reader: ByteReader) => T): T[] {
  const count = reader.varint();
  if (count > reader.left) throw new HoldfastError('PROTOCOL', `Cannot read ${count} items from ${reader.left} bytes`);
  const items: T[] = [];
  for (let i = 0; i < count; i++) items.push(read(reader));
  return items;
}

function readException(reader: ByteReader): ProduceException {
  const folded = reader.varint();
  const index = Math.floor(folded / 2);
  if (folded % 2 === 0) return { index, what: 'backlogFull', id: undefined };
  return { index, what: 'deduplicated', id: reader.raw(MESSAGE_ID_BYTES).slice() };
}
