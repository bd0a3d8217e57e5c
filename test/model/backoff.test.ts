import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Backoff, backoffDelayMs } from '#holdfast/model/backoff.js';

const attempt = fc.integer({ min: 1, max: 1_000_000 });
const fraction = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const jitter = fc.double({ min: 0, max: 1, noNaN: true });
const delayMs = fc.integer({ min: 0, max: 3_600_000 });

describe('backoffDelayMs()', () => {
  test('fixed is the same after each attempt', () => {
    const backoff: Backoff = { kind: 'fixed', delayMs: 700, jitter: 0 };
    expect([1, 2, 50].map((n) => backoffDelayMs(backoff, n, 0.9))).toEqual([700, 700, 700]);
  });

  test('exponential grows by its factor up to its maximum', () => {
    const backoff: Backoff = { kind: 'exponential', delayMs: 1_000, factor: 3, maxMs: 20_000, jitter: 0 };
    expect([1, 2, 3, 4, 5].map((n) => backoffDelayMs(backoff, n, 0))).toEqual([1_000, 3_000, 9_000, 20_000, 20_000]);
  });

  test('exponential stays finite after any number of attempts', () => {
    const backoff: Backoff = { kind: 'exponential', delayMs: 1, factor: 1_000, maxMs: 3_600_000, jitter: 0 };
    expect(backoffDelayMs(backoff, 1_000_000, 0)).toBe(3_600_000);
  });

  test('schedule takes the delay of its position and repeats the last one', () => {
    const backoff: Backoff = { kind: 'schedule', delaysMs: [10, 500, 20], jitter: 0 };
    expect([1, 2, 3, 4, 99].map((n) => backoffDelayMs(backoff, n, 0))).toEqual([10, 500, 20, 20, 20]);
  });

  test('client falls back to its delay, without jitter', () => {
    expect(backoffDelayMs({ kind: 'client', delayMs: 1_000 }, 7, 0.99)).toBe(1_000);
  });

  test('jitter draws evenly from the last part of the delay, and never above it', () => {
    fc.assert(
      fc.property(delayMs, jitter, attempt, fraction, (delay, j, n, drawn) => {
        const result = backoffDelayMs({ kind: 'fixed', delayMs: delay, jitter: j }, n, drawn);
        expect(result).toBeLessThanOrEqual(delay);
        expect(result).toBeGreaterThanOrEqual(Math.floor((1 - j) * delay));
        expect(Number.isInteger(result)).toBe(true);
      }),
    );
    const full: Backoff = { kind: 'fixed', delayMs: 1_000, jitter: 1 };
    expect(backoffDelayMs(full, 1, 0)).toBe(1_000);
    expect(backoffDelayMs(full, 1, 0.25)).toBe(750);
    expect(backoffDelayMs(full, 1, 0.999)).toBe(1);
  });

  test('exponential with jitter stays within its bounds at each attempt', () => {
    fc.assert(
      fc.property(attempt, jitter, fraction, (n, j, drawn) => {
        const backoff: Backoff = { kind: 'exponential', delayMs: 1_000, factor: 2, maxMs: 3_600_000, jitter: j };
        const base = Math.min(1_000 * 2 ** (n - 1), 3_600_000);
        const result = backoffDelayMs(backoff, n, drawn);
        expect(result).toBeGreaterThanOrEqual(Math.floor((1 - j) * base));
        expect(result).toBeLessThanOrEqual(base);
      }),
    );
  });
});
