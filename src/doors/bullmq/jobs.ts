/** Jobs, from BullMQ's form to the form of commands and back. */
import type { JobJson, JobsOptions, KeepJobs, ParentKeyOpts, WorkerOptions } from 'bullmq';
import {
  type BullAdd,
  type BullDedupe,
  type BullFields,
  type BullJobView,
  type BullKeep,
  type BullNext,
  type BullTake,
  MAX_BULL_REASON_CHARACTERS,
  MAX_BULL_TRACES_CHARACTERS,
} from '../../model/bull.ts';

/** What is given in fact: the types of BullMQ allow for less. */
type GivenOptions = JobsOptions & { readonly deduplication?: BullDedupe };

export function addOf(job: JobJson, id: string | undefined, parentOpts: ParentKeyOpts = {}, queue?: string): BullAdd {
  const opts = job.opts as GivenOptions;
  const { delay, priority, lifo, deduplication } = opts;
  return {
    id: id === undefined ? '' : String(id),
    name: String(job.name),
    data: job.data,
    opts: JSON.stringify(opts),
    timestamp: job.timestamp,
    ...(typeof delay === 'number' && delay !== 0 && { delay }),
    ...(priority !== undefined && priority !== 0 && { priority }),
    ...(lifo === true && { lifo }),
    ...(queue !== undefined && { queue }),
    ...(parentOpts.addToWaitingChildren === true && { waitsForChildren: true }),
    ...(job.parentKey !== undefined && { parentKey: job.parentKey }),
    ...(job.parent !== undefined && { parent: JSON.stringify(job.parent) }),
    ...(job.repeatJobKey !== undefined && { schedulerId: job.repeatJobKey }),
    ...(deduplication?.id !== undefined && { dedupe: dedupeOf(deduplication) }),
  };
}

function dedupeOf({ id, ttl, extend, replace, reschedule, keepLastIfActive }: BullDedupe): BullDedupe {
  return {
    id: String(id),
    ...(typeof ttl === 'number' && { ttl }),
    ...(extend === true && { extend }),
    ...(replace === true && { replace }),
    ...(reschedule === true && { reschedule }),
    ...(keepLastIfActive === true && { keepLastIfActive }),
  };
}

/** A job as `Job.fromJSON` takes it. The view becomes the job: nobody else has it. */
export function jobOf(view: BullJobView): JobJson {
  const { schedulerId, opts, progress, parent, deduplicationId } = view;
  const job = view as unknown as Record<string, unknown>;
  job['opts'] = JSON.parse(opts);
  job['progress'] = progress === undefined ? 0 : JSON.parse(progress);
  if (parent !== undefined) job['parent'] = JSON.parse(parent);
  if (schedulerId !== undefined) {
    job['repeatJobKey'] = schedulerId;
    delete job['schedulerId'];
  }
  if (deduplicationId !== undefined) job['debounceId'] = deduplicationId;
  return job as unknown as JobJson;
}

/** The job that a worker was given, in the four places in which BullMQ expects what it may be given. */
export function nextOf(next: BullNext | number): unknown[] {
  if (typeof next === 'number') return [];
  const { job, ttlMs, untilAt } = next;
  return [job === null ? null : jobOf(job), job === null ? 0 : job.id, ttlMs, untilAt];
}

/** How a worker of these options takes jobs. */
export function takeOf(token: string, opts: Partial<WorkerOptions>, name: string | undefined): BullTake {
  const { lockDuration = 30_000, maxStalledCount = 1, limiter } = opts;
  return {
    token,
    lockMs: lockDuration,
    maxStalled: Math.max(0, Math.floor(maxStalledCount)),
    ...(name !== undefined && { name }),
    ...(limiter !== undefined && { limiter: { max: limiter.max, duration: limiter.duration } }),
  };
}

/** Which finished jobs stay, by what was said of the job, and else of the worker. */
export function keepOf(ofJob: undefined | boolean | number | KeepJobs, ofWorker: KeepJobs | undefined): BullKeep {
  if (ofJob === undefined || ofJob === null) return limitsOf(ofWorker ?? { count: -1 });
  if (typeof ofJob === 'object') return limitsOf(ofJob);
  if (typeof ofJob === 'number') return { count: ofJob };
  return { count: ofJob ? 0 : -1 };
}

function limitsOf(keep: KeepJobs): BullKeep {
  const { count, age, limit } = keep as { count?: number; age?: number; limit?: number };
  return {
    ...(typeof count === 'number' && { count }),
    ...(typeof age === 'number' && { age }),
    ...(typeof limit === 'number' && { limit }),
  };
}

/** What a failed attempt leaves behind. */
export function fieldsOf(fields: Readonly<Record<string, unknown>> | undefined): { fields?: BullFields } {
  if (fields === undefined) return {};
  const { failedReason, stacktrace } = fields;
  return {
    fields: {
      ...(failedReason !== undefined && { failedReason: textOf(failedReason).slice(0, MAX_BULL_REASON_CHARACTERS) }),
      ...(stacktrace !== undefined && { stacktrace: tracesIn(textOf(stacktrace)) }),
    },
  };
}

/** Stack traces as JSON: where they are long, the last ones, cut. */
function tracesIn(text: string): string {
  if (text.length <= MAX_BULL_TRACES_CHARACTERS) return text;
  const traces: unknown = JSON.parse(text);
  const last = Array.isArray(traces) ? traces.slice(-4) : [];
  // Escapes of control characters take six for one.
  return JSON.stringify(last.map((trace) => String(trace).slice(0, MAX_BULL_TRACES_CHARACTERS / 32)));
}

/** BullMQ gives texts, unless an application has thrown something else than an error. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
}
