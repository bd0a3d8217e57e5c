/** The commands of BullMQ's queues: each method, and who may ask for it. */
import type { BullAnswer, BullArgs, BullAsk, BullCommand, BullMethod, BullRefusal } from '../../model/bull.ts';
import {
  AMPLE_BULL_CHARACTERS,
  BULL_ERROR,
  bullQueueName,
  charactersIn,
  MAX_BULL_META,
  MAX_BULL_WAITERS,
} from '../../model/bull.ts';
import type { Reply } from '../../model/command.ts';
import { HoldfastError } from '../../model/errors.ts';
import { type ChannelRight, hasRight, rightsOn } from '../../model/scopes.ts';
import type { Session } from '../memory.ts';
import type { MachineState } from '../state.ts';
import { addJobs } from './add.ts';
import { releaseParent } from './children.ts';
import { applyClean, applyDrain, applyObliterate, applyPause } from './clearing.ts';
import { dedupeKey, forgetKey } from './dedupe-keys.ts';
import { eventId, readEvents, tell, trimEvents } from './events.ts';
import { applyFinish } from './finish.ts';
import { importJobs, importScheduler } from './import.ts';
import { rateLimitTtl, removeRateLimit, setRateLimit } from './limits.ts';
import { extendLocks, moveStalled } from './locks.ts';
import type { BullJob, BullQueue } from './memory.ts';
import { metricsView } from './metrics.ts';
import {
  applyChangeDelay,
  applyChangePriority,
  applyMoveJobsToWait,
  applyMoveToDelayed,
  applyMoveToWait,
  applyMoveToWaitingChildren,
  applyPromote,
  applyReprocess,
  applyRetry,
} from './moves.ts';
import { queuesView } from './overview.ts';
import {
  bullQueue,
  cutLogs,
  dropIfUnused,
  isMaxed,
  jobByKey,
  keyOf,
  partOf,
  touch,
  touchBody,
  touchHead,
  touchLogs,
  touchOutcome,
} from './queues.ts';
import { sliceIndex } from './ranks.ts';
import {
  childCounts,
  childrenView,
  clientsView,
  countsPerPriority,
  countsView,
  finishedView,
  logsView,
  rangesView,
  schedulerView,
} from './reading.ts';
import { isNextOfScheduler, removeOnRequest, removeUnprocessedChildren } from './removal.ts';
import { applyAddScheduler, applyRemoveScheduler, applyUpdateScheduler } from './schedulers.ts';
import { takeNext } from './take.ts';
import { viewOf } from './views.ts';
import { applyWait, callAnew } from './waiting.ts';

const { jobNotExist, parentNotExist, belongsToScheduler } = BULL_ERROR;

interface Scene {
  readonly state: MachineState;
  readonly session: Session;
  readonly queue: BullQueue;
}

type Handlers = { readonly [M in Exclude<BullMethod, 'queues'>]: (scene: Scene, args: BullArgs<M>) => BullAnswer<M> };

