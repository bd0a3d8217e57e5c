/** What can be asked of messages in the course of their lives: to change, to stop, to begin anew; one by one, or by a filter. */
import type { BulkAction, MessageFilter, ScanPosition } from './filter.ts';

/** How long a reason may be: what a history keeps of one. */
export const MAX_REASON_CHARACTERS = 200;

export interface CancelOptions {
  /** Of a cancel: why, for the message's history. */
  readonly reason?: string | undefined;
  /**
   * Of a cancel: how long what a handler that runs does still counts, in milliseconds. Without it, it counts no more at once.
   */
  readonly deadlineMs?: number | undefined;
}

export interface RetryOptions {
  /** Of a retry: whether what has failed is counted anew. @default 'reset' */
  readonly attempts?: 'reset' | 'keep' | undefined;
}

/** What may be changed of a message that waits. */
export interface Change {
  /** It becomes ready no earlier than this long from now, in machine time. */
  readonly delayMs?: number | undefined;
  /** It becomes ready no earlier than this moment of the wall clock, in epoch milliseconds; counts before a delay. */
  readonly dueAt?: number | undefined;
  /** With another one, it goes behind those that have it. */
  readonly priority?: number | undefined;
  /** Puts it before those of its priority, if it is ready. */
  readonly lifo?: boolean | undefined;
}

/** Changes a message that waits. Answer: `done`, or `refused` with `NOT_FOUND` or `WRONG_STATE`. */
export interface Update extends Change {
  readonly kind: 'update';
  readonly id: Uint8Array;
  /** Takes the place of its payload. */
  readonly payload?: { readonly codec: number; readonly bytes: Uint8Array } | undefined;
}

/**
 * Begins to do something to all messages of a channel that a filter holds for, as far as they were produced, and have ended, by now. It
 * goes on by itself, a step at a time, whatever becomes of the session. Answer: `value` with its number.
 */
export interface Bulk extends CancelOptions, RetryOptions, Change {
  readonly kind: 'bulk';
  readonly channel: string;
  readonly action: BulkAction;
  readonly filter: MessageFilter;
  /** After so many messages it ends. */
  readonly limit?: number | undefined;
}

/** Ends a bulk where it stands. Answer: `done`, also when it has ended, or `refused` with `NOT_FOUND`. */
export interface StopBulk {
  readonly kind: 'stopBulk';
  readonly bulk: number;
}

/**
 * Looks for messages that a filter holds for: those that live, by when they were produced, and behind them those that have ended, of each
 * channel and state by when they ended; the newest first, or the oldest. One command looks a bounded part of them through, so
 * an answer may hold few messages, or none, and yet not be the last. Answer: `value`, a {@link SearchPage}.
 */
export interface InspectSearch {
  readonly kind: 'inspect';
  readonly what: 'search';
  /** `undefined` for all that the session may read. */
  readonly channel: string | undefined;
  readonly filter: MessageFilter;
  readonly order: 'newest' | 'oldest';
  /** `next` of the answer before. */
  readonly after: ScanPosition | undefined;
  readonly limit: number;
}

/**
 * How far bulks are: one, all of a channel, or all that the session may read. Of one that runs, `tell` asks for the notice
 * `bulkEnded`. Answer: `value`, a list of {@link BulkView}; ended ones are listed for a while.
 */
export interface InspectBulk {
  readonly kind: 'inspect';
  readonly what: 'bulks';
  readonly bulk: number | undefined;
  readonly channel: string | undefined;
  readonly tell: boolean;
}

/** A bulk as `inspect` shows it. */
export interface BulkView {
  readonly id: number;
  readonly channel: string;
  readonly action: BulkAction;
  readonly filter: MessageFilter;
  readonly state: 'running' | 'done' | 'stopped';
  /** How many messages it has looked at, and how many of them it has changed. */
  readonly looked: number;
  readonly changed: number;
  readonly startedAt: number;
  readonly endedAt: number | undefined;
}
