/** Adding jobs. */
import { BULL_ERROR, type BullAdd, MAX_BULL_DEPTH } from '../../model/bull.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { MachineState } from '../state.ts';
import { childrenOf, setChild, wakeIfDone } from './children.ts';
import { deduplicate, suppress } from './dedupe.ts';
import { tell } from './events.ts';
import { type BullJob, type BullQueue, createBullJob } from './memory.ts';
import { putBehind, putByPriority, putDelayed, putInWait } from './places.ts';
import { bullQueue, jobByKey, keyOf, touch, touchBody, touchHead } from './queues.ts';

/**
 * Adds jobs one after the other. A parent among them goes on only behind the last of them, in case that all of its children
 * were there and had completed.
 */
export function addJobs(state: MachineState, queue: BullQueue, jobs: readonly BullAdd[]): (string | number)[] {
  const isFlow = jobs.some(({ queue: other }) => other !== undefined);
  const parents = new Set<string>();
  const unattached = new Set<string>();
  const outcomes = jobs.map((add) => {
    const to = add.queue === undefined ? queue : bullQueue(state, add.queue);
    if (isFlow && add.parentKey !== undefined) parents.add(add.parentKey);
    const outcome = addJob(state, to, add, isFlow);
    if (outcome === BULL_ERROR.parentCannotBeReplaced && add.parentKey !== undefined) unattached.add(add.parentKey);
    return outcome;
  });
  for (const key of parents) {
    const parent = unattached.has(key) ? undefined : jobByKey(state, key);
    // The time of the last job is as good as any: it counts for a delay of the parent alone.
    if (parent !== undefined) wakeIfDone(state, parent, jobs[jobs.length - 1]?.timestamp ?? state.now);
  }
  return outcomes;
}

function addJob(state: MachineState, queue: BullQueue, add: BullAdd, isFlow: boolean): string | number {
  const { parentKey } = add;
  const above = parentKey === undefined ? undefined : jobByKey(state, parentKey);
  if (parentKey !== undefined && above === undefined) return BULL_ERROR.parentNotExist;
  if (above !== undefined && ancestorsOf(state, above).size >= MAX_BULL_DEPTH) {
    const message = `Cannot add a job below "${parentKey}": there are ${MAX_BULL_DEPTH} above it`;
    throw new HoldfastError('TOO_MANY', message);
  }
  const number = queue.nextJob++;
  touchHead(state, queue);
  const id = add.id === '' ? String(number) : add.id;
  const standing = add.id === '' ? undefined : queue.jobs.get(id);
  if (standing !== undefined) return addAgain(state, standing, add, isFlow);
  if (add.dedupe !== undefined) {
    const candidate = { state, queue, add, dedupe: add.dedupe, id };
    const other = add.waitsForChildren ? suppress(candidate) : deduplicate(candidate);
    if (other !== undefined) return other;
  }
  const job = storeJob(state, queue, add, id);
  if (add.waitsForChildren === true) {
    putBehind(state, job, 'waiting-children', add.timestamp);
    tell(state, queue, 'event', 'waiting-children', 'jobId', id);
  } else enqueue(state, job, add);
  attach(state, job);
  return id;
}

/** Adds a job that follows another one: of a deduplication, or of a scheduler. */
export function addFollower(state: MachineState, queue: BullQueue, add: BullAdd, id: string): BullJob {
  const job = storeJob(state, queue, add, id);
  enqueue(state, job, add);
  attach(state, job);
  return job;
}

/** Makes the job, with its event; it is in no state yet. */
function storeJob(state: MachineState, queue: BullQueue, add: BullAdd, id: string): BullJob {
  const { name, opts, timestamp, data, schedulerId } = add;
  const body = { id, name, opts, timestamp, data, schedulerId, deduplicationId: add.dedupe?.id };
  const job = createBullJob(queue, queue.nextSeq++, body);
  job.delay = add.delay ?? 0;
  job.priority = add.priority ?? 0;
  job.parentKey = add.parentKey;
  job.parent = add.parent;
  touchBody(state, job);
  tell(state, queue, 'event', 'added', 'jobId', id, 'name', name);
  return job;
}

function enqueue(state: MachineState, job: BullJob, { timestamp, delay = 0, lifo = false }: BullAdd): void {
  const { queue, id } = job;
  if (delay > 0) {
    putDelayed(state, job, timestamp + delay);
    tell(state, queue, 'event', 'delayed', 'jobId', id, 'delay', String(timestamp + delay));
    return;
  }
  if (job.priority !== 0) putByPriority(state, job, false);
  else putInWait(state, job, lifo);
  tell(state, queue, 'event', 'waiting', 'jobId', id);
}

/** The job and all that wait for it, one above the other. */
function ancestorsOf(state: MachineState, job: BullJob): Set<BullJob> {
  const found = new Set<BullJob>();
  let at: BullJob | undefined = job;
  while (at !== undefined && !found.has(at)) {
    found.add(at);
    at = at.parentKey === undefined ? undefined : jobByKey(state, at.parentKey);
  }
  return found;
}

/** A parent waits for the job from now on. */
function attach(state: MachineState, job: BullJob): void {
  const parent = job.parentKey === undefined ? undefined : jobByKey(state, job.parentKey);
  if (parent !== undefined) setChild(state, parent, 'unprocessed', keyOf(job), '');
}

/** A job of this id is there already: it gets the parent, unless it has another one that is still there. */
function addAgain(state: MachineState, job: BullJob, add: BullAdd, isFlow: boolean): string | number {
  const { queue, id } = job;
  const { parentKey } = add;
  const known = job.parentKey === undefined ? undefined : jobByKey(state, job.parentKey);
  const parent = parentKey === undefined ? undefined : jobByKey(state, parentKey);
  // A job that waited for itself would wait for ever, and could not be removed.
  if (parent !== undefined && ancestorsOf(state, parent).has(job)) return BULL_ERROR.parentCannotBeReplaced;
  if (parent !== undefined && (known === undefined || known === parent)) {
    if (job.state !== 'completed') setChild(state, parent, 'unprocessed', keyOf(job), '');
    else {
      setChild(state, parent, 'processed', keyOf(job), job.returnvalue ?? 'null');
      if (!isFlow && childrenOf(parent).unprocessed.size === 0) wakeIfDone(state, parent, add.timestamp);
    }
    job.parentKey = parentKey;
    job.parent = add.parent;
    touch(state, job);
  } else if (parent !== undefined) return BULL_ERROR.parentCannotBeReplaced;
  tell(state, queue, 'event', 'duplicated', 'jobId', id);
  return id;
}
