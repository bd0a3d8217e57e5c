/** Taking jobs: which one is next, and what a worker gets to see of it. */
import type { BullNext, BullTake } from '../../model/bull.ts';
import type { Session } from '../memory.ts';
import type { MachineState } from '../state.ts';
import { tell } from './events.ts';
import { countTaken, limitedMs } from './limits.ts';
import { lockJob } from './locks.ts';
import type { BullJob, BullQueue } from './memory.ts';
import { leave, putBehind, putByPriority } from './places.ts';
import { isHeld } from './queues.ts';
import { callNextWorker } from './waiting.ts';
import { viewOf } from './views.ts';

/** Delayed jobs that come due within one command, at most; the rest follows in the next. */
const DUE_AT_ONCE = 1_000;

const NOTHING: BullNext = { job: null, ttlMs: 0, untilAt: 0 };

/** Takes the next job, or says why there is none. */
export function takeNext(
  state: MachineState,
  session: Session,
  queue: BullQueue,
  take: BullTake,
  now: number,
): BullNext {
  promoteDue(state, queue, now);
  const { meta, states } = queue;
  const max = meta.has('max') ? Number(meta.get('max')) : take.limiter?.max;
  const ttlMs = limitedMs(state, queue, max);
  if (ttlMs > 0) return { ...NOTHING, ttlMs };
  if (isHeld(queue)) return NOTHING;
  const job = states.wait.first() ?? states.prioritized.first();
  if (job === undefined) return { ...NOTHING, untilAt: states.delayed.first()?.score ?? 0 };
  if (max !== undefined && max !== 0 && job.deferredFailure === undefined) {
    countTaken(state, queue, take.limiter?.duration ?? Number(meta.get('duration') ?? 0));
  }
  startJob(state, session, job, take, now);
  return { ...NOTHING, job: viewOf(job) };
}

/** Moves jobs that are due by the caller's clock to those that wait. */
export function promoteDue(state: MachineState, queue: BullQueue, now: number): void {
  const { delayed } = queue.states;
  for (let left = DUE_AT_ONCE; left > 0; left--) {
    const job = delayed.first();
    // A worker comes within the millisecond in which the job is due.
    if (job === undefined || job.score >= now + 1) return;
    leave(job);
    job.delay = 0;
    putByPriority(state, job, false);
    tell(state, queue, 'event', 'waiting', 'jobId', job.id, 'prev', 'delayed');
  }
}

function startJob(state: MachineState, session: Session, job: BullJob, take: BullTake, now: number): void {
  const { queue, id } = job;
  lockJob(state, session, job, take);
  tell(state, queue, 'event', 'active', 'jobId', id, 'prev', 'waiting');
  job.processedOn = now;
  if (take.name !== undefined) job.processedBy = take.name;
  job.attemptsStarted += 1;
  putBehind(state, job, 'active', 0);
  callNextWorker(state, queue);
}
