/** What a broker shows of what it has, to whoever inspects it: plain data. */
import type { Tick } from './block.ts';
import type { Failure } from './failure.ts';
import type { ScanPosition } from './filter.ts';
import type { MessageId } from './message-id.ts';
import type { ChannelSettings, GroupRules } from './policy.ts';
import type { ChannelHappening, Happening, State } from './states.ts';

/** A channel as `inspect` shows it. Counts are exact at one moment. */
export interface ChannelView {
  readonly channel: string;
  readonly ready: number;
  readonly delayed: number;
  readonly leased: number;
  readonly waiting: number;
  readonly completed: number;
  readonly dead: number;
  readonly cancelled: number;
  /** Messages ever produced, completed, dead, and delivered again, since the channel was created. */
  readonly totals: ChannelTotals;
  readonly paused: boolean;
  readonly consumers: number;
  /**
   * How long the ready message that has waited longest has been ready, in milliseconds; `undefined` when none is. Exact to a
   * second, by the clock of the producer. With more than 100 priorities it is that of the 100 that come first.
   */
  readonly oldestReadyMs: number | undefined;
  /** Groups that have messages, or something that is kept for them. */
  readonly groups: number;
  /** For how long nothing is handed out, for its rate or since a handler asked for that; 0 when it is. */
  readonly heldMs: number;
  readonly settings: ChannelSettings;
}

/** A group as `inspect` shows it. Counts are exact at one moment. */
export interface GroupView {
  readonly group: string;
  readonly ready: number;
  readonly leased: number;
  /** Messages that have not ended: ready, leased, delayed and waiting. */
  readonly backlog: number;
  readonly paused: boolean;
  /** For how long nothing of it is handed out, for its rate or since a handler asked for that; 0 when it is. */
  readonly heldMs: number;
  readonly rules: GroupRules;
}

/** Some groups, and where to go on. */
export interface GroupPage {
  readonly groups: readonly GroupView[];
  /** `undefined` when there are no more. */
  readonly next: number | undefined;
}

/** Some channels, and where to go on. */
export interface Overview {
  readonly channels: readonly ChannelView[];
  /** `undefined` when there are no more. */
  readonly next: number | undefined;
}

export interface ChannelTotals {
  readonly produced: number;
  readonly completed: number;
  readonly dead: number;
  readonly cancelled: number;
  readonly purged: number;
  readonly redelivered: number;
  readonly deduplicated: number;
  /** Attempts whose handler threw, gave up or ran too long, and messages that could not be decoded, each time. */
  readonly failed: number;
  /** Messages among the dead whose time to live was over. */
  readonly expired: number;
}

/** An access token as `inspect` shows it: all that is known of it, and nothing that it could be made from. */
export interface TokenView {
  /** The public part, by which it is revoked. */
  readonly id: string;
  readonly label: string;
  readonly scopes: readonly string[];
  readonly state: 'live' | 'expired' | 'revoked';
  readonly createdAt: number;
  readonly expiresAt: number | undefined;
  readonly revokedAt: number | undefined;
}

/** A message as `inspect` shows it, its payload still encoded. */
export interface MessageView {
  readonly id: MessageId;
  readonly channel: string;
  readonly state: State;
  /** What its producer called it. */
  readonly name: string | undefined;
  /** The key of the group that it belongs to. */
  readonly group: string | undefined;
  /** Of the schedule that has produced it. */
  readonly schedule: Tick | undefined;
  readonly priority: number;
  /** Attempts that began, as far as they were counted. */
  readonly attempts: number;
  readonly deaths: number;
  readonly undecodable: number;
  readonly producedAt: number;
  readonly dueAt: number | undefined;
  readonly endedAt: number | undefined;
  readonly codec: number;
  readonly payload: Uint8Array;
  readonly result: Uint8Array | undefined;
  readonly failure: Failure | undefined;
  readonly progress: Uint8Array | undefined;
  readonly log: readonly string[];
  readonly history: readonly HistoryEntry[];
}

export interface HistoryEntry {
  readonly at: number;
  readonly what: Happening;
  /** The attempt that it belongs to, 1-based; 0 before the first. */
  readonly attempt: number;
  /** Why, where there is a reason: an error's message, or who took the lease back. */
  readonly note: string | undefined;
}

/** Messages that a search has found, and where it goes on. */
export interface SearchPage {
  readonly messages: readonly MessageView[];
  /** `undefined` when all have been looked through. */
  readonly next: ScanPosition | undefined;
}

/** What happens to a message, or to a channel as a whole. */
export type EventKind = Happening | ChannelHappening;

/** A place in the journal: the event with this index of this commit is the next one to be read. */
export interface EventPosition {
  readonly commit: number;
  readonly index: number;
}

/** Something that happened to a message, or to a channel. */
export interface EventView {
  /** The place behind this event. */
  readonly next: EventPosition;
  readonly at: number;
  /** It happened to the channel as a whole. */
  readonly ofChannel: boolean;
  readonly what: EventKind;
  /** `undefined` when the message was removed before this was asked for. */
  readonly id: MessageId | undefined;
  readonly channel: string;
  /** 1-based; 0 where no attempt is concerned. */
  readonly attempt: number;
  /** The number of the session whose consumer did it; `undefined` where none did. */
  readonly session: number | undefined;
  /** Where it is `progress` of at most 1 KiB: the value. */
  readonly progress: Uint8Array | undefined;
  /** The line that was `logged`, if it has at most 1 KiB; why an attempt has `failed` or was `nacked`, cut after 200 characters. */
  readonly note: string | undefined;
}

/** Events in the order of their commits. */
export interface EventPage {
  readonly events: readonly EventView[];
  /** Where this page begins. */
  readonly from: EventPosition;
  readonly next: EventPosition;
  /** Events behind the position that was asked for have been trimmed: the page begins with the oldest that is kept. */
  readonly isTrimmed: boolean;
  /** There are no more at present. */
  readonly isEnd: boolean;
}

export interface BackupView {
  /** What follows in the backup's file. */
  readonly bytes: Uint8Array;
  readonly isEnd: boolean;
}
