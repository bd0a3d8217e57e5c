/**
 * What the machine keeps in memory: messages that have not ended, small and of one shape, never with their
 * payload; channels, sessions and dedupe keys. Plain data that refers to each other, hence one file.
 */
import type { ScanPosition } from '../model/filter.ts';
import type { Bulk, BulkView } from '../model/life.ts';
import type { Reply } from '../model/command.ts';
import type { ChannelTotals, HistoryEntry } from '../model/views.ts';
import type { Failure } from '../model/failure.ts';
import type { Histogram, OpenHistogram } from '../model/histogram.ts';
import type { ChannelSettings, GroupRules, Policy } from '../model/policy.ts';
import type { Grant, RightSet } from '../model/scopes.ts';
import type { EndedState, LiveState } from '../model/states.ts';
import type { UsageCounts } from '../model/usage.ts';
import type { NumberMap } from '../model/number-map.ts';
import type { Fifo } from './fifo.ts';
import type { OrderedIndex } from './ordered-index.ts';

export interface Message {
  /** The broker's sequence number: the message's identity within the space. */
  readonly seq: number;
  /** The sequence number of the first message of the stored pack that holds the payload. */
  readonly pack: number;
  /** The second of the public id; finds the pack in the index of ids. */
  readonly second: number;
  channel: Channel;
  policy: PolicyRef;
  /** Whose messages wait for each other. */
  group: Group | undefined;
  state: LiveState;
  /** Smaller is claimed first. */
  priority: number;
  /** The place within the priority; smaller is claimed first. */
  order: number;
  /**
   * When a delayed message becomes ready, by the clock `dueClock`; of any other since when it is ready, in machine time, or 0
   * if it has been so since it was produced.
   */
  dueAt: number;
  dueClock: DueClock;
  /** Attempts that threw or timed out. */
  attempts: number;
  /** How often the message was claimed. */
  deliveries: number;
  lease: Lease | undefined;
  extra: Extra | undefined;
}

/** The clock that a delay goes by: 0 is machine time, for relative delays, 1 the wall clock, for absolute moments. */
export type DueClock = 0 | 1;

/** Messages of a channel with the same group key, as long as there are any, or rules or a rate to be kept. */
export interface Group {
  /** In the order in which groups have come up. */
  readonly number: number;
  readonly channel: Channel;
  readonly key: string;
  /** Rules of its own, over those of the channel. */
  own: Partial<GroupRules> | undefined;
  paused: boolean;
  /** Its ready messages in claim order, but for the suspects. */
  readonly ready: OrderedIndex<Message>;
  /** How many of its messages have not ended, and how many are under a lease. */
  backlog: number;
  running: number;
  /** Of a group in order, the message that has begun and not ended. */
  begun: Message | undefined;
  /** When its next turn is, counted in what the groups of the channel were handed; the smallest is next. */
  turn: number;
  /** It stands among those that take turns. */
  isInTurn: boolean;
  /** Its weight, as long as it has something to do. */
  share: number;
  gate: Gate | undefined;
  /** It has a record in the store. */
  isStored: boolean;
  /** Sessions that want to hear when it has room again. */
  roomWanted: Set<Session> | undefined;
}

/** What lets the messages of a channel, or of a group, through no faster than its rate. */
export interface Gate {
  readonly channel: Channel;
  readonly group: Group | undefined;
  /** What has gone through lately, in units of cost, as of `usedAt`; see `gates.ts`. */
  used: number;
  usedAt: number;
  /** A handler wants nothing to go through before. */
  heldUntil: number;
  /** When it is looked at again; 0 while it need not be. */
  wakesAt: number;
}

/** A policy under the number by which the records of messages name it. */
export interface PolicyRef {
  readonly number: number;
  readonly policy: Policy;
}

