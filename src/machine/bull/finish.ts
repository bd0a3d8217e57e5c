/** Finishing jobs, with all that follows from it: parents, deduplications, retention, and the next job. */
import {
  BULL_ERROR,
  type BullArgs,
  type BullFields,
  type BullNext,
  MAX_BULL_REASON_CHARACTERS,
} from '../../model/bull.ts';
import type { Session } from '../memory.ts';
import type { MachineState } from '../state.ts';
import { addFollower } from './add.ts';
import { childCompleted, childFailed, childrenOf, releaseParent } from './children.ts';
import { dedupeKey, forgetKey, setKey, untilOf } from './dedupe-keys.ts';
import { tell } from './events.ts';
import { releaseLock } from './locks.ts';
import type { BullJob, BullQueue } from './memory.ts';
import { countFinished } from './metrics.ts';
import { leave, putBehind } from './places.ts';
import { keyOf, touchHead, touchOutcome, touchResult } from './queues.ts';
import { eraseJob, removeOld } from './removal.ts';
import { takeNext } from './take.ts';

/** How many finished jobs one more may remove by their age. */
const REMOVED_BY_AGE = 1_000;

/** What comes of it: the next job where one was asked for, else 0, or why it cannot be finished. */
export function applyFinish(
  state: MachineState,
  session: Session,
  queue: BullQueue,
  args: BullArgs<'finish'>,
): BullNext | number {
  const { id, token, now, state: to, value, keep } = args;
  const job = queue.jobs.get(id);
  if (job === undefined) return BULL_ERROR.jobNotExist;
  if (to === 'completed') {
    const { unprocessed, failed } = childrenOf(job);
    if (unprocessed.size > 0) return BULL_ERROR.pendingChildren;
    if (failed.size > 0) return BULL_ERROR.failedChildren;
  }
  const refused = releaseLock(state, job, token);
  if (refused < 0) return refused;
  setFields(state, job, args.fields);
  if (job.state !== 'active') return BULL_ERROR.notInState;
  leave(job);
  endDedupe(state, job, now);
  if (to === 'completed') {
    if (job.parentKey !== undefined) childCompleted(state, job.parentKey, keyOf(job), value, now);
  } else childFailed(state, job, value, now);
  job.attemptsMade += 1;
  const { attemptsMade } = job;
  keepFinished(state, job, args);
  const valueField = to === 'completed' ? 'returnvalue' : 'failedReason';
  tell(state, queue, 'event', to, 'jobId', id, valueField, value, 'prev', 'active');
  if (to === 'failed' && attemptsMade >= args.attempts) {
    tell(state, queue, 'event', 'retries-exhausted', 'jobId', id, 'attemptsMade', String(attemptsMade));
  }
  const { count = -1, age, limit = REMOVED_BY_AGE } = keep;
  if (count !== 0) removeOld(state, queue, to, { count, age, limit, now });
  if (args.metricsSize > 0) countFinished(state, queue, to, args.metricsSize, now);
  return goOn(state, session, queue, args);
}

/** Notes why an attempt has failed. */
export function setFields(state: MachineState, job: BullJob, fields: BullFields | undefined): void {
  if (fields === undefined) return;
  if (fields.failedReason !== undefined) job.failedReason = fields.failedReason;
  if (fields.stacktrace !== undefined) job.stacktrace = fields.stacktrace;
  touchOutcome(state, job);
}

function keepFinished(state: MachineState, job: BullJob, { state: to, value, keep, now }: BullArgs<'finish'>): void {
  if (keep.count === 0) {
    // Nobody finds it any more, so nobody may wait for it.
    eraseJob(state, job);
    releaseParent(state, keyOf(job), job.parentKey);
    return;
  }
  if (to === 'completed') {
    job.returnvalue = value;
    touchResult(state, job);
  } else {
    job.failedReason = value.slice(0, MAX_BULL_REASON_CHARACTERS);
    job.deferredFailure = undefined;
    touchOutcome(state, job);
  }
  job.finishedOn = now;
  putBehind(state, job, to, now);
}

function goOn(
  state: MachineState,
  session: Session,
  queue: BullQueue,
  { take, now }: BullArgs<'finish'>,
): BullNext | number {
  if (take !== undefined) {
    const next = takeNext(state, session, queue, take, now);
    if (next.job !== null || next.ttlMs > 0 || next.untilAt > 0) return next;
    tellDrained(state, queue);
    return next;
  }
  tellDrained(state, queue);
  return 0;
}

function tellDrained(state: MachineState, queue: BullQueue): void {
  const { wait, active, prioritized } = queue.states;
  if (wait.size + active.size + prioritized.size === 0) tell(state, queue, 'event', 'drained');
}

/** What the job stood for is free, or stands for the job that was to follow it. */
function endDedupe(state: MachineState, { queue, id, deduplicationId }: BullJob, now: number): void {
  if (deduplicationId === undefined) return;
  const key = dedupeKey(state, queue, deduplicationId);
  if (key === undefined) return;
  const { next } = key;
  if (next === undefined) {
    if (key.until === 0 && key.jobId === id) forgetKey(state, queue, deduplicationId);
    return;
  }
  if (queue.jobs.has(next.jobId)) {
    // Its id was taken meanwhile, so it is a duplicate now.
    forgetKey(state, queue, deduplicationId);
    tell(state, queue, 'event', 'duplicated', 'jobId', next.jobId);
    return;
  }
  const { dedupe } = next.add;
  queue.nextJob += 1;
  touchHead(state, queue);
  setKey(state, queue, deduplicationId, next.jobId, dedupe === undefined ? 0 : untilOf(state, dedupe));
  addFollower(state, queue, { ...next.add, timestamp: now }, next.jobId);
}
