/** What is shown of a job. */
import type { BullJobView } from '../../model/bull.ts';
import type { BullJob } from './memory.ts';

/** What is not there is `undefined`, and is not sent. */
export function viewOf(job: BullJob): BullJobView {
  return {
    id: job.id,
    name: job.name,
    data: job.data,
    opts: job.opts,
    timestamp: job.timestamp,
    delay: job.delay,
    priority: job.priority,
    attemptsMade: job.attemptsMade,
    attemptsStarted: job.attemptsStarted,
    stalledCounter: job.stalledCounter,
    progress: job.progress,
    finishedOn: job.finishedOn,
    processedOn: job.processedOn,
    returnvalue: job.returnvalue,
    failedReason: job.failedReason,
    stacktrace: job.stacktrace,
    deferredFailure: job.deferredFailure,
    processedBy: job.processedBy,
    parentKey: job.parentKey,
    parent: job.parent,
    schedulerId: job.schedulerId,
    deduplicationId: job.deduplicationId,
  };
}