export interface Lease {
  readonly token: number;
  readonly session: Session;
  readonly consumer: number;
  readonly claimedAt: number;
  /** The message was a suspect when it was claimed, so it was given to a session that held nothing but others like it. */
  readonly alone: boolean;
  started: boolean;
  /** In machine time; 0 while nobody has said so, -1 where nobody knows any more, as it may have been under another broker. */
  startedAt: number;
  /** Where what its session does with the message is counted. */
  usage: Usage | undefined;
  /** When the broker takes the lease back, in machine time; 0 for never. */
  deadlineAt: number;
}

/** What only some messages have. */
export interface Extra {
  deaths: number;
  undecodable: number;
  failure: Failure | undefined;
  history: HistoryEntry[];
  /** The end of its time to live while it was never claimed, in machine time; 0 for none. */
  expiresAt: number;
  /** The dedupe hash, where the end of the message ends or hands over its key; empty otherwise. */
  dedupe: string;
  /** It was held by a process that died, and perhaps it was the cause. */
  suspect: boolean;
  /** It has a record of progress and log. */
  annotated: boolean;
  /** Its producer named keys of KV for when it is given up. */
  undelivered: boolean;
  /** It was given up, for this reason, and waits for the commit that writes those keys. */
  givenUp: 'failed' | 'expired' | undefined;
  /** How much of a rate it takes. */
  cost: number;
  /** Its handler was told to end because the message is cancelled, for this reason; what it does counts until the lease ends. */
  cancelled: string | undefined;
  /** The pack of its own in which its payload stands since it was replaced; 0 for the one that it was produced in. */
  payloadPack: number;
  /** It ended once before, so an older record of that end exists. */
  returned: boolean;
  /** The newest deaths that were counted, the oldest first: each can be taken back when its session turns out to live. */
  charges: readonly Charge[];
}

/** A death that was counted when a session lost its lease. */
export interface Charge {
  readonly token: number;
  /** The session's number. */
  readonly session: number;
  /** How often the message had been claimed by then. */
  readonly deliveries: number;
  /** It was a suspect already, and alone. */
  readonly alone: boolean;
}

export interface Channel {
  readonly number: number;
  readonly name: string;
  settings: ChannelSettings;
  paused: boolean;
  /** Messages with a lower sequence number that wait are being deleted; 0 when no purge is under way. */
  purgeBelow: number;
  /** How many dead messages, the oldest first, are still to be redriven; 0 when no redrive is under way. */
  redriveLeft: number;
  /** Changed through `totalsOf` of `counts.ts` only, so that each minute gets its own. */
  readonly totals: { -readonly [K in keyof ChannelTotals]: ChannelTotals[K] };
  /** What is counted by the minute; `undefined` before there was anything. */
  counts: ChannelCounts | undefined;

  /** Ready messages without a group in claim order, but for the suspects. */
  readonly ready: OrderedIndex<Message>;
  /** Those of all groups likewise. */
  readonly grouped: OrderedIndex<Message>;
  /** Ready messages that must be delivered alone; they come before the others. */
  readonly suspects: OrderedIndex<Message>;
  readonly delayed: OrderedIndex<Message>;
  readonly leased: OrderedIndex<Message>;
  readonly waiting: OrderedIndex<Message>;
  /** The stored pages of each priority: the messages whose orders share a page. */
  readonly lanes: Map<number, Map<number, Page>>;
  readonly ended: Readonly<Record<EndedState, EndedList>>;
  readonly dedupe: Map<string, DedupeSlot>;
  /** By key, and in the order in which they came up. */
  readonly groups: Map<string, Group>;
  readonly groupList: OrderedIndex<Group>;
  nextGroup: number;
  /** A group of it has, or had, a bound of its own for its backlog. */
  boundsGroups: boolean;
  /** Groups with a message that can go, the next one first. */
  readonly turns: OrderedIndex<Group>;
  /**
   * The turn of whatever was handed out last, that which one would have by now that was served evenly beside all others, and that
   * of the messages without a group.
   */
  virtualTurn: number;
  evenTurn: number;
  plainTurn: number;
  /** The sum of the shares of its groups. */
  shares: number;
  readonly gate: Gate;

