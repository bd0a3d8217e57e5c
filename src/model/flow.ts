/**
 * Flows: messages that wait for others. A flow is added in one commit, or not at all; a message waits until all of its
 * children have ended, and then is ready, with their results at hand.
 */
/**
 * What becomes of a message that waits when a child of it is dead or was cancelled.
 *
 * - `fail`: it is dead, and what waits for it meets the same question.
 * - `continue`: it is ready at once, whatever else it waits for.
 * - `ignore`: the child counts as done; its failure is shown among the children.
 * - `drop`: the child counts as done, and is not shown.
 */
export const CHILD_POLICIES = ['fail', 'continue', 'ignore', 'drop'] as const;

export type ChildPolicy = (typeof CHILD_POLICIES)[number];

/** How many messages one command may add to flows, and how many edges between them. */
export const MAX_FLOW_NODES = 10_000;
export const MAX_FLOW_EDGES = 20_000;

/** How many children one message may have, all in all. */
export const MAX_CHILDREN = 100_000;

/** A key by which a parent knows its child is at most as long. */
export const MAX_CHILD_KEY_CHARACTERS = 100;

/**
 * One message waits for another. Both are named by their positions among the produced messages of the command, the parent
 * before its children, so that there is no cycle.
 */
export interface FlowEdge {
  readonly child: number;
  /** `undefined` for the message that is there already: the one that is settled, or the one that the command names. */
  readonly parent: number | undefined;
  readonly onFailure: ChildPolicy;
  /** What the parent knows the child by. */
  readonly key: string | undefined;
}

/** Messages for one channel, as those of a produce. */
export interface FlowPart {
  readonly kind: 'produce';
  readonly ref: number;
  readonly blocks: readonly Uint8Array[];
}

/**
 * Adds messages of which some wait for others, all of them or none. A message without children that is deduplicated is
 * stood for by the one that stands: its parents wait for that. Answer: `produced`, or `refused` with `DUPLICATE` when a
 * message that has children is deduplicated, `BACKLOG_FULL`, `FORBIDDEN`, `TOO_MANY`, or, of the message that is to have
 * them as its children, `NOT_FOUND` or `WRONG_STATE`.
 */
export interface AddFlow {
  readonly kind: 'flow';
  readonly produced: readonly FlowPart[];
  readonly edges: readonly FlowEdge[];
  /** The message whose children those are that have an edge without a parent. It has not ended. */
  readonly under: Uint8Array | undefined;
}

/**
 * Reads the children of a message that the session holds, in the order in which they were added. Gives less than `limit`
 * when results reach `LIST_BYTES`. Answer: `value` with `ChildPage`, or `refused` with `LEASE_LOST`.
 */
export interface InspectChildren {
  readonly kind: 'inspect';
  readonly what: 'children';
  readonly seq: number;
  readonly token: number;
  readonly offset: number;
  readonly limit: number;
}

/**
 * Reads what waits for what below a message: as many messages as `limit` says, down to so many steps below it. Answer:
 * `value` with `FlowView`, or `null`.
 */
export interface InspectFlow {
  readonly kind: 'inspect';
  readonly what: 'flow';
  readonly id: Uint8Array;
  /** How many children of the message itself to pass over. */
  readonly offset: number;
  readonly limit: number;
  readonly depth: number;
}

/** How many children one command may ask for, and how many messages of a flow, and how deep. */
export const MAX_CHILD_PAGE = 100;
export const MAX_FLOW_VIEW = 1_000;
export const MAX_FLOW_DEPTH = 20;
