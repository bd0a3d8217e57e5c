/** Where a job stands among the others of its state. */
import type { BullJobState } from '../../model/bull.ts';
import type { MachineState } from '../state.ts';
import type { BullJob } from './memory.ts';
import { touch } from './queues.ts';
import { callWhenDue, callWorker } from './waiting.ts';

/** Takes a job out of its state; it must be put somewhere, or removed. */
export function leave(job: BullJob): void {
  if (job.state === undefined) return;
  job.queue.states[job.state].remove(job);
  job.state = undefined;
}

/** Puts a job behind all others of the state with this score. */
export function putBehind(state: MachineState, job: BullJob, to: BullJobState, score: number): void {
  put(state, job, to, score, job.queue.back++);
}

/** Puts a job that came out of no state, or of another one, to the end of what waits, or to its front. */
export function putInWait(state: MachineState, job: BullJob, atFront: boolean): void {
  const { queue } = job;
  put(state, job, 'wait', 0, atFront ? queue.front-- : queue.back++);
  callWorker(state, queue);
}

/** Puts a job where its priority belongs. */
export function putByPriority(state: MachineState, job: BullJob, atFront: boolean): void {
  const { queue, priority } = job;
  if (priority === 0) return putInWait(state, job, atFront);
  put(state, job, 'prioritized', priority, queue.back++);
  callWorker(state, queue);
}

/** Puts a job before all others of its priority. It calls no worker, as whoever does this takes a job back. */
export function putBack(state: MachineState, job: BullJob): void {
  if (job.priority !== 0) put(state, job, 'prioritized', job.priority, job.queue.front--);
  else putInWait(state, job, true);
}

/** Lets a job wait until a time of the caller's clock. */
export function putDelayed(state: MachineState, job: BullJob, dueAt: number): void {
  put(state, job, 'delayed', dueAt, job.queue.back++);
  callWhenDue(state, job.queue);
}

function put(state: MachineState, job: BullJob, to: BullJobState, score: number, order: number): void {
  leave(job);
  job.state = to;
  job.score = score;
  job.order = order;
  job.queue.states[to].add(job);
  touch(state, job);
}
