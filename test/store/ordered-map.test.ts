import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compareKeys } from '#holdfast/model/records.js';
import { OrderedMap } from '#holdfast/store/ordered-map.js';

const key = fc.oneof(
  fc.integer({ min: 0, max: 2_000 }).map((number) => Uint8Array.of(number >> 8, number & 0xff)),
  fc.uint8Array({ maxLength: 3 }),
);
type Step =
  | readonly ['put', Uint8Array]
  | readonly ['delete', Uint8Array]
  | readonly ['fill', number, number]
  | readonly ['clear', Uint8Array, Uint8Array];
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant('put' as const), key) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('delete' as const), key) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('fill' as const), fc.nat(2_000), fc.nat(700)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('clear' as const), key, key) },
);

test('an OrderedMap is a sorted list of its keys', () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 60 }),
      fc.array(fc.tuple(key, key, fc.nat(600)), { maxLength: 5 }),
      (steps, ranges) => {
        const map = new OrderedMap<number>();
        const model = new Map<string, number>();
        steps.forEach((each, i) => take(map, model, each, i));

        const sorted = [...model.entries()].map(([hex, value]) => ({ key: fromHex(hex), value }));
        sorted.sort((a, b) => compareKeys(a.key, b.key));
        expect(map.size).toBe(sorted.length);
        for (const { key: present, value } of sorted) expect(map.get(present)).toBe(value);
        for (const [from, to, limit] of ranges) {
          const inside = sorted.filter((item) => compareKeys(item.key, from) >= 0 && compareKeys(item.key, to) < 0);
          expect(shown(map.items({ from, to }))).toEqual(shown(inside));
          expect(shown(map.items({ from, to, limit }))).toEqual(shown(inside.slice(0, limit)));
          expect(shown(map.items({ from, to, limit, reverse: true }))).toEqual(
            shown(inside.toReversed().slice(0, limit)),
          );
          expect(map.get(from)).toBe(model.get(hexOf(from)));
          const above = sorted.filter((item) => compareKeys(item.key, from) >= 0);
          expect(shown(map.take(from, limit))).toEqual(shown(above.slice(0, limit)));
        }
      },
    ),
    { numRuns: 200 },
  );
});

function take(map: OrderedMap<number>, model: Map<string, number>, each: Step, value: number): void {
  if (each[0] === 'put') {
    map.put(each[1], value);
    model.set(hexOf(each[1]), value);
  } else if (each[0] === 'delete') {
    expect(map.delete(each[1])).toBe(model.delete(hexOf(each[1])));
  } else if (each[0] === 'fill') {
    for (let i = 0; i < each[2]; i++) {
      const number = (each[1] + i * 7) % 2_000;
      take(map, model, ['put', Uint8Array.of(number >> 8, number & 0xff)], value);
    }
  } else {
    map.clear(each[1], each[2]);
    for (const hex of model.keys()) {
      const inside = compareKeys(fromHex(hex), each[1]) >= 0 && compareKeys(fromHex(hex), each[2]) < 0;
      if (inside) model.delete(hex);
    }
  }
}

function shown(items: Iterable<{ readonly key: Uint8Array; readonly value: number }>): string[] {
  return [...items].map((item) => `${hexOf(item.key)}=${item.value}`);
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function fromHex(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, 'hex'));
}
