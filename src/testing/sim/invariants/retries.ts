/** Attempts, backoff and dead letters. */
import type { CommitContent, Transition } from '../commit-content.ts';
import type { Ledger, LedgerMessage } from '../ledger.ts';
import type { Invariant, Judge, Seen } from './invariant.ts';

export const RETRIES: readonly Invariant[] = [
  {
    id: 'S14',
    says: 'Retries: at most the allowed attempts, each after its backoff, then one dead letter with its reason',
    begin: (): Judge => {
      /** Machine time before which a message must not be claimed again. */
      const notBefore = new Map<number, number>();
      return (record, seen) => {
        if (record.kind !== 'commit') return undefined;
        for (const [i, transition] of record.content.transitions.entries()) {
          const found = judge(transition, record.content, i, seen, notBefore);
          if (found !== undefined) return found;
        }
        return undefined;
      };
    },
  },
];

function judge(
  { what, seq }: Transition,
  content: CommitContent,
  position: number,
  { ledger, settles, previousNow }: Seen,
  notBefore: Map<number, number>,
): string | undefined {
  const message = ledger.messages.get(seq);
  const policy = message && ledger.policies.get(message.policy);
  if (message === undefined || policy === undefined) return undefined;
  switch (what) {
    case 'nacked': {
      if (message.nacks >= policy.maxAttempts)
        return `${message.id} failed ${message.nacks} times and was to be tried ${policy.maxAttempts} times`;
      const { backoff } = policy;
      const settled = settles.get(message.claims.at(-1)?.token ?? 0)?.called.outcome;
      // A delay that the handler asked for stands for the backoff; a function's delay is the client's.
      if (backoff.kind === 'fixed' && (settled === 'nack' || settled === undefined)) {
        notBefore.set(seq, previousNow + backoff.delayMs * (1 - backoff.jitter));
      }
      return undefined;
    }
    case 'claimed': {
      const after = notBefore.get(seq);
      notBefore.delete(seq);
      const claimedAt = message.claims.at(-1)?.claimedAt ?? Infinity;
      if (after !== undefined && claimedAt + 1 < Math.floor(after))
        return `${message.id} was tried again ${after - claimedAt} ms too early`;
      return undefined;
    }
    case 'promoted':
    case 'postponed':
      notBefore.delete(seq);
      return undefined;
    case 'failed':
    case 'expired':
      return judgeDeath(message, policy.deadLetter, content, position, ledger);
    default:
      return undefined;
  }
}

function judgeDeath(
  { seq, id, channel }: LedgerMessage,
  deadLetter: string | undefined,
  { transitions, pages, delayed, ends, erasedPacks }: CommitContent,
  position: number,
  ledger: Ledger,
): string | undefined {
  const next = transitions[position + 1];
  const hasMoved = next?.seq === seq && next.what === 'moved';
  // The rules of a message that has moved, as they are known here, have no dead-letter channel any more.
  if (!hasMoved && deadLetter !== undefined) return `${id} is dead and did not go to "${deadLetter}"`;
  // The reason stands where the message now stands, or in the record of its end, from the same commit on.
  const places = [...ends, ...delayed, ...pages.flatMap(({ messages }) => messages)].filter((one) => one.seq === seq);
  if (places.some(({ failure }) => failure !== undefined)) return undefined;
  if (places.length === 0 && hasMoved) {
    const isPurged = transitions.slice(position).some((later) => later.seq === seq && later.what === 'purged');
    if (isPurged) return undefined;
  }
  if (places.length === 0 && !hasMoved) {
    // Retention took it away at once and its pack with it, so that there is nobody left to see a reason.
    const isGone = erasedPacks.includes(ledger.packOf(seq) ?? 0);
    if (isGone && ledger.channels.get(channel)?.keepsDead !== undefined) return undefined;
  }
  return `${id} is dead without a reason`;
}