const HANDLERS: Handlers = {
  add: ({ state, queue }, { jobs }) => addJobs(state, queue, jobs),
  addScheduler: ({ state, queue }, args) => applyAddScheduler(state, queue, args),
  updateScheduler: ({ state, queue }, args) => applyUpdateScheduler(state, queue, args),
  removeScheduler: ({ state, queue }, { id }) => applyRemoveScheduler(state, queue, id),
  importJobs: ({ state, queue }, { jobs, nextJob }) => importJobs(state, queue, jobs, nextJob),
  importScheduler: ({ state, queue }, scheduler) => importScheduler(state, queue, scheduler),
  claim: ({ state, session, queue }, { take, now }) => takeNext(state, session, queue, take, now),
  finish: ({ state, session, queue }, args) => applyFinish(state, session, queue, args),
  moveToDelayed: ({ state, session, queue }, args) => applyMoveToDelayed(state, session, queue, args),
  moveToWaitingChildren: ({ state, queue }, args) => applyMoveToWaitingChildren(state, queue, args),
  moveToWait: ({ state, queue }, args) => applyMoveToWait(state, queue, args),
  retry: ({ state, queue }, args) => applyRetry(state, queue, args),
  reprocess: ({ state, queue }, args) => applyReprocess(state, queue, args),
  promote: ({ state, queue }, { id }) => applyPromote(state, queue, id),
  moveJobsToWait: ({ state, queue }, args) => applyMoveJobsToWait(state, queue, args),
  moveStalled: ({ state, queue }, args) => moveStalled(state, queue, args),
  extendLocks: ({ state, session, queue }, { ids, tokens, lockMs }) =>
    extendLocks(state, session, queue, ids, tokens, lockMs),
  pause: ({ state, queue }, { paused }) => {
    applyPause(queue, state, paused);
    if (!paused) callAnew(state, queue);
    return 0;
  },
  drain: ({ state, queue }, { delayed }) => applyDrain(state, queue, delayed),
  clean: ({ state, queue }, args) => applyClean(state, queue, args),
  obliterate: ({ state, queue }, args) => applyObliterate(state, queue, args),
  trimEvents: ({ state, queue }, { length }) => trimEvents(state, queue, length),
  updateData: ({ state, queue }, { id, data }) =>
    withJob(queue, id, (job) => {
      job.data = data;
      touchBody(state, job);
      return 0;
    }),
  updateProgress: ({ state, queue }, { id, progress }) =>
    withJob(queue, id, (job) => {
      job.progress = progress;
      touchOutcome(state, job);
      tell(state, queue, 'event', 'progress', 'jobId', id, 'data', progress);
      return 0;
    }),
  addLog: ({ state, queue }, { id, line, keep }) =>
    withJob(queue, id, (job) => {
      job.logs = cutLogs([...(job.logs ?? []), line], keep);
      touchLogs(state, job);
      return job.logs.length;
    }),
  clearLogs: ({ state, queue }, { id, keep }) =>
    withJob(queue, id, (job) => {
      job.logs = keep > 0 ? (job.logs ?? []).slice(-keep) : [];
      touchLogs(state, job);
      return 0;
    }),
  changeDelay: ({ state, queue }, args) => applyChangeDelay(state, queue, args),
  changePriority: ({ state, queue }, args) => applyChangePriority(state, queue, args),
  remove: ({ state, queue }, { id, children }) => {
    const job = queue.jobs.get(id);
    // BullMQ says that it has removed what was not there.
    if (job === undefined) return 1;
    return isNextOfScheduler(job) ? belongsToScheduler : removeOnRequest(state, job, children);
  },
  removeUnprocessedChildren: ({ state, queue }, { id }) =>
    withJob(queue, id, (job) => {
      removeUnprocessedChildren(state, job);
      return 0;
    }),
  removeChildDependency: ({ state, queue }, { id, parentKey }) =>
    withJob(queue, id, (job) => {
      if (jobByKey(state, parentKey) === undefined) return parentNotExist;
      if (!releaseParent(state, keyOf(job), parentKey)) return 1;
      job.parentKey = undefined;
      job.parent = undefined;
      touch(state, job);
      return 0;
    }),
  removeDedupe: ({ state, queue }, { dedupeId, jobId }) => {
    const key = dedupeKey(state, queue, dedupeId);
    if (key === undefined || (jobId !== undefined && key.jobId !== jobId)) return 0;
    forgetKey(state, queue, dedupeId);
    return 1;
  },
  setMeta: ({ state, queue }, { values }) => {
    const added = Object.keys(values).filter((field) => !queue.meta.has(field)).length;
    if (queue.meta.size + added > MAX_BULL_META) {
      throw new HoldfastError('TOO_MANY', `Cannot keep more than ${MAX_BULL_META} fields of a queue`);
    }
    for (const [field, value] of Object.entries(values)) queue.meta.set(field, value);
    touchHead(state, queue);
    callAnew(state, queue);
    return added;
  },
  removeMeta: ({ state, queue }, { fields }) => {
    const removed = fields.filter((field) => queue.meta.delete(field)).length;
    if (removed > 0) touchHead(state, queue);
    callAnew(state, queue);
    return removed;
  },
  setRateLimit: ({ state, queue }, { ms }) => setRateLimit(state, queue, ms),
  removeRateLimit: ({ state, queue }) => removeRateLimit(state, queue),
  publish: ({ state, queue }, { fields, maxLength }) => {
    const id = eventId(tell(state, queue, ...fields));
    trimEvents(state, queue, maxLength);
    return id;
  },
  state: ({ queue }, { id }) => queue.jobs.get(id)?.state ?? null,
  finished: ({ queue }, { id }) => finishedView(queue, id),
  maxed: ({ queue }) => isMaxed(queue),
  job: ({ queue }, { id }) => {
    const job = queue.jobs.get(id);
    return job === undefined ? null : viewOf(job);
  },
  dedupeJob: ({ state, queue }, { dedupeId }) => dedupeKey(state, queue, dedupeId)?.jobId ?? null,
  logs: ({ queue }, args) => logsView(queue, args),
  rateLimitTtl: ({ state, queue }, { max }) => rateLimitTtl(state, queue, max),
  counts: ({ queue }, args) => countsView(queue, args),
  countsPerPriority: ({ queue }, { priorities }) => countsPerPriority(queue, priorities),
  ranges: ({ queue }, args) => rangesView(queue, args),
  childCounts: ({ queue }, { id }) => childCounts(queue, id),
  children: ({ state, queue }, args) => childrenView(state, queue, args),
  scheduler: ({ queue }, { id }) => {
    const scheduler = queue.schedulers.get(id);
    return scheduler === undefined ? null : schedulerView(scheduler);
  },
  schedulers: ({ queue }, { start, end, asc }) => sliceIndex(queue.schedulerOrder, start, end, asc).map(schedulerView),
  schedulerCount: ({ queue }) => queue.schedulers.size,
  metrics: ({ queue }, { of, start, end }) => metricsView(queue, of, start, end),
  meta: ({ queue }) => Object.fromEntries(queue.meta),
  clients: ({ state, queue }) => clientsView(state, queue),
  events: ({ state, session, queue }, { after, waiter }) => {
    const read = readEvents(queue, after);
    queue.listening.remove(session, waiter);
    if (after !== '$' && read.events.length === 0) {
      queue.listening.add(session, waiter);
      partOf(state, session).queues.add(queue);
    }
    return read;
  },
  wait: ({ state, session, queue }, args) => applyWait(state, session, queue, args),
  nameClient: ({ state, session, queue }, { number, name }) => {
    const names = queue.clients.get(session) ?? new Map<number, { name: string; sinceAt: number }>();
    if (name === null) names.delete(number);
    else if (names.size >= MAX_BULL_WAITERS && !names.has(number)) {
      throw new HoldfastError('TOO_MANY', `Cannot have more than ${MAX_BULL_WAITERS} names at a queue`);
    } else names.set(number, { name, sinceAt: state.now });
    if (names.size === 0) {
      queue.clients.delete(session);
      return 0;
    }
    queue.clients.set(session, names);
    partOf(state, session).queues.add(queue);
    return names.size;
  },
};

