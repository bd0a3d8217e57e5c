import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { OrderedIndex } from '#holdfast/machine/ordered-index.js';
import { seededRandom } from '#holdfast/model/random.js';

const ascending = (a: number, b: number): number => a - b;

/** The same set as a sorted array, the slow and obvious way. */
class SortedArray {
  readonly items: number[] = [];

  add(item: number): void {
    this.items.push(item);
    this.items.sort(ascending);
  }

  remove(item: number): boolean {
    const at = this.items.indexOf(item);
    if (at >= 0) this.items.splice(at, 1);
    return at >= 0;
  }
}

function expectSame(index: OrderedIndex<number>, { items }: SortedArray, probes: readonly number[]): void {
  expect(index.size).toBe(items.length);
  expect(index.first()).toBe(items[0]);
  for (const probe of probes) {
    const at = Math.abs(probe) % (items.length + 3);
    expect(index.at(at)).toBe(items[at]);
    expect(index.slice(at, 5)).toEqual(items.slice(at, at + 5));
    expect(index.rank(probe)).toBe(items.filter((item) => item < probe).length);
    expect(index.has(probe)).toBe(items.includes(probe));
  }
}

describe('OrderedIndex', () => {
  test('finds its items though those that were removed have changed since', () => {
    const items = Array.from({ length: 5_000 }, (_, at) => ({ at }));
    const index = new OrderedIndex<{ at: number }>((a, b) => a.at - b.at);
    for (const each of items) index.add(each);
    const [removed, kept] = [items.filter(({ at }) => at % 3 !== 1), items.filter(({ at }) => at % 3 === 1)];

    for (const each of removed) {
      expect(index.remove(each)).toBe(true);
      each.at = each.at % 2 === 0 ? 0 : 10_000;
    }

    expect(index.slice(0, kept.length)).toEqual(kept);
    for (const each of kept) expect(index.remove(each)).toBe(true);
    expect(index.size).toBe(0);
  });

  const item = fc.integer({ min: -400, max: 400 });
  const step = fc.record({ add: fc.boolean(), item });

  test('answers as a sorted array does, whatever is added and removed', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 900, size: 'max' }),
        fc.array(item, { maxLength: 6 }),
        (steps, probes) => {
          const index = new OrderedIndex(ascending);
          const model = new SortedArray();
          for (const { add, item: given } of steps) {
            if (!add) expect(index.remove(given)).toBe(model.remove(given));
            else if (!index.has(given)) {
              index.add(given);
              model.add(given);
            }
          }
          expectSame(index, model, probes);
        },
      ),
      { numRuns: 60 },
    );
  });

  test.each<[string, (i: number) => number]>([
    ['in order', (i) => i],
    ['in reverse', (i) => -i],
    ['from both ends', (i) => (i % 2 === 0 ? i : -i)],
    ['in a scattered order', (i) => (i * 7_919) % 100_003],
  ])('holds 100,000 items added %s', (_name, itemAt) => {
    const index = new OrderedIndex(ascending);
    const items = Array.from({ length: 100_000 }, (_, i) => itemAt(i));
    for (const added of items) index.add(added);
    items.sort(ascending);
    expect(index.size).toBe(100_000);
    for (let rank = 0; rank < items.length; rank += 997) {
      expect(index.at(rank)).toBe(items[rank]);
      expect(index.rank(items[rank] as number)).toBe(rank);
    }
    expect(index.slice(50_000, 300)).toEqual(items.slice(50_000, 50_300));
    expect(index.slice(99_990, 300)).toEqual(items.slice(99_990));
  });

  test('is empty again after 100,000 items were removed in any order', () => {
    const random = seededRandom(4);
    const index = new OrderedIndex(ascending);
    const items = Array.from({ length: 100_000 }, (_, i) => i);
    for (const added of items) index.add(added);
    const shuffled = items.map((value) => ({ value, by: random.fraction() })).sort((a, b) => a.by - b.by);
    for (const { value } of shuffled) if (!index.remove(value)) throw new Error(`${value} was not there`);
    expect([index.size, index.first(), index.at(0), index.rank(5)]).toEqual([0, undefined, undefined, 0]);
  });

  test('works as a queue that is filled at one end and emptied at the other', () => {
    const index = new OrderedIndex(ascending);
    for (let i = 0; i < 50_000; i++) {
      index.add(i);
      if (i >= 100) {
        const first = index.first() as number;
        if (first !== i - 100 || !index.remove(first)) throw new Error(`${first} came first at ${i}`);
      }
    }
    expect(index.size).toBe(100);
  });

  test('remove() says no to what is not there, and changes nothing', () => {
    const index = new OrderedIndex(ascending);
    index.add(1);
    expect(index.remove(2)).toBe(false);
    expect(index.size).toBe(1);
  });
});
