/** Deduplication: whether a job is added, replaces another one, or gives way to it. */
import type { BullAdd, BullDedupe } from '../../model/bull.ts';
import type { MachineState } from '../state.ts';
import { dedupeKey, setKey, untilOf } from './dedupe-keys.ts';
import { tell } from './events.ts';
import type { BullDedupeKey, BullQueue } from './memory.ts';
import { putDelayed } from './places.ts';
import { touch } from './queues.ts';
import { eraseJob } from './removal.ts';

/** A job that is to be added under an id, and what makes it a duplicate. */
export interface Candidate {
  readonly state: MachineState;
  readonly queue: BullQueue;
  readonly add: BullAdd;
  readonly dedupe: BullDedupe;
  readonly id: string;
}

/** The id of the job that stands in the way of this one; `undefined` when it is to be added. */
export function deduplicate(candidate: Candidate): string | undefined {
  const { state, queue, add, dedupe } = candidate;
  if (dedupe.replace === true) return replace(candidate);
  const other = suppress(candidate);
  const standing = other === undefined ? undefined : queue.jobs.get(other);
  if (dedupe.reschedule === true && standing?.state === 'delayed') {
    const { timestamp, delay = 0 } = add;
    standing.delay = delay;
    touch(state, standing);
    putDelayed(state, standing, timestamp + delay);
    tell(state, queue, 'event', 'delayed', 'jobId', standing.id, 'delay', String(timestamp + delay));
  }
  return other;
}

/** As {@link deduplicate}, where nothing is replaced. */
export function suppress(candidate: Candidate): string | undefined {
  const { state, queue, dedupe, id } = candidate;
  const key = dedupeKey(state, queue, dedupe.id);
  if (key === undefined || isStale(queue, key)) return stand(candidate);
  if (keepNext(candidate, key)) return key.jobId;
  if (dedupe.extend === true && (dedupe.ttl ?? 0) > 0) {
    setKey(state, queue, dedupe.id, key.jobId, untilOf(state, dedupe), key.next);
  }
  tellDeduplicated(state, queue, key.jobId, dedupe.id, id);
  return key.jobId;
}

/** A delayed job gives way to the new one; any other stays. */
function replace(candidate: Candidate): string | undefined {
  const { state, queue, dedupe, id } = candidate;
  const key = dedupeKey(state, queue, dedupe.id);
  const standing = key === undefined ? undefined : queue.jobs.get(key.jobId);
  if (key !== undefined && standing?.state === 'delayed') {
    eraseJob(state, standing);
    tell(state, queue, 'event', 'removed', 'jobId', standing.id, 'prev', 'delayed');
    tellDeduplicated(state, queue, id, dedupe.id, standing.id);
    const keepsWindow = dedupe.keepLastIfActive !== true && dedupe.extend !== true && (dedupe.ttl ?? 0) > 0;
    return stand(candidate, keepsWindow ? key.until : undefined);
  }
  if (key === undefined || isStale(queue, key)) return stand(candidate);
  keepNext(candidate, key);
  return key.jobId;
}

/** The job is to be added, and stands for its deduplication id from now on. */
function stand({ state, queue, dedupe, id }: Candidate, until: number = untilOf(state, dedupe)): undefined {
  setKey(state, queue, dedupe.id, id, until);
}

/** While a job is active, the last one that was added waits to follow it. */
function keepNext({ state, queue, add, dedupe, id }: Candidate, { jobId }: BullDedupeKey): boolean {
  if (dedupe.keepLastIfActive !== true || queue.jobs.get(jobId)?.state !== 'active') return false;
  setKey(state, queue, dedupe.id, jobId, 0, { add, jobId: id });
  tellDeduplicated(state, queue, jobId, dedupe.id, id);
  return true;
}

/** A key without an end lives as long as its job: where that is gone, it was left behind. */
function isStale({ jobs }: BullQueue, { until, jobId }: BullDedupeKey): boolean {
  return until === 0 && !jobs.has(jobId);
}

function tellDeduplicated(state: MachineState, queue: BullQueue, jobId: string, id: string, other: string): void {
  tell(state, queue, 'event', 'deduplicated', 'jobId', jobId, 'deduplicationId', id, 'deduplicatedJobId', other);
}
