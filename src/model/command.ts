/**
 * Everything that a client can ask of the broker, and everything that it hears back: plain data.
 *
 * A command has an effect once. Request ids are consecutive within a session; the machine remembers its
 * answers, so a command that comes twice gets its first answer. Commands with `request` 0 are notes in
 * passing: they get no answer, and repeating them changes nothing.
 */
import type { BullCommand, BullRefusal } from './bull.ts';
import type { ErrorCode } from './errors.ts';
import type { Failure } from './failure.ts';
import type { AddFlow, FlowEdge, InspectChildren, InspectFlow } from './flow.ts';
import type { KvEffects, KvPage, KvRange, KvRecord } from './kv.ts';
import type { GroupRules, Policy, SettingsPatch } from './policy.ts';
import type { InspectSchedule, ManageSchedule, UpsertSchedule } from './schedule.ts';
import type { EndedState, State } from './states.ts';
import type { EventKind, EventPosition } from './views.ts';
import type { DeclareTopic, Subscribe, Unsubscribe } from './topic.ts';
import type { InspectUsage } from './usage.ts';
import type { Bulk, CancelOptions, InspectBulk, InspectSearch, RetryOptions, StopBulk, Update } from './life.ts';

export interface Request {
  /** 0 for a note in passing. */
  readonly request: number;
  readonly command: Command;
}

export type Command =
  | Declare
  | Produce
  | Window
  | Holding
  | Started
  | SettleSet
  | Extend
  | Annotate
  | Control
  | ControlGroup
  | Manage
  | Update
  | Bulk
  | StopBulk
  | Await
  | Watch
  | Inspect
  | CreateToken
  | RevokeToken
  | RetainEvents
  | DeclareTopic
  | Subscribe
  | Unsubscribe
  | Backup
  | KvRead
  | KvCommit
  | KvWatch
  | AddFlow
  | UpsertSchedule
  | ManageSchedule
  | BullCommand;

/** Names a channel and a policy `ref` for this session's other commands, and creates the channel if it is new. */
export interface Declare {
  readonly kind: 'declare';
  readonly ref: number;
  readonly channel: string;
  readonly policy: Policy;
  /** Changes the channel's settings when given. */
  readonly settings: SettingsPatch | undefined;
}

/**
 * Adds the messages of the blocks, in order. With `atomic` all of them or none; otherwise each stands for
 * itself. Answer: `produced`; where the ref is that of a topic, always of all or none, `published`, or `refused` with `BACKLOG_FULL`
 * or `TOO_MANY`.
 *
 * With `versioned` each of them is a commit to KV of its own: the first one, stored or not, has the version in the answer,
 * and those behind it count on from there.
 */
export interface Produce {
  readonly kind: 'produce';
  readonly ref: number;
  readonly atomic: boolean;
  readonly versioned?: boolean;
  readonly blocks: readonly Uint8Array[];
}

/**
 * Says how many messages of the channel the consumer is willing to hold; the broker delivers up to that.
 * The first one opens the consumer; 0 stops new deliveries. An absolute number, so that repeating it is harmless.
 */
export interface Window {
  readonly kind: 'window';
  readonly consumer: number;
  readonly ref: number;
  readonly size: number;
  /** How many of them its handlers take at once; the others wait with it. @default size */
  readonly handlers?: number | undefined;
}

/** After a resume, names the leases that the client has; others never reached it and are given back uncharged. */
export interface Holding {
  readonly kind: 'holding';
  readonly leases: readonly LeaseKey[];
}

/** Says that handlers have started; a message whose handler never started is never charged anything. */
export interface Started {
  readonly kind: 'started';
  readonly leases: readonly LeaseKey[];
}

/** A lease, proven by its token. */
export interface LeaseKey {
  readonly seq: number;
  readonly token: number;
}

/** Settles leases, each for itself, or all in one. Answer: `settled`. */
export interface SettleSet {
  readonly kind: 'settle';
  readonly settles: readonly Settle[];
  /**
   * What all of them bring along together, where they are one: then all are settled, or none. When a lease of them is lost or
   * a check does not hold, nothing is settled, and all that are held are conflicts. Its settles have no effects of their own.
   */
  readonly together?: Together;
}

/** What a batch of messages brings along, as {@link Settle} has it of one. */
export type Together = Pick<Settle, 'produced' | 'effects'>;

export interface Settle extends LeaseKey {
  readonly outcome: Outcome;
  /** Messages that are produced in the same commit, when the outcome is an ack or a wait. */
  readonly produced: readonly Omit<Produce, 'atomic'>[] | undefined;
  /**
   * What the handler read of KV, whatever the outcome, and what it writes, when that is an ack or a wait. Where a check does not
   * hold nothing is settled: the lease stays, and the handler is to run again.
   */
  readonly effects: KvEffects | undefined;
}

