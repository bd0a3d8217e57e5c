/** Settings of channels and groups: options and what they resolve to. */
import { type Duration, parseDuration } from '../model/duration.ts';
import {
  type ChannelSettings,
  DEFAULT_SETTINGS,
  type GroupRules,
  MAX_GROUP_PRIORITY,
  MAX_GROUP_WEIGHT,
  MAX_RATE_COUNT,
  MIN_GROUP_WEIGHT,
  type Rate,
  type Retention,
  type SettingsPatch,
} from '../model/policy.ts';
import { refuseUnknown, wholeNumber } from './checks.ts';

export interface RetainOptions {
  /** Of completed and cancelled messages. @default { count: 1000, age: '1h' } */
  readonly completed?: RetentionOptions;
  /** @default { count: 100000, age: '30d' } */
  readonly dead?: RetentionOptions;
}

export type RetentionOptions = false | { readonly count?: number; readonly age?: Duration };

/**
 * How fast messages are handed out, over all consumers. What a message takes of it is its `cost`, 1 by default; one that costs
 * more than there can be room for goes when nothing else has gone lately, and those behind it wait the longer.
 */
export interface RateOptions {
  /** How many messages, or units of cost, in each `per`: from 1 to 1,000,000,000. */
  readonly count: number;
  readonly per: Duration;
  /**
   * `bucket` hands them out evenly, up to `burst` at once (token bucket); `window` counts them in windows of `per`, each begun by
   * the first message behind the one before (fixed window).
   * @default 'bucket'
   */
  readonly kind?: 'bucket' | 'window';
  /**
   * Of a bucket only: how many at once after a while with none.
   * @default count
   */
  readonly burst?: number;
}

export interface LimitOptions {
  /**
   * How many messages of the channel may be under a lease at a time, over all consumers; `Infinity` for any number. Under a limit
   * nothing is fetched in advance.
   * @default Infinity
   */
  readonly concurrency?: number;
  /** `false` for none. @default false */
  readonly rate?: RateOptions | false;
}

/** What holds for each group of a channel, apart from the others. */
export interface GroupOptions extends LimitOptions {
  /**
   * How many messages of one group may be under a lease at a time.
   * @default 1
   */
  readonly concurrency?: number;
  /**
   * A message that failed keeps its place, and the next one of its group begins only when it has ended: completed, dead or
   * cancelled. Then `concurrency` is 1.
   * @default true for a concurrency of 1
   */
  readonly ordered?: boolean;
  /** How many messages that have not ended one group may hold; `Infinity` for any number. @default Infinity */
  readonly maxBacklog?: number;
}

/** What holds for one group alone; what is not named is as for the others. */
export interface OwnGroupOptions extends GroupOptions {
  /** How much it gets of what the groups share, from 0.001 to 1,000. @default 1 */
  readonly weight?: number;
  /** Groups with a smaller one come first; those with the same take turns. @default 0 */
  readonly priority?: number;
}

/** Settings of a channel that can be changed at any time; what is not named stays. */
export interface ChannelConfiguration {
  readonly retain?: RetainOptions | undefined;
  readonly limits?: LimitOptions | undefined;
  readonly groups?: GroupOptions | undefined;
}

const LIMITS = ['concurrency', 'rate'] as const;
const GROUP_LIMITS = [...LIMITS, 'ordered', 'maxBacklog'] as const;

const MAX_CONCURRENCY = 1_000_000;

/** @throws TypeError, RangeError */
export function resolveConfiguration({ retain, limits, groups }: ChannelConfiguration): SettingsPatch | undefined {
  if (retain === undefined && limits === undefined && groups === undefined) return undefined;
  return {
    ...(retain === undefined ? {} : resolveRetention(retain)),
    ...(limits === undefined ? {} : resolveLimits(limits)),
    ...(groups === undefined ? {} : { groups: resolveGroups(groups, 'groups') }),
  };
}

function resolveLimits(limits: LimitOptions): SettingsPatch {
  refuseUnknown(limits, LIMITS, 'limits');
  return {
    ...(limits.concurrency === undefined
      ? {}
      : { concurrency: concurrencyOf(limits.concurrency, 'limits.concurrency') }),
    ...(limits.rate === undefined ? {} : { rate: rateOf(limits.rate, 'limits.rate') }),
  };
}

