/** What rates promise, written down apart from the machine. */
import type { Rate } from '#holdfast/model/policy.js';

/** Something that a rate let through. */
export interface Passed {
  readonly at: number;
  readonly cost: number;
}

/** How what a rate let through breaks its promise, as `model/policy.ts` has it; `undefined` when it keeps it. */
export function brokenRate(rate: Rate, passed: readonly Passed[]): string | undefined {
  if (rate.kind === 'bucket') {
    // In any span, no more than the burst and what comes to it in that time; what is larger than the burst, only alone.
    for (let from = 0; from < passed.length; from++) {
      let sum = 0;
      for (let to = from; to < passed.length; to++) {
        const { at, cost } = passed[to] as Passed;
        const since = at - (passed[from] as Passed).at;
        const room = rate.burst + (since * rate.count) / rate.perMs - sum;
        if (Math.min(cost, rate.burst) > room + 1e-6) return `bucket: ${cost} at ${at}, room ${room}`;
        sum += cost;
      }
    }
    return undefined;
  }
  // The windows follow from what went through: debts of large costs run through the windows behind.
  let start = -Infinity;
  let debt = 0;
  for (const { at, cost } of passed) {
    while (debt > 0 && at >= start + rate.perMs) {
      start += rate.perMs;
      debt = Math.max(0, debt - rate.count);
    }
    if (debt === 0) start = at;
    if (debt + Math.min(cost, rate.count) > rate.count) return `window: ${cost} at ${at}, used ${debt} since ${start}`;
    debt += cost;
  }
  return undefined;
}
