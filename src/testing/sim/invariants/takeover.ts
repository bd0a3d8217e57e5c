/** One leader after the other, and what sessions have of it. */
import { type Claim, isAlive } from '../ledger.ts';
import { type Leads, SLEW } from '../leads.ts';
import type { Committed, Looked } from '../records.ts';
import { type Invariant, type Seen, stateless } from './invariant.ts';

/** How long a broker may take from the moment at which a lease or a session is over until that is durable. */
const TICK_MS = 2_000;

export const TAKEOVER: readonly Invariant[] = [
  stateless(
    'S20',
    'One leader: only the process that took the lead last commits, under its epoch',
    (record, { leads }) => {
      if (record.kind !== 'commit') return undefined;
      const { current } = leads;
      if (current?.nonce === record.nonce && current.host === record.host) return undefined;
      return `${record.host} has committed while ${current?.host} leads in epoch ${current?.epoch}`;
    },
  ),
  stateless(
    'S21',
    'Leases: a session keeps them while it is connected and over a takeover, and one that stays away loses them in time',
    (record, seen) => {
      if (record.kind === 'commit') return lostTooEarly(record, seen);
      if (record.kind === 'looked') return keptTooLong(record, seen);
      return undefined;
    },
  ),
  {
    id: 'S22',
    says: 'Same answer twice: a request has one answer, whoever gives it and however often it is asked for',
    begin: () => {
      const numbers = new Map<string, number>();
      const known = new Map<string, string>();
      return (record) => {
        if (record.kind === 'commit') {
          for (const { id, number, answers } of record.content.sessions) {
            numbers.set(id, number);
            for (const [request, reply] of answers) {
              const key = `${number} ${request}`;
              const first = known.get(key) ?? reply;
              if (first !== reply) return `request ${request} was answered with ${first} and then with ${reply}`;
              known.set(key, reply);
            }
          }
        }
        if (record.kind !== 'replied') return undefined;
        const { session, request, reply } = record;
        const first = known.get(`${numbers.get(session)} ${request}`);
        if (first === undefined || first === reply) return undefined;
        return `request ${request} is answered with ${reply}, and ${first} is its answer in the store`;
      };
    },
  },
];

function lostTooEarly({ content, at }: Committed, { ledger, leads, starts }: Seen): string | undefined {
  for (const { what, seq } of content.transitions) {
    const claim =
      what === 'leaseLost' ? ledger.messages.get(seq)?.claims.findLast(({ ended }) => ended === what) : undefined;
    // What no handler has seen is given back when a client says that it does not have it.
    if (claim === undefined || !starts.has(claim.token) || leads.died.has(claim.host)) continue;
    const wrong = objectionToLoss(claim, at, leads);
    if (wrong !== undefined) return `the lease of message ${seq} (token ${claim.token}) was lost ${wrong}`;
  }
  return undefined;
}

/** Why a lease whose process lives may not be lost now. */
function objectionToLoss(claim: Claim, at: number, leads: Leads): string | undefined {
  const { host, sessionId } = claim;
  const { current, sessionTimeoutMs } = leads;
  const inherited = leads.isInherited(claim);
  // Sessions of the process that led before end with its lead.
  if (inherited && host === leads.predecessor) return undefined;
  const partedAt = leads.partedSince(sessionId);
  if (partedAt !== undefined) {
    const waitedMs = at - partedAt;
    const waitsMs = leads.waitsMs(host);
    return waitedMs < waitsMs * (1 - SLEW) ? `${waitedMs} ms after its link closed, and not ${waitsMs} ms` : undefined;
  }
  if (!inherited || leads.isWelcomed(sessionId)) return 'while its session was connected';
  const waitedMs = at - (current?.at ?? at);
  return waitedMs < sessionTimeoutMs * (1 - SLEW)
    ? `${waitedMs} ms after a takeover, and not ${sessionTimeoutMs} ms`
    : undefined;
}

function keptTooLong({ at, quietSince, leaderRuns }: Looked, { ledger, leads }: Seen): string | undefined {
  if (!leaderRuns) return undefined;
  const { died, sessionTimeoutMs, lingerMs } = leads;
  const quietMs = (at - quietSince) * (1 - SLEW) - TICK_MS;
  const isGone = (host: string): boolean => (died.get(host) ?? Infinity) <= quietSince;
  // Behind a connection that is silent, death is found out after a session timeout.
  if (quietMs > sessionTimeoutMs + Math.min(lingerMs, sessionTimeoutMs)) {
    for (const message of ledger.messages.values()) {
      const claim = message.state === 'leased' && isAlive(message) ? message.claims.at(-1) : undefined;
      if (claim !== undefined && isGone(claim.host))
        return `message ${message.seq} is leased by ${claim.host}, which is dead since ${died.get(claim.host)} ms`;
    }
  }
  if (quietMs > 2 * sessionTimeoutMs) {
    for (const { host } of ledger.sessions.values())
      if (isGone(host)) return `a session of ${host} is left, which is dead since ${died.get(host)} ms`;
  }
  return undefined;
}