export type Outcome =
  /** Done. */
  | { readonly kind: 'ack'; readonly result: Uint8Array | undefined }
  /** The attempt failed; `delayMs` overrides the policy's backoff. */
  | { readonly kind: 'nack'; readonly failure: Failure; readonly delayMs: number | undefined }
  /** The payload could not be decoded; counted apart from failed attempts. */
  | { readonly kind: 'undecodable'; readonly failure: Failure }
  /** Given back and not counted. */
  | { readonly kind: 'release' }
  /** Given back and not counted, and nothing of the channel, or of the message's group, is handed out for so long. */
  | { readonly kind: 'hold'; readonly delayMs: number; readonly what: 'channel' | 'group' }
  /** Comes again after the delay, and is not counted. */
  | { readonly kind: 'snooze'; readonly delayMs: number }
  /** Gave up: no further attempt. */
  | { readonly kind: 'fail'; readonly failure: Failure }
  /** The isolate that ran the handler died; counted as a death of the process. It died alone, so nothing else is suspected. */
  | { readonly kind: 'died'; readonly failure: Failure }
  /**
   * Waits until all children have ended, among them those that the edges make of what is produced with this; comes again
   * then, and is not counted. What is produced, and what is written to KV, commits with it as with an ack.
   */
  | { readonly kind: 'wait'; readonly edges: readonly FlowEdge[] };

/** Moves the deadline of a running handler to `forMs` from now. Answer: `settled`. */
export interface Extend extends LeaseKey {
  readonly kind: 'extend';
  readonly forMs: number;
}

/** Keeps a handler's progress or a line of its log with the message. Answer: `settled`. */
export interface Annotate extends LeaseKey {
  readonly kind: 'annotate';
  readonly progress: Uint8Array | undefined;
  readonly line: string | undefined;
}

/** Acts on a channel. Answer: `value` with the number of messages concerned, or `done`. */
export interface Control {
  readonly kind: 'control';
  readonly channel: string;
  readonly action: 'pause' | 'resume' | 'purge' | 'redrive' | 'configure';
  readonly settings: SettingsPatch | undefined;
}

/**
 * Acts on one group of a channel, which need not have messages. `configure` gives it rules of its own over those of the
 * channel, or, without any, none. Answer: `done`, or `refused` with `TOO_MANY`.
 */
export interface ControlGroup {
  readonly kind: 'controlGroup';
  readonly channel: string;
  readonly group: string;
  readonly action: 'pause' | 'resume' | 'configure';
  readonly rules: Partial<GroupRules> | undefined;
}

/** Acts on one message. Answer: `done`, or `refused` with `NOT_FOUND` or `WRONG_STATE`. */
export interface Manage extends CancelOptions, RetryOptions {
  readonly kind: 'manage';
  readonly id: Uint8Array;
  readonly action: 'cancel' | 'promote' | 'redrive' | 'retry' | 'remove';
  /** With `cancel`: also what has not ended of its children, and of theirs, but for what others wait for. */
  readonly children?: boolean;
}

/** Asks for the notice `ended` of a message, or, with `stop`, for no more. A result is kept while somebody waits. */
export interface Await {
  readonly kind: 'await';
  readonly id: Uint8Array;
  readonly stop: boolean;
}

/**
 * Asks for the notice `wanted` of a channel, once: at once if the channel has something to hand out and nobody to take
 * it, else as soon as that is so. Whoever wants to hear it again watches again. Creates the channel if it is new. A
 * notice that finds no link is lost, so a client that comes back watches again. Answer: `done`.
 */
export interface Watch {
  readonly kind: 'watch';
  readonly channel: string;
}

/**
 * Reads. Answer: `value`. Lists of channels hold those that the session may read; that of access tokens takes
 * `server:admin`.
 */
