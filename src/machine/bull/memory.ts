/** What the machine keeps of BullMQ's queues. Plain data. */
import type { BullAdd, BullFinishedState, BullJobState } from '../../model/bull.ts';
import type { Write } from '../../model/records.ts';
import type { Session } from '../memory.ts';
import { OrderedIndex } from '../ordered-index.ts';
import { Waiters } from './waiters.ts';

/** What a job is made of. */
export interface BullJobBody {
  readonly id: string;
  readonly name: string;
  readonly opts: string;
  readonly timestamp: number;
  readonly schedulerId: string | undefined;
  readonly deduplicationId: string | undefined;
  data: string;
}

export interface BullJob extends BullJobBody {
  /** Its number within the queue, by which its records are found. */
  readonly seq: number;
  readonly queue: BullQueue;
  /** Where its body stands, and where its state, once that has changed; how many bytes they take there. */
  bodyPack: BullPack | undefined;
  bodyBytes: number;
  statePack: BullPack | undefined;
  stateBytes: number;
  hasResultRecord: boolean;
  delay: number;
  priority: number;
  /** `undefined` only within a command. */
  state: BullJobState | undefined;
  /** What it is ordered by in its state: a priority, a time, or 0; and among equals, which are never equal here too. */
  score: number;
  order: number;
  attemptsMade: number;
  attemptsStarted: number;
  stalledCounter: number;
  processedOn: number | undefined;
  finishedOn: number | undefined;
  progress: string | undefined;
  returnvalue: string | undefined;
  failedReason: string | undefined;
  stacktrace: string | undefined;
  deferredFailure: string | undefined;
  processedBy: string | undefined;
  parentKey: string | undefined;
  parent: string | undefined;
  lock: BullLock | undefined;
  logs: string[] | undefined;
  children: BullChildrenOf | undefined;
}

/** A record with what one commit has changed of the jobs of a queue. */
export interface BullPack {
  readonly number: number;
  /** How long its record is. */
  bytes: number;
  /** The jobs whose body or state stands here, and nowhere behind. */
  readonly jobs: Set<BullJob>;
  /** The packs that must be read behind this one as long as it is there, as they take back what it says. */
  followers: BullPack[];
  /** How many packs this one must be read behind. */
  follows: number;
}

/** Who works on a job. It ends with the session, or in machine time. */
export interface BullLock {
  readonly token: string;
  until: number;
  readonly session: Session | undefined;
  readonly maxStalled: number;
}

/** What became of a job's children, by their keys, in the order in which it became known. */
export interface BullChildrenOf {
  readonly unprocessed: Map<string, string>;
  readonly processed: Map<string, string>;
  readonly ignored: Map<string, string>;
  readonly failed: Map<string, string>;
}

export interface BullDedupeKey {
  readonly id: string;
  jobId: string;
  /** In machine time; 0 for as long as the job lives. */
  until: number;
  /** What is added when the job that is active has finished. */
  next: { readonly add: BullAdd; readonly jobId: string } | undefined;
}

export interface BullScheduler {
  readonly id: string;
  fields: Record<string, string>;
  nextAt: number;
}

export interface BullMetrics {
  count: number;
  prevAt: number | undefined;
  prevCount: number;
  /** The newest first. */
  points: number[];
}

export interface BullEvent {
  /** Milliseconds, and a number among the events of the same one. */
  readonly at: number;
  readonly nth: number;
  readonly fields: readonly string[];
}

export interface BullEvents {
  /** The number of the first of `list`, and the first that is kept; those before it are on their way out. */
  listFrom: number;
  first: number;
  list: BullEvent[];
  /** Events from this number on are not written yet. */
  writtenTo: number;
  /** The first event of each record, in order. */
  records: number[];
}

export interface BullQueue {
  readonly number: number;
  readonly qualified: string;
  /** Whether there is a record of it. */
  isStored: boolean;
  readonly jobs: Map<string, BullJob>;
  /** From the oldest to the newest, how long all of them are, and what of that still counts. */
  readonly packs: Set<BullPack>;
  nextPack: number;
  packBytes: number;
  liveBytes: number;
  /** What is to be written of it with the next commit. */
  changes: BullChanges | undefined;
  readonly states: Readonly<Record<BullJobState, OrderedIndex<BullJob>>>;
  /** Fields that BullMQ keeps of a queue, `paused` and `concurrency` among them. */
  readonly meta: Map<string, string>;
  readonly dedupe: Map<string, BullDedupeKey>;
  readonly schedulers: Map<string, BullScheduler>;
  readonly schedulerOrder: OrderedIndex<BullScheduler>;
  readonly metrics: Readonly<Record<BullFinishedState, BullMetrics>>;
  readonly events: BullEvents;
  nextJob: number;
  nextSeq: number;
  /** The options of the job that was made last. */
  lastOpts: string;
  /** Where the next job stands that goes to the end, and where one that goes to the front. */
  back: number;
  front: number;
  /** How many were taken within the window of the rate, and when it ends in machine time; 0 for no window. */
  limitCount: number;
  limitUntil: number;
  /** Jobs that were active when it was last looked for stalled ones, and when that may be done again. */
  readonly stalling: Set<BullJob>;
  stalledCheckAt: number;
  /** Whether there may be a job to take, and when the first delayed one is due: each is told to one who waits. */
  isReady: boolean;
  dueAt: number | undefined;
  /** For a job, and for events. */
  readonly waiting: Waiters;
  readonly listening: Waiters;
  /** Names that clients have given themselves, by numbers of their own, and since when. */
  readonly clients: Map<Session, Map<number, { readonly name: string; readonly sinceAt: number }>>;
  /** Its jobs by their numbers, as long as it is being loaded. */
  readonly loading: Map<number, BullJob>;
}

