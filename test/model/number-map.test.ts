/** The map from numbers, held against a `Map` that is told the same. */
import { describe, expect, it } from 'vitest';
import { NumberMap } from '#holdfast/model/number-map.js';
import { seededRandom } from '#holdfast/model/random.js';

describe('a map from numbers', () => {
  it('has nothing at first', () => {
    const map = new NumberMap<object>();
    expect([map.size, map.get(0), map.has(1), map.delete(2), map.values()]).toEqual([0, undefined, false, false, []]);
  });

  it.each([1, 2, 3, 4, 5])('does what a Map does, keys drawn from many and from few (seed %i)', (seed) => {
    const random = seededRandom(seed);
    // Neighbours, numbers beyond 32 bits, and numbers that differ in their upper half alone.
    const keys = [
      ...Array.from({ length: 200 }, (_, i) => i),
      ...Array.from({ length: 200 }, (_, i) => Number.MAX_SAFE_INTEGER - i),
      ...Array.from({ length: 200 }, (_, i) => 7 + i * 2 ** 32),
    ];
    const map = new NumberMap<{ readonly step: number }>();
    const model = new Map<number, { readonly step: number }>();
    for (let step = 0; step < 5_000; step++) {
      const key = keys[Math.floor(random.fraction() * (step % 1_000 < 500 ? 20 : keys.length))] as number;
      if (random.fraction() < 0.5) {
        map.set(key, { step });
        model.set(key, { step });
      } else {
        expect(map.delete(key)).toBe(model.delete(key));
      }
      expect(map.size).toBe(model.size);
      expect(map.get(key)).toEqual(model.get(key));
      if (step % 500 === 0) for (const each of keys) expect(map.get(each)).toEqual(model.get(each));
    }
    const byStep = (values: Iterable<{ readonly step: number }>): number[] =>
      [...values].map(({ step }) => step).sort((a, b) => a - b);
    expect(byStep(map.values())).toEqual(byStep(model.values()));
    map.clear();
    expect([map.size, map.values()]).toEqual([0, []]);
    for (const key of keys) map.set(key, { step: key });
    for (const key of keys) expect(map.get(key)).toEqual({ step: key });
  });
});
