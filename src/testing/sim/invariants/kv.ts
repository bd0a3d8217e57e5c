/** KV: effects, versions, reads, watches. */
import { checkLinearizable } from '../../linearizability.ts';
import type { KvAction, KvAnswer, KvChangeOf, KvOperation } from '../../kv-history.ts';
import { type KvLedger, type KvOp, type KvProblem, u64Of } from '../kv-ledger.ts';
import type { KvEffectsAsked, KvMutationAsked, SimRecord, Watching } from '../records.ts';
import { type Invariant, type Judge, stateless } from './invariant.ts';

/** How long those who watch may take to see a change, undisturbed, in milliseconds. */
const WATCH_MS = 5_000;

/** A search for an order that tries more is given up; with versions it tries each operation little more than once. */
const MAX_STEPS = 20_000;

const found = (id: KvProblem['id']): Judge => {
  return (_record, { kv }) => kv.problems.find((problem) => problem.id === id)?.found;
};

export const KV: readonly Invariant[] = [
  stateless(
    'S6',
    'Exactly-once effects: what a handler writes to KV is there exactly when its ack is, from the same commit',
    found('S6'),
  ),
  stateless('S8', 'Idempotent retry: a commit to KV that is sent again is applied once', found('S8')),
  stateless(
    'S16',
    'KV: versions grow, each commit has its own and is whole, entries are as the commits that are there left them, whatever has crashed, and reads see them as of one moment',
    found('S16'),
  ),
  stateless(
    'S6',
    'Exactly-once effects: what a commit to KV produces is there exactly when its entries are',
    (record, { ledger, kv, ops, asked }) => {
      if (record.kind !== 'commit') return undefined;
      const markers = new Set(kv.applied.map(({ marker }) => marker));
      for (const { id } of ledger.produced) {
        const marker = asked.get(id)?.op.called.withMarker;
        if (marker !== undefined && !markers.has(marker)) return `${id} is durable without ${marker}`;
      }
      const here = new Set(ledger.produced.map(({ id }) => id));
      for (const { called } of markers.size === 0 ? [] : ops.values()) {
        if (called.withMarker === undefined || !markers.has(called.withMarker)) continue;
        const missing = called.messages.find(({ id, key }) => key === '' && !here.has(id));
        if (missing !== undefined) return `${called.withMarker} is durable without ${missing.id}`;
      }
      return undefined;
    },
  ),
  stateless('S16', 'KV: all that clients were told is linearizable', (record, { kv }) => {
    if (record.kind !== 'inspected' || record.moment !== 'at rest') return undefined;
    const result = checkLinearizable(historyOf(kv, record.at), { maxSteps: MAX_STEPS });
    if (result.verdict === 'linearizable') return undefined;
    if (result.verdict === 'unknown') return 'nobody can say whether it is';
    const last = result.prefix.findLast(({ answer }) => answer !== undefined);
    return `no order explains ${JSON.stringify(last, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))}`;
  }),
  stateless('S17', 'No lost wake-up: who watches an entry sees its last change', (record, { kv }) =>
    record.kind === 'watching' ? missedBy(record, kv) : undefined,
  ),
];

function missedBy({ watchers, at }: Watching, kv: KvLedger): string | undefined {
  for (const { process, sinceMs, entries } of watchers) {
    for (const { key, version } of entries) {
      const stored = kv.entries.get(key);
      if ((stored?.version ?? 0) === version) continue;
      if (at - Math.max(sinceMs, kv.changedAt.get(key) ?? 0) < WATCH_MS) continue;
      // One that has expired is not shown, although it may not have been swept away yet.
      if (version === 0 && stored !== undefined && kv.isDue(stored, at)) continue;
      return `${process} watches ${key} and has seen version ${version}, and it is ${stored?.version ?? 'gone'}`;
    }
  }
  return undefined;
}

/** Entries of these never expire, and are only set, deleted and added to. */
const PLAIN_KEY = /^[bkc]\//;

/** What clients asked and heard, with what the store says of those that heard nothing. */
function historyOf(kv: KvLedger, endedAt: number): KvOperation[] {
  return kv.ops.flatMap((op) => {
    const action = actionOf(op);
    const answer = action && answerOf(op);
    if (action === undefined || answer === undefined) return [];
    return [{ calledAt: op.calledAt, answeredAt: hasHeard(op) ? op.answered?.at : endedAt, action, answer }];
  });
}

function actionOf({ called, effects }: KvOp): KvAction | undefined {
  if (called.kind === 'settle.called') {
    if (effects === undefined) return undefined;
    return commitOf(
      called.outcome === 'ack' || called.outcome === 'wait' ? effects : { checks: effects.checks, mutations: [] },
    );
  }
  const { asked } = called;
  if (asked.what !== 'commit') return { kind: 'read', keys: asked.keys.filter((key) => PLAIN_KEY.test(key)) };
  return commitOf(asked);
}

function commitOf({ checks, mutations }: KvEffectsAsked): KvAction {
  return {
    kind: 'commit',
    checks: checks.filter(({ key }) => PLAIN_KEY.test(key)),
    changes: mutations.filter(({ key }) => PLAIN_KEY.test(key)).map(changeOf),
  };
}

function changeOf(mutation: KvMutationAsked): KvChangeOf {
  const { kind, key } = mutation;
  if (kind === 'delete') return { kind, key };
  if (kind === 'set') return { kind, key, value: plain(mutation.value) };
  return { kind: 'sum', key, by: u64Of(mutation.value) };
}

/** Numbers are whole numbers, which sums add to. */
function plain(value: string): string {
  return value.startsWith('2:') ? String(u64Of(value)) : value;
}

function hasHeard({ answered }: KvOp): boolean {
  return answered?.kind === 'kv.answered' ? answered.heard.what !== 'unknown' : answered?.held !== undefined;
}

/** What an operation has heard, or what has become of it without; `undefined` where it says nothing. */
function answerOf({ called, answered, effects, version }: KvOp): KvAnswer | undefined {
  const isSure = (effects?.checks ?? []).every(({ key }) => PLAIN_KEY.test(key));
  if (answered?.kind === 'kv.answered' && answered.heard.what === 'read') {
    const { asked } = called as Extract<SimRecord, { kind: 'kv.called' }>;
    if (asked.what === 'commit') return undefined;
    const { entries } = answered.heard;
    const seen = asked.keys.flatMap((key, i) => (PLAIN_KEY.test(key) ? [entries[i]] : []));
    return {
      kind: 'read',
      entries: seen.map((entry) => entry && { value: plain(entry.value), version: entry.version }),
    };
  }
  const heard = answered?.kind === 'kv.answered' ? answered.heard.what : answered?.held;
  if (heard === 'conflict') return isSure ? { kind: 'conflict' } : undefined;
  if (answered?.kind === 'kv.answered' && answered.heard.what === 'committed')
    return { kind: 'committed', version: answered.heard.version };
  if (version !== undefined) return { kind: 'committed', version };
  const isChecked =
    heard === true && called.kind === 'settle.called' && called.outcome !== 'ack' && called.outcome !== 'wait';
  return isChecked ? { kind: 'committed' } : undefined;
}
