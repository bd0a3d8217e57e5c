/** What the web process and the worker have in common. */
import { defineChannel } from 'holdfast';

export interface Order {
  readonly item: string;
  readonly count: number;
}

export const channels = {
  orderPlaced: defineChannel<Order>('order/placed', {
    process: 'exactlyOnce',
    deduplicationInterval: '1d',
    attempts: 8,
  }),
};

/** Where the number of items stands that were ordered so far. */
export const soldKey = (item: string): readonly string[] => ['sold', item];
