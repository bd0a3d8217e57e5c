/** Flows as they are shown. */
import type { Failure } from './failure.ts';
import type { ChildPolicy } from './flow.ts';
import type { MessageId } from './message-id.ts';
import type { State } from './states.ts';

export interface ChildPage {
  readonly children: readonly ChildView[];
  /** Where the next page begins; `undefined` when there is none. */
  readonly next: number | undefined;
}

/** A child as its parent sees it. */
export interface ChildView {
  readonly id: MessageId;
  readonly channel: string;
  readonly key: string | undefined;
  readonly state: State;
  readonly onFailure: ChildPolicy;
  readonly endedAt: number | undefined;
  /** Still encoded; of a completed child whose handler returned something. */
  readonly result: Uint8Array | undefined;
  readonly failure: Failure | undefined;
}

/** A message and what it waits for, or has waited for as long as that is known. */
export interface FlowView {
  readonly id: MessageId;
  /** `undefined` for one of a channel that the session may not read. */
  readonly channel: string | undefined;
  readonly state: State;
  /** What its parent knows it by, and what becomes of the parent when it is dead; `undefined` at the top. */
  readonly key: string | undefined;
  readonly onFailure: ChildPolicy | undefined;
  /** How many children it has, and how many of them have not ended. */
  readonly size: number;
  readonly pending: number;
  /** The first of its children; {@link size} says whether these are all. */
  readonly children: readonly FlowView[];
}
