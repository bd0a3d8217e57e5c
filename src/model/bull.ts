/**
 * What BullMQ's classes ask of a queue of theirs: the commands of the `bullmq` door, each a method with its arguments and
 * its answer, all of it JSON.
 *
 * The words are BullMQ's. Times are epoch milliseconds: `now` and `timestamp` come from the caller's clock and decide when
 * a delayed job is due, while locks, windows of a rate and the time to live of a deduplication end in machine time, as
 * they would end in a server's. `data`, `opts`, `returnvalue`, `stacktrace` and `progress` are texts of JSON that
 * nothing here looks into. A negative number where something else may stand is one of BullMQ's numeric error codes.
 */

import type { ErrorCode } from './errors.ts';

export const BULL_STATES = [
  'wait',
  'prioritized',
  'delayed',
  'active',
  'waiting-children',
  'completed',
  'failed',
] as const;

/** Where a job stands; `wait` is what BullMQ calls `waiting`. */
export type BullJobState = (typeof BULL_STATES)[number];

export type BullFinishedState = 'completed' | 'failed';

/** BullMQ's numeric error codes, as far as the machine gives them. */
export const BULL_ERROR = {
  jobNotExist: -1,
  lockNotExist: -2,
  notInState: -3,
  pendingChildren: -4,
  parentNotExist: -5,
  lockMismatch: -6,
  parentCannotBeReplaced: -7,
  belongsToScheduler: -8,
  failedChildren: -9,
  schedulerIdCollision: -10,
  schedulerSlotsBusy: -11,
} as const;

/** A job of which another one is a duplicate; see the deduplication options of BullMQ. */
export interface BullDedupe {
  readonly id: string;
  readonly ttl?: number;
  readonly extend?: boolean;
  readonly replace?: boolean;
  readonly reschedule?: boolean;
  readonly keepLastIfActive?: boolean;
}

/** A job to be added. */
export interface BullAdd {
  /** Empty for the next number of the queue. */
  readonly id: string;
  readonly name: string;
  readonly data: string;
  readonly opts: string;
  readonly timestamp: number;
  readonly delay?: number;
  readonly priority?: number;
  readonly lifo?: boolean;
  /** The qualified name of the queue, where it is another than that of the command: for flows. */
  readonly queue?: string;
  /** It waits for children, that are added behind it. */
  readonly waitsForChildren?: boolean;
  readonly parentKey?: string;
  /** What BullMQ keeps of the parent: its id, its queue, and what a failure means for it. */
  readonly parent?: string;
  readonly schedulerId?: string;
  readonly dedupe?: BullDedupe;
}

/** A job as it is shown. What is not there is left out. */
export interface BullJobView {
  readonly id: string;
  readonly name: string;
  readonly data: string;
  readonly opts: string;
  readonly timestamp: number;
  readonly delay: number;
  readonly priority: number;
  readonly attemptsMade: number;
  readonly attemptsStarted: number;
  readonly stalledCounter: number;
  readonly progress?: string | undefined;
  readonly finishedOn?: number | undefined;
  readonly processedOn?: number | undefined;
  readonly returnvalue?: string | undefined;
  readonly failedReason?: string | undefined;
  readonly stacktrace?: string | undefined;
  readonly deferredFailure?: string | undefined;
  readonly processedBy?: string | undefined;
  readonly parentKey?: string | undefined;
  readonly parent?: string | undefined;
  readonly schedulerId?: string | undefined;
  readonly deduplicationId?: string | undefined;
}

/** How a worker takes a job. */
export interface BullTake {
  readonly token: string;
  /** How long its lock holds in machine time, unless the worker's session ends before. */
  readonly lockMs: number;
  /** How often a job may lose its worker before it fails. */
  readonly maxStalled: number;
  readonly name?: string;
  readonly limiter?: { readonly max: number; readonly duration: number };
}

