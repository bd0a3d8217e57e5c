/** Moving jobs from one state to another, but for taking and finishing them. */
import { BULL_ERROR, type BullArgs, type BullFinishedState, type BullNext } from '../../model/bull.ts';
import type { Session } from '../memory.ts';
import type { MachineState } from '../state.ts';
import { childrenOf, dropChild, setChild } from './children.ts';
import { tell } from './events.ts';
import { setFields } from './finish.ts';
import { windowMs } from './limits.ts';
import { releaseLock } from './locks.ts';
import type { BullJob, BullQueue } from './memory.ts';
import { leave, putBack, putBehind, putByPriority, putDelayed, putInWait } from './places.ts';
import { jobByKey, keyOf, touch, touchOutcome, touchResult } from './queues.ts';
import { promoteDue, takeNext } from './take.ts';

const { jobNotExist, notInState, failedChildren } = BULL_ERROR;

/** A command moves so many jobs at most, to keep commits small. */
const MOVED_AT_ONCE = 5_000;

/** The active job of this id, given up by its holder; or why not. */
function giveUp(state: MachineState, queue: BullQueue, id: string, token: string): BullJob | number {
  const job = queue.jobs.get(id);
  if (job === undefined) return jobNotExist;
  const refused = releaseLock(state, job, token);
  if (refused < 0) return refused;
  return job.state === 'active' ? job : notInState;
}

export function applyMoveToDelayed(
  state: MachineState,
  session: Session,
  queue: BullQueue,
  args: BullArgs<'moveToDelayed'>,
): BullNext | number {
  const { id, token, now, delay, fields, take } = args;
  const job = giveUp(state, queue, id, token);
  if (typeof job === 'number') return job;
  setFields(state, job, fields);
  const dueAt = delay > 0 ? now + delay : now;
  if (!args.skipsAttempt) job.attemptsMade += 1;
  job.delay = delay;
  putDelayed(state, job, dueAt);
  tell(state, queue, 'event', 'delayed', 'jobId', id, 'delay', String(dueAt));
  if (take === undefined) return 0;
  const next = takeNext(state, session, queue, take, now);
  return next.job === null ? 0 : next;
}

export function applyMoveToWaitingChildren(
  state: MachineState,
  queue: BullQueue,
  { id, token, now, childKey }: BullArgs<'moveToWaitingChildren'>,
): number {
  const known = queue.jobs.get(id);
  if (known === undefined) return jobNotExist;
  const { failed, unprocessed } = childrenOf(known);
  if (failed.size > 0) return failedChildren;
  if (childKey === undefined ? unprocessed.size === 0 : !unprocessed.has(childKey)) return 1;
  const job = giveUp(state, queue, id, token);
  if (typeof job === 'number') return job;
  putBehind(state, job, 'waiting-children', now);
  tell(state, queue, 'event', 'waiting-children', 'jobId', id, 'prev', 'active');
  return 0;
}

/** Gives an active job back, to be the next of its kind; the answer says for how long the rate holds. */
export function applyMoveToWait(state: MachineState, queue: BullQueue, { id, token }: BullArgs<'moveToWait'>): number {
  const job = giveUp(state, queue, id, token);
  if (typeof job === 'number' && job !== notInState) return job;
  if (typeof job !== 'number') {
    leave(job);
    putBack(state, job);
    tell(state, queue, 'event', 'waiting', 'jobId', id, 'prev', 'active');
  }
  return windowMs(state, queue);
}

export function applyRetry(state: MachineState, queue: BullQueue, args: BullArgs<'retry'>): number {
  promoteDue(state, queue, args.now);
  const job = giveUp(state, queue, args.id, args.token);
  if (typeof job === 'number') return job;
  setFields(state, job, args.fields);
  leave(job);
  putByPriority(state, job, args.lifo);
  job.attemptsMade += 1;
  tell(state, queue, 'event', 'waiting', 'jobId', job.id, 'prev', 'active');
  return 0;
}