  consumers: number;
  /** Consumers with room, the next one first. */
  readonly line: Consumer[];
  /** The session that gets nothing new until a suspect of this channel can be delivered to it alone. */
  reserved: Session | undefined;
  /** When the reservation ends, or, without one, when the next may begin; in machine time. */
  reservedUntil: number;
  /** Sessions that want to hear when the backlog has room again, with the limit that they met. */
  readonly roomWanted: Map<Session, number>;
  /** Sessions that want to hear, once, when there is something to hand out and nobody to take it. */
  readonly watchers: Set<Session>;
}

/** What a channel counts by the minute, see `counts.ts`. */
export interface ChannelCounts {
  /** The minute under way, counted since 1970, and when it ends, in machine time. */
  readonly minute: number;
  readonly endsAt: number;
  /** The totals as they were when it began. */
  readonly before: ChannelTotals;
  /** From ready to start, and from start to end: in this minute, and in all those before it. */
  latency: OpenHistogram | undefined;
  handling: OpenHistogram | undefined;
  readonly pastLatency: Histogram;
  readonly pastHandling: Histogram;
  /** The oldest minute that may have a record, and the newest that has one; 0 when there is none. */
  oldest: number;
  newest: number;
  /** It has counted something that no commit under way writes. */
  isUnwritten: boolean;
}

