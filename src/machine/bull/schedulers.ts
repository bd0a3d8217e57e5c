/** Job schedulers: each has its next job in the queue, and makes the one behind it when that is taken. */
import { BULL_ERROR, type BullAdd, type BullArgs, type BullDedupe } from '../../model/bull.ts';
import type { MachineState } from '../state.ts';
import { addFollower } from './add.ts';
import { tell } from './events.ts';
import type { BullJob, BullQueue, BullScheduler } from './memory.ts';
import { isPaused, setCell, touchHead } from './queues.ts';
import { encodeScheduler, namedKey, PART } from './records.ts';
import { eraseJob, removeJob } from './removal.ts';

/** Ticks of `every` that are passed over, at most, because jobs stand in their place. */
const MOST_TAKEN = 32;

/** What the options of a job say that counts here. */
interface JobOptions {
  delay?: number;
  jobId?: string;
  priority?: number;
  lifo?: boolean;
  deduplication?: BullDedupe;
  repeat?: { every?: number; offset?: number };
}

/** The id of the job, and how long it is delayed; or why there is none. */
export function applyAddScheduler(
  state: MachineState,
  queue: BullQueue,
  args: BullArgs<'addScheduler'>,
): { id: string; delay: number } | number {
  const { id, fields, now } = args;
  const opts = JSON.parse(args.jobOpts) as JobOptions;
  const known = queue.schedulers.get(id);
  const every = numberIn(fields['every']);
  let offset = numberIn(fields['offset']) ?? opts.repeat?.offset ?? 0;
  let nextAt = args.nextAt ?? 0;
  const isOther = every !== undefined && known !== undefined && numberIn(known.fields['every']) !== every;
  if (every !== undefined) {
    const prevAt = isOther ? undefined : known?.nextAt;
    ({ nextAt, offset } = nextOfEvery(prevAt, every, now, offset, numberIn(fields['startDate'])));
  }
  const inTheWay = every === undefined ? queue.jobs.get(idOf(id, nextAt)) : undefined;
  if (inTheWay?.state === 'active') return BULL_ERROR.schedulerIdCollision;
  const replaced = known !== undefined && removeNext(state, queue, known);
  if (replaced && known !== undefined && every !== undefined && !isOther) ({ nextAt } = known);
  let jobId = idOf(id, nextAt);
  if (queue.jobs.has(jobId)) {
    if (every === undefined) {
      if (!replaced) return BULL_ERROR.schedulerIdCollision;
      // BullMQ writes over a job that has finished under this id.
      eraseJob(state, queue.jobs.get(jobId) as BullJob);
    } else {
      for (let tried = 0; tried < MOST_TAKEN && queue.jobs.has(jobId); tried++) {
        nextAt += every;
        jobId = idOf(id, nextAt);
      }
      if (queue.jobs.has(jobId)) return BULL_ERROR.schedulerSlotsBusy;
    }
  }
  const stored: Record<string, string> = {};
  for (const [field, value] of Object.entries(fields)) stored[field] = String(value);
  if (!replaced) stored['offset'] = String(offset);
  else if (stored['offset'] === undefined && known?.fields['offset'] !== undefined)
    stored['offset'] = known.fields['offset'];
  if (args.templateOpts !== '{}') stored['opts'] = args.templateOpts;
  if (args.data !== '{}') stored['data'] = args.data;
  stored['ic'] = known?.fields['ic'] ?? '1';
  if (known !== undefined) queue.schedulerOrder.remove(known);
  putScheduler(state, queue, { id, fields: stored, nextAt });
  const delay = Math.max(0, nextAt - now);
  addNext(state, queue, args, opts, { jobId, delay, name: stored['name'] ?? '', data: args.data });
  return { id: jobId, delay };
}

