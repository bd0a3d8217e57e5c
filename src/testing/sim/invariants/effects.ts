/** Effects that commit with the ack. */
import { type Invariant, stateless } from './invariant.ts';

export const EFFECTS: readonly Invariant[] = [
  stateless(
    'S6',
    'Exactly-once effects: what a handler produces with its ack is there exactly when the ack is, from the same commit',
    (record, { ledger, asked, effects }) => {
      if (record.kind !== 'commit') return undefined;
      const acked = new Set<number>();
      for (const { what, seq, session } of record.content.transitions) {
        // What a handler adds to wait for commits as with an ack.
        const commits = what === 'acked' || (what === 'blocked' && session !== 0);
        const token = commits ? ledger.messages.get(seq)?.claims.at(-1)?.token : undefined;
        if (token !== undefined) acked.add(token);
      }
      const here = new Set(ledger.produced.map(({ id }) => id));
      for (const token of acked) {
        for (const { called } of effects.get(token) ?? []) {
          const missing = called.messages.find(({ id, key }) => key === '' && !here.has(id));
          if (missing !== undefined) return `the ack of token ${token} is durable without its message ${missing.id}`;
        }
      }
      for (const id of here) {
        const op = asked.get(id)?.op;
        const token = op?.called.withToken;
        if (op === undefined || token === undefined) continue;
        if (!acked.has(token)) return `${id} is durable without the ack of token ${token}`;
        // What a handler produced in vain, because of a conflict, it has not produced.
        if (!effects.get(token)?.includes(op)) return `${id} is durable, and its handler has run again since`;
      }
      return undefined;
    },
  ),
];
