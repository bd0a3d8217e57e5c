/** All queues at a glance, for operators and autoscalers. */
import { BULL_STATES, type BullArgs, type BullAnswer, type BullJobState, bullQueueName } from '../../model/bull.ts';
import { hasRight, rightsOn } from '../../model/scopes.ts';
import type { Session } from '../memory.ts';
import type { MachineState } from '../state.ts';
import type { BullJob, BullQueue } from './memory.ts';
import { isPaused } from './queues.ts';
import { sliceIndex } from './ranks.ts';

/** Queues that have something to them, in the order in which they were made: those that the session may read. */
export function queuesView(
  state: MachineState,
  { grant }: Pick<Session, 'grant'>,
  { after, limit }: BullArgs<'queues'>,
): BullAnswer<'queues'> {
  const views: BullAnswer<'queues'>['queues'][number][] = [];
  // They stand in the order of their numbers, as each gets the next one.
  for (const [number, queue] of state.bull.numbers) {
    if (number <= after || isEmpty(queue)) continue;
    if (!grant.isAdmin && !hasRight(rightsOn(grant, bullQueueName(queue.qualified)), 'read')) continue;
    if (views.length === limit) return { queues: views, next: views[views.length - 1]?.number ?? null };
    views.push({
      number,
      queue: queue.qualified,
      counts: Object.fromEntries(BULL_STATES.map((one) => [one, queue.states[one].size])) as Record<
        BullJobState,
        number
      >,
      workers: [...queue.clients.values()].reduce((sum, names) => sum + names.size, 0),
      paused: isPaused(queue),
      oldestReadyMs: oldestReadyMs(state.now, queue),
    });
  }
  return { queues: views, next: null };
}

function isEmpty({ jobs, meta, schedulers, clients }: BullQueue): boolean {
  return jobs.size + meta.size + schedulers.size + clients.size === 0;
}

/** The longest that one of those has waited that stand first or last: which of all has waited longest nobody keeps. */
function oldestReadyMs(now: number, { states }: BullQueue): number | null {
  const ends = [states.wait, states.prioritized].flatMap((index) => [
    ...sliceIndex(index, 0, 0, true),
    ...sliceIndex(index, -1, -1, true),
  ]);
  if (ends.length === 0) return null;
  return Math.max(0, ...ends.map((job) => now - readySince(job)));
}

/** When it was added, or due; or begun for the last time, where it is to be tried again. */
function readySince({ timestamp, delay, processedOn = 0 }: BullJob): number {
  return Math.max(timestamp + delay, processedOn);
}
