/** Ranges by rank with both ends included, negative ones counted from the end. */
import type { OrderedIndex } from '../ordered-index.ts';

/** The first rank and how many there are, within a list of this length. */
function span(length: number, start: number, end: number): { from: number; count: number } {
  const from = Math.max(0, start < 0 ? length + start : start);
  const to = Math.min(length - 1, end < 0 ? length + end : end);
  return { from, count: Math.max(0, to - from + 1) };
}

export function slice<T>(items: readonly T[], start: number, end: number): T[] {
  const { from, count } = span(items.length, start, end);
  return items.slice(from, from + count);
}

/** In order, or from the last one on, each way with that way's ranks. */
export function sliceIndex<T>(
  index: OrderedIndex<T>,
  start: number,
  end: number,
  asc: boolean,
  most: number = Infinity,
): T[] {
  const { from, count: wanted } = span(index.size, start, end);
  const count = Math.min(wanted, most);
  if (asc) return index.slice(from, count);
  return index.slice(index.size - from - count, count).reverse();
}