/** A job that was taken, or why there is none: a rate is used up for `ttlMs`, or the next delayed job is due at `untilAt`. */
export interface BullNext {
  readonly job: BullJobView | null;
  readonly ttlMs: number;
  readonly untilAt: number;
}

/** Which finished jobs stay; `count` -1 keeps all, 0 none. */
export interface BullKeep {
  readonly count?: number;
  /** In seconds. */
  readonly age?: number;
  readonly limit?: number;
}

/** What a failed attempt leaves behind. */
export interface BullFields {
  readonly failedReason?: string;
  readonly stacktrace?: string;
}

/** The kinds of children that a parent knows. */
export const BULL_CHILDREN = ['processed', 'unprocessed', 'ignored', 'failed'] as const;

export type BullChildren = (typeof BULL_CHILDREN)[number];

/** A job that comes from elsewhere, with all that it has been through. */
export interface BullImport extends Omit<BullJobView, 'deduplicationId'> {
  readonly state: Exclude<BullJobState, 'active' | 'completed'>;
  /** When it is due, has failed, or has begun to wait for children; elsewhere it has no meaning. */
  readonly at: number;
  readonly logs?: readonly string[];
  /** `stands` where jobs of this id are duplicates of it still: for so long, or while it lives. */
  readonly dedupe?: { readonly id: string; readonly stands: boolean; readonly ttl?: number };
  /** What became of its children, by their keys. */
  readonly children?: Readonly<Record<BullChildren, readonly (readonly [key: string, text: string])[]>>;
}

/** Whether what was imported is there now, was there already, or stays out because another one has its id. */
export type BullImported = 'taken' | 'there' | 'clash';

/** A scheduler as it is shown: its fields as BullMQ stores them, and when it is next due. */
export interface BullSchedulerView {
  readonly id: string;
  readonly fields: Readonly<Record<string, string>>;
  readonly nextAt: number;
}

export interface BullMetricsView {
  readonly count: number;
  readonly prevAt: number;
  readonly prevCount: number;
  /** By the minute, the newest first. */
  readonly points: readonly number[];
  readonly length: number;
}

/** What a queue holds at one moment. */
export interface BullQueueView {
  /** Queues are numbered as they are made. */
  readonly number: number;
  readonly queue: string;
  readonly counts: Readonly<Record<BullJobState, number>>;
  readonly workers: number;
  readonly paused: boolean;
  /** How long a job has waited for a worker, the longest; null when none does. */
  readonly oldestReadyMs: number | null;
}

/** A client that has a name: the number of its session, and one of its own choice. */
export interface BullClientView {
  readonly session: number;
  readonly number: number;
  readonly name: string;
  /** How long it has had it. */
  readonly ageMs: number;
}

type Method<Args, Answer> = { readonly args: Args; readonly answer: Answer };

type OfJob = { readonly id: string };
type Held = OfJob & { readonly token: string };
type AtNow = { readonly now: number };

/** All methods: what they take and what they answer. */
export interface BullMethods {
  /** Adds jobs one after the other; gives the id of each, or why it was not added. */
  readonly add: Method<{ readonly jobs: readonly BullAdd[] }, readonly (string | number)[]>;
  readonly addScheduler: Method<
    AtNow & {
      readonly id: string;
      readonly nextAt: number | null;
      readonly fields: Readonly<Record<string, string | number>>;
      readonly data: string;
      readonly templateOpts: string;
      readonly jobOpts: string;
    },
    { readonly id: string; readonly delay: number } | number
  >;
  /** Adds the job that follows the one of this id; gives its id, or null where there is nothing to follow. */
  readonly updateScheduler: Method<
    AtNow & {
      readonly id: string;
      readonly nextAt: number | null;
      readonly jobOpts: string;
      readonly producerId: string;
    },
    string | null
  >;
  readonly removeScheduler: Method<OfJob, number>;
  /** Takes over jobs; the number that the next job gets is at least this one. */
  readonly importJobs: Method<
    { readonly jobs: readonly BullImport[]; readonly nextJob: number },
    readonly BullImported[]
  >;
  readonly importScheduler: Method<BullSchedulerView, BullImported>;

