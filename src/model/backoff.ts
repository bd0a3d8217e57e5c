/** How long a message waits after a failed attempt. */

/**
 * A resolved backoff; delays in milliseconds.
 *
 * - `fixed`: always `delayMs`.
 * - `exponential`: `delayMs * factor ^ (attempt - 1)`, at most `maxMs`.
 * - `schedule`: the delay of that position; the last one repeats.
 * - `client`: a function of the consumer computes the delay and the nack carries it; where it is missing
 *   (the process died) `delayMs` counts.
 */
export type Backoff =
  | { readonly kind: 'fixed'; readonly delayMs: number; readonly jitter: number }
  | {
      readonly kind: 'exponential';
      readonly delayMs: number;
      readonly factor: number;
      readonly maxMs: number;
      readonly jitter: number;
    }
  | { readonly kind: 'schedule'; readonly delaysMs: readonly number[]; readonly jitter: number }
  | { readonly kind: 'client'; readonly delayMs: number };

/**
 * The delay after the attempt with this 1-based number failed, in milliseconds.
 *
 * With jitter `j` the delay is drawn evenly from `[(1 - j) * delay, delay]`: it spreads a crowd and is never
 * longer than asked for ("equal" and "full" jitter are `j` = 0.5 and `j` = 1 of
 * https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 *
 * @param fraction a random number from 0 (included) to 1 (excluded)
 */
export function backoffDelayMs(backoff: Backoff, attempt: number, fraction: number): number {
  const base = baseDelayMs(backoff, attempt);
  const jitter = backoff.kind === 'client' ? 0 : backoff.jitter;
  return Math.round(base * (1 - jitter * fraction));
}

function baseDelayMs(backoff: Backoff, attempt: number): number {
  switch (backoff.kind) {
    case 'fixed':
    case 'client':
      return backoff.delayMs;
    case 'exponential':
      return Math.min(backoff.delayMs * backoff.factor ** (attempt - 1), backoff.maxMs);
    case 'schedule':
      return backoff.delaysMs[Math.min(attempt, backoff.delaysMs.length) - 1] ?? 0;
  }
}
