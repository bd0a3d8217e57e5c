/** Turns what has changed of BullMQ's queues into writes. */
import type { Value, Write } from '../../model/records.ts';
import type { MachineState } from '../state.ts';
import type { BullChange, BullJob, BullQueue } from './memory.ts';
import { flushPacks } from './packs.ts';
import { dropIfUnused } from './queues.ts';
import {
  encodeEvents,
  encodeHead,
  encodeLogs,
  encodeOutcome,
  encodeResult,
  hasLongResult,
  hasOutcome,
  jobKey,
  PART,
  queuePartKey,
} from './records.ts';

/** How many records of events a queue may have: with many small ones, some are written again as one. */
const EVENT_RECORDS = 512;

export function flushBull(state: MachineState, writes: Write[]): void {
  const { changed, cells } = state.bull;
  if (changed.length + cells.size === 0) return;
  state.bull.changed = [];
  state.bull.cells = new Map();
  for (const write of cells.values()) writes.push(write);
  for (const queue of changed) flushQueue(state, queue, writes);
}

function flushQueue(state: MachineState, queue: BullQueue, writes: Write[]): void {
  const { changes } = queue;
  if (changes === undefined) return;
  flushPacks(state, queue, writes);
  for (const [job, change] of changes.jobs) flushOutcome(state, job, change, writes);
  queue.changes = undefined;
  if (changes.events) flushEvents(state, queue, writes);
  if (changes.events || changes.head) {
    queue.isStored = true;
    writes.push({ kind: 'put', key: queuePartKey(state, queue, PART.head), value: encodeHead(queue) });
  }
  dropIfUnused(state, queue);
}

/** Writes what came out of a job, where that has changed. */
function flushOutcome(state: MachineState, job: BullJob, change: BullChange, writes: Write[]): void {
  const write = (part: number, value: Value | undefined): void => {
    const key = jobKey(state, job, part);
    writes.push(value === undefined ? { kind: 'delete', key } : { kind: 'put', key, value });
  };
  if (change.outcome) write(PART.outcome, hasOutcome(job) ? encodeOutcome(job) : undefined);
  if (change.result && (hasLongResult(job) || job.hasResultRecord)) {
    job.hasResultRecord = hasLongResult(job);
    write(PART.result, job.hasResultRecord ? encodeResult(job) : undefined);
  }
  if (change.logs) write(PART.logs, encodeLogs(job));
}

function flushEvents(state: MachineState, queue: BullQueue, writes: Write[]): void {
  const { events } = queue;
  const end = events.listFrom + events.list.length;
  const drop = (from: number): void => {
    writes.push({ kind: 'delete', key: queuePartKey(state, queue, PART.events, from) });
  };
  // A record goes when the one behind it begins with what is kept, or before.
  while (events.records.length > 0 && (events.records[1] ?? events.writtenTo) <= events.first) {
    drop(events.records.shift() as number);
  }
  let from = Math.max(events.writtenTo, events.first);
  if (events.records.length >= EVENT_RECORDS) {
    for (const record of events.records.splice(0)) drop(record);
    from = events.first;
  }
  while (from < end) {
    const { value, next } = encodeEvents(events.list, from - events.listFrom);
    writes.push({ kind: 'put', key: queuePartKey(state, queue, PART.events, from), value });
    events.records.push(from);
    from = next + events.listFrom;
  }
  events.writtenTo = end;
}
