/** Clearing queues: of what waits, of what is old, and of everything. */
import type { BullArgs, BullJobState } from '../../model/bull.ts';
import type { MachineState } from '../state.ts';
import { tell } from './events.ts';
import { lockOf } from './locks.ts';
import type { BullJob, BullQueue } from './memory.ts';
import { forgetKey } from './dedupe-keys.ts';
import { changesOf, isPaused, setCell, touchHead } from './queues.ts';
import { PART, queuePartKey } from './records.ts';
import { isNextOfScheduler, removeJob } from './removal.ts';
import { eraseScheduler } from './schedulers.ts';
import { hush } from './waiting.ts';

/** One command removes so many jobs at most, to keep commits small. */
const REMOVED_AT_ONCE = 10_000;

/** Removes what waits, but for the next job of each scheduler; 1 when there is more of it. */
export function applyDrain(state: MachineState, queue: BullQueue, delayed: boolean): number {
  let left = REMOVED_AT_ONCE;
  const from: BullJobState[] = delayed ? ['wait', 'delayed', 'prioritized'] : ['wait', 'prioritized'];
  for (const name of from) {
    const list = queue.states[name];
    // The next jobs of schedulers stay, and are passed over.
    for (const job of list.slice(0, left + queue.schedulers.size + 1)) {
      if (job.state !== name || isNextOfScheduler(job)) continue;
      if (left === 0) return 1;
      removeJob(state, job, true, true);
      left -= 1;
    }
  }
  return 0;
}

/** Removes jobs of a state that are older than that, the oldest first; `limit` 0 for any number. Gives their ids. */
export function applyClean(
  state: MachineState,
  queue: BullQueue,
  { state: of, until, limit }: BullArgs<'clean'>,
): string[] {
  const list = queue.states[of];
  const removed: string[] = [];
  const most = limit > 0 ? Math.min(limit, REMOVED_AT_ONCE) : REMOVED_AT_ONCE;
  const candidates = isByRank(of) && limit > 0 ? list.slice(0, limit) : list.slice(0, list.size);
  for (const job of candidates) {
    if (removed.length >= most) break;
    if (job.state !== of || !isToClean(state, job, of, until)) continue;
    removeJob(state, job, true, true);
    removed.push(job.id);
  }
  tell(state, queue, 'event', 'cleaned', 'count', String(removed.length));
  return removed;
}

/** Whether only as many jobs are looked at as may be removed. */
function isByRank(of: BullJobState): boolean {
  return of !== 'completed' && of !== 'failed';
}

function isToClean(state: MachineState, job: BullJob, of: BullJobState, until: number): boolean {
  if (of === 'completed' || of === 'failed') return job.score <= until;
  if (of === 'active' && lockOf(state, job) !== undefined) return false;
  if (isNextOfScheduler(job)) return false;
  if (of === 'prioritized') return job.timestamp <= until;
  if (of === 'waiting-children') return job.score <= until;
  if (of === 'delayed') return (job.processedOn ?? job.timestamp) <= until;
  return (job.finishedOn ?? job.processedOn ?? job.timestamp) <= until;
}

/** The order in which everything goes. */
const OBLITERATED = [
  'delayed',
  'schedulers',
  'completed',
  'wait',
  'prioritized',
  'waiting-children',
  'failed',
] as const;

/** Removes everything, up to so many jobs at a time; see the contract for what the answer means. */
export function applyObliterate(
  state: MachineState,
  queue: BullQueue,
  { count, force }: BullArgs<'obliterate'>,
): number {
  if (!isPaused(queue)) return -1;
  const { active } = queue.states;
  if (active.size > 0 && !force) return -2;
  let left = removeSome(state, queue, 'active', Math.min(count, REMOVED_AT_ONCE));
  for (const part of OBLITERATED) {
    if (left <= 0) return 1;
    left = part === 'schedulers' ? removeSchedulers(state, queue, left) : removeSome(state, queue, part, left);
  }
  if (left <= 0) return 1;
  for (const id of queue.dedupe.keys()) forgetKey(state, queue, id);
  forgetQueue(state, queue);
  return 0;
}

function removeSome(state: MachineState, queue: BullQueue, of: BullJobState, most: number): number {
  const list = queue.states[of];
  let left = most;
  for (; left > 0; left--) {
    const job = list.first();
    if (job === undefined) break;
    removeJob(state, job, true, true);
  }
  return left;
}

function removeSchedulers(state: MachineState, queue: BullQueue, most: number): number {
  let left = most;
  for (const scheduler of queue.schedulers.values()) {
    if (left === 0) break;
    eraseScheduler(state, queue, scheduler);
    left -= 1;
  }
  return left;
}

/** The queue is as if nobody had ever used it; who waits goes on waiting. */
function forgetQueue(state: MachineState, queue: BullQueue): void {
  queue.meta.clear();
  queue.isStored = false;
  queue.stalling.clear();
  queue.stalledCheckAt = 0;
  queue.nextJob = 1;
  queue.limitCount = 0;
  queue.limitUntil = 0;
  hush(queue);
  for (const metrics of [queue.metrics.completed, queue.metrics.failed]) {
    Object.assign(metrics, { count: 0, prevAt: undefined, prevCount: 0, points: [] });
  }
  for (const of of [0, 1]) setCell(state, queuePartKey(state, queue, PART.points, of), undefined);
  const { events } = queue;
  for (const from of events.records) setCell(state, queuePartKey(state, queue, PART.events, from), undefined);
  events.first = events.listFrom + events.list.length;
  events.listFrom = events.first;
  events.writtenTo = events.first;
  events.list = [];
  events.records = [];
  Object.assign(changesOf(state, queue), { head: false, events: false });
  setCell(state, queuePartKey(state, queue, PART.head), undefined);
}

/** Pauses a queue, or lets it go on. */
export function applyPause(queue: BullQueue, state: MachineState, paused: boolean): void {
  if (paused) {
    queue.meta.set('paused', '1');
    hush(queue);
  } else queue.meta.delete('paused');
  touchHead(state, queue);
  tell(state, queue, 'event', paused ? 'paused' : 'resumed');
}