/** What an access token has done in one channel, or with KV, on one day, see `usage.ts`. */
export interface Usage extends Mutable<UsageCounts> {
  /** Counted since 1970, and when it ends, in machine time. */
  readonly day: number;
  readonly endsAt: number;
  /** The id of the access token; empty for none. */
  readonly token: string;
  /** The number of the channel, or what stands for KV or for the rest. */
  readonly channel: number;
  isUnwritten: boolean;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** The messages of one stored record, in no order. */
export interface Page {
  readonly channel: Channel;
  readonly priority: number;
  readonly number: number;
  readonly messages: Message[];
}

/** Ended messages of one state, the oldest first. */
export interface EndedList {
  /** The number of the channel. */
  readonly channel: number;
  readonly state: EndedState;
  readonly messages: OrderedIndex<EndedMessage>;
  /** The place in the order of retention: when the oldest message is to be removed; 0 while it is not in it. */
  removeAt: number;
}

/** What memory keeps of an ended message; the rest is in the store. */
export interface EndedMessage {
  readonly seq: number;
  readonly pack: number;
  readonly second: number;
  readonly endedAt: number;
}

/** What was answered to a request. */
export interface Answer {
  readonly request: number;
  readonly reply: Reply;
  /** As it stands in the session's record. */
  readonly bytes: Uint8Array;
}

export interface Session {
  /** 128 secret bits as 32 hexadecimal digits. */
  readonly id: string;
  /** The short name by which lease records speak of it. */
  readonly number: number;
  /** The process it lives in, in 32 hexadecimal digits; a session of the broker's own process ends with that process. */
  readonly host: string;
  /** The id of the access token that it was opened with, and belongs to; empty for one whose way in was proof enough. */
  readonly accessToken: string;
  /** What its client may do; never stored, for each HELLO proves it anew. */
  grant: Grant;
  /** What its commands call a channel with a policy. */
  readonly refs: Map<number, ChannelRef>;
  /** What its commands call a topic; a number stands for one of both. */
  readonly topicRefs: Map<number, TopicRef>;
  /** Why a channel was not declared, for the commands that call it by that name all the same. */
  readonly refusedRefs: Map<number, Extract<Reply, { kind: 'refused' }>>;
  readonly consumers: Map<number, Consumer>;
  /** Where what it does with KV is counted. */
  usage: Usage | undefined;
  /** By sequence number. */
  readonly held: NumberMap<Message>;
  /** The channel whose suspect waits to be delivered to it: it gets nothing new until it is clear for that. */
  reserved: Channel | undefined;
  /** The suspect's lease that it has alone, and until when, in machine time, it gets nothing beside it. */
  lone: { readonly lease: Lease; readonly until: number } | undefined;
  /** It is not kept from new messages for a suspect again before this machine time. */
  restsUntil: number;
  /** The highest request that was applied. */
  applied: number;
  /** Answers that the client may not have got yet, the oldest first. */
  readonly answers: Fifo<Answer>;
  /** Their bytes, roughly. */
  answerBytes: number;
  /** The client has the answers up to this request. */
  answeredUpTo: number;
  /** When it ends unless its client comes back, in machine time; 0 while a client is there. */
  expiresAt: number;
  /** When the next thing of a session without a client ends: first its leases, at `expiresAt` all of it. */
  wakesAt: number;
  /** What it watches of KV, by the client's numbers. */
  readonly kvWatches: Map<number, KvWatcher>;
  /** How many keys these are. */
  kvWatchedKeys: number;
  /** Groups in which it wants to hear of room. */
  readonly roomWantedIn: Set<Group>;
  /** Its client has not come back since the broker before this one, with whom it died which of its handlers had started. */
  restored: boolean;
}

/** A session that wants to hear, once, when one of these keys changes. */
export interface KvWatcher {
  readonly session: Session;
  readonly number: number;
  /** One character a byte. */
  readonly keys: readonly string[];
}

export interface TopicRef {
  /** By name: it may come and go. */
  readonly topic: string;
  readonly mayPublish: boolean;
}

export interface Topic {
  readonly number: number;
  readonly name: string;
  /** By the channel's number. */
  readonly subscriptions: Map<number, Subscription>;
}

export interface Subscription {
  readonly channel: Channel;
  readonly policy: PolicyRef;
  readonly since: number;
}

export interface ChannelRef {
  readonly channel: Channel;
  readonly policy: PolicyRef;
  /** Of the session whose ref it is. */
  readonly rights: RightSet;
  /** Where what the session produces is counted. */
  usage: Usage | undefined;
}

export interface Consumer {
  readonly number: number;
  readonly session: Session;
  readonly channel: Channel;
  /** Where what it is handed is counted. */
  usage: Usage | undefined;
  /** How many messages it is willing to hold, and how many of them its handlers can take at once. */
  size: number;
  handlers: number;
  held: number;
  /** Stands in the channel's line of consumers. */
  queued: boolean;
}

/** A bulk as the machine keeps it. */
export interface BulkRun {
  readonly number: number;
  readonly channel: Channel;
  readonly command: Bulk;
  /** In machine time; what has ended later is not concerned. */
  readonly startedAt: number;
  state: BulkView['state'];
  position: ScanPosition | undefined;
  looked: number;
  changed: number;
  /** 0 while it runs. */
  endedAt: number;
  /** Sessions that want to hear of its end. */
  readonly watchers: Set<Session>;
}

export interface AccessToken {
  /** The public part of its text. */
  readonly id: string;
  /** The SHA-256 of its text. */
  readonly hash: Uint8Array;
  readonly label: string;
  readonly scopes: readonly string[];
  readonly grant: Grant;
  readonly createdAt: number;
  /** When machine time or the wall clock comes to it, whichever does first; 0 for never. */
  readonly expiresAt: number;
  /** It did; a wall clock that is set back does not bring it back. */
  hasExpired: boolean;
  /** 0 for never. */
  revokedAt: number;
}

export interface DedupeSlot {
  readonly channel: Channel;
  /** The hash of the key, one character a byte. */
  readonly hash: string;
  /** The message that stands. */
  seq: number;
  /** Its public id, one character a byte. */
  id: string;
  /** The end of the window in machine time; 0 when the window ends with the message. */
  until: number;
  /** With `keepLast`, the message that waits for the standing one to end; 0 for none. */
  nextSeq: number;
  nextId: string;
  /** The commit in whose record the slot stands. */
  commit: number;
}
