/** What is counted of channels by the minute: how it is asked for, what comes back, and what can be computed from it. */
import type { ChannelTotals, ChannelView } from './views.ts';
import { addHistogram, countOf, createHistogram, type Histogram, meanMs, percentileMs } from './histogram.ts';

/** What is counted in steps of this, in milliseconds. */
export const METRICS_STEP_MS = 60_000;

/** How many minutes are kept behind the one under way: a day. */
export const METRICS_MINUTES = 1_440;

/** What happened in one step of time. */
export interface MetricsPoint {
  /** When the step begins, in machine time. */
  readonly at: number;
  readonly counts: ChannelTotals;
  /** From when a message was ready, for the first time or again, to the start of its handler. */
  readonly latency: Histogram;
  /** From the start of a handler to its end, however it ended. */
  readonly handling: Histogram;
}

export interface ChannelMetrics {
  readonly channel: string;
  /** What the points cover: whole minutes, but for the end, which is not later than the answer. */
  readonly from: number;
  readonly to: number;
  readonly stepMs: number;
  /** The steps in which something happened, in order. */
  readonly points: readonly MetricsPoint[];
  /** All that was counted since the channel was made; the counts of that are the totals of `now`. */
  readonly latency: Histogram;
  readonly handling: Histogram;
  /** What the channel holds at the moment of the answer. */
  readonly now: ChannelView;
}

/** Some channels, and where to go on. */
export interface MetricsPage {
  readonly channels: readonly ChannelMetrics[];
  /** `undefined` when there are no more. */
  readonly next: number | undefined;
}

/** A histogram in a few numbers, in milliseconds; `undefined` where nothing was counted. */
export interface TimesSummary {
  readonly count: number;
  readonly meanMs: number | undefined;
  readonly p50Ms: number | undefined;
  readonly p95Ms: number | undefined;
  readonly p99Ms: number | undefined;
}

export interface MetricsSummary {
  readonly from: number;
  readonly to: number;
  readonly counts: ChannelTotals;
  /** The counts divided by the seconds from `from` to `to`. */
  readonly perSecond: ChannelTotals;
  readonly latency: TimesSummary;
  readonly handling: TimesSummary;
}

/** What is counted of a channel; records have it in this order, with what is new at the end. */
export const TOTALS: readonly (keyof ChannelTotals)[] = [
  'produced',
  'completed',
  'dead',
  'cancelled',
  'purged',
  'redelivered',
  'deduplicated',
  'failed',
  'expired',
];

export const NO_TOTALS: ChannelTotals = {
  produced: 0,
  completed: 0,
  dead: 0,
  cancelled: 0,
  purged: 0,
  redelivered: 0,
  deduplicated: 0,
  failed: 0,
  expired: 0,
};

/** All points of a channel in one: counts, rates a second, means and percentiles. */
export function summarizeMetrics({ from, to, points }: Pick<ChannelMetrics, 'from' | 'to' | 'points'>): MetricsSummary {
  const counts = { ...NO_TOTALS };
  const latency = createHistogram();
  const handling = createHistogram();
  for (const point of points) {
    for (const total of TOTALS) counts[total] += point.counts[total];
    addHistogram(latency, point.latency);
    addHistogram(handling, point.handling);
  }
  const seconds = Math.max(1, to - from) / 1_000;
  const perSecond = { ...counts };
  for (const total of TOTALS) perSecond[total] /= seconds;
  return { from, to, counts, perSecond, latency: summarizeTimes(latency), handling: summarizeTimes(handling) };
}

function summarizeTimes(histogram: Histogram): TimesSummary {
  return {
    count: countOf(histogram),
    meanMs: meanMs(histogram),
    p50Ms: percentileMs(histogram, 50),
    p95Ms: percentileMs(histogram, 95),
    p99Ms: percentileMs(histogram, 99),
  };
}
