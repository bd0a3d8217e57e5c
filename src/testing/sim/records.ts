/**
 * What a simulation records, in the order in which it happened: what callers asked and heard, what handlers did, what
 * the store has made durable. The invariants are judged by these records alone, so a record that is changed by hand
 * shows whether an invariant would notice.
 */
import type { ChannelTotals, ChannelView } from '../../model/views.ts';
import type { ChildPolicy } from '../../model/flow.ts';
import type { CommitContent } from './commit-content.ts';

export type SimRecord =
  | Began
  | Acquired
  | Welcomed
  | Parted
  | Died
  | Looked
  | Replied
  | ProduceCalled
  | ProduceAnswered
  | PublishAnswered
  | HandlerStarted
  | HandlerEnded
  | SettleCalled
  | SettleAnswered
  | ManageAnswered
  | ResultCame
  | UpdateCalled
  | KvCalled
  | KvAnswered
  | FlowCalled
  | FlowSeen
  | Watching
  | Committed
  | Noted
  | Idle
  | Inspected
  | Ended;

interface Timed {
  /** Simulated milliseconds since the start. */
  readonly at: number;
}

/** A message on its way to a channel. */
export interface ProducedMessage {
  readonly id: string;
  /** What makes two messages the same for deduplication; empty where nothing does. */
  readonly key: string;
  /** The content as canonical text. */
  readonly content: string;
}

/** How a call to publish speaks of the topic, in the place of a channel. */
export const TOPIC_CHANNEL = 'topic';

export interface ProduceCalled extends Timed {
  readonly kind: 'produce.called';
  readonly op: number;
  readonly process: string;
  readonly channel: string;
  readonly messages: readonly ProducedMessage[];
  readonly wall: number;
  /** Messages of `tx.produce` come with the ack of this lease, */
  readonly withToken: number | undefined;
  /** or with the commit to KV that sets this key. */
  readonly withMarker?: string | undefined;
}

export interface ProduceAnswered extends Timed {
  readonly kind: 'produce.answered';
  readonly op: number;
  /** `rejected` says that certainly nothing was stored, `unknown` that it may have been, or may still be. */
  readonly outcome: 'acked' | 'rejected' | 'unknown';
  readonly code: string | undefined;
  readonly receipts: readonly { readonly id: string; readonly deduplicated: boolean }[];
}

/** Besides, what a publish was told. */
export interface PublishAnswered extends Timed {
  readonly kind: 'publish.answered';
  readonly op: number;
  /** In how many channels it is. */
  readonly stored: number;
}

export interface HandlerStarted extends Timed {
  readonly kind: 'handler.started';
  readonly process: string;
  readonly channel: string;
  readonly id: string;
  readonly token: number;
  readonly attempt: number;
  readonly content: string;
  readonly wall: number;
  /** Its batch has lost a message, and is handled again without it: nothing of the time before has been settled. */
  readonly isRerun?: boolean;
}

export interface HandlerEnded extends Timed {
  readonly kind: 'handler.ended';
  readonly process: string;
  readonly token: number;
  readonly how: string;
  /** What it returned, as canonical text; `undefined` when it threw. */
  readonly result: string | undefined;
}

export interface SettleCalled extends Timed {
  readonly kind: 'settle.called';
  readonly process: string;
  readonly seq: number;
  readonly token: number;
  readonly outcome: string;
  readonly effects?: KvEffectsAsked | undefined;
}

export interface SettleAnswered extends Timed {
  readonly kind: 'settle.answered';
  readonly process: string;
  readonly token: number;
  /** Whether the lease was still held, and then perhaps in vain; `undefined` when the answer never came. */
  readonly held: boolean | 'conflict' | undefined;
}

export interface ManageAnswered extends Timed {
  readonly kind: 'manage.answered';
  readonly process: string;
  readonly action: string;
  readonly channel: string;
  readonly id: string | undefined;
  readonly outcome: string;
}

/** Somebody asks for a message to be something else from now on. */
export interface UpdateCalled extends Timed {
  readonly kind: 'update.called';
  readonly process: string;
  readonly id: string;
  /** As canonical text. */
  readonly content: string;
}

/** A `request` was answered. */
export interface ResultCame extends Timed {
  readonly kind: 'result';
  readonly op: number;
  /** The id that the message of the request was to have; a duplicate gets the result of the message that stands. */
  readonly id: string;
  /** As canonical text. */
  readonly result: string;
}

/** What a client reads, checks and changes in KV, with keys and values as text. */
export type KvAsked =
  | { readonly what: 'read'; readonly keys: readonly string[]; readonly ranges: readonly KvRangeAsked[] }
  | ({ readonly what: 'commit' } & KvEffectsAsked)
  | { readonly what: 'watch'; readonly watch: number; readonly keys: readonly string[] };

export interface KvRangeAsked {
  readonly from: string;
  readonly to: string;
  readonly limit: number;
  readonly reverse: boolean;
}

export interface KvEffectsAsked {
  readonly checks: readonly { readonly key: string; readonly version: number }[];
  readonly mutations: readonly KvMutationAsked[];
}

export type KvMutationAsked =
  | {
      readonly kind: 'set';
      readonly key: string;
      readonly value: string;
      readonly expireInMs: number | undefined;
    }
  | { readonly kind: 'delete'; readonly key: string }
  | { readonly kind: 'sum' | 'min' | 'max'; readonly key: string; readonly value: string };

