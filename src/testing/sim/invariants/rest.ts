/** What must be true at rest, and that rest comes. */
import type { ChannelTotals, ChannelView } from '../../../model/views.ts';
import type { ChannelContent } from '../commit-content.ts';
import { isAlive, type Ledger } from '../ledger.ts';
import type { IdleConsumer } from '../records.ts';
import { type Invariant, stateless } from './invariant.ts';

/** How long everything may take to end after all faults are over, in simulated milliseconds. */
export const REST_WITHIN_MS: number = 30 * 60_000;

/**
 * How long after the last disturbance it may take until every process is connected with the one that leads: the others
 * find the leader silent, then find that it does not answer, and the winner of the lead loads the store; in milliseconds.
 */
export const RECOVERY_MS = 12_000;

/** How long a consumer must have had room, undisturbed, before a ready message may not be left, in milliseconds. */
export const IDLE_MS = 5_000;

/**
 * How long at a time a session may be kept from taking messages so that it comes to be empty for a suspect. Behind that, and
 * behind the time of a suspect alone, it takes what is ready for as long, before it is kept from it again, however long the
 * handlers run that it has begun.
 */
const RESERVED_MS = 5_000;

/** Records of the journal, and of minutes, that the last messages of all leave. */
const LAST_JOURNAL = 10;
const LAST_MINUTES = 10;

const COUNTED = [
  'produced',
  'completed',
  'dead',
  'cancelled',
  'purged',
] as const satisfies readonly (keyof ChannelTotals)[];

export const REST: readonly Invariant[] = [
  stateless(
    'S17',
    'No lost wake-up: a ready message and a consumer with room do not stay apart',
    (record, { ledger }) => {
      if (record.kind !== 'idle') return undefined;
      for (const consumer of record.consumers) {
        const found = leftWaiting(consumer, record.at, ledger);
        if (found !== undefined) return found;
      }
      return undefined;
    },
  ),
  stateless('S18', 'Conservation: the counts that are shown are those of the ledger', (record, { ledger }) => {
    if (record.kind === 'commit') {
      // A commit may hold several states of a channel, the last of which stands.
      const last = new Map(record.content.channels.map((channel) => [channel.number, channel]));
      for (const { number, name, totals } of last.values()) {
        const wrong = COUNTED.find((count) => totals[count] !== ledger.totalsOf(number)[count]);
        if (wrong) return `"${name}" counts ${totals[wrong]} ${wrong} and the ledger ${ledger.totalsOf(number)[wrong]}`;
      }
    }
    if (record.kind !== 'inspected') return undefined;
    for (const view of record.views) {
      const found = compareCounts(view, ledger);
      if (found !== undefined) return found;
    }
    return undefined;
  }),
  stateless(
    'L1',
    'Liveness: when the faults are over, every message ends within a bounded time',
    (record, { ledger }) => {
      if (record.kind !== 'ended') return undefined;
      const late = record.restAt === undefined || record.restAt - record.healedAt > REST_WITHIN_MS;
      if (!late) return undefined;
      const alive = [...ledger.messages.values()].filter(isAlive);
      const [first] = alive;
      return `${alive.length} messages have not ended, among them ${first?.id} (${first?.seq}), which ${first?.state === 'leased' ? 'is leased' : 'waits'}`;
    },
  ),
  stateless('L2', 'Recovery: whatever has crashed, every process is soon connected with one that leads', (record) => {
    if (record.kind !== 'looked' || record.unserved.length === 0) return undefined;
    return `${record.unserved[0]} has no connection with the leader, ${record.at - record.quietSince} ms after the last disturbance`;
  }),
  stateless(
    'L3',
    'Bounded: when everything has ended and is no longer kept, the store is as small as at the start',
    (record) => {
      if (record.kind !== 'ended' || record.restAt === undefined) return undefined;
      const { left } = record;
      const gone = EMPTY_AT_THE_END.find((kind) => (left[kind] ?? 0) > 0);
      if (gone !== undefined) return `${left[gone]} records of kind "${gone}" are left`;
      if ((left['session'] ?? 0) > record.sessions) return `${left['session']} sessions are left of ${record.sessions}`;
      if ((left['journal'] ?? 0) > LAST_JOURNAL) return `${left['journal']} records of the journal are left`;
      if ((left['minutes'] ?? 0) > LAST_MINUTES) return `${left['minutes']} records of minutes are left`;
      return undefined;
    },
  ),
];

const EMPTY_AT_THE_END = [
  'live',
  'due',
  'dedupe',
  'ended',
  'ids',
  'pack',
  'notes',
  'flow',
  'template',
  'schedule',
] as const;

/** A message that one consumer has left waiting for longer than it may. */
function leftWaiting({ channel: name, host, sinceMs }: IdleConsumer, at: number, ledger: Ledger): string | undefined {
  const channel = ledger.channelNamed(name);
  const session = ledger.sessionOf(host);
  if (channel === undefined || channel.paused || session === undefined) return undefined;
  const free = Math.max(sinceMs, ledger.resumedAt.get(channel.number) ?? 0);
  // What a limit holds back is handed out later, of which S12 and S13 say when, and L1 that it is.
  const { settings, heldUntil } = channel;
  if (settings.concurrency !== 0 || settings.rate !== null || heldUntil > ledger.machineNow - IDLE_MS) return undefined;
  const suspectUntil = ledger.suspectUntil(at);
  for (const { seq, suspect, group } of ledger.ready(channel.number)) {
    const touchedAt =
      group === '' ? (ledger.messages.get(seq)?.touchedAt ?? Infinity) : groupSince(ledger, channel, group);
    const since = Math.max(touchedAt, free, session.aloneUntil, suspect ? session.clearSince : 0);
    // A suspect waits for a session that has nothing else in hand, and until the one before it has had its time elsewhere.
    if (suspect && (session.plain > 0 || ledger.aloneUntil(at) > since)) continue;
    const mayBeReserved = suspectUntil >= since - RESERVED_MS;
    if (at - since < IDLE_MS + (mayBeReserved ? RESERVED_MS : 0)) continue;
    return `message ${seq} of "${name}" is ready since ${touchedAt} ms, and a consumer with room does not take it`;
  }
  return undefined;
}

/** Since when nothing has happened in a group of which a message could go; `Infinity` when something may hold it back. */
function groupSince(ledger: Ledger, { number, settings }: ChannelContent, group: string): number {
  if (settings.groups.rate !== null || ledger.groups.has(`${number}/${group}`)) return Infinity;
  let since = 0;
  for (const message of ledger.messages.values()) {
    if (message.channel !== number || message.group !== group) continue;
    since = Math.max(since, message.touchedAt);
    // It may be delayed, and have begun.
    if (isAlive(message) && (message.state !== 'waits' || message.claims.length > 0)) return Infinity;
  }
  return since;
}

function compareCounts(view: ChannelView, ledger: Ledger): string | undefined {
  const channel = ledger.channelNamed(view.channel);
  if (channel === undefined) return `"${view.channel}" is shown and is not in the store`;
  let alive = 0;
  for (const message of ledger.messages.values())
    if (message.channel === channel.number && isAlive(message)) alive += 1;
  const shown = view.ready + view.delayed + view.leased + view.waiting;
  if (shown !== alive) return `"${view.channel}" shows ${shown} live messages and holds ${alive}`;
  const totals = ledger.totalsOf(channel.number);
  const wrong = COUNTED.find((count) => view.totals[count] !== totals[count]);
  return wrong && `"${view.channel}" shows ${view.totals[wrong]} ${wrong} and the ledger counts ${totals[wrong]}`;
}
