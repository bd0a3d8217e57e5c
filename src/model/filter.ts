/** Filters: which messages of a channel are meant, for a search and for a bulk. */
import type { State } from './states.ts';

/** All of what is given must hold. */
export interface MessageFilter {
  /** One of these; at least one. */
  readonly states: readonly State[];
  /** What the message is called. */
  readonly name?: string | undefined;
  /** The key of its group. */
  readonly group?: string | undefined;
  /**
   * It was produced at this moment or later, or before that one, by the clock of the producer, which is in its id, in whole seconds: both
   * moments count as the second that they are in.
   */
  readonly producedAfter?: number | undefined;
  readonly producedBefore?: number | undefined;
  /** It ended at this moment or later, or before that one, in machine time; a message that has not ended never does. */
  readonly endedAfter?: number | undefined;
  readonly endedBefore?: number | undefined;
  /** Attempts as they are shown. */
  readonly minAttempts?: number | undefined;
  readonly maxAttempts?: number | undefined;
  /** Stands in the name or the message of its last failure. */
  readonly failure?: string | undefined;
  /** Stands, as UTF-8, somewhere in the bytes of its payload. */
  readonly text?: string | undefined;
}

/** How long a text that is looked for may be. */
export const MAX_FILTER_CHARACTERS = 1_024;

export const BULK_ACTIONS = ['cancel', 'promote', 'update', 'retry', 'remove'] as const;

export type BulkAction = (typeof BULK_ACTIONS)[number];

/** What a bulk does to messages, and the states in which they can be for that. */
export const BULK_STATES: Readonly<Record<BulkAction, readonly State[]>> = {
  cancel: ['ready', 'delayed', 'leased', 'waiting'],
  promote: ['delayed'],
  update: ['ready', 'delayed', 'waiting'],
  retry: ['completed', 'dead', 'cancelled'],
  remove: ['ready', 'delayed', 'waiting', 'completed', 'dead', 'cancelled'],
};

/**
 * A place in the order in which messages are looked through: behind a message with these numbers, in the part of the order
 * that `stage` stands for.
 */
export interface ScanPosition {
  readonly stage: number;
  readonly a: number;
  readonly b: number;
}
