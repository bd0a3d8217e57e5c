/** The queue of KV: which channel it is, and the rules of its messages. */
import { DEFAULT_POLICY, type Policy } from './policy.ts';

/** The channel of the queue that has no name; those that have one are below it. */
export const QUEUE_CHANNEL = 'kv/queue';

/** The pauses behind failed attempts of a message that names none, in milliseconds; those of Deno. */
export const DEFAULT_SCHEDULE: readonly number[] = [100, 1_000, 5_000, 30_000, 60_000];

/**
 * The rules of a message with this schedule: one attempt more than pauses, for handlers that fail as for processes that die.
 *
 * @param maxBacklog 0 for no limit
 */
export function queuePolicy(schedule: readonly number[], maxBacklog: number = 0): Policy {
  return {
    ...DEFAULT_POLICY,
    maxAttempts: schedule.length + 1,
    maxDeaths: schedule.length + 1,
    backoff: { kind: 'schedule', delaysMs: schedule.length === 0 ? [0] : schedule, jitter: 0 },
    maxBacklog,
  };
}
