/** Leases, tokens and ends. */
import type { Happening } from '../../../model/states.ts';
import { type Invariant, stateless } from './invariant.ts';

const RETURNS: ReadonlySet<Happening> = new Set(['acked', 'nacked', 'released', 'leaseLost', 'snoozed', 'failed']);

/** What may have become of a lease whose settle was accepted. */
const EFFECT: Readonly<Record<string, readonly Happening[]>> = {
  ack: ['acked'],
  nack: ['nacked', 'failed', 'givenUp'],
  undecodable: ['nacked', 'failed', 'givenUp'],
  release: ['released'],
  snooze: ['snoozed'],
  hold: ['released'],
  fail: ['failed', 'givenUp'],
  wait: ['blocked', 'nacked', 'failed', 'givenUp'],
};

export const LEASES: readonly Invariant[] = [
  stateless(
    'S3',
    'Terminal once: a message ends at most once, and nothing happens to it after its end but a redrive, a retry, a move or its removal',
    (record, { ledger }) => {
      if (record.kind !== 'commit') return undefined;
      const wrong = ledger.impossible.find(({ was }) => was !== 'leased' && was !== 'waits');
      return wrong && `"${wrong.transition.what}" happened to message ${wrong.transition.seq}, which was ${wrong.was}`;
    },
  ),
  stateless(
    'S4',
    'One live lease: at any instant at most one token of a message is valid, tokens grow, and one token runs one handler',
    (record, { ledger, starts, conflicts }) => {
      if (record.kind === 'commit') {
        const wrong = ledger.impossible.find(
          ({ was, transition }) => was === 'leased' && transition.what === 'claimed',
        );
        if (wrong !== undefined) return `message ${wrong.transition.seq} was claimed while it was leased`;
        for (const { what, seq } of record.content.transitions) {
          const claims = what === 'claimed' ? ledger.messages.get(seq)?.claims : undefined;
          const [before, last] = claims?.slice(-2) ?? [];
          if (last !== undefined && before !== undefined && last.token !== 0 && last.token <= before.token) {
            return `message ${seq} got token ${last.token} after ${before.token}`;
          }
        }
      }
      if (record.kind === 'handler.started') {
        if (starts.has(record.token) && !conflicts.has(record.token) && record.isRerun !== true)
          return `the handler of token ${record.token} was started twice`;
        const claim = ledger.byId.get(record.id)?.claims.find(({ token }) => token === record.token);
        if (claim === undefined) return `token ${record.token} came to a handler before its claim was durable`;
        if (claim.attempt !== record.attempt)
          return `token ${record.token} is attempt ${claim.attempt}, not ${record.attempt}`;
      }
      return undefined;
    },
  ),
  stateless(
    'S5',
    'Fencing: a settle with a stale token is refused and has no effect, and an accepted one is durable when it is answered',
    (record, { ledger, settles }) => {
      if (record.kind === 'commit') {
        const wrong = ledger.impossible.find(({ was, transition }) => was === 'waits' && RETURNS.has(transition.what));
        return wrong && `"${wrong.transition.what}" happened to message ${wrong.transition.seq}, which was not leased`;
      }
      if (record.kind !== 'settle.answered' || record.held === undefined) return undefined;
      const settle = settles.get(record.token)?.called;
      // Nothing of it has counted, and the handler runs again.
      if (record.held === 'conflict') return undefined;
      if (settle === undefined) return `token ${record.token} was answered and never settled`;
      const claim = ledger.messages.get(settle.seq)?.claims.find(({ token }) => token === record.token);
      const ended = claim?.ended;
      const effects = EFFECT[settle.outcome.split(' ')[0] as string] ?? [];
      const isCancelled = claim?.isCancelled === true && ended === 'cancelled' && settle.outcome !== 'ack';
      const happened = ended !== undefined && (effects.includes(ended) || isCancelled);
      if (record.held && !happened)
        return `"${settle.outcome}" of token ${record.token} was accepted and is not durable: ${ended}`;
      if (!record.held && claim !== undefined && ended === undefined)
        return `"${settle.outcome}" of token ${record.token} was refused and its lease is held`;
      if (!record.held && settle.outcome === 'ack' && happened)
        return `the ack of token ${record.token} was refused and had its effect`;
      return undefined;
    },
  ),
];
