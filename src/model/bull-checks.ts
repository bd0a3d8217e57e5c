/**
 * Whether the arguments of a command for BullMQ's queues are what the machine relies on. Both sides ask: the client before it
 * sends them, so that a bad argument is an error at the call, and the broker, which trusts no client.
 */
import {
  BULL_CHILDREN,
  BULL_STATES,
  type BullAsk,
  type BullCommand,
  type BullMethod,
  MAX_BULL_ASKS,
  MAX_BULL_DATA_BYTES,
  MAX_BULL_META,
  MAX_BULL_REASON_CHARACTERS,
  MAX_BULL_TRACES_CHARACTERS,
} from './bull.ts';

type Check = (value: unknown) => boolean;

/** Ids and names of queues stand in keys of the store. */
const MAX_ID_CHARACTERS = 400;
const MAX_QUEUE_CHARACTERS = 255;

/** Jobs of one command. */
const MAX_JOBS = 10_000;

/** Names, tokens, keys: whatever is short. */
const MAX_SHORT_CHARACTERS = 1_000;
const MAX_OPTIONS_CHARACTERS = 150_000;
const MAX_PROGRESS_CHARACTERS = 300_000;
const MAX_TEMPLATE_CHARACTERS = 300_000;
const MAX_LINE_CHARACTERS = 100_000;
const MAX_META_FIELDS = MAX_BULL_META;
const MAX_EVENT_CHARACTERS = 1_000_000;

const encoder = new TextEncoder();

const textUpTo =
  (characters: number): Check =>
  (value) =>
    typeof value === 'string' && value.length <= characters;
const isText: Check = textUpTo(MAX_SHORT_CHARACTERS);
const isOptionsText: Check = textUpTo(MAX_OPTIONS_CHARACTERS);
const isReason: Check = textUpTo(MAX_BULL_REASON_CHARACTERS);
/** A character takes at most three bytes, so short texts need not be measured. */
const isData: Check = (value) =>
  typeof value === 'string' &&
  (value.length * 3 <= MAX_BULL_DATA_BYTES ||
    (value.length <= MAX_BULL_DATA_BYTES && encoder.encode(value).length <= MAX_BULL_DATA_BYTES));
const isFlag: Check = (value) => typeof value === 'boolean';
const isNumber: Check = (value) => typeof value === 'number' && Number.isFinite(value);
const isInteger: Check = (value) => Number.isSafeInteger(value);
const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isPriority: Check = (value) => Number.isInteger(value) && Math.abs(value as number) <= 2 ** 31;
const isId: Check = (value) => typeof value === 'string' && value.length <= MAX_ID_CHARACTERS && isWellFormed(value);
const isQueue: Check = (value) =>
  typeof value === 'string' && value.length > 0 && value.length <= MAX_QUEUE_CHARACTERS && isWellFormed(value);
const isRank = isInteger;

/** Checks of fields that may be missing. */
const optional = new WeakSet<Check>();

function orNothing(check: Check): Check {
  const either: Check = (value) => value === undefined || check(value);
  optional.add(either);
  return either;
}

const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.length <= MAX_JOBS && value.every(check);
const oneOf =
  (...allowed: readonly string[]): Check =>
  (value) =>
    typeof value === 'string' && allowed.includes(value);
/** Values of any name. */
const eachOf =
  (check: Check): Check =>
  (value) =>
    isObject(value) && Object.keys(value).length <= MAX_META_FIELDS && Object.values(value).every(check);

