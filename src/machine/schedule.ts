/** Schedules as memory holds them: small, and without their messages. Plain data. */
import type { ScheduleSettings } from '../model/schedule.ts';
import type { Channel, PolicyRef } from './memory.ts';
import { OrderedIndex } from './ordered-index.ts';

export interface Schedule {
  /** The short name by which its records are found. */
  readonly number: number;
  readonly key: string;
  /** What the ids of its messages have in common, one character a byte. */
  readonly seed: string;
  readonly createdAt: number;
  channel: Channel;
  policy: PolicyRef;
  settings: ScheduleSettings;
  /** Where its intervals count from. */
  anchorAt: number;
  /** The bytes of the record with its message. */
  templateBytes: number;
  isPaused: boolean;
  /** Why it cannot go on; empty if it can. */
  failure: string;
  /** The time of the next tick, by the clock of its rule; 0 for none. */
  nextAt: number;
  /** When that tick comes: later than its time by chance, if there is jitter. */
  dueAt: number;
  /** It stands in the order of what is due. One whose next tick waits for the end of a message does not. */
  isPlaced: boolean;
  ticks: number;
  /** The time of the last tick that came; 0 for none. */
  lastAt: number;
  /** The message of that tick, as long as it has not ended and that matters; 0 for none. */
  lastSeq: number;
  /** The time of the last tick that was skipped; 0 for none. */
  skippedAt: number;
  /** How many ticks in a row have come late. */
  late: number;
  /** Ticks up to this time have waited for messages to end, so they have not been missed. */
  queuedUpTo: number;
}

/** All schedules of a space. */
export interface Schedules {
  readonly byKey: Map<string, Schedule>;
  /** By their keys. */
  readonly order: OrderedIndex<Schedule>;
  /** Those that have a next tick, by machine time and by wall time. */
  readonly due: readonly [OrderedIndex<Schedule>, OrderedIndex<Schedule>];
  /** Whose last message has not ended, if that matters, by its sequence number. */
  readonly running: Map<number, Schedule>;
  nextNumber: number;
  /** The store has no room for new messages, so that ticks wait. */
  isHeld: boolean;
  /** They have had their turn before other work without a bound. */
  hadTurn: boolean;
}

export function createSchedules(): Schedules {
  return {
    byKey: new Map(),
    order: new OrderedIndex((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)),
    due: [new OrderedIndex(compareDue), new OrderedIndex(compareDue)],
    running: new Map(),
    nextNumber: 1,
    isHeld: false,
    hadTurn: false,
  };
}

function compareDue(a: Schedule, b: Schedule): number {
  return a.dueAt - b.dueAt || a.number - b.number;
}