export type Inspect =
  | InspectChildren
  | InspectFlow
  | InspectSchedule
  | { readonly kind: 'inspect'; readonly what: 'tokens' }
  | { readonly kind: 'inspect'; readonly what: 'channels' }
  | { readonly kind: 'inspect'; readonly what: 'topics' }
  | { readonly kind: 'inspect'; readonly what: 'topic'; readonly topic: string }
  | { readonly kind: 'inspect'; readonly what: 'channel'; readonly channel: string }
  /** As many channels as `limit` says, the oldest first; `after` is 0, or what the answer before gave as `next`. */
  | { readonly kind: 'inspect'; readonly what: 'overview'; readonly after: number; readonly limit: number }
  | { readonly kind: 'inspect'; readonly what: 'message'; readonly id: Uint8Array }
  /** As many groups of a channel as `limit` says, in the order in which they came up; `after` as above. */
  | {
      readonly kind: 'inspect';
      readonly what: 'groups';
      readonly channel: string;
      readonly after: number;
      readonly limit: number;
    }
  | { readonly kind: 'inspect'; readonly what: 'group'; readonly channel: string; readonly group: string }
  | InspectUsage
  | InspectMetrics
  | InspectSearch
  | InspectBulk
  /**
   * Events from a position or a time on, or with neither from now on. An answer that reaches the end is followed by one
   * notice `events` as soon as there are more.
   */
  | {
      readonly kind: 'inspect';
      readonly what: 'events';
      readonly after: EventPosition | { readonly at: number } | undefined;
      readonly filter: EventFilter;
      readonly limit: number;
    }
  /** Gives less than `limit` when what it gives reaches {@link LIST_BYTES}; the rest is for a further command. */
  | {
      readonly kind: 'inspect';
      readonly what: 'list';
      readonly channel: string;
      readonly state: State;
      readonly offset: number;
      readonly limit: number;
    };

/**
 * Asks for what was counted by the minute, of one channel or of as many as `limit` says, the oldest first; `after` is 0, or
 * what the answer before gave as `next`. Fewer come when they are many minutes together. `from` is moved down to a whole
 * minute and `to` up to one; without them it is the last hour. Without `stepMs`, in whole minutes, everything is one point.
 */
export interface InspectMetrics {
  readonly kind: 'inspect';
  readonly what: 'metrics';
  readonly channel: string | undefined;
  readonly after: number;
  readonly limit: number;
  readonly from: number | undefined;
  readonly to: number | undefined;
  readonly stepMs: number | undefined;
}

/**
 * Stores an access token that the client has made; its text never leaves the client, only its hash. Answer: `value`
 * with the time at which it was stored, or `refused` with `WRONG_STATE` when there is one of this id, or `TOO_MANY`.
 */
export interface CreateToken {
  readonly kind: 'createToken';
  readonly id: string;
  /** The SHA-256 of the whole text. */
  readonly hash: Uint8Array;
  readonly label: string;
  readonly scopes: readonly string[];
  /** How long it is good for, in milliseconds; `undefined` for ever. */
  readonly expiresInMs: number | undefined;
}

/**
 * Ends an access token for good, and all sessions that were opened with it. Answer: `done`, also for one that was
 * revoked before, or `refused` with `NOT_FOUND`.
 */
export interface RevokeToken {
  readonly kind: 'revokeToken';
  readonly id: string;
}

/** Says how much of the past the journal keeps, for the whole space. It takes `server:admin`. Answer: `done`. */
export interface RetainEvents {
  readonly kind: 'retainEvents';
  /** At most {@link MAX_EVENTS_KEPT}. */
  readonly count: number;
  readonly ageMs: number;
}

/** Memory knows of each commit whose events are kept. */
export const MAX_EVENTS_KEPT = 1_000_000;

/**
 * Asks for a part of a backup of the space; part 0 begins one, and each of the others comes after the one before. The
 * broker itself answers, with the `value` {@link BackupView}, or `refused` with `TOO_MANY`, or `CLOSED` when it does not
 * make this backup (any more). `stop` ends it early. It takes `server:admin`.
 */
export interface Backup {
  readonly kind: 'backup';
  /** Chosen by the client, for its backups of this session. */
  readonly id: number;
  readonly part: number;
  readonly stop: boolean;
}

/** Reads entries of KV, all as of one moment. Answer: `kvRead`. */
export interface KvRead {
  readonly kind: 'kvRead';
  readonly keys: readonly Uint8Array[];
  readonly ranges: readonly KvRange[];
}

/**
 * Changes KV and produces messages, when all checks hold; else nothing. Answer: `kvCommitted`, `kvConflict`, or
 * `refused` with `WRONG_TYPE`, `BACKLOG_FULL` or `FORBIDDEN`.
 */
export interface KvCommit extends KvEffects {
  readonly kind: 'kvCommit';
  readonly produced: readonly Omit<Produce, 'atomic'>[];
}

/**
 * Reads entries and asks for the notice `kvChanged`, once: as soon as one of them is written or deleted after that.
 * Whoever wants to hear more watches again, under the same number. Without keys the watch ends. A notice that finds no
 * link is lost, so a client that comes back watches again. Answer: `kvRead`.
 */
export interface KvWatch {
  readonly kind: 'kvWatch';
  /** Chosen by the client, for its watches of this session. */
  readonly watch: number;
  readonly keys: readonly Uint8Array[];
}

/** A list of messages is cut behind the one whose payload and result make all of them reach this many bytes. */
export const LIST_BYTES: number = 4 * 1024 * 1024;

