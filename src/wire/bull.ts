/** Commands for BullMQ's queues: JSON, as their jobs are JSON already. */
import { type BullArgs, type BullCommand, MAX_BULL_BYTES } from '../model/bull.ts';
import { isBullCommand } from '../model/bull-checks.ts';
import type { ByteReader, ByteWriter } from '../model/bytes.ts';
import { HoldfastError } from '../model/errors.ts';

export function writeBull(frame: ByteWriter, { queue, method, asks }: BullCommand): void {
  frame.text(queue);
  frame.text(method);
  frame.text(JSON.stringify(asks));
}

/** @throws HoldfastError `PROTOCOL` for what is no such command */
export function readBull(frame: ByteReader): BullCommand {
  const queue = frame.text();
  const method = frame.text();
  const start = frame.at;
  const text = frame.text();
  if (frame.at - start > MAX_BULL_BYTES + 8) throw refuse(`it has more than ${MAX_BULL_BYTES} bytes`);
  let asks: unknown;
  try {
    asks = JSON.parse(text);
  } catch (cause) {
    throw refuse('it is not JSON', cause);
  }
  if (!isBullCommand({ queue, method, asks })) throw refuse('it has impossible fields');
  return { kind: 'bull', queue, method, asks } as BullCommand;
}

/** About what it takes in a frame. */
export function bullBytes({ method, asks }: BullCommand): number {
  if (method !== 'add') return 64 + 448 * asks.length;
  let bytes = 64;
  for (const { jobs } of asks as readonly BullArgs<'add'>[]) {
    for (const { data, opts, name } of jobs) bytes += 160 + data.length + opts.length + name.length;
  }
  return bytes;
}

function refuse(why: string, cause?: unknown): HoldfastError {
  return new HoldfastError('PROTOCOL', `Cannot read a command for a queue of BullMQ: ${why}`, { cause });
}