/** Lets a job that has finished run again. */
export function applyReprocess(state: MachineState, queue: BullQueue, args: BullArgs<'reprocess'>): number {
  const { id, state: from, lifo, resetsMade, resetsStarted } = args;
  const job = queue.jobs.get(id);
  if (job === undefined) return jobNotExist;
  if (job.state !== from) return notInState;
  forgetOutcome(state, job, from);
  if (resetsMade) job.attemptsMade = 0;
  if (resetsStarted) job.attemptsStarted = 0;
  putInWait(state, job, lifo);
  attachAgain(state, job, from);
  tell(state, queue, 'event', 'waiting', 'jobId', id, 'prev', from);
  return 0;
}

/** Moves up to so many jobs to those that wait: delayed ones in the order in which they are due, others as they ended. */
export function applyMoveJobsToWait(
  state: MachineState,
  queue: BullQueue,
  { state: from, count, until }: BullArgs<'moveJobsToWait'>,
): number {
  const list = queue.states[from];
  // Who asks asks again as long as there is more.
  const most = Math.min(count, MOVED_AT_ONCE);
  let left = most;
  for (; left > 0; left--) {
    const job = list.first();
    if (job === undefined || (until !== null && job.score > until)) break;
    if (from === 'delayed') job.delay = 0;
    else {
      forgetOutcome(state, job, from);
      attachAgain(state, job, from);
    }
    if (from === 'delayed') putByPriority(state, job, false);
    else putInWait(state, job, false);
    tell(state, queue, 'event', 'waiting', 'jobId', job.id, 'prev', from);
  }
  return left <= 0 && most > 0 ? 1 : 0;
}

export function applyPromote(state: MachineState, queue: BullQueue, id: string): number {
  const job = queue.jobs.get(id);
  if (job?.state !== 'delayed') return notInState;
  job.delay = 0;
  putByPriority(state, job, false);
  tell(state, queue, 'event', 'waiting', 'jobId', id, 'prev', 'delayed');
  return 0;
}

export function applyChangeDelay(state: MachineState, queue: BullQueue, args: BullArgs<'changeDelay'>): number {
  const { id, delay, now } = args;
  const job = queue.jobs.get(id);
  if (job === undefined) return jobNotExist;
  if (job.state !== 'delayed') return notInState;
  const dueAt = delay > 0 ? now + delay : now;
  job.delay = delay;
  putDelayed(state, job, dueAt);
  tell(state, queue, 'event', 'delayed', 'jobId', id, 'delay', String(dueAt));
  return 0;
}

export function applyChangePriority(state: MachineState, queue: BullQueue, args: BullArgs<'changePriority'>): number {
  const { id, priority, lifo } = args;
  const job = queue.jobs.get(id);
  if (job === undefined) return jobNotExist;
  job.priority = priority;
  touch(state, job);
  if (job.state !== 'wait' && job.state !== 'prioritized') return 0;
  if (priority === 0) putInWait(state, job, lifo);
  else if (lifo) putBack(state, job);
  else putByPriority(state, job, false);
  return 0;
}

function forgetOutcome(state: MachineState, job: BullJob, from: BullFinishedState): void {
  job.finishedOn = undefined;
  job.processedOn = undefined;
  if (from === 'failed') {
    job.failedReason = undefined;
    touchOutcome(state, job);
  } else {
    job.returnvalue = undefined;
    touchResult(state, job);
  }
}

/** The parent waits for the job again, if it knew how it had ended. */
function attachAgain(state: MachineState, job: BullJob, from: BullFinishedState): void {
  const parent = job.parentKey === undefined ? undefined : jobByKey(state, job.parentKey);
  if (parent === undefined) return;
  const key = keyOf(job);
  const kinds = from === 'failed' ? (['failed', 'ignored'] as const) : (['processed'] as const);
  if (kinds.some((kind) => dropChild(state, parent, kind, key))) setChild(state, parent, 'unprocessed', key, '');
}
