/** The options of the native API: what a caller may write, checked at the call and turned into plain rules. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { CodecLimits } from '../codec/bson.ts';
import type { Backoff } from '../model/backoff.ts';
import { type Duration, parseDuration } from '../model/duration.ts';
import { MAX_COST, MAX_PRIORITY } from '../model/block.ts';
import {
  DEFAULT_DEDUPLICATION_MS,
  DEFAULT_POLICY,
  type DedupeRule,
  type Policy,
  type SettingsPatch,
} from '../model/policy.ts';
import { checkChannelName, checkLabel, oneOf, refuseUnknown, resolveMoment, wholeNumber } from './checks.ts';
import { type GroupOptions, type LimitOptions, resolveConfiguration, type RetainOptions } from './settings.ts';

/**
 * How long a message waits after a failed attempt.
 *
 * - a duration: always that long
 * - a list: the delay after the first failure, the second, …; the last one repeats
 * - `{ type: 'exponential' }`: `delay * factor ^ (attempt - 1)`, at most `max`
 * - a function: runs in the consumer and gives the delay; `undefined` gives up at once
 *
 * `jitter` from 0 to 1 draws the delay from its last part: 0.2 from the upper fifth, 1 from anything up to it.
 */
export type BackoffOptions =
  | Duration
  | readonly Duration[]
  | {
      readonly type: 'fixed';
      readonly delay: Duration;
      readonly jitter?: number;
    }
  | {
      readonly type: 'exponential';
      /** @default '1s' */
      readonly delay?: Duration;
      /** @default 2 */
      readonly factor?: number;
      /** @default '1h' */
      readonly max?: Duration;
      /** @default 0.2 */
      readonly jitter?: number;
    }
  | BackoffFunction;

/** Gives the delay after the attempt with this 1-based number failed; `undefined` gives up. */
export type BackoffFunction = (attempt: number, error: unknown) => Duration | undefined;

/** The rules of a message; a produce may override those of its channel. */
export interface MessageRules {
  /**
   * How many attempts a message has before it is dead. Raise it for work on services that are away for hours.
   * @default 5
   */
  readonly attempts?: number;
  /** @default exponential from one second, doubling, at most an hour, jitter 0.2 */
  readonly backoff?: BackoffOptions;
  /**
   * How long a handler may run before its signal fires and the attempt counts as failed; `false` for any time.
   * @default false
   */
  readonly timeout?: Duration | false;
  /**
   * How long a message may wait for its first handler before it is dead; `false` for any time.
   * @default false
   */
  readonly timeToLive?: Duration | false;
}

export interface ChannelOptions<
  Schema extends StandardSchemaV1 | undefined = StandardSchemaV1 | undefined,
> extends MessageRules {
  /** Checks each message when it is produced and when it is consumed: zod, valibot, arktype, or any Standard Schema. */
  readonly schema?: Schema;
  /**
   * With `exactlyOnce`, a message that is produced again within the deduplication interval is not stored a second
   * time, and a handler's `tx` effects, result and ack happen once. Effects elsewhere may repeat after a crash.
   * @default 'atLeastOnce'
   */
  readonly process?: 'exactlyOnce' | 'atLeastOnce';
  /**
   * How long a produced message is remembered for `exactlyOnce`.
   * @default '5m'
   */
  readonly deduplicationInterval?: Duration;
  /** What happens to a second message with the same key, and for how long; works with either `process`. */
  readonly dedupe?: {
    /** A time from the produce, or `'untilSettled'`: as long as the first message has not ended. */
    readonly window?: Duration | 'untilSettled';
    /**
     * `reject` drops the second; `replace` lets it take the place of a first that still waits (debounce);
     * `keepLast` lets it wait for the end of the first, and a third take its place.
     * @default 'reject'
     */
    readonly mode?: 'reject' | 'replace' | 'keepLast';
  };
  /**
   * How many deaths of the process that runs its handler make a message dead.
   * @default 3
   */
  readonly maxDeaths?: number;
  /**
   * How often decoding, or the schema at the consumer, may fail before a message is dead. A schema's refusal is
   * final and does not come again.
   * @default 3
   */
  readonly maxUndecodable?: number;
  /** The channel that dead messages move to. Without it they stay, dead, in their own. */
  readonly deadLetter?: string;
  /**
   * How many messages that have not ended the channel may hold; `Infinity` for any number.
   * @default Infinity
   */
  readonly maxBacklog?: number;
  /**
   * What a produce to a full channel does: reject with `BACKLOG_FULL`, or wait for room.
   * @default 'reject'
   */
  readonly onFull?: 'reject' | 'wait';
  /** How long ended messages are kept: a number of them, an age, or `false` for all and for ever. */
  readonly retain?: RetainOptions;
  /** How many messages may run at a time, and how fast they are handed out, over all consumers. */
  readonly limits?: LimitOptions;
  /** What holds for each group: messages that are produced with the same `group`. */
  readonly groups?: GroupOptions;
  /**
   * The largest encoded message, in bytes.
   * @default 4194304
   */
  readonly maxPayloadBytes?: number;
}

