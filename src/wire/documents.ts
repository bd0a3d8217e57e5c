/**
 * Commands that travel as documents, checked when they come in: the machine relies on their fields, and a client that
 * sends others must lose its link, not stop the broker.
 */
import { isWellFormed } from '../codec/binary-types.ts';
import { ACCESS_TOKEN_HASH_BYTES, isAccessTokenId, MAX_LABEL_CHARACTERS, MAX_SCOPES } from '../model/access-token.ts';
import { BlockReader, MAX_DUE_AT, MAX_PRIORITY } from '../model/block.ts';
import { type Command, MAX_EVENTS_KEPT } from '../model/command.ts';
import { MAX_DURATION_MS } from '../model/duration.ts';
import { HoldfastError } from '../model/errors.ts';
import { BULK_ACTIONS, MAX_FILTER_CHARACTERS } from '../model/filter.ts';
import { MAX_REASON_CHARACTERS } from '../model/life.ts';
import { MESSAGE_ID_BYTES } from '../model/message-id.ts';
import { METRICS_MINUTES, METRICS_STEP_MS } from '../model/metrics.ts';
import { MAX_GROUP_PRIORITY, MAX_GROUP_WEIGHT, MAX_RATE_COUNT, MIN_GROUP_WEIGHT } from '../model/policy.ts';
import { MAX_CRON_CHARACTERS } from '../model/recurrence.ts';
import { MAX_TEMPLATE_BYTES, MISSED, OVERLAP, SEED_BYTES } from '../model/schedule.ts';
import { isScope } from '../model/scopes.ts';
import { CHANNEL_HAPPENINGS, HAPPENINGS, STATES } from '../model/states.ts';

type Check = (value: unknown) => boolean;

const MAX_NAME_CHARACTERS = 255;

const isText: Check = (value) => typeof value === 'string';
const isFlag: Check = (value) => typeof value === 'boolean';
/** Names are stored as UTF-8, which cannot tell lone surrogates apart. */
const isName: Check = (value) =>
  typeof value === 'string' && value.length > 0 && value.length <= MAX_NAME_CHARACTERS && isWellFormed(value);
/** A glob over names, see `scopes.ts`. */
const isPattern: Check = isName;
const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isLimit: Check = (value) => isCount(value) && value !== 0;
const isEventCount: Check = (value) => isCount(value) && (value as number) <= MAX_EVENTS_KEPT;
const isDuration: Check = (value) => typeof value === 'number' && value >= 0 && value <= MAX_DURATION_MS;
const isMoment: Check = (value) => Number.isFinite(value);
const isRateCount: Check = (value) => isLimit(value) && (value as number) <= MAX_RATE_COUNT;
const isPeriod: Check = (value) => isDuration(value) && (value as number) >= 1;
/** A moment that a Date can hold, be it between two milliseconds. */
const isInstant = within(-MAX_DUE_AT, MAX_DUE_AT);
const isStep: Check = (value) =>
  isLimit(value) && (value as number) % METRICS_STEP_MS === 0 && (value as number) <= METRICS_STEP_MS * METRICS_MINUTES;
/** The place of a row: four numbers of 8 bytes. */
const isUsageKey: Check = (value) => value instanceof Uint8Array && value.length === 32;
const isBytes: Check = (value) => value instanceof Uint8Array;
const isRuleText: Check = (value) => typeof value === 'string' && value.length <= MAX_CRON_CHARACTERS;
/** A whole millisecond that a Date can hold. */
const isDate: Check = (value) => Number.isSafeInteger(value) && Math.abs(value as number) <= MAX_DUE_AT;
const isSeed: Check = (value) => value instanceof Uint8Array && value.length === SEED_BYTES;
const isId: Check = (value) => value instanceof Uint8Array && value.length === MESSAGE_ID_BYTES;

const isRetention = fields({ count: optional(isCount), ageMs: optional(isDuration) });
const isRate = anyOf(
  (value) => value === null,
  fields({ kind: oneOf('bucket'), count: isRateCount, perMs: isPeriod, burst: isRateCount }),
  fields({ kind: oneOf('window'), count: isRateCount, perMs: isPeriod }),
);
const groupLimits = {
  concurrency: optional(isCount),
  ordered: optional(isFlag),
  rate: optional(isRate),
  maxBacklog: optional(isCount),
};
const isSettings = fields({
  completed: optional(isRetention),
  dead: optional(isRetention),
  concurrency: optional(isCount),
  rate: optional(isRate),
  groups: optional(fields(groupLimits)),
});
const isGroupRules = fields({
  ...groupLimits,
  weight: optional(within(MIN_GROUP_WEIGHT, MAX_GROUP_WEIGHT)),
  priority: optional((value) => Number.isInteger(value) && Math.abs(value as number) <= MAX_GROUP_PRIORITY),
});
const isJitter = within(0, 1);