/** Applies a command, or as much of it as has answers that are not too long together. */
export function applyBull(state: MachineState, session: Session, { queue, method, asks }: BullCommand): Reply {
  const values: unknown[] = [];
  const refusals: BullRefusal[] = [];
  let characters = 0;
  for (const args of asks) {
    if (characters >= AMPLE_BULL_CHARACTERS) break;
    try {
      const value = applyAsk(state, session, { queue, method, args });
      values.push(value);
      characters += charactersIn(value);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      const { code, message } = error;
      refusals.push({ index: values.push(null) - 1, code, message });
    }
  }
  return { kind: 'bull', values, refusals };
}

/** Does what is asked. @throws HoldfastError `FORBIDDEN`, or `TOO_MANY` when there is no room for more of something */
function applyAsk(state: MachineState, session: Session, ask: BullAsk): unknown {
  const { method, args } = ask;
  if (method === 'queues') return queuesView(state, session, args as BullArgs<'queues'>);
  if (!session.grant.isAdmin) checkRights(state, session, ask);
  const queue = bullQueue(state, ask.queue);
  const handler = HANDLERS[method] as (scene: Scene, args: BullAsk['args']) => unknown;
  try {
    return handler({ state, session, queue }, args);
  } finally {
    dropIfUnused(state, queue);
  }
}