  readonly claim: Method<AtNow & { readonly take: BullTake }, BullNext>;
  readonly finish: Method<
    Held &
      AtNow & {
        readonly state: BullFinishedState;
        /** The return value as JSON, or the reason of the failure. */
        readonly value: string;
        readonly keep: BullKeep;
        readonly attempts: number;
        readonly metricsSize: number;
        readonly fields?: BullFields;
        /** How to take the next job, where one is wanted. */
        readonly take?: BullTake;
      },
    BullNext | number
  >;
  readonly moveToDelayed: Method<
    Held &
      AtNow & {
        readonly delay: number;
        readonly skipsAttempt: boolean;
        readonly fields?: BullFields;
        readonly take?: BullTake;
      },
    BullNext | number
  >;
  /** 0 when it waits now, 1 when there is nothing to wait for. */
  readonly moveToWaitingChildren: Method<Held & AtNow & { readonly childKey?: string }, number>;
  /** For how long the rate of the queue is used up. */
  readonly moveToWait: Method<Held, number>;
  readonly retry: Method<Held & AtNow & { readonly lifo: boolean; readonly fields?: BullFields }, number>;
  readonly reprocess: Method<
    OfJob & {
      readonly state: BullFinishedState;
      readonly lifo: boolean;
      readonly resetsMade: boolean;
      readonly resetsStarted: boolean;
    },
    number
  >;
  readonly promote: Method<OfJob, number>;
  /** Moves up to so many jobs back to wait; 1 when there may be more. */
  readonly moveJobsToWait: Method<
    { readonly state: BullFinishedState | 'delayed'; readonly count: number; readonly until: number | null },
    number
  >;
  /** Takes back jobs whose lock has ended; gives their ids. */
  readonly moveStalled: Method<{ readonly maxStalled: number; readonly intervalMs: number }, readonly string[]>;
  /** Gives the ids of the jobs whose lock is not held with this token. */
  readonly extendLocks: Method<
    { readonly ids: readonly string[]; readonly tokens: readonly string[]; readonly lockMs: number },
    readonly string[]
  >;

  readonly pause: Method<{ readonly paused: boolean }, number>;
  /** 1 when there is more to remove. */
  readonly drain: Method<{ readonly delayed: boolean }, number>;
  readonly clean: Method<
    { readonly state: BullJobState; readonly until: number; readonly limit: number },
    readonly string[]
  >;
  /** 0 when everything is gone, 1 when there is more, -1 when it is not paused, -2 when jobs are active. */
  readonly obliterate: Method<{ readonly count: number; readonly force: boolean }, number>;
  readonly trimEvents: Method<{ readonly length: number }, number>;

  readonly updateData: Method<OfJob & { readonly data: string }, number>;
  readonly updateProgress: Method<OfJob & { readonly progress: string }, number>;
  /** How many lines there are. */
  readonly addLog: Method<OfJob & { readonly line: string; readonly keep: number }, number>;
  readonly clearLogs: Method<OfJob & { readonly keep: number }, number>;
  readonly changeDelay: Method<OfJob & AtNow & { readonly delay: number }, number>;
  readonly changePriority: Method<OfJob & { readonly priority: number; readonly lifo: boolean }, number>;
  /** 1 when it was removed, 0 when it, or a child, is locked. */
  readonly remove: Method<OfJob & { readonly children: boolean }, number>;
  readonly removeUnprocessedChildren: Method<OfJob, number>;
  /** 0 when it was a child of that parent, 1 when it was not. */
  readonly removeChildDependency: Method<OfJob & { readonly parentKey: string }, number>;
  /** How many keys were removed; with a job, only the key that stands for it. */
  readonly removeDedupe: Method<{ readonly dedupeId: string; readonly jobId?: string }, number>;
  readonly setMeta: Method<{ readonly values: Readonly<Record<string, string>> }, number>;
  readonly removeMeta: Method<{ readonly fields: readonly string[] }, number>;
  readonly setRateLimit: Method<{ readonly ms: number }, number>;
  readonly removeRateLimit: Method<Record<never, never>, number>;
  /** The names and values of an event of the caller's own, in turns; gives its id. */
  readonly publish: Method<{ readonly fields: readonly string[]; readonly maxLength: number }, string>;

