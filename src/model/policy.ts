/** What a channel asks of its messages, resolved: plain data, the same on every side. */
import type { Backoff } from './backoff.ts';

/** The rules that a message was produced under; they stay with it when the channel's options change later. */
export interface Policy {
  /** How many attempts may throw or time out before the message is dead; at least 1. */
  readonly maxAttempts: number;
  readonly backoff: Backoff;
  /** How many deaths of the process that runs the handler make the message dead; at least 1. */
  readonly maxDeaths: number;
  /** How many times a consumer may fail to decode the message before it is dead; at least 1. */
  readonly maxUndecodable: number;
  /** How long a handler may run, in milliseconds; 0 sets no limit. */
  readonly timeoutMs: number;
  /** How long the message may wait for its first claim, in milliseconds; 0 sets no limit. */
  readonly timeToLiveMs: number;
  /** Where dead messages go, in the commit that gives them up; without it they stay, as `dead`. */
  readonly deadLetter: string | undefined;
  readonly dedupe: DedupeRule | undefined;
  /** How many messages the channel may hold that have not ended; 0 sets no limit. */
  readonly maxBacklog: number;
}

/**
 * What a second message with the same dedupe key meets while the first one's window runs. The window is
 * `windowMs` milliseconds from the produce, or, with 0, until the first message has ended.
 *
 * - `reject`: the second is dropped; the first stands.
 * - `replace`: while the first waits, the second takes its place with its own payload and delay (debounce);
 *   once the first was claimed, `reject` applies.
 * - `keepLast`: while the first waits or runs, the second waits until it has ended; a third takes the
 *   second's place.
 */
export interface DedupeRule {
  readonly windowMs: number;
  readonly mode: 'reject' | 'replace' | 'keepLast';
}

/** How many ended messages are kept, and how long; `undefined` sets no bound. */
export interface Retention {
  readonly count: number | undefined;
  readonly ageMs: number | undefined;
}

/**
 * How fast messages may be claimed: `count` of them, or as many units of cost, in `perMs` milliseconds.
 *
 * - `bucket`: a token bucket. Up to `burst` at once, and `count` in each `perMs`, evenly.
 * - `window`: a fixed window. `count` in a window of `perMs`, which the first message behind the one before begins.
 */
export type Rate =
  | { readonly kind: 'bucket'; readonly count: number; readonly perMs: number; readonly burst: number }
  | { readonly kind: 'window'; readonly count: number; readonly perMs: number };

/** What holds for each group of a channel, or for one of them. */
export interface GroupRules {
  /** How many of its messages may be under a lease at a time; 0 sets no limit. */
  readonly concurrency: number;
  /** A message that comes back for a further attempt keeps its place, and no other begins before it has ended. */
  readonly ordered: boolean;
  readonly rate: Rate | null;
  /** How many messages it may hold that have not ended; 0 sets no limit. */
  readonly maxBacklog: number;
  /** How much it gets of what the groups share, compared to others. */
  readonly weight: number;
  /** Groups with a smaller one come first; only those with the same take turns. */
  readonly priority: number;
}

/** What holds for a channel as a whole; the last declaration wins. */
export interface ChannelSettings {
  /** Of completed and cancelled messages. */
  readonly completed: Retention;
  readonly dead: Retention;
  /** How many messages may be under a lease at a time, with whichever consumers; 0 sets no limit. */
  readonly concurrency: number;
  readonly rate: Rate | null;
  /** Of each group without rules of its own. */
  readonly groups: GroupRules;
}

/** Settings to be changed; what is not named stays. */
export type SettingsPatch = Partial<Omit<ChannelSettings, 'groups'>> & {
  readonly groups?: Partial<GroupRules> | undefined;
};

export const DEFAULT_SETTINGS: ChannelSettings = {
  completed: { count: 1_000, ageMs: 3_600_000 },
  dead: { count: 100_000, ageMs: 30 * 86_400_000 },
  concurrency: 0,
  rate: null,
  groups: { concurrency: 1, ordered: true, rate: null, maxBacklog: 0, weight: 1, priority: 0 },
};

/** The settings with what the patch names. */
export function patched(settings: ChannelSettings, { groups, ...patch }: SettingsPatch): ChannelSettings {
  return { ...settings, ...patch, groups: { ...settings.groups, ...groups } };
}

export const MAX_RATE_COUNT = 1_000_000_000;
export const MIN_GROUP_WEIGHT = 0.001;
export const MAX_GROUP_WEIGHT = 1_000;
export const MAX_GROUP_PRIORITY = 1_000_000;

/** How much of the past the journal keeps, for the whole space. */
export interface JournalBounds {
  readonly count: number;
  readonly ageMs: number;
}

export const DEFAULT_JOURNAL_BOUNDS: JournalBounds = { count: 100_000, ageMs: 86_400_000 };

/** The exactly-once window when none is given, in milliseconds: 5 minutes. */
export const DEFAULT_DEDUPLICATION_MS = 300_000;

export const DEFAULT_POLICY: Policy = {
  maxAttempts: 5,
  backoff: { kind: 'exponential', delayMs: 1_000, factor: 2, maxMs: 3_600_000, jitter: 0.2 },
  maxDeaths: 3,
  maxUndecodable: 3,
  timeoutMs: 0,
  timeToLiveMs: 0,
  deadLetter: undefined,
  dedupe: undefined,
  maxBacklog: 0,
};
