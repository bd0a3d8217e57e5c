import { describe, expect, test } from 'vitest';
import { seededRandom, systemRandom } from '#holdfast/model/random.js';

describe('seededRandom()', () => {
  test('gives the same values for the same seed, and others for another', () => {
    const draw = (seed: number): number[] => {
      const random = seededRandom(seed);
      return Array.from({ length: 20 }, () => random.fraction());
    };
    expect(draw(5)).toEqual(draw(5));
    expect(draw(5)).not.toEqual(draw(6));
  });

  test('draws fractions from 0 to below 1, evenly', () => {
    const random = seededRandom(3);
    const drawn = Array.from({ length: 10_000 }, () => random.fraction());
    expect(drawn.every((fraction) => fraction >= 0 && fraction < 1)).toBe(true);
    expect(drawn.reduce((sum, fraction) => sum + fraction, 0) / drawn.length).toBeCloseTo(0.5, 1);
  });
});

describe('systemRandom', () => {
  test('fills buffers of any size, each time anew', () => {
    for (const size of [1, 16, 8_192, 20_000]) {
      const filled = systemRandom.fill(new Uint8Array(size));
      expect(filled).toHaveLength(size);
      if (size > 8) expect(filled).not.toEqual(systemRandom.fill(new Uint8Array(size)));
    }
  });
});
