/** Reads BullMQ's queues from their records, in the order in which these stand in the store. */
import { HoldfastError } from '../../model/errors.ts';
import type { Key, Value } from '../../model/records.ts';
import type { Session } from '../memory.ts';
import type { MachineState } from '../state.ts';
import { createBullJob, createBullQueue, type BullJob, type BullPack, type BullQueue } from './memory.ts';
import { createPack, follow, settleBody, settleState } from './packs.ts';
import { partOf } from './queues.ts';
import {
  nameIn,
  PART,
  readChild,
  readDedupe,
  readEventRecord,
  readHead,
  readHeadName,
  readLogs,
  readOutcome,
  readPack,
  readPoints,
  readResult,
  readScheduler,
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
    case PART.pack:
      return loadPack(sessions, queue, layout.numberAt(key, 2), value);
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
    for (const job of queue.loading.values()) place(job);
    hold(state, queue);
    queue.loading.clear();
    // The first record may hold events that were dropped.
    queue.events.first = Math.max(queue.events.first, queue.events.listFrom);
    callAnew(state, queue);
  }
}

function loadPack(sessions: ReadonlyMap<number, Session>, queue: BullQueue, number: number, value: Value): void {
  const pack = createPack(number);
  pack.bytes = value.length;
  queue.packs.add(pack);
  queue.packBytes += pack.bytes;
  queue.nextPack = number + 1;
  const { loading } = queue;
  readPack(value, {
    body(seq, body, state, bytes) {
      queue.nextSeq = Math.max(queue.nextSeq, seq + 1);
      const before = loading.get(seq);
      if (before !== undefined) {
        follow(pack, before.bodyPack as BullPack);
        forget(queue, before);
      }
      const job = createBullJob(queue, seq, body);
      loading.set(seq, job);
      settleBody(job, pack, bytes);
      takeState(sessions, job, state);
    },
    state(seq, state, bytes) {
      const job = loading.get(seq);
      // The body stands behind it with a newer state, or the job is gone.
      if (job === undefined) return;
      leaveState(job);
      settleState(job, pack, bytes);
      takeState(sessions, job, state);
    },
    gone(seq) {
      const job = loading.get(seq);
      if (job === undefined) return;
      follow(pack, job.bodyPack as BullPack);
      forget(queue, job);
      loading.delete(seq);
    },
  });
}

/** What stands of a job in the packs so far does not count. */
function forget(queue: BullQueue, job: BullJob): void {
  leaveState(job);
  queue.liveBytes -= job.bodyBytes;
  job.bodyPack?.jobs.delete(job);
  if (queue.jobs.get(job.id) === job) queue.jobs.delete(job.id);
}

function leaveState(job: BullJob): void {
  job.queue.liveBytes -= job.stateBytes;
  job.statePack?.jobs.delete(job);
}

function takeState(sessions: ReadonlyMap<number, Session>, job: BullJob, { lock, ...rest }: StoredState): void {
  Object.assign(job, rest, { lock: lock && { ...lock, session: sessions.get(lock.session) } });
}

function place(job: BullJob): void {
  const { queue } = job;
  if (job.state !== undefined) queue.states[job.state].add(job);
  queue.back = Math.max(queue.back, job.order + 1);
  queue.front = Math.min(queue.front, job.order - 1);
}

/** Gives the sessions what they work on, in the order in which they took it. */
function hold(state: MachineState, queue: BullQueue): void {
  const { active } = queue.states;
  for (const job of active.slice(0, active.size)) {
    const session = job.lock?.session;
    if (session === undefined) continue;
    const part = partOf(state, session);
    part.held.add(job);
    part.queues.add(queue);
  }
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
