/** Reads BullMQ's queues from their records, in the order in which these stand in the store. */
import { HoldfastError } from '../../model/errors.ts';
import type { Key, Value } from '../../model/records.ts';
import type { Session } from '../memory.ts';
import type { MachineState } from '../state.ts';
import { createBullJob, createBullQueue, type BullJob, type BullQueue } from './memory.ts';
import { partOf } from './queues.ts';
import {
  nameIn,
  PART,
  readBody,
  readChild,
  readDedupe,
  readEventRecord,
  readHead,
  readHeadName,
  readLogs,
  readOutcome,
  readPoints,
  readResult,
  readScheduler,
  readState,
  type StoredState,
} from './records.ts';
import { callAnew } from './waiting.ts';

export function loadBull(state: MachineState, sessions: ReadonlyMap<number, Session>, key: Key, value: Value): void {
  const { layout, bull } = state;
  const number = layout.numberAt(key, 0);
  const part = layout.numberAt(key, 1);
  if (part === PART.head) {
    const queue = createBullQueue(number, readHeadName(value));
    readHead(queue, value);
    queue.isStored = true;
    queue.events.listFrom = queue.events.first;
    queue.events.writtenTo = queue.events.first;
    bull.queues.set(queue.qualified, queue);
    bull.numbers.set(number, queue);
    bull.nextQueue = Math.max(bull.nextQueue, number + 1);
    return;
  }
  const queue = known(bull.numbers.get(number));
  switch (part) {
    case PART.body:
      return loadBody(state, sessions, queue, layout.numberAt(key, 2), value);
    case PART.state:
      return loadState(state, sessions, jobOf(queue, layout.numberAt(key, 2)), value);
    case PART.outcome:
      return readOutcome(jobOf(queue, layout.numberAt(key, 2)), value);
    case PART.result:
      return readResult(jobOf(queue, layout.numberAt(key, 2)), value);
    case PART.logs:
      return readLogs(jobOf(queue, layout.numberAt(key, 2)), value);
    case PART.child: {
      const job = jobOf(queue, layout.numberAt(key, 2));
      const { kind, text } = readChild(value);
      job.children ??= { unprocessed: new Map(), processed: new Map(), ignored: new Map(), failed: new Map() };
      job.children[kind].set(nameIn(layout.bytesBehind(key, 3)), text);
      return;
    }
    case PART.dedupe: {
      const id = nameIn(layout.bytesBehind(key, 2));
      queue.dedupe.set(id, readDedupe(id, value));
      return;
    }
    case PART.scheduler: {
      const id = nameIn(layout.bytesBehind(key, 2));
      const scheduler = readScheduler(id, value);
      queue.schedulers.set(id, scheduler);
      queue.schedulerOrder.add(scheduler);
      return;
    }
    case PART.points:
      queue.metrics[layout.numberAt(key, 2) === 0 ? 'completed' : 'failed'].points = readPoints(value);
      return;
    case PART.events:
      return loadEvents(queue, layout.numberAt(key, 2), value);
    default:
      throw new HoldfastError('STORE_CORRUPT', `Cannot load part ${part} of a queue of BullMQ`);
  }
}

/** All records have been read. */
export function finishBull(state: MachineState): void {
  for (const queue of state.bull.queues.values()) {
    queue.loading.clear();
    // The first record may hold events that were dropped.
    queue.events.first = Math.max(queue.events.first, queue.events.listFrom);
    callAnew(state, queue);
  }
}

function loadBody(
  state: MachineState,
  sessions: ReadonlyMap<number, Session>,
  queue: BullQueue,
  seq: number,
  value: Value,
): void {
  const { body, stateAt } = readBody(value);
  const job = createBullJob(queue, seq, body);
  queue.nextSeq = Math.max(queue.nextSeq, seq + 1);
  queue.loading.set(seq, job);
  takeState(state, sessions, job, readState(job, value, stateAt));
}

function loadState(state: MachineState, sessions: ReadonlyMap<number, Session>, job: BullJob, value: Value): void {
  // That in the record of its body is an older one.
  if (job.state !== undefined) job.queue.states[job.state].remove(job);
  if (job.lock?.session !== undefined) partOf(state, job.lock.session).held.delete(job);
  job.lock = undefined;
  job.hasStateRecord = true;
  takeState(state, sessions, job, readState(job, value));
}

function takeState(
  state: MachineState,
  sessions: ReadonlyMap<number, Session>,
  job: BullJob,
  { lock, session: number }: StoredState,
): void {
  const { queue } = job;
  if (job.state !== undefined) queue.states[job.state].add(job);
  queue.back = Math.max(queue.back, job.order + 1);
  queue.front = Math.min(queue.front, job.order - 1);
  if (lock === undefined) return;
  const session = sessions.get(number);
  job.lock = { ...lock, session };
  if (session === undefined) return;
  const part = partOf(state, session);
  part.held.add(job);
  part.queues.add(queue);
}

function loadEvents({ events }: BullQueue, from: number, value: Value): void {
  const read = readEventRecord(value);
  if (events.list.length === 0) events.listFrom = from;
  for (const event of read) events.list.push(event);
  events.records.push(from);
  events.writtenTo = from + read.length;
}

function jobOf(queue: BullQueue, seq: number): BullJob {
  return known(queue.loading.get(seq));
}

function known<T>(found: T | undefined): T {
  if (found === undefined) throw new HoldfastError('STORE_CORRUPT', 'Cannot find the queue or job that a record names');
  return found;
}
