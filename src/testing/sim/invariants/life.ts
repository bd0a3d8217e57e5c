/** Pause, and bulks. */
import type { BulkContent, CommitContent } from '../commit-content.ts';
import type { Ledger, LedgerMessage } from '../ledger.ts';
import { type Invariant, type Judge, stateless } from './invariant.ts';

/** What a bulk does, as the journal has it, and what it was before as the ledger has it. */
const BY_ACTION: Readonly<Record<string, readonly string[]>> = {
  cancel: ['cancelled'],
  promote: ['promoted'],
  update: ['updated'],
  retry: ['retried'],
  remove: ['removed'],
};

export const LIFE: readonly Invariant[] = [
  stateless('S19', 'Pause: a paused channel hands out nothing', (record, { ledger }) => {
    if (record.kind !== 'commit') return undefined;
    for (const { what, seq } of record.content.transitions) {
      const message = what === 'claimed' ? ledger.messages.get(seq) : undefined;
      const channel = message && ledger.channels.get(message.channel);
      if (channel?.paused === true) return `message ${seq} was claimed while "${channel.name}" was paused`;
    }
    return undefined;
  }),
  {
    id: 'B1',
    says: 'Bulk: it has changed as many messages as it says, and, when it is done, left none as it was that it was to change',
    begin: (): Judge => {
      const begun = new Map<number, { readonly at: number; changed: number }>();
      return (record, { ledger }) => {
        if (record.kind !== 'commit') return undefined;
        for (const bulk of record.content.bulks) {
          const before = begun.get(bulk.number) ?? { at: record.at, changed: 0 };
          begun.set(bulk.number, before);
          const found = judgeStep(bulk, before.changed, record.content) ?? judgeEnd(bulk, before.at, ledger);
          before.changed = bulk.changed;
          if (found !== undefined) return `bulk ${bulk.number} (${bulk.action}) ${found}`;
        }
        return undefined;
      };
    },
  },
];

function judgeStep(bulk: BulkContent, before: number, { transitions }: CommitContent): string | undefined {
  const changed = bulk.changed - before;
  if (changed < 0) return `has changed ${bulk.changed} messages and had changed ${before}`;
  const told = transitions.filter(({ what }) => BY_ACTION[bulk.action]?.includes(what) === true).length;
  // A handler that has some time to end is not told of in the journal.
  if (changed <= told || bulk.states.includes('leased')) return undefined;
  return `says that it has changed ${changed} messages, and ${told} have been`;
}

function judgeEnd(bulk: BulkContent, begunAt: number, ledger: Ledger): string | undefined {
  if (bulk.state !== 'done' || bulk.isLimited) return undefined;
  const channel = ledger.channelNamed(bulk.channel);
  for (const message of ledger.messages.values()) {
    if (message.channel !== channel?.number || message.touchedAt >= begunAt || message.durableAt >= begunAt) continue;
    if (isToChange(message, bulk, channel.keepsDead === undefined)) return `has left message ${message.seq} as it was`;
  }
  return undefined;
}

function isToChange({ state }: LedgerMessage, { states, action }: BulkContent, keepsAll: boolean): boolean {
  // What retention has taken away the ledger does not know.
  if (state === 'completed' || state === 'dead' || state === 'cancelled') return keepsAll && states.includes(state);
  return (
    state === 'waits' && action === 'cancel' && ['ready', 'delayed', 'waiting'].every((one) => states.includes(one))
  );
}
