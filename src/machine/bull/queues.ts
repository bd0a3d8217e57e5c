/** The queues of BullMQ's: found by name, and what of them has changed. */
import { MAX_BULL_LOG_CHARACTERS, MAX_BULL_QUEUES } from '../../model/bull.ts';
import { textOf } from '../../model/bytes.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { Key, Value } from '../../model/records.ts';
import type { Session } from '../memory.ts';
import type { MachineState } from '../state.ts';
import {
  type BullChange,
  type BullChanges,
  type BullJob,
  type BullPart,
  type BullQueue,
  createBullQueue,
} from './memory.ts';

/** What a changed job takes in a commit besides its texts, roughly, in bytes. */
const JOB_BYTES = 160;
const HEAD_BYTES = 200;

/** Finds a queue, or makes it; nothing of it is stored before something in it is. @throws HoldfastError `TOO_MANY` */
export function bullQueue({ bull }: MachineState, qualified: string): BullQueue {
  const found = bull.queues.get(qualified);
  if (found !== undefined) return found;
  if (bull.queues.size >= MAX_BULL_QUEUES) {
    throw new HoldfastError('TOO_MANY', `Cannot use "${qualified}": there are ${MAX_BULL_QUEUES} queues already`);
  }
  const queue = createBullQueue(bull.nextQueue++, qualified);
  bull.queues.set(qualified, queue);
  bull.numbers.set(queue.number, queue);
  return queue;
}

/** Forgets a queue of which nothing is stored, and at which nobody waits. */
export function dropIfUnused({ bull }: MachineState, queue: BullQueue): void {
  const { jobs, isStored, waiting, listening, clients } = queue;
  if (isStored || jobs.size + waiting.size + listening.size + clients.size > 0) return;
  if (queue.changes !== undefined) return;
  if (bull.queues.get(queue.qualified) === queue) bull.queues.delete(queue.qualified);
  bull.numbers.delete(queue.number);
}

/** What others call a job: the qualified name of its queue, and its id. */
export function keyOf({ queue, id }: BullJob): string {
  return `${queue.qualified}:${id}`;
}

/** Finds a job by its key. Ids may hold colons, and so may prefixes of queues. */
export function jobByKey({ bull }: MachineState, key: string): BullJob | undefined {
  for (let at = key.lastIndexOf(':'); at > 0; at = key.lastIndexOf(':', at - 1)) {
    const job = bull.queues.get(key.slice(0, at))?.jobs.get(key.slice(at + 1));
    if (job !== undefined) return job;
  }
  return undefined;
}

/** What the next commit writes of a queue. */
export function changesOf({ bull, changes }: MachineState, queue: BullQueue): BullChanges {
  if (queue.changes === undefined) {
    queue.changes = { jobs: new Map(), erased: [], head: false, events: false };
    bull.changed.push(queue);
    changes.dirty = true;
  }
  return queue.changes;
}

/** Notes that the place or the counters of a job have changed, and gives the note for what else has. */
export function touch(state: MachineState, job: BullJob): BullChange {
  const { jobs } = changesOf(state, job.queue);
  const known = jobs.get(job);
  if (known !== undefined) return known;
  const change = { body: false, outcome: false, result: false, logs: false };
  jobs.set(job, change);
  state.changes.bytes += JOB_BYTES;
  return change;
}

/** Notes that name, data or options of a job are to be written. */
export function touchBody(state: MachineState, job: BullJob): void {
  touch(state, job).body = true;
  state.changes.bytes += job.data.length + job.opts.length;
}

/** Notes that what came out of a job is to be written. */
export function touchOutcome(state: MachineState, job: BullJob): void {
  touch(state, job).outcome = true;
  state.changes.bytes += (job.stacktrace?.length ?? 0) + (job.progress?.length ?? 0);
}

/** Notes that there is a return value. */
export function touchResult(state: MachineState, job: BullJob): void {
  touch(state, job).result = true;
  state.changes.bytes += job.returnvalue?.length ?? 0;
}

export function touchLogs(state: MachineState, job: BullJob): void {
  touch(state, job).logs = true;
}

/** Notes that the fields or counters of a queue have changed. */
export function touchHead(state: MachineState, queue: BullQueue): void {
  const changes = changesOf(state, queue);
  if (changes.head) return;
  changes.head = true;
  state.changes.bytes += HEAD_BYTES;
}

/** Writes a small record with the next commit, or without a value deletes it; the last word on a key counts. */
export function setCell({ bull, changes }: MachineState, key: Key, value: Value | undefined): void {
  bull.cells.set(textOf(key), value === undefined ? { kind: 'delete', key } : { kind: 'put', key, value });
  changes.bytes += key.length + (value?.length ?? 0);
  changes.dirty = true;
}

/** What a session has to do with queues. */
export function partOf({ bull }: MachineState, session: Session): BullPart {
  let part = bull.parts.get(session);
  if (part === undefined) {
    part = { held: new Set(), queues: new Set() };
    bull.parts.set(session, part);
  }
  return part;
}

export function isPaused({ meta }: BullQueue): boolean {
  return meta.has('paused');
}

/** Whether as many jobs are active as the queue may have at a time. */
export function isMaxed({ meta, states }: BullQueue): boolean {
  const most = meta.get('concurrency');
  return most !== undefined && states.active.size >= Number(most);
}

export function isHeld(queue: BullQueue): boolean {
  return isPaused(queue) || isMaxed(queue);
}

/** The last lines, as many as are to be kept and as a record takes. */
export function cutLogs(lines: readonly string[], keep: number): string[] {
  let characters = 0;
  let from = lines.length;
  while (from > 0 && (keep <= 0 || lines.length - from < keep)) {
    characters += (lines[from - 1]?.length ?? 0) + 8;
    if (characters > MAX_BULL_LOG_CHARACTERS) break;
    from -= 1;
  }
  return lines.slice(from);
}
