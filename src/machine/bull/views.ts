/** What is shown of a job. */
import type { BullJobView } from '../../model/bull.ts';
import type { BullJob } from './memory.ts';

const OPTIONAL = [
  'progress',
  'finishedOn',
  'processedOn',
  'returnvalue',
  'failedReason',
  'stacktrace',
  'deferredFailure',
  'processedBy',
  'parentKey',
  'parent',
  'schedulerId',
  'deduplicationId',
] as const satisfies readonly (keyof BullJobView)[];

export function viewOf(job: BullJob): BullJobView {
  const view: Record<string, string | number> = {
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
  };
  for (const field of OPTIONAL) {
    const { [field]: value } = job;
    if (value !== undefined) view[field] = value;
  }
  return view as unknown as BullJobView;
}
