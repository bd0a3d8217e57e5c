/** Looking at queues and jobs. */
import type { BullAnswer, BullArgs, BullChildren, BullClientView, BullSchedulerView } from '../../model/bull.ts';
import { BULL_CHILDREN } from '../../model/bull.ts';
import type { MachineState } from '../state.ts';
import { childrenOf } from './children.ts';
import { countBelow } from './counting.ts';
import type { BullJob, BullQueue, BullScheduler } from './memory.ts';
import { jobByKey } from './queues.ts';
import { slice, sliceIndex } from './ranks.ts';
import { viewOf } from './views.ts';

const UNPROCESSED = 0;

/** A page of children ends when it has so many characters; one child more may be on it. */
const PAGE_CHARACTERS: number = 1024 * 1024;

/** How many ids one answer gives for a state. */
const MOST_IDS = 100_000;

export function finishedView(queue: BullQueue, id: string): BullAnswer<'finished'> {
  const job = queue.jobs.get(id);
  if (job === undefined) return { status: -1, value: `Missing key for job ${queue.qualified}:${id}. isFinished` };
  const { state, returnvalue, failedReason } = job;
  if (state === 'completed') return { status: 1, ...(returnvalue !== undefined && { value: returnvalue }) };
  if (state === 'failed') return { status: 2, ...(failedReason !== undefined && { value: failedReason }) };
  return { status: UNPROCESSED };
}

export function logsView(queue: BullQueue, { id, start, end, asc }: BullArgs<'logs'>): BullAnswer<'logs'> {
  const logs = queue.jobs.get(id)?.logs ?? [];
  const lines = asc ? slice(logs, start, end) : slice(logs.slice().reverse(), start, end);
  return { lines, count: logs.length };
}

export function countsView(queue: BullQueue, { states, until }: BullArgs<'counts'>): number[] {
  return states.map((name) => {
    if (name === 'repeat') return queue.schedulers.size;
    if (!isState(queue, name)) return 0;
    if (name === 'delayed' && until !== undefined) return countBelow(queue.states.delayed, until);
    return queue.states[name].size;
  });
}

export function countsPerPriority(queue: BullQueue, priorities: readonly number[]): number[] {
  const { wait, prioritized } = queue.states;
  return priorities.map((priority) =>
    priority === 0 ? wait.size : countBelow(prioritized, priority + 1) - countBelow(prioritized, priority),
  );
}

export function rangesView(queue: BullQueue, { states, start, end, asc }: BullArgs<'ranges'>): string[][] {
  return states.map((name) => {
    if (name === 'repeat') return sliceIndex(queue.schedulerOrder, start, end, asc).map(({ id }) => id);
    if (!isState(queue, name)) return [];
    return sliceIndex(queue.states[name], start, end, asc, MOST_IDS).map(({ id }) => id);
  });
}

export function childCounts(queue: BullQueue, id: string): Record<BullChildren, number> {
  const job = queue.jobs.get(id);
  const counts = { processed: 0, unprocessed: 0, ignored: 0, failed: 0 };
  if (job !== undefined) for (const kind of BULL_CHILDREN) counts[kind] = childrenOf(job)[kind].size;
  return counts;
}

export function childrenView(
  state: MachineState,
  queue: BullQueue,
  { id, of, start, limit, jobs }: BullArgs<'children'>,
): BullAnswer<'children'> {
  const job = queue.jobs.get(id);
  const known = job === undefined ? [] : [...childrenOf(job)[of]];
  const items: [string, string][] = [];
  let characters = 0;
  for (let i = start; i < known.length && items.length < limit && characters < PAGE_CHARACTERS; i++) {
    const item = known[i] as [string, string];
    characters += item[0].length + item[1].length;
    items.push(item);
  }
  const found = jobs ? items.map(([key]) => jobByKey(state, key)) : [];
  return {
    items,
    total: known.length,
    jobs: found.filter((child): child is BullJob => child !== undefined).map((child) => viewOf(child)),
  };
}

export function schedulerView({ id, fields, nextAt }: BullScheduler): BullSchedulerView {
  return { id, fields, nextAt };
}

export function clientsView({ now }: MachineState, { clients }: BullQueue): BullClientView[] {
  return [...clients].flatMap(([session, names]) =>
    [...names].map(([number, { name, sinceAt }]) => ({
      session: session.number,
      number,
      name,
      ageMs: Math.max(0, now - sinceAt),
    })),
  );
}

function isState(queue: BullQueue, name: string): name is keyof BullQueue['states'] {
  return Object.hasOwn(queue.states, name);
}