export interface ProduceOptions extends MessageRules {
  /** Delivers no earlier than this long from now. */
  readonly delay?: Duration;
  /** Delivers no earlier than this moment of the wall clock. */
  readonly dueAt?: Date | number;
  /**
   * Smaller is delivered first.
   * @default 0
   */
  readonly priority?: number;
  /** Puts the message before those of its priority that wait. */
  readonly lifo?: boolean;
  /** Two messages with the same key are the same; without it, two with the same content are. */
  readonly dedupeKey?: string;
  /** What the message is called where people look for it: up to 255 characters. */
  readonly name?: string;
  /** Messages with the same key make up a group, see `groups` of the channel: up to 255 characters. */
  readonly group?: string;
  /**
   * How much of the channel's and its group's rate the message takes, from 1 to 1,000,000.
   * @default 1
   */
  readonly cost?: number;
}

/** A channel's options after checking: frozen and complete. */
export interface ResolvedChannelOptions {
  readonly policy: Policy;
  readonly settings: SettingsPatch | undefined;
  readonly schema: StandardSchemaV1 | undefined;
  readonly backoffFunction: BackoffFunction | undefined;
  readonly onFull: 'reject' | 'wait';
  /** Of a payload. */
  readonly limits: CodecLimits;
}

const MAX_PAYLOAD_BYTES = 4 * 1024 * 1024;

const RULES = ['attempts', 'backoff', 'timeout', 'timeToLive'] as const;

const CHANNEL_OPTIONS = [
  ...RULES,
  'schema',
  'process',
  'deduplicationInterval',
  'dedupe',
  'maxDeaths',
  'maxUndecodable',
  'deadLetter',
  'maxBacklog',
  'onFull',
  'retain',
  'limits',
  'groups',
  'maxPayloadBytes',
] as const;

export const PRODUCE_OPTIONS: readonly string[] = [
  ...RULES,
  'delay',
  'dueAt',
  'priority',
  'lifo',
  'dedupeKey',
  'name',
  'group',
  'cost',
];

/** @throws TypeError, RangeError */
export function resolveChannelOptions(options: ChannelOptions): ResolvedChannelOptions {
  refuseUnknown(options, CHANNEL_OPTIONS, 'channel');
  const { schema, deadLetter, maxBacklog = Infinity, onFull = 'reject', retain, limits, groups } = options;
  if (schema !== undefined && typeof schema['~standard']?.validate !== 'function') {
    throw new TypeError('Cannot use "schema": it must be a Standard Schema, such as one of zod, valibot or arktype');
  }
  if (deadLetter !== undefined) checkChannelName(deadLetter);
  const policy: Policy = {
    ...rulesOver(DEFAULT_POLICY, options),
    maxDeaths: wholeNumber(options.maxDeaths ?? DEFAULT_POLICY.maxDeaths, 'maxDeaths', 1, 1_000_000),
    maxUndecodable: wholeNumber(
      options.maxUndecodable ?? DEFAULT_POLICY.maxUndecodable,
      'maxUndecodable',
      1,
      1_000_000,
    ),
    deadLetter,
    dedupe: resolveDedupe(options),
    maxBacklog: maxBacklog === Infinity ? 0 : wholeNumber(maxBacklog, 'maxBacklog', 1, 2 ** 40),
  };
  return Object.freeze({
    policy: Object.freeze(policy),
    settings: resolveConfiguration({ retain, limits, groups }),
    schema,
    backoffFunction: typeof options.backoff === 'function' ? options.backoff : undefined,
    onFull: oneOf(onFull, 'onFull', ['reject', 'wait'] as const),
    limits: Object.freeze({
      maxBytes: wholeNumber(options.maxPayloadBytes ?? MAX_PAYLOAD_BYTES, 'maxPayloadBytes', 1, MAX_PAYLOAD_BYTES),
    }),
  });
}

/** @throws TypeError, RangeError */
export function checkProduceOptions(options: ProduceOptions): void {
  refuseUnknown(options, PRODUCE_OPTIONS, 'produce');
  const { dedupeKey } = options;
  if (typeof options.backoff === 'function') {
    throw new TypeError('Cannot use a function as "backoff" of one message: give it to the channel of the consumer');
  }
  checkChange(options);
  if (dedupeKey !== undefined && (typeof dedupeKey !== 'string' || dedupeKey === '')) {
    throw new TypeError('Cannot use "dedupeKey": it must be a text that is not empty');
  }
  for (const label of ['name', 'group'] as const) if (options[label] !== undefined) checkLabel(label, options[label]);
  if (options.cost !== undefined) wholeNumber(options.cost, 'cost', 1, MAX_COST);
}

