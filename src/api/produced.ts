/** Messages that commit with something else. */
import { blocksOf } from '../client/client.ts';
import type { Item } from '../client/outbox.ts';
import type { Produce } from '../model/command.ts';

/** A message ready to go, and the name of its channel and rules in the session. */
export interface Prepared {
  readonly ref: number;
  readonly item: Item;
}

/** What a command carries of these messages, in their order. */
export function producedOf(prepared: readonly Prepared[]): Omit<Produce, 'atomic'>[] {
  const runs: { readonly ref: number; readonly items: Item[] }[] = [];
  for (const { ref, item } of prepared) {
    const last = runs.at(-1);
    if (last?.ref === ref) last.items.push(item);
    else runs.push({ ref, items: [item] });
  }
  return runs.map(({ ref, items }) => ({ kind: 'produce', ref, blocks: blocksOf(items) }));
}
