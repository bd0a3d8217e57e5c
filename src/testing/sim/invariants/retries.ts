/** Attempts, backoff and dead letters. */
import type { CommitContent, Transition } from '../commit-content.ts';
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
  { transitions, ends }: CommitContent,
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
      notBefore.delete(seq);
      return undefined;
    case 'failed':
    case 'expired':
      // A message that retention takes away at once leaves no record of its end.
      if (!message.moved && policy.deadLetter === undefined && !ends.some((end) => end.seq === seq)) return undefined;
      return judgeDeath(seq, transitions[position + 1], message.moved, policy.deadLetter, message.failure, message.id);
    default:
      return undefined;
  }
}

function judgeDeath(
  seq: number,
  next: Transition | undefined,
  moved: boolean,
  deadLetter: string | undefined,
  failure: string | undefined,
  id: string,
): string | undefined {
  const movedNow = next?.seq === seq && next.what === 'moved';
  // The policy that is known here is that of after the move, which has no dead-letter channel any more.
  if (!movedNow && deadLetter !== undefined && !moved) return `${id} is dead and did not go to "${deadLetter}"`;
  if (failure === undefined) return `${id} is dead without a reason`;
  return undefined;
}
