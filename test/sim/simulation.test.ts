import { MARKS, simulate } from '#holdfast/testing/sim/index.js';
import { describe, expect, test } from 'vitest';

const SEEDS = 500;

describe('the simulation', () => {
  test(`holds every invariant over ${SEEDS} seeds, and reaches every mark`, { timeout: 600_000 }, async () => {
    const marks = new Map<string, number>();
    for (let seed = 1; seed <= SEEDS; seed++) {
      const result = await simulate({ seed });
      const found = result.violations.map(({ id, found: what }) => `${id}: ${what}`);
      expect(found, `seed ${seed}; see it with: npm run sim -- --seed ${seed}`).toEqual([]);
      for (const [mark, count] of result.marks) marks.set(mark, (marks.get(mark) ?? 0) + count);
    }
    expect(MARKS.filter((mark) => !marks.has(mark))).toEqual([]);
  });

  test('gives the same trace for the same seed', { timeout: 120_000 }, async () => {
    const seeds = Array.from({ length: 20 }, (_, i) => i + 1);
    const first: string[] = [];
    for (const seed of seeds) first.push((await simulate({ seed })).hash);
    for (const [i, seed] of seeds.entries()) expect((await simulate({ seed })).hash).toBe(first[i]);
    expect(new Set(first).size).toBe(seeds.length);
  });
});
