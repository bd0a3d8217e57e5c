import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KIND, Layout } from '#holdfast/machine/layout.js';
import { compareKeys } from '#holdfast/model/records.js';

const layout = new Layout('space');
const number = fc.oneof(
  fc.integer({ min: -1_000, max: 1_000 }),
  fc.integer({ min: -(2 ** 53) + 1, max: 2 ** 53 - 1 }),
  fc.constantFrom(0, 1, -1, 2 ** 32, 2 ** 32 - 1, 2 ** 52 + 1, 2 ** 53 - 1, -(2 ** 53) + 1),
);
const kind = fc.constantFrom(...Object.values(KIND));

describe('Layout', () => {
  test('key() and numberAt() give back each number', () => {
    fc.assert(
      fc.property(kind, fc.array(number, { minLength: 1, maxLength: 3 }), (of, numbers) => {
        const key = layout.key(of, ...numbers);
        expect(layout.kindOf(key)).toBe(of);
        expect(numbers.map((_, i) => layout.numberAt(key, i))).toEqual(numbers);
      }),
    );
  });

  test('keys stand in the order of their numbers, and different numbers have different keys', () => {
    fc.assert(
      fc.property(kind, number, number, number, (of, first, a, b) => {
        const order = Math.sign(compareKeys(layout.key(of, first, a), layout.key(of, first, b)));
        expect(order).toBe(a < b ? -1 : a > b ? 1 : 0);
      }),
    );
  });

  test('neighbours have different keys, also where doubles are dense', () => {
    for (const at of [0, 1, 2, 3, 2 ** 31, 2 ** 32 - 1, 2 ** 52, -1, -2]) {
      expect(compareKeys(layout.key(KIND.pack, at), layout.key(KIND.pack, at + 1))).toBeLessThan(0);
    }
  });

  test('range() holds the keys that start with its numbers, and no others', () => {
    fc.assert(
      fc.property(kind, number, number, number, (of, first, other, second) => {
        const { from, to } = layout.range(of, first);
        const key = layout.key(of, other, second);
        expect(compareKeys(key, from) >= 0 && compareKeys(key, to) < 0).toBe(other === first);
      }),
    );
  });

  test('spaces keep apart, also when one name begins with the other', () => {
    const key = new Layout('ab').key(KIND.live, 1);
    for (const { from, to } of [new Layout('a').head(), ...new Layout('a').body()]) {
      expect(compareKeys(key, from) >= 0 && compareKeys(key, to) < 0).toBe(false);
    }
  });
});