/** The id of the job that follows the one that is being taken; null where it is not this scheduler's last. */
export function applyUpdateScheduler(
  state: MachineState,
  queue: BullQueue,
  args: BullArgs<'updateScheduler'>,
): string | null {
  const { id, now, producerId } = args;
  const scheduler = queue.schedulers.get(id);
  if (scheduler === undefined || producerId !== idOf(id, scheduler.nextAt)) return null;
  const opts = JSON.parse(args.jobOpts) as JobOptions;
  const { fields } = scheduler;
  const every = numberIn(fields['every']) ?? opts.repeat?.every;
  let nextAt = args.nextAt ?? 0;
  if (every !== undefined) {
    const offset = numberIn(fields['offset']) ?? opts.repeat?.offset ?? 0;
    ({ nextAt } = nextOfEvery(scheduler.nextAt, every, now, offset, numberIn(fields['startDate'])));
  }
  const jobId = idOf(id, nextAt);
  if (queue.jobs.has(jobId)) {
    tell(state, queue, 'event', 'duplicated', 'jobId', jobId);
    return null;
  }
  queue.schedulerOrder.remove(scheduler);
  const counted = { ...fields, ic: String(Number(fields['ic'] ?? 0) + 1) };
  putScheduler(state, queue, { id, fields: counted, nextAt });
  const delay = Math.max(0, nextAt - now);
  addNext(state, queue, args, opts, { jobId, delay, name: fields['name'] ?? '', data: fields['data'] ?? '{}' });
  return jobId;
}

/** 0 when there was one, 1 when not. */
export function applyRemoveScheduler(state: MachineState, queue: BullQueue, id: string): number {
  const scheduler = queue.schedulers.get(id);
  if (scheduler === undefined) return 1;
  const job = queue.jobs.get(idOf(id, scheduler.nextAt));
  if (job?.state === 'delayed') {
    eraseJob(state, job);
    tell(state, queue, 'event', 'removed', 'jobId', job.id, 'prev', 'delayed');
  }
  eraseScheduler(state, queue, scheduler);
  return 0;
}

export function eraseScheduler(state: MachineState, queue: BullQueue, scheduler: BullScheduler): void {
  queue.schedulerOrder.remove(scheduler);
  queue.schedulers.delete(scheduler.id);
  setCell(state, namedKey(state, queue, PART.scheduler, scheduler.id), undefined);
}

/** When a scheduler that ticks each so many milliseconds is next due, and how its ticks stand to multiples of that. */
function nextOfEvery(
  prevAt: number | undefined,
  every: number,
  now: number,
  offset: number,
  startDate: number | undefined,
): { nextAt: number; offset: number } {
  const aligned = Math.floor(now / every) * every + offset;
  const alignedNext = aligned <= now ? aligned + every : aligned;
  let nextAt: number;
  if (prevAt !== undefined) nextAt = prevAt + every < now ? alignedNext : prevAt + every;
  else if (startDate !== undefined) nextAt = Math.max(startDate, now);
  else nextAt = offset > 0 ? alignedNext : now;
  return { nextAt: Math.floor(nextAt), offset: Math.floor(offset === 0 ? nextAt % every : offset) };
}

/** Removes the next job of a scheduler, as long as nobody has taken it. */
function removeNext(state: MachineState, queue: BullQueue, { id, nextAt }: BullScheduler): boolean {
  const job = queue.jobs.get(idOf(id, nextAt));
  // BullMQ leaves a job alone that waits in a paused queue.
  const isOpen = job?.state === 'wait' && !isPaused(queue);
  if (job === undefined || (job.state !== 'delayed' && job.state !== 'prioritized' && !isOpen)) return false;
  removeJob(state, job, true, true);
  return true;
}

function putScheduler(state: MachineState, queue: BullQueue, scheduler: BullScheduler): void {
  queue.schedulers.set(scheduler.id, scheduler);
  queue.schedulerOrder.add(scheduler);
  setCell(state, namedKey(state, queue, PART.scheduler, scheduler.id), encodeScheduler(scheduler));
}

function addNext(
  state: MachineState,
  queue: BullQueue,
  { id, now }: { readonly id: string; readonly now: number },
  opts: JobOptions,
  { jobId, delay, name, data }: { jobId: string; delay: number; name: string; data: string },
): void {
  const add: BullAdd = {
    id: jobId,
    name,
    data,
    opts: JSON.stringify({ ...opts, delay, jobId }),
    timestamp: now,
    delay,
    priority: opts.priority ?? 0,
    lifo: opts.lifo ?? false,
    schedulerId: id,
    ...(opts.deduplication && { dedupe: opts.deduplication }),
  };
  queue.nextJob += 1;
  touchHead(state, queue);
  addFollower(state, queue, add, jobId);
}

function idOf(id: string, at: number): string {
  return `repeat:${id}:${at}`;
}

function numberIn(value: string | number | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}
