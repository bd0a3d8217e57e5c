/** Deduplication keys: which job stands for an id, until when, and which one follows it. */
import type { BullDedupe } from '../../model/bull.ts';
import type { MachineState } from '../state.ts';
import type { BullDedupeKey, BullJob, BullQueue } from './memory.ts';
import { setCell } from './queues.ts';
import { encodeDedupe, namedKey, PART } from './records.ts';

/** The key of this id, as long as it holds. */
export function dedupeKey(state: MachineState, queue: BullQueue, id: string): BullDedupeKey | undefined {
  const key = queue.dedupe.get(id);
  if (key === undefined || key.until === 0 || key.until > state.now) return key;
  forgetKey(state, queue, id);
  return undefined;
}

/** Lets a job stand for an id. */
export function setKey(
  state: MachineState,
  queue: BullQueue,
  id: string,
  jobId: string,
  until: number,
  next?: BullDedupeKey['next'],
): void {
  const key = { id, jobId, until, next };
  queue.dedupe.set(id, key);
  setCell(state, namedKey(state, queue, PART.dedupe, id), encodeDedupe(key));
}

/** Until when a job stands for an id that is set now. */
export function untilOf({ now }: MachineState, { ttl = 0, keepLastIfActive }: BullDedupe): number {
  return keepLastIfActive !== true && ttl > 0 ? now + ttl : 0;
}

export function forgetKey(state: MachineState, queue: BullQueue, id: string): boolean {
  if (!queue.dedupe.delete(id)) return false;
  setCell(state, namedKey(state, queue, PART.dedupe, id), undefined);
  return true;
}

/** The job is removed: what it stands for is free. */
export function forgetDedupeOf(state: MachineState, { queue, id, deduplicationId }: BullJob): void {
  if (deduplicationId === undefined) return;
  if (dedupeKey(state, queue, deduplicationId)?.jobId === id) forgetKey(state, queue, deduplicationId);
}
