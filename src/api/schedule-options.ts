/** The rule and the options of a schedule: what a caller may write, checked at the call. */
import { type Client, blocksOf } from '../client/client.ts';
import { isWellFormed } from '../codec/binary-types.ts';
import { MAX_DUE_AT } from '../model/block.ts';
import { type Duration, parseDuration } from '../model/duration.ts';
import { checkCron, MIN_EVERY_MS } from '../model/recurrence.ts';
import {
  MAX_SCHEDULE_KEY_CHARACTERS,
  MAX_TEMPLATE_BYTES,
  MISSED,
  OVERLAP,
  type ScheduleRule as Rule,
  type ScheduleSettings,
  SEED_BYTES,
} from '../model/schedule.ts';
import { oneOf, refuseUnknown, wholeNumber } from './checks.ts';
import { PRODUCE_OPTIONS, type ProduceOptions } from './options.ts';
import type { Prepared } from './produced.ts';
import { ask } from './stored.ts';

/** When a schedule ticks. */
export type ScheduleRule =
  | {
      /**
       * A cron pattern: minute, hour, day of the month, month, day of the week; with six fields the second comes first, with seven the
       * year last. `L` is the last day, `MON#2` the second Monday, `15W` the weekday next to the 15th; `@daily` and the like work too.
       */
      readonly cron: string;
      /**
       * The IANA time zone in which the pattern is read.
       * @default 'UTC'
       */
      readonly timeZone?: string;
      readonly every?: never;
    }
  | {
      /** The time from one tick to the next, from a millisecond on. */
      readonly every: Duration;
      readonly cron?: never;
      readonly timeZone?: never;
    };

/** What a schedule may be told beside its rule and its message; the rest is for each message, as in `produce`. */
export interface ScheduleOptions extends Omit<ProduceOptions, 'dueAt'> {
  /** No tick is earlier. Intervals count from here; without it, from when the schedule is made. */
  readonly start?: Date | number;
  /** No tick is later. */
  readonly end?: Date | number;
  /** How many ticks there are in all. */
  readonly limit?: number;
  /**
   * Each tick comes up to this much later than its time, by chance: so that not all do at once.
   * @default 0
   */
  readonly jitter?: Duration;
  /**
   * A schedule that is new, or has another rule than before, has its first tick at once.
   * @default false
   */
  readonly immediately?: boolean;
  /**
   * What becomes of ticks whose time has passed while no broker was there: `skip` leaves them out, `one` has the last of them come,
   * late, and `all` every one, in order.
   * @default 'one'
   */
  readonly missed?: 'skip' | 'one' | 'all';
  /**
   * What becomes of a tick while the message of the tick before has not ended: `allow` has it come, `skip` leaves it out, `queue` has
   * it come when that message has ended, and so on one after the other.
   * @default 'allow'
   */
  readonly overlap?: 'allow' | 'skip' | 'queue';
}

/** What an upsert gives: the schedule is stored as safely as `durability` says. */
export interface ScheduleReceipt {
  readonly key: string;
  readonly channel: string;
  /** When it ticks next, in epoch milliseconds; `undefined` when it does not, because it has ended or is paused. */
  readonly nextAt: number | undefined;
}

export interface ResolvedSchedule {
  readonly settings: ScheduleSettings;
  readonly immediately: boolean;
  /** What is for each message. */
  readonly produce: ProduceOptions;
}

const SCHEDULE_OPTIONS: readonly string[] = [
  'start',
  'end',
  'limit',
  'jitter',
  'immediately',
  'missed',
  'overlap',
  // The rule of the schedule says when its messages are due.
  ...PRODUCE_OPTIONS.filter((name) => name !== 'dueAt'),
];

/** The most that a count may be. */
const MOST = 2 ** 40;

