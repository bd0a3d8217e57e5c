/** Locks: who works on a job. They end with the session of the worker at once, and else in machine time. */
import { BULL_ERROR, type BullTake } from '../../model/bull.ts';
import type { Session } from '../memory.ts';
import type { MachineState } from '../state.ts';
import { tell } from './events.ts';
import type { BullJob, BullLock, BullQueue } from './memory.ts';
import { leave, putInWait } from './places.ts';
import { partOf, touch } from './queues.ts';
import { forgetWaiters } from './waiting.ts';

/** This token stands for no lock at all. */
const NO_TOKEN = '0';

const TOO_OFTEN = 'job stalled more than allowable limit';

/** The lock of a job, as long as it holds. */
export function lockOf({ now }: MachineState, { lock }: BullJob): BullLock | undefined {
  return lock !== undefined && lock.until > now ? lock : undefined;
}

export function lockJob(state: MachineState, session: Session, job: BullJob, take: BullTake): void {
  if (take.token === NO_TOKEN) return;
  job.lock = { token: take.token, until: state.now + take.lockMs, session, maxStalled: take.maxStalled };
  const part = partOf(state, session);
  part.held.add(job);
  part.queues.add(job.queue);
}

/** Takes the lock away from a job whose holder has this token; gives 0, or why not. */
export function releaseLock(state: MachineState, job: BullJob, token: string): number {
  if (token === NO_TOKEN) return 0;
  const lock = lockOf(state, job);
  if (lock === undefined) return BULL_ERROR.lockNotExist;
  if (lock.token !== token) return BULL_ERROR.lockMismatch;
  dropLock(state, job);
  job.queue.stalling.delete(job);
  return 0;
}

/** Takes the lock away, whoever has it. */
export function dropLock(state: MachineState, job: BullJob): void {
  const session = job.lock?.session;
  job.lock = undefined;
  if (session !== undefined) state.bull.parts.get(session)?.held.delete(job);
}

/** Gives the ids of the jobs that are not held with these tokens. */
export function extendLocks(
  state: MachineState,
  session: Session,
  queue: BullQueue,
  ids: readonly string[],
  tokens: readonly string[],
  lockMs: number,
): string[] {
  return ids.filter((id, i) => {
    const job = queue.jobs.get(id);
    const lock = job && lockOf(state, job);
    if (job === undefined || lock === undefined || lock.token !== tokens[i]) return true;
    if (lock.session === undefined || lock.session === session) lock.until = state.now + lockMs;
    else {
      dropLock(state, job);
      lockJob(state, session, job, { token: lock.token, lockMs, maxStalled: lock.maxStalled });
    }
    queue.stalling.delete(job);
    touch(state, job);
    return false;
  });
}

/** Takes back active jobs that had no lock twice in a row, or are of a session that is gone; gives their ids. */
export function moveStalled(
  state: MachineState,
  queue: BullQueue,
  { maxStalled, intervalMs }: { readonly maxStalled: number; readonly intervalMs: number },
): string[] {
  if (queue.stalledCheckAt > state.now) return [];
  queue.stalledCheckAt = state.now + intervalMs;
  const stalled: string[] = [];
  for (const job of queue.stalling) {
    if (job.state !== 'active' || lockOf(state, job) !== undefined) continue;
    takeBack(state, job, maxStalled);
    stalled.push(job.id);
  }
  queue.stalling.clear();
  const { active } = queue.states;
  for (const job of active.slice(0, active.size)) queue.stalling.add(job);
  return stalled;
}

/** The worker is gone: what it held goes back to the front at once, what it took first standing first. */
export function loseLocks(state: MachineState, session: Session): void {
  const part = state.bull.parts.get(session);
  if (part === undefined) return;
  for (const job of [...part.held].reverse()) {
    const maxStalled = job.lock?.maxStalled ?? 1;
    if (job.state === 'active') takeBack(state, job, maxStalled);
    else dropLock(state, job);
  }
}

/** Whether the session works on jobs. */
export function holdsLocks({ bull }: MachineState, session: Session): boolean {
  return (bull.parts.get(session)?.held.size ?? 0) > 0;
}

/** The client is gone, and hears of nothing; it says anew what it waits for when it comes back. */
export function forgetBullWaits(state: MachineState, session: Session): void {
  for (const queue of state.bull.parts.get(session)?.queues ?? []) forgetWaiters(state, session, queue);
}

/** Ends what a session has to do with queues; its jobs must have gone back before. */
export function forgetBullPart(state: MachineState, session: Session): void {
  const part = state.bull.parts.get(session);
  if (part === undefined) return;
  state.bull.parts.delete(session);
  for (const queue of part.queues) forgetWaiters(state, session, queue);
}

function takeBack(state: MachineState, job: BullJob, maxStalled: number): void {
  const { queue, schedulerId } = job;
  dropLock(state, job);
  queue.stalling.delete(job);
  leave(job);
  job.stalledCounter += 1;
  const isScheduled = schedulerId !== undefined && queue.schedulers.has(schedulerId);
  if (job.stalledCounter > maxStalled && !isScheduled) job.deferredFailure = TOO_OFTEN;
  putInWait(state, job, true);
  tell(state, queue, 'event', 'waiting', 'jobId', job.id, 'prev', 'active');
  tell(state, queue, 'event', 'stalled', 'jobId', job.id);
}