const isBackoff = anyOf(
  fields({ kind: oneOf('fixed'), delayMs: isDuration, jitter: isJitter }),
  fields({
    kind: oneOf('exponential'),
    delayMs: isDuration,
    factor: within(1, 1_000),
    maxMs: isDuration,
    jitter: isJitter,
  }),
  fields({ kind: oneOf('schedule'), delaysMs: listOf(isDuration), jitter: isJitter }),
  fields({ kind: oneOf('client'), delayMs: isDuration }),
);

const isPolicy = fields({
  maxAttempts: isLimit,
  backoff: isBackoff,
  maxDeaths: isLimit,
  maxUndecodable: isLimit,
  timeoutMs: isDuration,
  timeToLiveMs: isDuration,
  deadLetter: optional(isName),
  dedupe: optional(fields({ windowMs: isDuration, mode: oneOf('reject', 'replace', 'keepLast') })),
  maxBacklog: isCount,
});

const isRule = anyOf(
  fields({ cron: isRuleText, timeZone: isRuleText }),
  fields({ everyMs: (value) => isLimit(value) && (value as number) <= MAX_DURATION_MS }),
);

const isScheduleSettings = fields({
  rule: isRule,
  startAt: optional(isDate),
  endAt: optional(isDate),
  limit: optional(isLimit),
  jitterMs: (value) => isCount(value) && (value as number) <= MAX_DURATION_MS,
  missed: oneOf(...MISSED),
  overlap: oneOf(...OVERLAP),
});

const isSought: Check = (value) =>
  typeof value === 'string' && value.length > 0 && value.length <= MAX_FILTER_CHARACTERS && isWellFormed(value);

const isFilter = fields({
  states: listOf(oneOf(...STATES)),
  name: optional(isSought),
  group: optional(isSought),
  producedAfter: optional(isMoment),
  producedBefore: optional(isMoment),
  endedAfter: optional(isMoment),
  endedBefore: optional(isMoment),
  minAttempts: optional(isCount),
  maxAttempts: optional(isCount),
  failure: optional(isSought),
  text: optional(isSought),
});

const isReason: Check = (value) => typeof value === 'string' && value.length <= MAX_REASON_CHARACTERS;
const isDueAt: Check = (value) => typeof value === 'number' && Math.abs(value) <= MAX_DUE_AT;
const isPriority: Check = (value) => Number.isInteger(value) && Math.abs(value as number) <= MAX_PRIORITY;

