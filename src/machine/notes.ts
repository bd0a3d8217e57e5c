/** Notes: the progress and the log that a handler keeps with its message, in a record of their own. */
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import type { Key, Value } from '../model/records.ts';
import { KIND, type Layout } from './layout.ts';

export interface Notes {
  readonly progress: Uint8Array | undefined;
  readonly log: readonly string[];
}

/** The newest lines are kept; a line is cut after this many characters, and progress may take this many bytes. */
export const MAX_LOG_LINES = 100;
export const MAX_LOG_LINE_CHARACTERS = 1_024;
export const MAX_PROGRESS_BYTES = 16_384;

const RECORD_VERSION = 1;

export function notesKey(layout: Layout, message: { readonly pack: number; readonly seq: number }): Key {
  return layout.key(KIND.notes, message.pack, message.seq);
}

export function readNotes(value: Value | undefined): Notes {
  if (value === undefined) return { progress: undefined, log: [] };
  const reader = new ByteReader(value, 1);
  const progress = reader.u8() === 1 ? reader.bytes() : undefined;
  const log = Array.from({ length: reader.varint() }, () => reader.text());
  return { progress, log };
}

/** As much of a line as is kept. */
export function cutLine(line: string): string {
  return line.slice(0, MAX_LOG_LINE_CHARACTERS);
}

/** The notes after an addition. */
export function encodeNotes(
  before: Notes,
  addition: { readonly progress: Uint8Array | undefined; readonly line: string | undefined },
): Value {
  const progress = addition.progress ?? before.progress;
  const added = addition.line === undefined ? [] : [cutLine(addition.line)];
  const log = [...before.log, ...added].slice(-MAX_LOG_LINES);
  const writer = new ByteWriter();
  writer.u8(RECORD_VERSION);
  writer.u8(progress === undefined ? 0 : 1);
  if (progress !== undefined) writer.bytes(progress);
  writer.varint(log.length);
  for (const line of log) writer.text(line);
  return writer.finish();
}
