/** Deduplication. */
import type { DedupeRule } from '../../../model/policy.ts';
import type { LedgerMessage } from '../ledger.ts';
import type { Invariant, Judge, Seen } from './invariant.ts';

/** The message that holds a key, and when its window began. */
interface Holder {
  readonly message: LedgerMessage;
  readonly since: number;
}

export const DEDUPE: readonly Invariant[] = [
  {
    id: 'S7',
    says: 'Dedupe: within a window one message stands for a key and all callers get its id; after it a new one is allowed',
    begin: (): Judge => {
      const holders = new Map<string, Holder>();
      return (record, seen) => {
        if (record.kind === 'produce.answered') return checkReceipts(record, seen);
        if (record.kind !== 'commit') return undefined;
        for (const message of seen.ledger.produced) {
          const found = admit(message, holders, seen);
          if (found !== undefined) return found;
        }
        return undefined;
      };
    },
  },
];

function admit(message: LedgerMessage, holders: Map<string, Holder>, { ledger }: Seen): string | undefined {
  const rule = ledger.policies.get(message.policy)?.dedupe;
  if (rule === undefined || message.dedupe === '') return undefined;
  const key = `${message.channel} ${message.dedupe}`;
  const before = holders.get(key);
  const inWindow =
    before !== undefined && rule.windowMs !== 0 && message.producedAt + 1 <= before.since + rule.windowMs;
  holders.set(key, { message, since: inWindow && rule.mode === 'replace' ? before.since : message.producedAt });
  // With a message that is removed its key comes free.
  if (before === undefined || before.message.state === 'removed') return undefined;
  const stands = rule.windowMs === 0 ? before.message.endedAt === undefined : inWindow;
  if (!stands) return undefined;
  if (rule.mode === 'reject') return `${message.id} was stored while ${before.message.id} stood for its key`;
  if (rule.mode === 'replace') {
    return wasReplaced(before.message)
      ? undefined
      : `${message.id} was stored beside ${before.message.id}, which still held the key`;
  }
  const alive = [...ledger.messages.values()].filter(
    (other) => other.endedAt === undefined && other.channel === message.channel && other.dedupe === message.dedupe,
  );
  return rule.windowMs === 0 && alive.length > 2 ? `${alive.length} messages hold one key` : undefined;
}

function wasReplaced({ endedAt, state }: LedgerMessage): boolean {
  return endedAt !== undefined && state === 'cancelled';
}

function checkReceipts(
  record: Extract<Parameters<Judge>[0], { kind: 'produce.answered' }>,
  { ledger, ops, asked }: Seen,
): string | undefined {
  const op = ops.get(record.op);
  if (op === undefined) return undefined;
  for (const [i, { id, deduplicated }] of record.receipts.entries()) {
    if (!deduplicated) continue;
    const own = op.called.messages[i];
    const stands = ledger.byId.get(id);
    if (own === undefined || stands === undefined) return `a receipt names ${id}, which is not in the store`;
    if (asked.get(id)?.message.key !== own.key) return `${own.id} was deduplicated by ${id}, which has another key`;
    if (asked.get(id)?.op.called.channel !== op.called.channel)
      return `${own.id} was deduplicated by a message of another channel`;
    if (ledger.byId.has(own.id)) return `${own.id} was deduplicated and is in the store`;
    const rule = ledger.policies.get(stands.policy)?.dedupe;
    if (rule !== undefined && isOver(rule, stands, op)) return `${own.id} was deduplicated by ${id} after its window`;
  }
  return undefined;
}

function isOver(rule: DedupeRule, stands: LedgerMessage, op: { called: { at: number }; machineNow: number }): boolean {
  if (rule.windowMs === 0) return stands.endedAt !== undefined && stands.endedAt < op.called.at;
  return rule.mode === 'reject' && stands.producedAt + 1 + rule.windowMs <= op.machineNow;
}
