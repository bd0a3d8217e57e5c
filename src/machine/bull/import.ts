/** Taking over jobs and schedulers that were elsewhere, with all that they have been through. */
import { BULL_CHILDREN, type BullImport, type BullImported, type BullSchedulerView } from '../../model/bull.ts';
import type { MachineState } from '../state.ts';
import { setChild } from './children.ts';
import { setKey } from './dedupe-keys.ts';
import { type BullJob, type BullQueue, createBullJob } from './memory.ts';
import { putBehind, putByPriority, putDelayed, putInWait } from './places.ts';
import { cutLogs, setCell, touchBody, touchHead, touchLogs, touchOutcome, touchResult } from './queues.ts';
import { encodeScheduler, namedKey, PART } from './records.ts';

/**
 * Adds jobs as they were, each behind those that are in its state already. Whoever waits for events is told nothing: for the
 * jobs nothing has happened. One whose id is taken changes nothing, so that the same ones may come again.
 */
export function importJobs(
  state: MachineState,
  queue: BullQueue,
  jobs: readonly BullImport[],
  nextJob: number,
): BullImported[] {
  if (nextJob > queue.nextJob) {
    queue.nextJob = nextJob;
    touchHead(state, queue);
  }
  return jobs.map((one) => {
    const standing = queue.jobs.get(one.id);
    if (standing === undefined) {
      importJob(state, queue, one);
      return 'taken';
    }
    const isSame = standing.name === one.name && standing.timestamp === one.timestamp && standing.data === one.data;
    return isSame ? 'there' : 'clash';
  });
}

function importJob(state: MachineState, queue: BullQueue, one: BullImport): void {
  const { id, at, children, dedupe, logs } = one;
  const { name, opts, timestamp, data, schedulerId } = one;
  const body = { id, name, opts, timestamp, data, schedulerId, deduplicationId: dedupe?.id };
  const job = createBullJob(queue, queue.nextSeq++, body);
  job.delay = one.delay;
  job.priority = one.priority;
  job.attemptsMade = one.attemptsMade;
  job.attemptsStarted = one.attemptsStarted;
  job.processedOn = one.processedOn;
  job.finishedOn = one.finishedOn;
  job.progress = one.progress;
  job.returnvalue = one.returnvalue;
  job.failedReason = one.failedReason;
  job.stacktrace = one.stacktrace;
  job.deferredFailure = one.deferredFailure;
  job.processedBy = one.processedBy;
  job.stalledCounter = one.stalledCounter;
  job.parentKey = one.parentKey;
  job.parent = one.parent;
  job.logs = logs === undefined ? undefined : cutLogs(logs, 0);
  touchBody(state, job);
  touchOutcome(state, job);
  if (job.returnvalue !== undefined) touchResult(state, job);
  if (logs !== undefined) touchLogs(state, job);
  if (dedupe?.stands === true)
    setKey(state, queue, dedupe.id, id, dedupe.ttl === undefined ? 0 : state.now + dedupe.ttl);
  place(state, job, one.state, at);
  for (const kind of BULL_CHILDREN) {
    for (const [key, text] of children?.[kind] ?? []) setChild(state, job, kind, key, text);
  }
}

function place(state: MachineState, job: BullJob, to: BullImport['state'], at: number): void {
  switch (to) {
    case 'wait':
      return putInWait(state, job, false);
    case 'prioritized':
      return putByPriority(state, job, false);
    case 'delayed':
      return putDelayed(state, job, at);
    case 'waiting-children':
    case 'failed':
      return putBehind(state, job, to, at);
  }
}

/** Takes over a scheduler, unless there is one of this id; its next job comes with the other jobs. */
export function importScheduler(
  state: MachineState,
  queue: BullQueue,
  { id, fields, nextAt }: BullSchedulerView,
): BullImported {
  if (queue.schedulers.has(id)) return 'there';
  const scheduler = { id, fields: { ...fields }, nextAt };
  queue.schedulers.set(id, scheduler);
  queue.schedulerOrder.add(scheduler);
  setCell(state, namedKey(state, queue, PART.scheduler, id), encodeScheduler(scheduler));
  touchHead(state, queue);
  return 'taken';
}