/** Checks what says when a message is handed out. @throws TypeError, RangeError */
export function checkChange({
  priority,
  dueAt,
  delay,
  lifo,
}: Pick<ProduceOptions, 'priority' | 'dueAt' | 'delay' | 'lifo'>): void {
  if (priority !== undefined) wholeNumber(priority, 'priority', -MAX_PRIORITY, MAX_PRIORITY);
  resolveMoment(dueAt, 'dueAt');
  if (dueAt !== undefined && delay !== undefined)
    throw new TypeError('Cannot use "delay" and "dueAt" together: give one');
  if (lifo !== undefined && typeof lifo !== 'boolean')
    throw new TypeError('Cannot use "lifo": it must be true or false');
}

/** Whether the options change the rules of the channel, so that the message needs a policy of its own. */
export function changesRules(options: ProduceOptions): boolean {
  return RULES.some((rule) => options[rule] !== undefined);
}

/** The policy with those rules that the options name. @throws TypeError, RangeError */
export function rulesOver(policy: Policy, options: MessageRules): Policy {
  const { attempts, backoff, timeout, timeToLive } = options;
  return {
    ...policy,
    maxAttempts: attempts === undefined ? policy.maxAttempts : wholeNumber(attempts, 'attempts', 1, 1_000_000),
    backoff: backoff === undefined ? policy.backoff : resolveBackoff(backoff),
    timeoutMs: timeout === undefined ? policy.timeoutMs : optionalDuration(timeout, 'timeout'),
    timeToLiveMs: timeToLive === undefined ? policy.timeToLiveMs : optionalDuration(timeToLive, 'timeToLive'),
  };
}

function optionalDuration(duration: Duration | false, name: string): number {
  if (duration === false) return 0;
  return Math.max(1, parseDuration(duration, name));
}

function resolveDedupe(options: ChannelOptions): DedupeRule | undefined {
  const { process = 'atLeastOnce', deduplicationInterval, dedupe } = options;
  oneOf(process, 'process', ['exactlyOnce', 'atLeastOnce'] as const);
  if (dedupe !== undefined) {
    refuseUnknown(dedupe, ['window', 'mode'], 'dedupe');
    if (deduplicationInterval !== undefined) {
      throw new TypeError(
        'Cannot use "deduplicationInterval" and "dedupe" together: write the time as "dedupe.window"',
      );
    }
  }
  if (process === 'atLeastOnce' && dedupe === undefined) {
    if (deduplicationInterval === undefined) return undefined;
    throw new TypeError(`Cannot use "deduplicationInterval" without process: 'exactlyOnce'`);
  }
  const mode = oneOf(dedupe?.mode ?? 'reject', 'dedupe.mode', ['reject', 'replace', 'keepLast'] as const);
  const window = dedupe?.window ?? deduplicationInterval ?? DEFAULT_DEDUPLICATION_MS;
  if (window === 'untilSettled') return { mode, windowMs: 0 };
  return { mode, windowMs: Math.max(1, parseDuration(window, 'deduplicationInterval')) };
}

function resolveBackoff(backoff: BackoffOptions): Backoff {
  if (typeof backoff === 'function') return { kind: 'client', delayMs: 1_000 };
  if (typeof backoff === 'number' || typeof backoff === 'string') {
    return { kind: 'fixed', delayMs: parseDuration(backoff, 'backoff'), jitter: 0 };
  }
  if (isList(backoff)) {
    if (backoff.length === 0) throw new RangeError('Cannot use an empty list as "backoff": give at least one delay');
    return { kind: 'schedule', delaysMs: backoff.map((delay) => parseDuration(delay, 'backoff')), jitter: 0 };
  }
  if (typeof backoff !== 'object' || backoff === null) {
    throw new TypeError(
      `Cannot use ${String(backoff)} as "backoff": give a duration, a list of them, options, or a function`,
    );
  }
  if (backoff.type === 'fixed') {
    refuseUnknown(backoff, ['type', 'delay', 'jitter'], 'backoff');
    return {
      kind: 'fixed',
      delayMs: parseDuration(backoff.delay, 'backoff.delay'),
      jitter: fraction(backoff.jitter ?? 0),
    };
  }
  oneOf(backoff.type, 'backoff.type', ['fixed', 'exponential'] as readonly 'exponential'[]);
  refuseUnknown(backoff, ['type', 'delay', 'factor', 'max', 'jitter'], 'backoff');
  const { delay = '1s', factor = 2, max = '1h', jitter = 0.2 } = backoff;
  if (!(factor >= 1 && factor <= 1_000))
    throw new RangeError(`Cannot use ${factor} as "backoff.factor": it must be from 1 to 1000`);
  return {
    kind: 'exponential',
    delayMs: parseDuration(delay, 'backoff.delay'),
    factor,
    maxMs: parseDuration(max, 'backoff.max'),
    jitter: fraction(jitter),
  };
}

function isList(backoff: BackoffOptions): backoff is readonly Duration[] {
  return Array.isArray(backoff);
}

function fraction(jitter: number): number {
  if (jitter >= 0 && jitter <= 1) return jitter;
  throw new RangeError(`Cannot use ${jitter} as "backoff.jitter": it must be from 0 to 1`);
}
