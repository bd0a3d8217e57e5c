/** Schedules: messages that come again and again. What a client asks of them, and what it is told; plain data. */
import { allocate } from './bytes.ts';
import { MESSAGE_ID_BYTES, type MessageId } from './message-id.ts';

/** How many schedules a space may have. */
export const MAX_SCHEDULES = 1_000_000;

/** How long the key of a schedule is at most. */
export const MAX_SCHEDULE_KEY_CHARACTERS = 255;

/** The largest block with the message of a schedule, in bytes: it is written again at each tick. */
export const MAX_TEMPLATE_BYTES: number = 512 * 1024;

/** How many schedules one list may ask for. */
export const MAX_SCHEDULE_LIST = 100;

/** The bytes that the ids of a schedule's messages have in common, see {@link tickId}. */
export const SEED_BYTES = 10;

/**
 * What becomes of ticks whose time has passed while nobody was there to see to them:
 *
 * - `skip`: they do not come.
 * - `one`: the last of them comes, late.
 * - `all`: all of them come, in order; after 10,000 in a row that were late it goes on with the last one.
 *
 * A tick has been missed when its successor is due as well, or when it is more than a minute late.
 */
export const MISSED = ['skip', 'one', 'all'] as const;

/**
 * What becomes of a tick while the message of the tick before has not ended:
 *
 * - `allow`: it comes.
 * - `skip`: it does not come.
 * - `queue`: it comes when that message has ended, and so do those after it, one after the other.
 */
export const OVERLAP = ['allow', 'skip', 'queue'] as const;

export type ScheduleRule =
  /** Goes by the wall clock. */
  | { readonly cron: string; readonly timeZone: string }
  /** Goes by machine time, which no step of the wall clock moves. */
  | { readonly everyMs: number };

/** All that a schedule is told but its message. */
export interface ScheduleSettings {
  readonly rule: ScheduleRule;
  /** No tick is earlier. Intervals count from here, if it is given, and else from when the schedule was made. */
  readonly startAt: number | undefined;
  /** No tick is later. */
  readonly endAt: number | undefined;
  /** How many ticks there are in all. */
  readonly limit: number | undefined;
  /** Each tick comes up to this much later than its time, by chance. */
  readonly jitterMs: number;
  readonly missed: (typeof MISSED)[number];
  readonly overlap: (typeof OVERLAP)[number];
}

/**
 * Makes a schedule, or changes the one of this key. The next tick moves only if its rule or its start has changed. Answer:
 * `value` with the time of the next tick, 0 for none.
 */
export interface UpsertSchedule {
  readonly kind: 'upsertSchedule';
  readonly key: string;
  /** The channel and the rules of the messages, as declared. */
  readonly ref: number;
  readonly settings: ScheduleSettings;
  /** A schedule that is new, or has a new rule, has its first tick at once. */
  readonly immediately: boolean;
  /** A block with one message, which each tick copies. */
  readonly template: Uint8Array;
  /**
   * Random bytes, or such as the client can make again to find a message by its time, see {@link tickId}. A schedule keeps the ones
   * that it was made with.
   */
  readonly seed: Uint8Array;
}

/**
 * Acts on a schedule. `run` produces its message once more, now, under an id that the client has made. Answer: `done`, or
 * `refused` with `NOT_FOUND`, or `WRONG_STATE` when the schedule does not let messages overlap and the last one has not ended.
 */
export interface ManageSchedule {
  readonly kind: 'manageSchedule';
  readonly key: string;
  readonly action: 'pause' | 'resume' | 'remove' | 'run';
  /** Of the message, for `run`. */
  readonly id: Uint8Array | undefined;
}

/** Reads one schedule, with its message, or many by their keys in order, without. Answer: `value`. */
export type InspectSchedule =
  | { readonly kind: 'inspect'; readonly what: 'schedule'; readonly key: string }
  | {
      readonly kind: 'inspect';
      readonly what: 'schedules';
      /** The key behind which the list begins; empty for the beginning. */
      readonly after: string;
      readonly limit: number;
      /** Only of this channel. */
      readonly channel: string | undefined;
    };

/** A schedule as `inspect` shows it. */
export interface ScheduleView {
  readonly key: string;
  readonly channel: string;
  /** `cron` and `timeZone`, or `everyMs`. */
  readonly rule: ScheduleRule;
  readonly startAt: number | undefined;
  readonly endAt: number | undefined;
  readonly limit: number | undefined;
  readonly jitterMs: number;
  readonly missed: ScheduleSettings['missed'];
  readonly overlap: ScheduleSettings['overlap'];
  /** `ended` has had its last tick, but is still known; `failed` cannot go on, and `failure` says why. */
  readonly state: 'live' | 'paused' | 'ended' | 'failed';
  /** The time of the next tick. */
  readonly nextAt: number | undefined;
  /** The time of the last tick that came, and the id of its message. */
  readonly lastAt: number | undefined;
  readonly lastId: MessageId | undefined;
  /** The time of the last tick that was skipped; of several at once, of the first. */
  readonly skippedAt: number | undefined;
  /** How many have come. */
  readonly ticks: number;
  readonly createdAt: number;
  readonly failure: string | undefined;
  /** Of the message, if one schedule was asked for. */
  readonly codec: number | undefined;
  readonly payload: Uint8Array | undefined;
}

/** Some schedules, and where to go on. */
export interface SchedulePage {
  readonly schedules: readonly ScheduleView[];
  /** What to list `after`; `undefined` when there are no more. */
  readonly next: string | undefined;
}

/**
 * The id of the message of a tick: a UUID of version 7 with the time of the tick, and the bits of the seed for all others. The lowest
 * 16 bits of the time are XORed into the last two bytes, for the index of ids tells those of a second apart by their last bytes.
 */
export function tickId(seed: Uint8Array, at: number): Uint8Array {
  const id = allocate(MESSAGE_ID_BYTES);
  id[0] = at / 2 ** 40;
  id[1] = at / 2 ** 32;
  id[2] = at >>> 24;
  id[3] = at >>> 16;
  id[4] = at >>> 8;
  id[5] = at;
  id.set(seed, MESSAGE_ID_BYTES - SEED_BYTES);
  id[6] = 0x70 | ((id[6] as number) & 0x0f);
  id[8] = 0x80 | ((id[8] as number) & 0x3f);
  id[14] = (id[14] as number) ^ ((at >>> 8) & 0xff);
  id[15] = (id[15] as number) ^ (at & 0xff);
  return id;
}

/** The latest time that the id of a message can hold, in epoch milliseconds: in the year 10889. */
export const MAX_TICK_AT: number = 2 ** 48 - 1;