/** The answer to a command. */
export type Reply =
  | { readonly kind: 'done' }
  /** The exceptions among the messages of a produce; every other one is stored. */
  | {
      readonly kind: 'produced';
      readonly exceptions: readonly ProduceException[];
      /** Of the first message, where it was asked for. */
      readonly version?: number;
    }
  /** How many messages that made, in all channels that are subscribed, and how many stood there already. */
  | { readonly kind: 'published'; readonly stored: number; readonly deduplicated: number }
  /**
   * The positions of the leases that were no longer held; nothing of theirs had an effect. Then the positions of those
   * whose handlers read what no longer holds.
   */
  | { readonly kind: 'settled'; readonly lost: readonly number[]; readonly conflicts: readonly number[] }
  /** The entries of the keys, `undefined` where there is none, and of the ranges. */
  | { readonly kind: 'kvRead'; readonly entries: readonly (KvRecord | undefined)[]; readonly pages: readonly KvPage[] }
  | { readonly kind: 'kvCommitted'; readonly version: number }
  /** A check did not hold. */
  | { readonly kind: 'kvConflict' }
  | { readonly kind: 'value'; readonly value: unknown }
  /**
   * What a method of `bull.ts` gives, as JSON has it, for each ask; null for one that was refused. There are fewer where the
   * answers are long: the asks behind those have had no effect, and may come again.
   */
  | { readonly kind: 'bull'; readonly values: readonly unknown[]; readonly refusals: readonly BullRefusal[] }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly message: string };

export interface ProduceException {
  /** Position within the command. */
  readonly index: number;
  readonly what: 'deduplicated' | 'backlogFull';
  /** The message that stands, when deduplicated. */
  readonly id: Uint8Array | undefined;
}

/** What the broker says unasked. */
export type Notice =
  /** The message is cancelled; what its handler does within `deadlineMs` counts, and nothing that it does later. */
  | {
      readonly kind: 'cancelling';
      readonly seq: number;
      readonly token: number;
      readonly deadlineMs: number;
      readonly reason: string;
    }
  /** A bulk that the session has looked at has ended; said once, whatever else it looks at. */
  | { readonly kind: 'bulkEnded'; readonly bulk: number }
  /** An entry that is watched has changed; it is no longer watched. */
  | { readonly kind: 'kvChanged'; readonly watch: number }
  /** What one waits for at a queue of BullMQ's may be there: `at` is when a job is due, or 0 for now. */
  | { readonly kind: 'bull'; readonly waiter: number; readonly at: number }
  /** There are events behind the end of those that the session has read; said once until it reads again. */
  | { readonly kind: 'events' }
  /** A lease was taken back; the handler's signal fires. */
  | {
      readonly kind: 'revoked';
      readonly seq: number;
      readonly token: number;
      readonly reason: 'cancelled' | 'timeout' | 'leaseLost';
    }
  /** A channel whose backlog was full has room again. */
  | { readonly kind: 'room'; readonly channel: string }
  /** A watched channel has messages that are ready, and no consumer with room for them. It is no longer watched. */
  | { readonly kind: 'wanted'; readonly channel: string }
  /** A message that the session awaits has ended, or does not exist (any more): then `state` is `undefined`. */
  | {
      readonly kind: 'ended';
      readonly id: Uint8Array;
      readonly state: EndedState | undefined;
      readonly result: Uint8Array | undefined;
      readonly failure: Failure | undefined;
    }
  /** A window was refused: the consumer is not open. */
  | { readonly kind: 'consumerRefused'; readonly consumer: number; readonly code: ErrorCode; readonly message: string }
  /** The session may not hear of the end of this message. */
  | { readonly kind: 'awaitRefused'; readonly id: Uint8Array; readonly code: ErrorCode; readonly message: string };

/** A message under a lease, on its way to a consumer. */
export interface Delivery {
  readonly consumer: number;
  readonly seq: number;
  readonly token: number;
  /** 1-based. */
  readonly attempt: number;
  readonly redelivered: boolean;
  /** How long the handler may run; 0 for any time. */
  readonly timeoutMs: number;
  readonly producedAt: number;
  readonly codec: number;
  /** The item of a block, see `block.ts`: these of the bytes of a pack or a frame. */
  readonly bytes: Uint8Array;
  readonly itemStart: number;
  readonly itemEnd: number;
}

/** Which events are wanted; the broker gives no others. What is `undefined` excludes nothing. */
export interface EventFilter {
  readonly channel: string | undefined;
  /** A glob, see `scopes.ts`. */
  readonly channels: string | undefined;
  readonly kinds: readonly EventKind[] | undefined;
}
