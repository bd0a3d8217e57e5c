/** Parents and children: what a parent waits for, and what becomes of it when a child ends. */
import type { BullChildren } from '../../model/bull.ts';
import type { MachineState } from '../state.ts';
import { tell } from './events.ts';
import type { BullChildrenOf, BullJob } from './memory.ts';
import { leave, putByPriority, putDelayed, putInWait } from './places.ts';
import { jobByKey, keyOf, setCell, touch } from './queues.ts';
import { childKeyOf, encodeChild } from './records.ts';

const NONE: BullChildrenOf = { unprocessed: new Map(), processed: new Map(), ignored: new Map(), failed: new Map() };

/** What is known of a job's children. */
export function childrenOf({ children }: BullJob): BullChildrenOf {
  return children ?? NONE;
}

/** Notes what became of a child; it is known in one way only. */
export function setChild(state: MachineState, parent: BullJob, kind: BullChildren, key: string, value: string): void {
  parent.children ??= { unprocessed: new Map(), processed: new Map(), ignored: new Map(), failed: new Map() };
  for (const known of Object.values(parent.children) as Map<string, string>[]) known.delete(key);
  parent.children[kind].set(key, value);
  setCell(state, childKeyOf(state, parent, key), encodeChild(kind, value));
}

/** Forgets a child that is known in this way; says whether it was. */
export function dropChild(state: MachineState, parent: BullJob, kind: BullChildren, key: string): boolean {
  if (parent.children?.[kind].delete(key) !== true) return false;
  setCell(state, childKeyOf(state, parent, key), undefined);
  return true;
}

/** A child has completed with this value. */
export function childCompleted(state: MachineState, parentKey: string, key: string, value: string, now: number): void {
  const parent = jobByKey(state, parentKey);
  if (parent === undefined || !childrenOf(parent).unprocessed.has(key)) return;
  setChild(state, parent, 'processed', key, value);
  wakeIfDone(state, parent, now);
}

/** What the options of a child say about its failure, as BullMQ keeps them with its parent. */
interface ParentOfChild {
  readonly id: string;
  readonly queueKey: string;
  readonly fpof?: boolean;
  readonly cpof?: boolean;
  readonly idof?: boolean;
  readonly rdof?: boolean;
}

/** A child has failed for good. */
export function childFailed(state: MachineState, child: BullJob, reason: string, now: number): void {
  if (child.parent === undefined) return;
  const { id, queueKey, fpof, cpof, idof, rdof } = JSON.parse(child.parent) as ParentOfChild;
  const parent = state.bull.queues.get(queueKey)?.jobs.get(id);
  const key = keyOf(child);
  if (parent === undefined || !childrenOf(parent).unprocessed.has(key)) return;
  if (fpof === true) {
    setChild(state, parent, 'failed', key, reason);
    failParent(state, parent, key, now);
  } else if (cpof === true) {
    setChild(state, parent, 'ignored', key, reason);
    if (parent.state === 'waiting-children') wakeParent(state, parent, now);
  } else if (idof === true) {
    setChild(state, parent, 'ignored', key, reason);
    wakeIfDone(state, parent, now);
  } else if (rdof === true) {
    dropChild(state, parent, 'unprocessed', key);
    wakeIfDone(state, parent, now);
  }
}

/**
 * The child is no longer waited for, as it is removed; says whether it was. A parent that waited for nothing else goes on, or
 * with `within` is removed too, where it is in the same queue.
 */
export function releaseParent(
  state: MachineState,
  key: string,
  parentKey: string | undefined,
  removeWithin?: (parent: BullJob) => boolean,
): boolean {
  const parent = parentKey === undefined ? undefined : jobByKey(state, parentKey);
  if (parent === undefined || !dropChild(state, parent, 'unprocessed', key)) return false;
  if (childrenOf(parent).unprocessed.size > 0 || parent.state !== 'waiting-children') return true;
  leave(parent);
  if (removeWithin?.(parent) === true) return true;
  putInWait(state, parent, true);
  if (removeWithin === undefined) {
    tell(state, parent.queue, 'event', 'waiting', 'jobId', parent.id, 'prev', 'waiting-children');
  }
  return true;
}

/** Lets a parent that waits for nothing any more go on. */
export function wakeIfDone(state: MachineState, parent: BullJob, now: number): void {
  if (childrenOf(parent).unprocessed.size === 0 && parent.state === 'waiting-children') wakeParent(state, parent, now);
}

function failParent(state: MachineState, parent: BullJob, key: string, now: number): void {
  const reason = `child ${key} failed`;
  if (parent.state === 'waiting-children' || parent.state === 'delayed') {
    if (parent.state === 'delayed') parent.delay = 0;
    parent.deferredFailure = reason;
    wakeParent(state, parent, now);
  } else if (parent.state !== 'failed') {
    parent.deferredFailure = reason;
    touch(state, parent);
  }
}

function wakeParent(state: MachineState, parent: BullJob, now: number): void {
  const { queue, id, delay } = parent;
  leave(parent);
  if (delay > 0) {
    putDelayed(state, parent, now + delay);
    tell(state, queue, 'event', 'delayed', 'jobId', id, 'delay', String(now + delay));
    return;
  }
  putByPriority(state, parent, true);
  tell(state, queue, 'event', 'waiting', 'jobId', id, 'prev', 'waiting-children');
}