  readonly state: Method<OfJob, BullJobState | null>;
  /** -1 for an unknown job, 0 for one that has not finished, 1 and 2 for a completed and a failed one. */
  readonly finished: Method<OfJob, { readonly status: number; readonly value?: string }>;
  readonly maxed: Method<Record<never, never>, boolean>;
  readonly job: Method<OfJob, BullJobView | null>;
  readonly dedupeJob: Method<{ readonly dedupeId: string }, string | null>;
  readonly logs: Method<
    OfJob & { readonly start: number; readonly end: number; readonly asc: boolean },
    { readonly lines: readonly string[]; readonly count: number }
  >;
  readonly rateLimitTtl: Method<{ readonly max: number }, number>;
  /** With `until`, delayed jobs are counted that are due by then. */
  readonly counts: Method<{ readonly states: readonly string[]; readonly until?: number }, readonly number[]>;
  readonly countsPerPriority: Method<{ readonly priorities: readonly number[] }, readonly number[]>;
  /** Ids by rank, both ends included, negative ones from the end; the first to be taken, or to have ended, comes first. */
  readonly ranges: Method<
    { readonly states: readonly string[]; readonly start: number; readonly end: number; readonly asc: boolean },
    readonly (readonly string[])[]
  >;
  readonly childCounts: Method<OfJob, Readonly<Record<BullChildren, number>>>;
  /** Keys of children with what is kept of each, from a rank on. */
  readonly children: Method<
    OfJob & { readonly of: BullChildren; readonly start: number; readonly limit: number; readonly jobs: boolean },
    {
      readonly items: readonly (readonly [key: string, value: string])[];
      readonly total: number;
      readonly jobs: readonly BullJobView[];
    }
  >;
  readonly scheduler: Method<OfJob, BullSchedulerView | null>;
  readonly schedulers: Method<
    { readonly start: number; readonly end: number; readonly asc: boolean },
    readonly BullSchedulerView[]
  >;
  readonly schedulerCount: Method<Record<never, never>, number>;
  readonly metrics: Method<
    { readonly of: BullFinishedState; readonly start: number; readonly end: number },
    BullMetricsView
  >;
  readonly meta: Method<Record<never, never>, Readonly<Record<string, string>>>;
  /** Queues behind this number that the caller may read, of all prefixes; `next` where there are more. It concerns no one queue. */
  readonly queues: Method<
    { readonly after: number; readonly limit: number },
    { readonly queues: readonly BullQueueView[]; readonly next: number | null }
  >;
  /** The clients that have given themselves a name. */
  readonly clients: Method<Record<never, never>, readonly BullClientView[]>;
  /** Events behind an id, or `last` alone with `$`; the notice `bull` comes once when there are none yet. */
  readonly events: Method<
    { readonly after: string; readonly waiter: number },
    { readonly last: string; readonly events: readonly (readonly [id: string, fields: readonly string[]])[] }
  >;
  /**
   * Waits for a job: the answer is 0 when there may be one, when one is due, or null; then the notice `bull` comes once.
   * With `stop` the notice does not come, unless it is on its way.
   */
  readonly wait: Method<{ readonly waiter: number; readonly stop: boolean }, number | null>;
  /** Gives this client a name, or with null none, under a number of its own choice. */
  readonly nameClient: Method<{ readonly number: number; readonly name: string | null }, number>;
}