/** An object with these fields and no others. It looks at what is there, as most of what may be there seldom is. */
function fields(checks: Readonly<Record<string, Check>>): Check {
  const all = new Map(Object.entries(checks).map(([name, check]) => [name, { check, isNeeded: !optional.has(check) }]));
  const needed = [...all.values()].filter(({ isNeeded }) => isNeeded).length;
  return (value) => {
    if (!isObject(value)) return false;
    let found = 0;
    for (const name in value) {
      const field = all.get(name);
      if (field === undefined || !field.check(value[name])) return false;
      if (field.isNeeded) found += 1;
    }
    return found === needed;
  };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Keys are stored as UTF-8, which cannot tell lone surrogates apart. */
function isWellFormed(text: string): boolean {
  return !/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/.test(text);
}

const isDedupe = fields({
  id: isId,
  ttl: orNothing(isNumber),
  extend: orNothing(isFlag),
  replace: orNothing(isFlag),
  reschedule: orNothing(isFlag),
  keepLastIfActive: orNothing(isFlag),
});

const isParent: Check = (text) => {
  if (typeof text !== 'string' || text.length > MAX_OPTIONS_CHARACTERS / 10) return false;
  try {
    const parent: unknown = JSON.parse(text);
    return isObject(parent) && isText(parent['id']) && isText(parent['queueKey']);
  } catch {
    return false;
  }
};

/** Options of a job that a scheduler makes are looked into. */
const isOptions: Check = (text) => {
  if (!isOptionsText(text)) return false;
  try {
    const opts: unknown = JSON.parse(text as string);
    if (!isObject(opts)) return false;
    const { priority, lifo, deduplication, repeat } = opts;
    const isRepeat = fieldsAmong({ every: orNothing(isNumber), offset: orNothing(orNull(isNumber)) });
    return [
      orNothing(isPriority)(priority),
      orNothing(isFlag)(lifo),
      orNothing(isDedupe)(deduplication),
      orNothing(isRepeat)(repeat),
    ].every(Boolean);
  } catch {
    return false;
  }
};

/** An object with these fields, and any others. */
function fieldsAmong(checks: Readonly<Record<string, Check>>): Check {
  return (value) => isObject(value) && Object.entries(checks).every(([name, check]) => check(value[name]));
}

const isAdd = fields({
  id: isId,
  name: isText,
  data: isData,
  opts: isOptionsText,
  timestamp: isNumber,
  delay: orNothing(isNumber),
  priority: orNothing(isPriority),
  lifo: orNothing(isFlag),
  queue: orNothing(isQueue),
  waitsForChildren: orNothing(isFlag),
  parentKey: orNothing(isText),
  parent: orNothing(isParent),
  schedulerId: orNothing(isId),
  dedupe: orNothing(isDedupe),
});

/** An event is one record at least. */
const isEventFields: Check = (value) =>
  Array.isArray(value) &&
  value.length <= MAX_SHORT_CHARACTERS &&
  value.every((field) => typeof field === 'string') &&
  value.reduce<number>((sum, field: string) => sum + field.length, 0) <= MAX_EVENT_CHARACTERS;

/** The key of a child, and what became of it. */
const isPair: Check = (value) => Array.isArray(value) && value.length === 2 && isText(value[0]) && isData(value[1]);

const isImport = fields({
  id: isId,
  name: isText,
  data: isData,
  opts: isOptionsText,
  state: oneOf('wait', 'prioritized', 'delayed', 'waiting-children', 'failed'),
  at: isNumber,
  timestamp: isNumber,
  delay: isNumber,
  priority: isPriority,
  attemptsMade: isCount,
  attemptsStarted: isCount,
  stalledCounter: isCount,
  progress: orNothing(textUpTo(MAX_PROGRESS_CHARACTERS)),
  finishedOn: orNothing(isNumber),
  processedOn: orNothing(isNumber),
  returnvalue: orNothing(isData),
  failedReason: orNothing(isReason),
  stacktrace: orNothing(textUpTo(MAX_BULL_TRACES_CHARACTERS)),
  deferredFailure: orNothing(isReason),
  processedBy: orNothing(isText),
  parentKey: orNothing(isText),
  parent: orNothing(isParent),
  schedulerId: orNothing(isId),
  logs: orNothing(listOf(textUpTo(MAX_LINE_CHARACTERS))),
  dedupe: orNothing(fields({ id: isId, stands: isFlag, ttl: orNothing(isNumber) })),
  children: orNothing(fields(Object.fromEntries(BULL_CHILDREN.map((kind) => [kind, listOf(isPair)])))),
});

const isTake = fields({
  token: isText,
  lockMs: isNumber,
  maxStalled: isCount,
  name: orNothing(isText),
  limiter: orNothing(fields({ max: isNumber, duration: isNumber })),
});

const isKeep = fields({ count: orNothing(isNumber), age: orNothing(isNumber), limit: orNothing(isNumber) });
const isFields = fields({
  failedReason: orNothing(isReason),
  stacktrace: orNothing(textUpTo(MAX_BULL_TRACES_CHARACTERS)),
});
const isFinished = oneOf('completed', 'failed');

const none = fields({});
const ofJob = fields({ id: isId });
const held = { id: isId, token: isText };

const ARGS: Readonly<Record<BullMethod, Check>> = {
  add: fields({ jobs: listOf(isAdd) }),
  addScheduler: fields({
    id: isId,
    now: isNumber,
    nextAt: orNull(isNumber),
    fields: eachOf((value) => isText(value) || isNumber(value)),
    data: textUpTo(MAX_TEMPLATE_CHARACTERS),
    templateOpts: isOptionsText,
    jobOpts: isOptions,
  }),
  updateScheduler: fields({
    id: isId,
    now: isNumber,
    nextAt: orNull(isNumber),
    jobOpts: isOptions,
    producerId: isText,
  }),
  removeScheduler: ofJob,
  importJobs: fields({ jobs: listOf(isImport), nextJob: isCount }),
  importScheduler: fields({ id: isId, fields: eachOf(isText), nextAt: isNumber }),
  claim: fields({ now: isNumber, take: isTake }),
  finish: fields({
    ...held,
    now: isNumber,
    state: isFinished,
    value: isData,
    keep: isKeep,
    attempts: isNumber,
    metricsSize: isCount,
    fields: orNothing(isFields),
    take: orNothing(isTake),
  }),
  moveToDelayed: fields({
    ...held,
    now: isNumber,
    delay: isNumber,
    skipsAttempt: isFlag,
    fields: orNothing(isFields),
    take: orNothing(isTake),
  }),
  moveToWaitingChildren: fields({ ...held, now: isNumber, childKey: orNothing(isText) }),
  moveToWait: fields(held),
  retry: fields({ ...held, now: isNumber, lifo: isFlag, fields: orNothing(isFields) }),
  reprocess: fields({ id: isId, state: isFinished, lifo: isFlag, resetsMade: isFlag, resetsStarted: isFlag }),
  promote: ofJob,
  moveJobsToWait: fields({
    state: oneOf('completed', 'failed', 'delayed'),
    count: isNumber,
    until: orNull(isNumber),
  }),
  moveStalled: fields({ maxStalled: isCount, intervalMs: isNumber }),
  extendLocks: fields({ ids: listOf(isId), tokens: listOf(isText), lockMs: isNumber }),
  pause: fields({ paused: isFlag }),
  drain: fields({ delayed: isFlag }),
  clean: fields({ state: oneOf(...BULL_STATES), until: isNumber, limit: isNumber }),
  obliterate: fields({ count: isNumber, force: isFlag }),
  trimEvents: fields({ length: isCount }),
  updateData: fields({ id: isId, data: isData }),
  updateProgress: fields({ id: isId, progress: textUpTo(MAX_PROGRESS_CHARACTERS) }),
  addLog: fields({ id: isId, line: textUpTo(MAX_LINE_CHARACTERS), keep: isCount }),
  clearLogs: fields({ id: isId, keep: isCount }),
  changeDelay: fields({ id: isId, now: isNumber, delay: isNumber }),
  changePriority: fields({ id: isId, priority: isPriority, lifo: isFlag }),
  remove: fields({ id: isId, children: isFlag }),
  removeUnprocessedChildren: ofJob,
  removeChildDependency: fields({ id: isId, parentKey: isText }),
  removeDedupe: fields({ dedupeId: isId, jobId: orNothing(isText) }),
  setMeta: fields({ values: eachOf(isText) }),
  removeMeta: fields({ fields: listOf(isText) }),
  setRateLimit: fields({ ms: isNumber }),
  removeRateLimit: none,
  publish: fields({ fields: isEventFields, maxLength: isCount }),
  state: ofJob,
  finished: ofJob,
  maxed: none,
  job: ofJob,
  dedupeJob: fields({ dedupeId: isId }),
  logs: fields({ id: isId, start: isRank, end: isRank, asc: isFlag }),
  rateLimitTtl: fields({ max: isNumber }),
  counts: fields({ states: listOf(isText), until: orNothing(isNumber) }),
  countsPerPriority: fields({ priorities: listOf(isNumber) }),
  ranges: fields({ states: listOf(isText), start: isRank, end: isRank, asc: isFlag }),
  childCounts: ofJob,
  children: fields({ id: isId, of: oneOf(...BULL_CHILDREN), start: isCount, limit: isCount, jobs: isFlag }),
  scheduler: ofJob,
  schedulers: fields({ start: isRank, end: isRank, asc: isFlag }),
  schedulerCount: none,
  metrics: fields({ of: isFinished, start: isRank, end: isRank }),
  meta: none,
  queues: fields({ after: isCount, limit: (value) => isCount(value) && value !== 0 && (value as number) <= 1_000 }),
  clients: none,
  events: fields({ after: isText, waiter: isCount }),
  wait: fields({ waiter: isCount, stop: isFlag }),
  nameClient: fields({ number: isCount, name: orNull(isText) }),
};

/** Whether this may be asked of the machine. */
export function isBullAsk({ queue, method, args }: Record<keyof BullAsk, unknown>): boolean {
  return isQueue(queue) && isMethod(method) && ARGS[method](args);
}

/** Whether this is a command that the machine can be given. */
export function isBullCommand({ queue, method, asks }: Record<keyof Omit<BullCommand, 'kind'>, unknown>): boolean {
  if (!isQueue(queue) || !isMethod(method)) return false;
  return Array.isArray(asks) && asks.length > 0 && asks.length <= MAX_BULL_ASKS && asks.every(ARGS[method]);
}

function isMethod(method: unknown): method is BullMethod {
  return typeof method === 'string' && Object.hasOwn(ARGS, method);
}
