/** What the machine keeps in memory of flows: only of messages that have not ended, or that are dead and may come back. */
import type { ChildPolicy } from '../model/flow.ts';
import type { EndedState } from '../model/states.ts';

/** A message with children. */
export interface FlowParent {
  readonly seq: number;
  /** In the order in which they were added. */
  readonly children: FlowLink[];
  /** It waits for them. */
  waits: boolean;
  /** Of its children, how many have not ended, */
  pending: number;
  /** how many are dead or cancelled and fail it, */
  failing: number;
  /** and how many are, and let it go on. */
  continuing: number;
  /** For how many of those it has gone on already. */
  woken: number;
  /** How much later than its children's ends it is ready, the first time. */
  delayMs: number;
  /** What has not ended of its children is to be cancelled when it ends. */
  cancels: boolean;
  /** It has ended for good, and is not waited with any more. */
  isRetired: boolean;
}

/** A message with parents. */
export interface FlowChild {
  readonly seq: number;
  /** Its public id, one character a byte. */
  readonly id: string;
  readonly pack: number;
  readonly second: number;
  readonly parents: FlowLink[];
  /** `undefined` as long as it is alive. */
  end: ChildEnd | undefined;
}

export interface FlowLink {
  readonly parent: FlowParent;
  readonly child: FlowChild;
  readonly onFailure: ChildPolicy;
  readonly key: string | undefined;
}

export interface ChildEnd {
  readonly state: EndedState;
  readonly at: number;
  /** The number of the channel in which it ended. */
  readonly channel: number;
  /**
   * Where the record of its end is: its pack is held so that the record stays. 0 when there is none, because the message was
   * purged, went on among dead letters, or was not kept any more.
   */
  readonly commit: number;
  /** It goes on among dead letters, which is another matter. */
  readonly isMoved: boolean;
  /** Why it is dead or was cancelled; empty for a completed one. */
  readonly why: string;
}

export interface Flows {
  /** By sequence number. */
  readonly parents: Map<number, FlowParent>;
  readonly children: Map<number, FlowChild>;
  /** Messages that a command has added and is about to join to others. */
  readonly fresh: Set<number>;
  /** Messages that wait, or are to wait, and of which it must be looked whether they still do. */
  readonly unsettled: Set<FlowParent>;
  /** Parents that have ended, and whose children are still to be let go, with how many of them have been. */
  readonly retired: Map<FlowParent, number>;
}

export function createFlows(): Flows {
  return { parents: new Map(), children: new Map(), fresh: new Set(), unsettled: new Set(), retired: new Map() };
}
