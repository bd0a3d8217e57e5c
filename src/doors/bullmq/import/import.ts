/** Moves queues of BullMQ's from Redis into a store. */
import type { Redis } from 'ioredis';
import type { BullAnswer, BullArgs, BullMethod } from '../../../model/bull.ts';
import { HoldfastError } from '../../../model/errors.ts';
import {
  findQueues,
  readJobs,
  SOURCE_PLACES,
  type SourceJob,
  type SourcePlace,
  type SourceQueue,
  takeOut,
  takeOutScheduler,
} from './source.ts';

/** The store, as far as it is needed here. */
export interface ImportTarget {
  call<M extends BullMethod>(queue: string, method: M, args: BullArgs<M>): Promise<BullAnswer<M>>;
}

export interface ImportOptions {
  /** What the keys in Redis begin with. */
  readonly prefix: string;
  /** Names of queues; all where there are none. */
  readonly queues: readonly string[];
  /** Also where workers are at it; what they were doing is done again. */
  readonly force: boolean;
  readonly signal: AbortSignal;
}

/** What was moved of a queue, or would be. */
export interface ImportedQueue {
  readonly queue: string;
  readonly moved: Readonly<Record<SourcePlace['key'] | 'schedulers', number>>;
  /** Ids of jobs that stay, because another job has their id in the store. */
  readonly clashes: readonly string[];
  /** What repeats in the way of old versions, and stays. */
  readonly oldSchedulers: readonly string[];
  readonly workers: number;
  readonly wasPaused: boolean;
}

/** How many jobs are moved at a time, if they are not large. */
const BATCH = 250;

/** A command has a limit; a batch of large jobs is cut to stay below it. */
const BATCH_BYTES = 1024 * 1024;

/** The field by which a queue is known that an import has begun on: whether it was paused before. */
const BEGUN = 'importing';

/**
 * Moves what waits and what has failed, job by job as it is, and schedulers. A queue is paused in the store until all of them
 * are there, so that a job that was moved cannot have ended before it is out of Redis: whatever is interrupted can be begun again.
 * Without a target nothing is moved, and it says what would be.
 *
 * @throws HoldfastError `WRONG_STATE` when there are workers, unless forced
 */
export async function importQueues(
  redis: Redis,
  target: ImportTarget | undefined,
  options: ImportOptions,
): Promise<ImportedQueue[]> {
  const queues = await findQueues(redis, options.prefix, options.queues);
  if (target === undefined) return queues.map(wouldMove);
  if (!options.force) refuseBusy(queues);
  for (const queue of queues) await begin(target, queue);
  const imported: ImportedQueue[] = [];
  for (const queue of queues) imported.push(await moveQueue(redis, target, queue, options));
  for (const queue of queues) await end(target, queue);
  return imported;
}

function wouldMove({ name, counts, schedulers, oldSchedulers, workers, isPaused }: SourceQueue): ImportedQueue {
  const moved = { ...counts, schedulers: schedulers.length };
  return { queue: name, moved, clashes: [], oldSchedulers, workers, wasPaused: isPaused };
}

function refuseBusy(queues: readonly SourceQueue[]): void {
  const busy = queues.filter(({ workers, counts }) => workers > 0 || counts.active > 0);
  if (busy.length === 0) return;
  const names = busy.map(({ name }) => `"${name}"`).join(', ');
  throw new HoldfastError(
    'WRONG_STATE',
    `Cannot import ${names}: there are workers, or jobs that they hold; stop them first, or force it, and those jobs run again`,
  );
}

/** Pauses the queue in the store, and notes there whether it was. */
async function begin(target: ImportTarget, { qualified, limits }: SourceQueue): Promise<void> {
  const meta = await target.call(qualified, 'meta', {});
  if (meta[BEGUN] === undefined) {
    await target.call(qualified, 'setMeta', { values: { [BEGUN]: 'paused' in meta ? 'paused' : 'running' } });
  }
  await target.call(qualified, 'pause', { paused: true });
  const missing = Object.entries(limits).filter(([field]) => meta[field] === undefined);
  if (missing.length > 0) await target.call(qualified, 'setMeta', { values: Object.fromEntries(missing) });
}

async function end(target: ImportTarget, { qualified, isPaused }: SourceQueue): Promise<void> {
  const meta = await target.call(qualified, 'meta', {});
  if (!isPaused && meta[BEGUN] === 'running') await target.call(qualified, 'pause', { paused: false });
  await target.call(qualified, 'removeMeta', { fields: [BEGUN] });
}

async function moveQueue(
  redis: Redis,
  target: ImportTarget,
  queue: SourceQueue,
  options: ImportOptions,
): Promise<ImportedQueue> {
  const moved: Record<string, number> = {};
  const clashes: string[] = [];
  for (const scheduler of queue.schedulers) {
    await target.call(queue.qualified, 'importScheduler', scheduler);
    await takeOutScheduler(redis, queue, scheduler.id);
    moved['schedulers'] = (moved['schedulers'] ?? 0) + 1;
  }
  for (const place of SOURCE_PLACES) {
    const left = await movePlace(redis, target, queue, place, options, (count) => {
      moved[place.key] = (moved[place.key] ?? 0) + count;
    });
    clashes.push(...left);
  }
  const { moved: none, ...rest } = wouldMove(queue);
  const counts = Object.fromEntries(Object.keys(none).map((key) => [key, moved[key] ?? 0]));
  return { ...rest, moved: counts as ImportedQueue['moved'], clashes };
}

/** Moves all jobs of a place, and gives the ids of those that stay. */
async function movePlace(
  redis: Redis,
  target: ImportTarget,
  queue: SourceQueue,
  place: SourcePlace,
  { signal }: ImportOptions,
  count: (moved: number) => void,
): Promise<string[]> {
  const staying = new Set<string>();
  for (;;) {
    if (signal.aborted) {
      throw new HoldfastError(
        'CLOSED',
        'The import was interrupted; queues that it began with stay paused until it is run again',
      );
    }
    const read = await readJobs(redis, queue, place, BATCH + staying.size);
    const batch = cut(read.filter(({ member }) => !staying.has(member)));
    if (batch.length === 0) return [...staying];
    const [jobs, empty] = split(batch, ({ job }) => job !== undefined);
    const answers = await target.call(queue.qualified, 'importJobs', {
      jobs: jobs.flatMap(({ job }) => job ?? []),
      nextJob: queue.nextJob,
    });
    const [there, clashing] = split(jobs, (_job, i) => answers[i] !== 'clash');
    for (const { member } of clashing) staying.add(member);
    await takeOut(
      redis,
      queue,
      place,
      [...there, ...empty].map(({ member }) => member),
    );
    count(there.length);
  }
}

/** As many of the first jobs as one command takes. */
function cut(jobs: readonly SourceJob[]): SourceJob[] {
  let bytes = 0;
  const end = jobs.findIndex(({ job }) => {
    bytes += JSON.stringify(job).length;
    return bytes > BATCH_BYTES;
  });
  return jobs.slice(0, end === -1 ? BATCH : Math.min(BATCH, Math.max(1, end)));
}

function split<T>(all: readonly T[], isFirst: (one: T, i: number) => boolean): [T[], T[]] {
  return [all.filter((one, i) => isFirst(one, i)), all.filter((one, i) => !isFirst(one, i))];
}
