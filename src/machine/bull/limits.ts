/** The rate of a queue: so many jobs taken within a window that begins with the first of them. */
import type { MachineState } from '../state.ts';
import type { BullQueue } from './memory.ts';
import { touchHead } from './queues.ts';

/** A rate that is set by hand is used up at once. */
const USED_UP: number = Number.MAX_SAFE_INTEGER;

/** For how long the rate is used up, in milliseconds; 0 when it is not. */
export function limitedMs(state: MachineState, queue: BullQueue, max: number | undefined): number {
  if (max === undefined || max === 0) return 0;
  return countWithin(state, queue) >= max ? Math.max(0, Math.ceil(queue.limitUntil - state.now)) : 0;
}

/** Counts a job that was taken. */
export function countTaken(state: MachineState, queue: BullQueue, duration: number): void {
  if (countWithin(state, queue) === 0) queue.limitUntil = state.now + Math.floor(Math.abs(duration));
  queue.limitCount += 1;
  touchHead(state, queue);
}

/** What BullMQ's `getRateLimitTtl` gives: -2 without a window. */
export function rateLimitTtl(state: MachineState, queue: BullQueue, max: number): number {
  const most = max === 0 ? Number(queue.meta.get('max') ?? 0) : max;
  if (most !== 0) return limitedMs(state, queue, most);
  return countWithin(state, queue) === 0 ? -2 : Math.ceil(queue.limitUntil - state.now);
}

/** For how long a window runs, whatever was counted in it. */
export function windowMs(state: MachineState, queue: BullQueue): number {
  return countWithin(state, queue) === 0 ? 0 : Math.ceil(queue.limitUntil - state.now);
}

export function setRateLimit(state: MachineState, queue: BullQueue, ms: number): number {
  queue.limitCount = USED_UP;
  queue.limitUntil = state.now + ms;
  touchHead(state, queue);
  return 0;
}

export function removeRateLimit(state: MachineState, queue: BullQueue): number {
  const was = countWithin(state, queue);
  if (was === 0) return 0;
  queue.limitCount = 0;
  queue.limitUntil = 0;
  touchHead(state, queue);
  return 1;
}

function countWithin(state: MachineState, queue: BullQueue): number {
  if (queue.limitUntil <= state.now) queue.limitCount = 0;
  return queue.limitCount;
}
