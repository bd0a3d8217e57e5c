/** Order and delay. */
import type { LiveContent } from '../commit-content.ts';
import { type Invariant, stateless } from './invariant.ts';

export const ORDER: readonly Invariant[] = [
  stateless(
    'S10',
    'Priority: a claim takes the first message of its channel, by priority and then by place; nothing before it stays. Messages of groups are for S9',
    (record, { ledger }) => {
      if (record.kind !== 'commit') return undefined;
      const last = new Map<number, LiveContent>();
      const claimed = new Set<number>();
      for (const { what, seq } of record.content.transitions) if (what === 'claimed') claimed.add(seq);
      for (const { messages } of record.content.pages) {
        for (const message of messages) {
          if (message.alone || message.group !== '' || !claimed.has(message.seq)) continue;
          const before = last.get(message.channel);
          if (before === undefined || comesBefore(before, message)) last.set(message.channel, message);
        }
      }
      for (const [channel, message] of last) {
        for (const ready of ledger.ready(channel)) {
          if (!ready.suspect && ready.group === '' && comesBefore(ready, message))
            return `message ${message.seq} was claimed before ${ready.seq}`;
        }
      }
      return undefined;
    },
  ),
  stateless(
    'S11',
    'Delay: a message never starts before its delay is over by machine time, or before its moment by the wall clock',
    (record, { ledger, highestWall }) => {
      if (record.kind !== 'commit') return undefined;
      for (const { what, seq } of record.content.transitions) {
        const message = what === 'claimed' ? ledger.messages.get(seq) : undefined;
        const claim = message?.claims.at(-1);
        if (message === undefined || claim === undefined || message.promoted) continue;
        if (claim.claimedAt < Math.floor(message.notBefore)) {
          return `${message.id} was claimed ${message.notBefore - claim.claimedAt} ms before its delay was over`;
        }
        if (message.dueAt > highestWall)
          return `${message.id} was claimed ${message.dueAt - highestWall} ms before its moment`;
      }
      return undefined;
    },
  ),
];

function comesBefore(a: LiveContent, b: LiveContent): boolean {
  return a.priority < b.priority || (a.priority === b.priority && a.order < b.order);
}