export type BullMethod = keyof BullMethods;

export type BullArgs<M extends BullMethod> = BullMethods[M]['args'];
export type BullAnswer<M extends BullMethod> = BullMethods[M]['answer'];

/** Something that is asked of a queue of BullMQ's. `queue` is its qualified name, such as `bull:mail`. */
export interface BullAsk<M extends BullMethod = BullMethod> {
  readonly queue: string;
  readonly method: M;
  readonly args: BullArgs<M>;
}

/**
 * Asks a queue of BullMQ's the same with one or more arguments, one after the other; rights are those on the channel of its
 * name. Answer: `bull`.
 */
export interface BullCommand<M extends BullMethod = BullMethod> {
  readonly kind: 'bull';
  readonly queue: string;
  readonly method: M;
  readonly asks: readonly BullArgs<M>[];
}

/** An ask that was refused, with `FORBIDDEN` or `TOO_MANY`; the others are not touched by that. */
export interface BullRefusal {
  readonly index: number;
  readonly code: ErrorCode;
  readonly message: string;
}

/** How many times one command asks, and behind how many characters of answers it ends before its time. */
export const MAX_BULL_ASKS = 1_000;
export const AMPLE_BULL_CHARACTERS: number = 1024 * 1024;

/** Methods without an effect that lasts: they may be repeated at will, and their answers are not kept. */
const PASSING = [
  'state',
  'finished',
  'maxed',
  'job',
  'dedupeJob',
  'logs',
  'rateLimitTtl',
  'counts',
  'countsPerPriority',
  'ranges',
  'childCounts',
  'children',
  'scheduler',
  'schedulers',
  'schedulerCount',
  'metrics',
  'meta',
  'queues',
  'clients',
  'events',
  'wait',
  'nameClient',
] as const satisfies readonly BullMethod[];

const passing: ReadonlySet<BullMethod> = new Set(PASSING);

export function isPassing(method: BullMethod): boolean {
  return passing.has(method);
}

/** The name of a queue, without its prefix; a name has no colon. */
export function bullQueueName(qualified: string): string {
  return qualified.slice(qualified.lastIndexOf(':') + 1);
}

/** How many queues of BullMQ's a space may have. */
export const MAX_BULL_QUEUES = 100_000;

/** How often a client may wait at a queue at once: its workers for jobs, and those who listen for events. */
export const MAX_BULL_WAITERS = 10_000;

/** How many events a queue keeps where nobody has said otherwise, and how many at most. */
export const BULL_EVENTS = 10_000;
export const MAX_BULL_EVENTS = 1_000_000;

/** Data, results and the like take at most this many bytes: with what stands beside them in a record, they fit into it. */
export const MAX_BULL_DATA_BYTES: number = 3 * 1024 * 1024;

/** The log of a job keeps its last lines up to this many characters. */
export const MAX_BULL_LOG_CHARACTERS = 1_000_000;

/** Why a job has failed is cut after so many characters, and its stack traces after so many more. */
export const MAX_BULL_REASON_CHARACTERS = 100_000;
export const MAX_BULL_TRACES_CHARACTERS = 500_000;

/** How many fields a queue may have. */
export const MAX_BULL_META = 100;

/** How many jobs there may be above another one. */
export const MAX_BULL_DEPTH = 1_000;

/** A command takes at most this many bytes as JSON: what a record of the store takes, with room for what stands around it. */
export const MAX_BULL_BYTES: number = 4 * 1024 * 1024 - 64 * 1024;

/** How many characters of texts there are in something that goes as JSON. */
export function charactersIn(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 0;
  const parts = value as Readonly<Record<string, unknown>>;
  let characters = 0;
  for (const name in parts) {
    const part = parts[name];
    if (typeof part === 'string') characters += part.length;
    else if (typeof part === 'object' && part !== null) characters += charactersIn(part);
  }
  return characters;
}