/** @throws TypeError, RangeError that names what is allowed */
export function resolveSchedule(key: string, rule: ScheduleRule, options: ScheduleOptions): ResolvedSchedule {
  checkScheduleKey(key);
  refuseUnknown(options, SCHEDULE_OPTIONS, 'schedule');
  const { start, end, limit, jitter = 0, immediately = false, missed = 'one', overlap = 'allow', ...produce } = options;
  if (typeof immediately !== 'boolean') throw new TypeError('Cannot use "immediately": it must be true or false');
  const [startAt, endAt] = [momentOf(start, 'start'), momentOf(end, 'end')];
  if (startAt !== undefined && endAt !== undefined && endAt < startAt) {
    throw new RangeError('Cannot use "end": it must not be before "start"');
  }
  const resolved = resolveRule(rule);
  const jitterMs = parseDuration(jitter, 'jitter');
  if ('everyMs' in resolved && jitterMs >= resolved.everyMs) {
    throw new RangeError(
      `Cannot use ${jitterMs} ms as "jitter": it must be less than "every", which is ${resolved.everyMs} ms`,
    );
  }
  const settings = {
    rule: resolved,
    startAt,
    endAt,
    limit: limit === undefined ? undefined : wholeNumber(limit, 'limit', 1, MOST),
    jitterMs,
    missed: oneOf(missed, 'missed', MISSED),
    overlap: oneOf(overlap, 'overlap', OVERLAP),
  };
  return { settings, immediately, produce };
}

function resolveRule(rule: ScheduleRule): Rule {
  if (typeof rule !== 'object' || rule === null || 'cron' in rule === 'every' in rule) {
    throw new TypeError('Cannot use this rule: give { cron, timeZone } or { every }');
  }
  refuseUnknown(rule, 'cron' in rule ? ['cron', 'timeZone'] : ['every'], 'rule');
  if (rule.cron !== undefined) {
    const { cron, timeZone = 'UTC' } = rule;
    checkCron(cron, timeZone);
    return { cron, timeZone };
  }
  const everyMs = parseDuration(rule.every as Duration, 'every');
  if (everyMs < MIN_EVERY_MS) {
    throw new RangeError(`Cannot use ${everyMs} ms as "every": it must be at least ${MIN_EVERY_MS} ms`);
  }
  return { everyMs };
}

function momentOf(moment: Date | number | undefined, name: string): number | undefined {
  if (moment === undefined) return undefined;
  const at = typeof moment === 'number' || moment instanceof Date ? Number(moment) : Number.NaN;
  if (Math.abs(at) <= MAX_DUE_AT) return Math.ceil(at);
  throw new TypeError(`Cannot use "${name}": it must be a valid Date or a time in epoch milliseconds`);
}

export function checkScheduleKey(key: string): void {
  if (typeof key !== 'string') throw new TypeError(`Cannot use ${typeof key} as a schedule's key: it must be a text`);
  if (key.length > 0 && key.length <= MAX_SCHEDULE_KEY_CHARACTERS && isWellFormed(key)) return;
  throw new RangeError(
    `Cannot use ${JSON.stringify(key)} as a schedule's key: it must have from 1 to ${MAX_SCHEDULE_KEY_CHARACTERS} characters, and no half of a surrogate pair`,
  );
}

/** Sends what a channel has prepared. */
export async function upsertSchedule(
  client: Client,
  key: string,
  channel: string,
  options: ResolvedSchedule,
  prepared: Prepared,
): Promise<ScheduleReceipt> {
  const [template] = blocksOf([prepared.item]) as [Uint8Array];
  if (template.length > MAX_TEMPLATE_BYTES) {
    throw new RangeError(
      `Cannot use a message of ${prepared.item.payload.length} bytes for a schedule: at most about ${MAX_TEMPLATE_BYTES}`,
    );
  }
  const { settings, immediately } = options;
  const seed = client.random.fill(new Uint8Array(SEED_BYTES));
  const nextAt = await ask(client, {
    kind: 'upsertSchedule',
    key,
    ref: prepared.ref,
    settings,
    immediately,
    template,
    seed,
  });
  return { key, channel, nextAt: nextAt === 0 ? undefined : Number(nextAt) };
}
