import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addTime,
  bucketBounds,
  bucketOf,
  countOf,
  createHistogram,
  type Histogram,
  HISTOGRAM_BUCKETS,
  meanMs,
  mergeHistograms,
  percentileMs,
} from '#holdfast/model/histogram.js';
import { NO_TOTALS, summarizeMetrics } from '#holdfast/model/metrics.js';

/** How far the middle of a bucket is from the times in it, at most. */
const PRECISION = 2 ** (1 / 8) - 1;

const DAY_MS = 86_400_000;

const time = fc.oneof(
  fc.double({ min: 1, max: DAY_MS, noNaN: true }),
  fc.integer({ min: 1, max: DAY_MS }),
  fc.double({ min: 1, max: 1_000, noNaN: true }),
);

function histogramOf(times: readonly number[]): Histogram {
  const histogram = createHistogram();
  for (const each of times) addTime(histogram, each);
  return histogram;
}

describe('bucketOf()', () => {
  test('gives the bucket within whose bounds a time is', () => {
    fc.assert(
      fc.property(time, (ms) => {
        const { fromMs, toMs } = bucketBounds(bucketOf(ms));
        expect(ms).toBeGreaterThanOrEqual(fromMs);
        expect(ms).toBeLessThan(toMs);
      }),
    );
  });

  test('has buckets that follow each other without a gap, from nothing to more than a day', () => {
    for (let bucket = 1; bucket < HISTOGRAM_BUCKETS; bucket++) {
      const { fromMs } = bucketBounds(bucket);
      expect(bucketBounds(bucket - 1).toMs).toBe(fromMs);
      expect(bucketOf(fromMs)).toBe(bucket);
      expect(bucketOf(fromMs * (1 - Number.EPSILON))).toBe(bucket - 1);
    }
    expect(bucketOf(DAY_MS)).toBeLessThan(HISTOGRAM_BUCKETS - 1);
    for (const most of [2 ** 27, 2 ** 40, Infinity]) expect(bucketOf(most)).toBe(HISTOGRAM_BUCKETS - 1);
    for (const least of [0.999, 0, -1, NaN]) expect(bucketOf(least)).toBe(0);
  });
});

describe('a histogram', () => {
  test('gives percentiles to within 9.1 %, and the mean exactly', () => {
    fc.assert(
      fc.property(fc.array(time, { minLength: 1, maxLength: 200 }), fc.nat(100), (times, percent) => {
        const sorted = times.toSorted((a, b) => a - b);
        const exact = sorted[Math.max(1, Math.ceil((times.length * percent) / 100)) - 1] as number;
        const found = percentileMs(histogramOf(times), percent) as number;
        expect(Math.abs(found - exact) / exact).toBeLessThanOrEqual(PRECISION + 1e-9);
        expect(meanMs(histogramOf(times))).toBeCloseTo(times.reduce((sum, each) => sum + each, 0) / times.length, 3);
      }),
    );
  });

  test('is the same whether times are counted together or merged', () => {
    fc.assert(
      fc.property(fc.array(time), fc.array(time), (some, others) => {
        const merged = mergeHistograms(histogramOf(some), histogramOf(others));
        const { sumMs, ...together } = histogramOf([...some, ...others]);
        expect(merged).toMatchObject(together);
        expect(merged.sumMs).toBeCloseTo(sumMs, 3);
        expect(countOf(merged)).toBe(some.length + others.length);
      }),
    );
  });

  test('keeps no more buckets than lie between its shortest and its longest time', () => {
    expect(histogramOf([8, 5, 4])).toEqual({ first: 9, counts: [1, 1, 0, 0, 1], sumMs: 17 });
    expect(mergeHistograms(histogramOf([]), histogramOf([0.2]))).toEqual({ first: 0, counts: [1], sumMs: 0.2 });
  });

  test('of nothing has no percentile and no mean; below 1 ms and beyond a day it gives a bound', () => {
    expect([percentileMs(createHistogram(), 50), meanMs(createHistogram())]).toEqual([undefined, undefined]);
    expect(percentileMs(histogramOf([0.1]), 50)).toBe(0.5);
    expect(percentileMs(histogramOf([10 * DAY_MS]), 50)).toBe(bucketBounds(HISTOGRAM_BUCKETS - 1).fromMs);
  });
});

describe('summarizeMetrics()', () => {
  test('adds points up, and divides by the time that they cover', () => {
    const point = (at: number, produced: number, times: readonly number[]) => ({
      at,
      counts: { ...NO_TOTALS, produced },
      latency: histogramOf(times),
      handling: createHistogram(),
    });
    const points = [point(0, 30, [1, 1, 1]), point(60_000, 60, [100])];
    const summary = summarizeMetrics({ from: 0, to: 90_000, points });
    expect(summary).toMatchObject({
      from: 0,
      to: 90_000,
      counts: { produced: 90 },
      perSecond: { produced: 1, dead: 0 },
    });
    expect(summary.latency).toMatchObject({ count: 4, meanMs: 25.75 });
    expect(summary.latency.p50Ms).toBeCloseTo(1.09, 2);
    expect(summary.latency.p99Ms).toBeCloseTo(98.7, 1);
    expect(summary.handling).toEqual({
      count: 0,
      meanMs: undefined,
      p50Ms: undefined,
      p95Ms: undefined,
      p99Ms: undefined,
    });
    expect(summarizeMetrics({ from: 5, to: 5, points: [] }).perSecond).toEqual(NO_TOTALS);
  });
});
