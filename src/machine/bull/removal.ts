/** Removing jobs, with what hangs on them. */
import type { MachineState } from '../state.ts';
import { childrenOf, releaseParent } from './children.ts';
import { forgetDedupeOf } from './dedupe-keys.ts';
import { tell } from './events.ts';
import { dropLock, lockOf } from './locks.ts';
import type { BullJob, BullQueue } from './memory.ts';
import { leave } from './places.ts';
import { changesOf, jobByKey, keyOf, setCell } from './queues.ts';
import { childKeyOf, hasOutcome, jobKey, PART } from './records.ts';

/** Forgets a job; whoever waits for it goes on waiting. */
export function eraseJob(state: MachineState, job: BullJob): void {
  const { queue } = job;
  leave(job);
  dropLock(state, job);
  queue.stalling.delete(job);
  queue.jobs.delete(job.id);
  const { jobs, erased } = changesOf(state, queue);
  const change = jobs.get(job);
  jobs.delete(job);
  if (job.bodyPack !== undefined) erased.push(job);
  if (hasOutcome(job) || change?.outcome === true) setCell(state, jobKey(state, job, PART.outcome), undefined);
  if (job.hasResultRecord) setCell(state, jobKey(state, job, PART.result), undefined);
  if (job.logs !== undefined) setCell(state, jobKey(state, job, PART.logs), undefined);
  for (const children of Object.values(childrenOf(job)) as Map<string, string>[]) {
    for (const key of children.keys()) setCell(state, childKeyOf(state, job, key), undefined);
  }
}

/**
 * Removes a job that whoever removes it knows to be gone; its parent waits for it no more.
 *
 * @param isHard a parent in the same queue that waited for nothing else is removed as well, instead of going on
 */
export function removeJob(state: MachineState, job: BullJob, isHard: boolean, withDedupe: boolean): void {
  const { queue } = job;
  const removeWithin = (parent: BullJob): boolean => {
    if (parent.queue !== queue) return false;
    removeJob(state, parent, true, true);
    return true;
  };
  releaseParent(state, keyOf(job), job.parentKey, isHard ? removeWithin : undefined);
  if (withDedupe) forgetDedupeOf(state, job);
  eraseJob(state, job);
}

/** How many finished jobs one more may remove by their number; the next one goes on. */
const REMOVED_BY_COUNT = 1_000;

interface Removal {
  readonly children: boolean;
  /** Children that have ended stay. */
  readonly ignoreProcessed: boolean;
  readonly ignoreLocked: boolean;
}

/** Removes a job on somebody's word, with its children where that was asked for. */
function removeTree(state: MachineState, job: BullJob, parentKey: string | undefined, removal: Removal): void {
  if (removal.ignoreLocked && lockOf(state, job) !== undefined) return;
  if (removal.ignoreProcessed && job.state === 'failed') return;
  releaseParent(state, keyOf(job), parentKey ?? job.parentKey);
  if (removal.children) removeChildren(state, job, removal);
  const prev = job.state ?? 'unknown';
  forgetDedupeOf(state, job);
  eraseJob(state, job);
  tell(state, job.queue, 'event', 'removed', 'jobId', job.id, 'prev', prev);
}

function removeChildren(state: MachineState, job: BullJob, removal: Removal): void {
  const { processed, ignored, failed, unprocessed } = childrenOf(job);
  const ended = removal.ignoreProcessed ? [] : [...processed.keys(), ...ignored.keys(), ...failed.keys()];
  for (const key of [...ended, ...unprocessed.keys()]) {
    const child = jobByKey(state, key);
    if (child !== undefined) removeTree(state, child, keyOf(job), removal);
    // A child that is gone is waited for by nobody.
    else releaseParent(state, key, keyOf(job));
  }
}

/** 1 when it was removed, 0 when it, or a child that would go with it, is being worked on. */
export function removeOnRequest(state: MachineState, job: BullJob, children: boolean): number {
  if (isLocked(state, job, children)) return 0;
  removeTree(state, job, undefined, { children, ignoreProcessed: false, ignoreLocked: false });
  return 1;
}

export function removeUnprocessedChildren(state: MachineState, job: BullJob): void {
  removeChildren(state, job, { children: true, ignoreProcessed: true, ignoreLocked: true });
}

/** Whether the job is the one that its scheduler has made last: removing it would end the scheduler. */
export function isNextOfScheduler({ queue, id, schedulerId }: BullJob): boolean {
  const scheduler = schedulerId === undefined ? undefined : queue.schedulers.get(schedulerId);
  return scheduler !== undefined && id === `repeat:${scheduler.id}:${scheduler.nextAt}`;
}

/** Removes jobs of a finished state that are older than it keeps, and more than it keeps; `count` 0 keeps any number. */
export function removeOld(
  state: MachineState,
  queue: BullQueue,
  of: 'completed' | 'failed',
  { count, age, limit, now }: { count: number; age: number | undefined; limit: number; now: number },
): void {
  const list = queue.states[of];
  if (age !== undefined) {
    const until = now - age * 1_000;
    for (let left = Math.min(limit, REMOVED_BY_COUNT); left > 0; left--) {
      const oldest = list.first();
      if (oldest === undefined || oldest.score > until) break;
      removeJob(state, oldest, false, false);
    }
  }
  for (let left = REMOVED_BY_COUNT; left > 0 && count > 0 && list.size > count; left--)
    removeJob(state, list.first() as BullJob, false, false);
}

function isLocked(state: MachineState, job: BullJob, children: boolean): boolean {
  if (lockOf(state, job) !== undefined) return true;
  if (!children) return false;
  return [...childrenOf(job).unprocessed.keys()].some((key) => {
    const child = jobByKey(state, key);
    return child !== undefined && isLocked(state, child, true);
  });
}
