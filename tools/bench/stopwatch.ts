/** Measures a span of work: the time on the wall and the time on the processors. */
import type { Measurement } from './case.ts';

export interface Stopwatch {
  /** The rate and the cost of so many messages since the start. */
  stop(messages: number): Required<Pick<Measurement, 'messages' | 'perSecond' | 'rssBytes' | 'cpuMicrosPerMessage'>>;
}

export function startStopwatch(): Stopwatch {
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  return {
    stop(messages) {
      const seconds = (performance.now() - startedAt) / 1_000;
      const { user, system } = process.cpuUsage(cpuBefore);
      return {
        messages,
        perSecond: messages / seconds,
        rssBytes: process.memoryUsage.rss(),
        cpuMicrosPerMessage: (user + system) / messages,
      };
    },
  };
}

/** The value that this share of the values does not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = Math.min(Math.ceil(sorted.length * share), sorted.length) - 1;
  const value = sorted[at];
  if (value === undefined) throw new RangeError('Cannot take a percentile of no values');
  return value;
}
