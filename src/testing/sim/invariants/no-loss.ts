/** Nothing is lost, nothing is invented, nothing is done twice. */
import { isAlive, type LedgerMessage } from '../ledger.ts';
import type { ResultCame } from '../records.ts';
import { type Invariant, type Seen, stateless } from './invariant.ts';

export const NO_LOSS: readonly Invariant[] = [
  stateless(
    'S1',
    'No loss: an acknowledged message is durable at its acknowledgement, and from then on ready, delayed, leased or ended',
    (record, { ledger, ops }) => {
      if (record.kind === 'commit' && ledger.lost.length > 0) return `the record of ${ledger.lost[0]?.id} was erased`;
      if (record.kind === 'produce.answered') {
        const missing = record.receipts.find(({ id }) => !ledger.byId.has(id));
        if (missing !== undefined) return `${missing.id} was acknowledged and is not in the store`;
        const denied = record.code === 'NOT_FOUND' ? ops.get(record.op)?.called.messages : undefined;
        const alive = denied?.find(({ id }) => ledger.byId.has(id) && isAlive(ledger.byId.get(id) as LedgerMessage));
        return alive && `the request of ${alive.id} was told that it is not kept, and it is alive`;
      }
      if (record.kind !== 'inspected') return undefined;
      const kept = new Map(record.kept.map((message) => [message.id, message]));
      for (const message of ledger.messages.values()) {
        const { id, state } = message;
        if (isAlive(message) && !kept.has(id)) return `${id} is alive in the store and is not shown`;
        const shown = kept.get(id)?.state;
        if (shown !== undefined && !isAlive(message) && shown !== state)
          return `${id} is ${state} and shown as ${shown}`;
      }
      return undefined;
    },
  ),
  stateless(
    'S2',
    'No invention: every message in the store and at a handler was asked for, and every result was returned, as it is',
    (record, seen) => {
      const { ledger, asked } = seen;
      if (record.kind === 'commit') {
        for (const { id, content, schedule } of ledger.produced) {
          // Those of schedules are held to their rules by S15.
          if (schedule !== undefined) continue;
          const known = asked.get(id)?.message;
          if (known === undefined) return `${id} is in the store and nobody asked for it`;
          if (known.content !== content) return `${id} is stored as ${content} and was asked for as ${known.content}`;
        }
        for (const { seq, content } of record.content.payloads) {
          const id = ledger.messages.get(seq)?.id ?? '';
          if (seen.updates.get(id)?.has(content) !== true)
            return `${id} was changed to ${content}, and nobody asked for it`;
        }
      }
      if (record.kind === 'handler.started') {
        const stored = ledger.byId.get(record.id);
        if (stored === undefined) return `${record.id} came to a handler and is not in the store`;
        const claim = stored.claims.find(({ token }) => token === record.token);
        const handed = claim?.content ?? stored.content;
        if (handed !== record.content) return `${record.id} came to a handler with other content`;
        const channel = ledger.channels.get(stored.channel)?.name;
        if (channel !== record.channel && !stored.moved)
          return `${record.id} of "${channel}" came to a handler of "${record.channel}"`;
      }
      if (record.kind === 'inspected') {
        for (const { id, content, state, result } of record.kept) {
          const stored = ledger.byId.get(id);
          if (stored === undefined) return `${id} is shown and is not in the store`;
          if (stored.content !== content) return `${id} is shown with other content`;
          if (state === 'completed' && resultsOf(stored, seen).at(-1) !== result)
            return `${id} is shown with the result ${result}`;
        }
      }
      if (record.kind === 'result' && !givers(record, seen).some((one) => resultsOf(one, seen).includes(record.result)))
        return `the request of ${record.id} got ${record.result}, which no handler of its message returned`;
      return undefined;
    },
  ),
  {
    id: 'S8',
    says: 'Idempotent retry: a request that is sent again is applied once, and a refusal is final',
    begin: () => {
      const rejected = new Set<string>();
      return (record, { ledger, ops }) => {
        if (record.kind === 'commit') {
          if (ledger.repeated.length > 0) return `${ledger.repeated[0]} was produced twice`;
          const late = ledger.produced.find(({ id }) => rejected.has(id));
          return late && `${late.id} was refused and is in the store`;
        }
        if (record.kind === 'produce.answered' && record.outcome === 'rejected') {
          for (const { id } of ops.get(record.op)?.called.messages ?? []) {
            if (ledger.byId.has(id)) return `${id} was refused (${record.code}) and is in the store`;
            rejected.add(id);
          }
        }
        return undefined;
      };
    },
  },
  stateless('X1', 'No call fails in a way that is not documented, and no invariant of the broker breaks', (record) => {
    if (record.kind === 'noted' && record.what.startsWith('broken: ')) return record.what;
    return undefined;
  }),
];

/** What the handlers returned whose acks ended the message, which may have been retried, the last one last. */
function resultsOf({ claims }: LedgerMessage, { returned }: Seen): (string | undefined)[] {
  return claims.filter(({ ended }) => ended === 'acked').map(({ token }) => returned.get(token));
}

/** The message of a request, or those of its key and channel when it was a duplicate of one of them. */
function givers({ id, op }: ResultCame, { ledger, asked, ops }: Seen): LedgerMessage[] {
  const own = ledger.byId.get(id);
  if (own !== undefined) return [own];
  const key = asked.get(id)?.message.key;
  const channel = ops.get(op)?.called.channel;
  if (key === undefined || key === '') return [];
  return [...ledger.messages.values()].filter((other) => {
    const known = asked.get(other.id);
    return known?.message.key === key && known.op.called.channel === channel;
  });
}