function withJob(queue: BullQueue, id: string, act: (job: BullJob) => number): number {
  const job = queue.jobs.get(id);
  return job === undefined ? jobNotExist : act(job);
}

const PRODUCE: readonly ChannelRight[] = ['produce', 'admin'];
const CONSUME: readonly ChannelRight[] = ['consume'];
const READ: readonly ChannelRight[] = ['read', 'consume', 'produce', 'admin'];
const ADMIN: readonly ChannelRight[] = ['admin'];
const WORK: readonly ChannelRight[] = ['consume', 'produce', 'admin'];

/** Which right a method takes; those that are not named here take `admin`. */
const RIGHTS: { readonly [M in BullMethod]?: readonly ChannelRight[] } = {
  add: PRODUCE,
  addScheduler: PRODUCE,
  updateScheduler: CONSUME,
  claim: CONSUME,
  finish: CONSUME,
  moveToDelayed: CONSUME,
  moveToWaitingChildren: CONSUME,
  moveToWait: CONSUME,
  retry: CONSUME,
  moveStalled: CONSUME,
  extendLocks: CONSUME,
  wait: CONSUME,
  setRateLimit: ['consume', 'admin'],
  updateData: WORK,
  updateProgress: WORK,
  addLog: WORK,
  clearLogs: WORK,
  publish: WORK,
  removeChildDependency: WORK,
  removeUnprocessedChildren: WORK,
  removeDedupe: WORK,
  nameClient: READ,
  state: READ,
  finished: READ,
  maxed: READ,
  job: READ,
  dedupeJob: READ,
  logs: READ,
  rateLimitTtl: READ,
  counts: READ,
  countsPerPriority: READ,
  ranges: READ,
  childCounts: READ,
  children: READ,
  scheduler: READ,
  schedulers: READ,
  schedulerCount: READ,
  metrics: READ,
  meta: READ,
  clients: READ,
  events: READ,
};

/** Fields that each queue object of BullMQ's writes when it is made. */
const OWN_FIELDS: readonly string[] = ['opts.maxLenEvents', 'version'];

/** @throws HoldfastError `FORBIDDEN` when the session lacks the right that this takes */
function checkRights(state: MachineState, { grant }: Pick<Session, 'grant'>, { queue, method, args }: BullAsk): void {
  const names = new Set([bullQueueName(queue)]);
  if (method === 'add') {
    for (const { queue: other, parentKey } of (args as BullArgs<'add'>).jobs) {
      if (other !== undefined) names.add(bullQueueName(other));
      const parent = parentKey === undefined ? undefined : jobByKey(state, parentKey);
      if (parent !== undefined) names.add(bullQueueName(parent.queue.qualified));
    }
  }
  const isOwn =
    method === 'setMeta' &&
    Object.keys((args as BullArgs<'setMeta'>).values).every((field) => OWN_FIELDS.includes(field));
  const oneOf = isOwn ? WORK : (RIGHTS[method] ?? ADMIN);
  for (const name of names) {
    if (hasRight(rightsOn(grant, name), ...oneOf)) continue;
    const right = oneOf[0] ?? 'admin';
    throw new HoldfastError(
      'FORBIDDEN',
      `Cannot use the queue "${name}": the access token lacks channel:${name}:${right}`,
    );
  }
}

/** What is kept of an answer, for a client that asks again: a job is shown as it is then. */
export function keptAnswer({ kind, values, refusals }: Extract<Reply, { kind: 'bull' }>): Reply {
  const kept = values.map((value) => {
    if (typeof value !== 'object' || value === null || !('job' in value)) return value;
    const { job } = value as { job: { id: string } | null };
    return job === null ? value : { ...value, job: job.id };
  });
  return { kind, values: kept, refusals };
}

/** The answer to a command that was applied before. */
export function firstBullAnswer(state: MachineState, { queue }: BullCommand, kept: Reply): Reply {
  if (kept.kind !== 'bull') return kept;
  const values = kept.values.map((value) => {
    if (typeof value !== 'object' || value === null || !('job' in value) || typeof value.job !== 'string') return value;
    const job = state.bull.queues.get(queue)?.jobs.get(value.job);
    return { ...value, job: job === undefined ? null : viewOf(job) };
  });
  return { ...kept, values };
}