export type KvHeard =
  | {
      readonly what: 'read';
      readonly entries: readonly (KvEntryHeard | undefined)[];
      readonly pages: readonly KvPageHeard[];
    }
  | { readonly what: 'committed'; readonly version: number }
  | { readonly what: 'conflict' }
  /** Certainly nothing was changed. */
  | { readonly what: 'refused'; readonly code: string }
  | { readonly what: 'unknown'; readonly code: string };

export interface KvEntryHeard {
  readonly key: string;
  readonly value: string;
  readonly version: number;
}

export interface KvPageHeard {
  readonly entries: readonly KvEntryHeard[];
  readonly isEnd: boolean;
}

export interface KvCalled extends Timed {
  readonly kind: 'kv.called';
  readonly op: number;
  readonly process: string;
  readonly asked: KvAsked;
}

export interface KvAnswered extends Timed {
  readonly kind: 'kv.answered';
  readonly op: number;
  readonly heard: KvHeard;
}

/** Messages are asked to wait for others. */
export interface FlowCalled extends Timed {
  readonly kind: 'flow.called';
  readonly process: string;
  readonly edges: readonly EdgeAsked[];
}

/** That one message waits for another, by their ids. */
export interface EdgeAsked {
  readonly child: string;
  readonly parent: string;
  readonly onFailure: ChildPolicy;
}

/** A handler has looked at the children of its message. */
export interface FlowSeen extends Timed {
  readonly kind: 'flow.seen';
  readonly id: string;
  readonly token: number;
  readonly children: readonly ChildSeen[];
}

export interface ChildSeen {
  readonly id: string;
  readonly state: string;
  /** As canonical text. */
  readonly result: string | undefined;
}

/** Nothing was disturbed for a while, and this is what those who watch entries have seen of them last. */
export interface Watching extends Timed {
  readonly kind: 'watching';
  readonly watchers: readonly {
    readonly process: string;
    /** Since when they are not waiting for anything but a change. */
    readonly sinceMs: number;
    readonly entries: readonly { readonly key: string; readonly version: number }[];
  }[];
}

/** A commit has become durable. */
export interface Committed extends Timed {
  readonly kind: 'commit';
  readonly wall: number;
  /** The process that made it. */
  readonly host: string;
  /** The nonce of the epoch under which it was made. */
  readonly nonce: string;
  readonly content: CommitContent;
}

/** What holds for all of a simulation. */
export interface Began extends Timed {
  readonly kind: 'began';
  readonly sessionTimeoutMs: number;
  /** How long leases of other processes wait for their client when its link has closed. */
  readonly lingerMs: number;
}

/** A process has become the leader of the store. */
export interface Acquired extends Timed {
  readonly kind: 'acquired';
  readonly host: string;
  readonly epoch: number;
  readonly nonce: string;
}

/** The broker of one process has opened or taken up the session of another's client, or of its own. */
export interface Welcomed extends Timed {
  readonly kind: 'welcomed';
  readonly host: string;
  /** The secret name of the session. */
  readonly session: string;
  readonly by: string;
}

/** The connection of a client with that broker is not what it was: closed or silent at one end at least. */
export interface Parted extends Timed {
  readonly kind: 'parted';
  readonly host: string;
  /** The secret name of the session. */
  readonly session: string;
  readonly by: string;
}

export interface Died extends Timed {
  readonly kind: 'died';
  readonly host: string;
}

/** Nothing was disturbed for a while. */
export interface Looked extends Timed {
  readonly kind: 'looked';
  readonly quietSince: number;
  readonly wall: number;
  /** The disk has room for new messages. */
  readonly hasRoom: boolean;
  /** The process that leads, as the store has it, lives and is not paused. */
  readonly leaderRuns: boolean;
  /** Processes whose application has no connection with the one that leads. */
  readonly unserved: readonly string[];
}

/** A client has got the answer to a request. */
export interface Replied extends Timed {
  readonly kind: 'replied';
  /** The secret name of its session. */
  readonly session: string;
  readonly request: number;
  /** As canonical text. */
  readonly reply: string;
}

/** A fault, or a step of the simulation; for the trace. */
export interface Noted extends Timed {
  readonly kind: 'noted';
  readonly wall: number;
  readonly what: string;
}

/** Over the last while nothing was disturbed, and these consumers had room whenever somebody looked. */
export interface Idle extends Timed {
  readonly kind: 'idle';
  readonly consumers: readonly IdleConsumer[];
}

export interface IdleConsumer {
  readonly channel: string;
  /** The incarnation of its process, as its session names it. */
  readonly host: string;
  readonly sinceMs: number;
}

/** At rest, this is what the broker shows. */
export interface Inspected extends Timed {
  readonly kind: 'inspected';
  readonly moment: 'at rest' | 'opened anew';
  readonly views: readonly ChannelView[];
  /** What the minutes of each channel come to. */
  readonly counted: readonly { readonly channel: string; readonly counts: ChannelTotals }[];
  /** Messages that are kept, by state, as the broker lists them. */
  readonly kept: readonly KeptMessage[];
}

export interface KeptMessage {
  readonly id: string;
  readonly channel: string;
  readonly state: string;
  readonly content: string;
  readonly failure: string | undefined;
  /** As canonical text; `undefined` when there is none. */
  readonly result: string | undefined;
}

/** Everything was taken away by retention; how many records of each kind are left in the store. */
export interface Ended extends Timed {
  readonly kind: 'ended';
  readonly healedAt: number;
  readonly restAt: number | undefined;
  readonly left: Readonly<Record<string, number>>;
  readonly sessions: number;
}