/** What is to be written of a job besides its state: its body (name, data, options), and what came out of it,
 * the return value apart. */
export interface BullChange {
  body: boolean;
  outcome: boolean;
  result: boolean;
  logs: boolean;
}

/** What has changed of a queue since the last commit. */
export interface BullChanges {
  readonly jobs: Map<BullJob, BullChange>;
  /** Jobs that are gone, of those that the store has. */
  readonly erased: BullJob[];
  head: boolean;
  events: boolean;
}

/** What a session has to do with queues. */
export interface BullPart {
  readonly held: Set<BullJob>;
  readonly queues: Set<BullQueue>;
}

export interface Bull {
  readonly queues: Map<string, BullQueue>;
  readonly numbers: Map<number, BullQueue>;
  readonly parts: Map<Session, BullPart>;
  nextQueue: number;
  /** The queues of which something has changed since the last commit. */
  changed: BullQueue[];
  /** Records that go with the next commit as they are, by their keys. */
  cells: Map<string, Write>;
}

export function createBull(): Bull {
  return {
    queues: new Map(),
    numbers: new Map(),
    parts: new Map(),
    nextQueue: 1,
    changed: [],
    cells: new Map(),
  };
}

/** Makes a job, which is in no state yet, and counts it among those of its queue. */
export function createBullJob(queue: BullQueue, seq: number, body: BullJobBody): BullJob {
  const { id, name, timestamp, schedulerId, deduplicationId, data } = body;
  // Most jobs of a queue have the same options, and need not have them in memory once for each.
  if (body.opts !== queue.lastOpts) queue.lastOpts = body.opts;
  const opts = queue.lastOpts;
  const job: BullJob = {
    id,
    name,
    opts,
    timestamp,
    schedulerId,
    deduplicationId,
    data,
    seq,
    queue,
    bodyPack: undefined,
    bodyBytes: 0,
    statePack: undefined,
    stateBytes: 0,
    hasResultRecord: false,
    delay: 0,
    priority: 0,
    state: undefined,
    score: 0,
    order: 0,
    attemptsMade: 0,
    attemptsStarted: 0,
    stalledCounter: 0,
    processedOn: undefined,
    finishedOn: undefined,
    progress: undefined,
    returnvalue: undefined,
    failedReason: undefined,
    stacktrace: undefined,
    deferredFailure: undefined,
    processedBy: undefined,
    parentKey: undefined,
    parent: undefined,
    lock: undefined,
    logs: undefined,
    children: undefined,
  };
  queue.jobs.set(id, job);
  return job;
}

export function createBullQueue(number: number, qualified: string): BullQueue {
  return {
    number,
    qualified,
    isStored: false,
    jobs: new Map(),
    packs: new Set(),
    nextPack: 1,
    packBytes: 0,
    liveBytes: 0,
    changes: undefined,
    states: {
      wait: new OrderedIndex(compareJobs),
      prioritized: new OrderedIndex(compareJobs),
      delayed: new OrderedIndex(compareJobs),
      active: new OrderedIndex(compareJobs),
      'waiting-children': new OrderedIndex(compareJobs),
      completed: new OrderedIndex(compareJobs),
      failed: new OrderedIndex(compareJobs),
    },
    meta: new Map(),
    dedupe: new Map(),
    schedulers: new Map(),
    schedulerOrder: new OrderedIndex(compareSchedulers),
    metrics: { completed: createMetrics(), failed: createMetrics() },
    events: { listFrom: 1, first: 1, list: [], writtenTo: 1, records: [] },
    nextJob: 1,
    nextSeq: 1,
    lastOpts: '',
    back: 1,
    front: 0,
    limitCount: 0,
    limitUntil: 0,
    stalling: new Set(),
    stalledCheckAt: 0,
    isReady: false,
    dueAt: undefined,
    waiting: new Waiters(),
    listening: new Waiters(),
    clients: new Map(),
    loading: new Map(),
  };
}

function createMetrics(): BullMetrics {
  return { count: 0, prevAt: undefined, prevCount: 0, points: [] };
}

/** A place of its own for each job makes equals impossible. */
function compareJobs(a: BullJob, b: BullJob): number {
  return a.score - b.score || a.order - b.order;
}

function compareSchedulers(a: BullScheduler, b: BullScheduler): number {
  return a.nextAt - b.nextAt || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}