const isCommand = anyOf(
  fields({ kind: oneOf('declare'), ref: isCount, channel: isName, policy: isPolicy, settings: optional(isSettings) }),
  fields({ kind: oneOf('extend'), seq: isCount, token: isCount, forMs: isDuration }),
  fields({
    kind: oneOf('annotate'),
    seq: isCount,
    token: isCount,
    progress: optional(isBytes),
    line: optional(isText),
  }),
  fields({
    kind: oneOf('control'),
    channel: isText,
    action: oneOf('pause', 'resume', 'purge', 'redrive', 'configure'),
    settings: optional(isSettings),
  }),
  fields({
    kind: oneOf('controlGroup'),
    channel: isText,
    group: isName,
    action: oneOf('pause', 'resume', 'configure'),
    rules: optional(isGroupRules),
  }),
  fields({
    kind: oneOf('manage'),
    id: isId,
    action: oneOf('cancel', 'promote', 'redrive', 'retry', 'remove'),
    children: optional(isFlag),
    reason: optional(isReason),
    deadlineMs: optional(isDuration),
    attempts: optional(oneOf('reset', 'keep')),
  }),
  fields({
    kind: oneOf('bulk'),
    channel: isText,
    action: oneOf(...BULK_ACTIONS),
    filter: isFilter,
    limit: optional(isLimit),
    reason: optional(isReason),
    deadlineMs: optional(isDuration),
    attempts: optional(oneOf('reset', 'keep')),
    delayMs: optional(isDuration),
    dueAt: optional(isDueAt),
    priority: optional(isPriority),
    lifo: optional(isFlag),
  }),
  fields({ kind: oneOf('stopBulk'), bulk: isCount }),
  fields({
    kind: oneOf('inspect'),
    what: oneOf('search'),
    channel: optional(isText),
    filter: isFilter,
    order: oneOf('newest', 'oldest'),
    after: optional(fields({ stage: isCount, a: isMoment, b: isMoment })),
    limit: isLimit,
  }),
  fields({
    kind: oneOf('inspect'),
    what: oneOf('bulks'),
    bulk: optional(isCount),
    channel: optional(isText),
    tell: isFlag,
  }),
  fields({ kind: oneOf('backup'), id: isCount, part: isCount, stop: isFlag }),
  fields({ kind: oneOf('await'), id: isId, stop: isFlag }),
  fields({ kind: oneOf('watch'), channel: isName }),
  fields({ kind: oneOf('inspect'), what: oneOf('channels', 'tokens', 'topics') }),
  fields({ kind: oneOf('inspect'), what: oneOf('topic'), topic: isName }),
  fields({ kind: oneOf('inspect'), what: oneOf('channel'), channel: isText }),
  fields({ kind: oneOf('inspect'), what: oneOf('group'), channel: isText, group: isText }),
  fields({ kind: oneOf('inspect'), what: oneOf('groups'), channel: isText, after: isCount, limit: isCount }),
  fields({ kind: oneOf('inspect'), what: oneOf('overview'), after: isCount, limit: isLimit }),
  fields({ kind: oneOf('inspect'), what: oneOf('message'), id: isId }),
  fields({
    kind: oneOf('inspect'),
    what: oneOf('children'),
    seq: isCount,
    token: isCount,
    offset: isCount,
    limit: isLimit,
  }),
  fields({ kind: oneOf('inspect'), what: oneOf('flow'), id: isId, offset: isCount, limit: isLimit, depth: isCount }),
  fields({
    kind: oneOf('inspect'),
    what: oneOf('events'),
    after: optional(anyOf(fields({ commit: isCount, index: isCount }), fields({ at: isMoment }))),
    filter: fields({
      channel: optional(isText),
      channels: optional(isPattern),
      kinds: optional(listOf(oneOf(...HAPPENINGS, ...CHANNEL_HAPPENINGS))),
    }),
    limit: isLimit,
  }),
  fields({
    kind: oneOf('inspect'),
    what: oneOf('metrics'),
    channel: optional(isText),
    after: isCount,
    limit: isLimit,
    from: optional(isInstant),
    to: optional(isInstant),
    stepMs: optional(isStep),
  }),
  fields({
    kind: oneOf('inspect'),
    what: oneOf('usage'),
    from: optional(isInstant),
    to: optional(isInstant),
    token: optional(isText),
    channel: optional(isText),
    after: optional(isUsageKey),
  }),
  fields({
    kind: oneOf('inspect'),
    what: oneOf('list'),
    channel: isText,
    state: oneOf(...STATES),
    offset: isCount,
    limit: isCount,
  }),
  fields({
    kind: oneOf('createToken'),
    id: isAccessTokenId,
    hash: (value) => value instanceof Uint8Array && value.length === ACCESS_TOKEN_HASH_BYTES,
    label: (value) => typeof value === 'string' && value.length <= MAX_LABEL_CHARACTERS,
    scopes: (value) => listOf(isScope)(value) && (value as readonly string[]).length <= MAX_SCOPES,
    expiresInMs: optional((value) => isDuration(value) && value !== 0),
  }),
  fields({ kind: oneOf('revokeToken'), id: isAccessTokenId }),
  fields({
    kind: oneOf('upsertSchedule'),
    key: isName,
    ref: isCount,
    settings: isScheduleSettings,
    immediately: isFlag,
    template: isTemplate,
    seed: isSeed,
  }),
  fields({
    kind: oneOf('manageSchedule'),
    key: isText,
    action: oneOf('pause', 'resume', 'remove', 'run'),
    id: optional(isId),
  }),
  fields({ kind: oneOf('inspect'), what: oneOf('schedule'), key: isText }),
  fields({
    kind: oneOf('inspect'),
    what: oneOf('schedules'),
    after: isText,
    limit: isLimit,
    channel: optional(isText),
  }),
  fields({ kind: oneOf('declareTopic'), ref: isCount, topic: isName }),
  fields({ kind: oneOf('subscribe'), topic: isName, channel: isName, policy: isPolicy }),
  fields({ kind: oneOf('unsubscribe'), topic: isName, channel: isName }),
  fields({ kind: oneOf('retainEvents'), count: isEventCount, ageMs: isDuration }),
);

/** The document as a command. @throws HoldfastError `PROTOCOL` when it is none */
export function checkDocument(document: unknown): Command {
  if (isCommand(document)) return document as Command;
  throw new HoldfastError('PROTOCOL', 'Cannot read a command: its document is not one of a known kind');
}

/** Whether a block has one message, such as each tick of a schedule can be a copy of. */
function isTemplate(value: unknown): boolean {
  if (!(value instanceof Uint8Array) || value.length > MAX_TEMPLATE_BYTES) return false;
  const reader = new BlockReader(value);
  return reader.count === 1 && reader.next() && reader.isSound() && reader.end === value.length && reader.dueAt === 0;
}

/** A plain object with these fields and no others; a field that may be missing is `optional`. */
function fields(checks: Readonly<Record<string, Check>>): Check {
  return (value) => {
    if (typeof value !== 'object' || value === null) return false;
    const given = value as Readonly<Record<string, unknown>>;
    return (
      Object.keys(given).every((key) => Object.hasOwn(checks, key)) &&
      Object.entries(checks).every(([key, check]) => check(given[key]))
    );
  };
}

function optional(check: Check): Check {
  return (value) => value === undefined || check(value);
}

function anyOf(...checks: readonly Check[]): Check {
  return (value) => checks.some((check) => check(value));
}

function oneOf(...allowed: readonly string[]): Check {
  return (value) => typeof value === 'string' && allowed.includes(value);
}

function listOf(check: Check): Check {
  return (value) => Array.isArray(value) && value.length > 0 && value.every(check);
}

function within(least: number, most: number): Check {
  return (value) => typeof value === 'number' && value >= least && value <= most;
}
