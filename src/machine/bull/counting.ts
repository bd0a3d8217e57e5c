/** Counting in an ordered index. */
import type { OrderedIndex } from '../ordered-index.ts';
import type { BullJob } from './memory.ts';

/** How many jobs have a score below this one. */
export function countBelow(index: OrderedIndex<BullJob>, score: number): number {
  let low = 0;
  let high = index.size;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((index.at(middle) as BullJob).score < score) low = middle + 1;
    else high = middle;
  }
  return low;
}