function resolveGroups(groups: GroupOptions, name: string): Partial<GroupRules> {
  refuseUnknown(groups, GROUP_LIMITS, name);
  return groupLimitsOf(groups, name);
}

function groupLimitsOf({ concurrency, ordered, rate, maxBacklog }: GroupOptions, name: string): Partial<GroupRules> {
  const most = concurrency === undefined ? undefined : concurrencyOf(concurrency, `${name}.concurrency`);
  if (ordered !== undefined && typeof ordered !== 'boolean') {
    throw new TypeError(`Cannot use "${name}.ordered": it must be true or false`);
  }
  if (ordered === true && most !== undefined && most !== 1) {
    throw new RangeError(`Cannot keep order with "${name}.concurrency" ${String(concurrency)}: it must be 1 then`);
  }
  return {
    ...(ordered === true ? { concurrency: 1, ordered } : {}),
    ...(ordered === false ? { ordered } : {}),
    ...(most === undefined ? {} : { concurrency: most, ordered: ordered ?? most === 1 }),
    ...(rate === undefined ? {} : { rate: rateOf(rate, `${name}.rate`) }),
    ...(maxBacklog === undefined
      ? {}
      : { maxBacklog: maxBacklog === Infinity ? 0 : wholeNumber(maxBacklog, `${name}.maxBacklog`, 1, 2 ** 40) }),
  };
}

function concurrencyOf(concurrency: number, name: string): number {
  return concurrency === Infinity ? 0 : wholeNumber(concurrency, name, 1, MAX_CONCURRENCY);
}

function rateOf(rate: RateOptions | false, name: string): Rate | null {
  if (rate === false) return null;
  refuseUnknown(rate, ['count', 'per', 'kind', 'burst'], name);
  const { kind = 'bucket', burst } = rate;
  const count = wholeNumber(rate.count, `${name}.count`, 1, MAX_RATE_COUNT);
  const perMs = Math.max(1, parseDuration(rate.per, `${name}.per`));
  if (kind === 'bucket') {
    return {
      kind,
      count,
      perMs,
      burst: burst === undefined ? count : wholeNumber(burst, `${name}.burst`, 1, MAX_RATE_COUNT),
    };
  }
  if (kind !== 'window') {
    throw new TypeError(`Cannot use "${String(kind)}" as "${name}.kind": it must be one of bucket, window`);
  }
  if (burst !== undefined) throw new TypeError(`Cannot use "${name}.burst" with a window: it is for a bucket`);
  return { kind, count, perMs };
}

/** @throws TypeError, RangeError */
function resolveRetention(retain: RetainOptions): Pick<ChannelSettings, 'completed' | 'dead'> {
  refuseUnknown(retain, ['completed', 'dead'], 'retain');
  const resolve = (given: RetentionOptions | undefined, fallback: Retention, name: string): Retention => {
    if (given === undefined) return fallback;
    if (given === false) return { count: undefined, ageMs: undefined };
    refuseUnknown(given, ['count', 'age'], `retain.${name}`);
    return {
      count: given.count === undefined ? undefined : wholeNumber(given.count, `retain.${name}.count`, 0, 2 ** 40),
      ageMs: given.age === undefined ? undefined : parseDuration(given.age, `retain.${name}.age`),
    };
  };
  return {
    completed: resolve(retain.completed, DEFAULT_SETTINGS.completed, 'completed'),
    dead: resolve(retain.dead, DEFAULT_SETTINGS.dead, 'dead'),
  };
}

/** @throws TypeError, RangeError */
export function resolveOwnGroup(options: OwnGroupOptions): Partial<GroupRules> {
  refuseUnknown(options, [...GROUP_LIMITS, 'weight', 'priority'], 'configure');
  const { weight, priority } = options;
  if (weight !== undefined && !(weight >= MIN_GROUP_WEIGHT && weight <= MAX_GROUP_WEIGHT)) {
    throw new RangeError(
      `Cannot use ${weight} as "weight": it must be from ${MIN_GROUP_WEIGHT} to ${MAX_GROUP_WEIGHT}`,
    );
  }
  return {
    ...groupLimitsOf(options, 'configure'),
    ...(weight === undefined ? {} : { weight }),
    ...(priority === undefined
      ? {}
      : { priority: wholeNumber(priority, 'priority', -MAX_GROUP_PRIORITY, MAX_GROUP_PRIORITY) }),
  };
}
