/** Groups, limits and rates. */
import type { Rate } from '../../../model/policy.ts';
import type { Happening } from '../../../model/states.ts';
import type { ChannelContent, LiveContent, Transition } from '../commit-content.ts';
import { isAlive, type Ledger, type LedgerMessage } from '../ledger.ts';
import { type Invariant, type Judge, stateless } from './invariant.ts';

export const LIMITS: readonly Invariant[] = [
  {
    id: 'S9',
    says: 'Order in a group: its messages begin by priority and then by place, and each only when the one before has ended',
    begin: (): Judge => {
      /** The message that has begun, by group. */
      const begun = new Map<string, number>();
      return (record, { ledger }) => {
        if (record.kind !== 'commit') return undefined;
        const live = new Map<number, LiveContent>();
        for (const { messages } of record.content.pages) for (const message of messages) live.set(message.seq, message);
        for (const transition of record.content.transitions) {
          const message = ledger.messages.get(transition.seq);
          if (message === undefined || message.group === '') continue;
          const found = judgeOrder(transition, message, live, begun, ledger);
          if (found !== undefined) return found;
        }
        return undefined;
      };
    },
  },
  {
    id: 'S12',
    says: 'Rate: what is claimed of a channel, or of a group, in any time is no more than its rate allows, by cost',
    begin: (): Judge => {
      const meters = new Map<string, Meter>();
      return (record, { ledger }) => {
        if (record.kind !== 'commit') return undefined;
        for (const { message, channel, claimedAt } of claimsOf(record.content.transitions, ledger)) {
          const { number, settings } = channel;
          const ways: (readonly [string, Rate | null])[] = [[`${number}`, settings.rate]];
          if (message.group !== '') ways.push([`${number}/${message.group}`, settings.groups.rate]);
          for (const [name, rate] of ways) {
            if (rate === null) continue;
            const meter = meters.get(name) ?? { used: 0, since: claimedAt };
            meters.set(name, meter);
            if (!letsThrough(meter, rate, message.cost, claimedAt))
              return `message ${message.seq} was claimed at ${claimedAt}, when "${name}" had let ${meter.used} through`;
          }
        }
        return undefined;
      };
    },
  },
  stateless(
    'S13',
    'Concurrency: no more messages of a channel, or of a group, are leased at a time than its limit allows',
    (record, { ledger }) => {
      if (record.kind !== 'commit') return undefined;
      const channels = new Set(claimsOf(record.content.transitions, ledger).map(({ channel }) => channel));
      for (const { number, name, settings } of channels) {
        const most = settings.concurrency === 0 ? Infinity : settings.concurrency;
        const mostOfGroup = settings.groups.concurrency === 0 ? Infinity : settings.groups.concurrency;
        if (most === Infinity && mostOfGroup === Infinity) continue;
        const groups = new Map<string, number>();
        let leased = 0;
        for (const { channel, state, group } of ledger.messages.values()) {
          if (channel !== number || state !== 'leased') continue;
          leased += 1;
          if (group !== '') groups.set(group, (groups.get(group) ?? 0) + 1);
        }
        if (leased > most) return `${leased} messages of "${name}" are leased, and ${most} may be`;
        for (const [group, count] of groups) {
          if (count > mostOfGroup) return `${count} messages of group "${group}" are leased, and ${mostOfGroup} may be`;
        }
      }
      return undefined;
    },
  ),
  {
    id: 'S19',
    says: 'Pause: a channel or group that is paused, or that a handler holds back, hands out nothing',
    begin: (): Judge => {
      /** As of the commit before. */
      const paused = new Set<string>();
      const held = new Map<string, number>();
      return (record, { ledger }) => {
        if (record.kind !== 'commit') return undefined;
        const { transitions, channels, groups } = record.content;
        const states = [
          ...channels.map(({ number, ...state }) => ({ ...state, name: `${number}` })),
          ...groups.map(({ channel, key, ...state }) => ({ ...state, name: `${channel}/${key}` })),
        ];
        const changed = new Set(states.map(({ name }) => name));
        let found: string | undefined;
        for (const { message, channel, claimedAt } of claimsOf(transitions, ledger)) {
          for (const name of [`${channel.number}`, `${channel.number}/${message.group}`]) {
            const isStill =
              paused.has(name) && (!changed.has(name) || states.every((one) => one.name !== name || one.paused));
            if (isStill) found ??= `message ${message.seq} was claimed while "${name}" was paused`;
            const until = Math.floor(held.get(name) ?? 0);
            if (claimedAt < until) found ??= `message ${message.seq} was claimed ${until - claimedAt} ms too early`;
          }
        }
        for (const { name, paused: isPaused, heldUntil } of states) {
          if (isPaused) paused.add(name);
          else paused.delete(name);
          held.set(name, heldUntil);
        }
        return found;
      };
    },
  },
];

const ENDS: ReadonlySet<Happening> = new Set(['acked', 'failed', 'expired', 'cancelled', 'replaced', 'purged']);

function judgeOrder(
  { what, seq }: Transition,
  message: LedgerMessage,
  live: ReadonlyMap<number, LiveContent>,
  begun: Map<string, number>,
  ledger: Ledger,
): string | undefined {
  const name = `${message.channel}/${message.group}`;
  const isOrdered = ledger.channels.get(message.channel)?.settings.groups.ordered === true;
  if (what === 'claimed' && isOrdered) {
    const before = ledger.messages.get(begun.get(name) ?? 0);
    if (before !== undefined && before !== message && isAlive(before) && before.channel === message.channel)
      return `message ${seq} of "${name}" began before ${before.seq} had ended`;
    const mine = live.get(seq);
    if (before !== message && mine?.state === 'leased') {
      for (const other of ledger.ready(message.channel)) {
        const isBefore =
          other.priority < mine.priority || (other.priority === mine.priority && other.order < mine.order);
        if (other.group === message.group && isBefore && !other.suspect && !mine.alone)
          return `message ${seq} of "${name}" began before ${other.seq}`;
      }
    }
    begun.set(name, seq);
  }
  // Given back by a client whose handler had not seen it, it has not begun.
  const isUnseen = what === 'released' && live.get(seq)?.begun === false;
  if (begun.get(name) === seq && (isUnseen || ENDS.has(what))) begun.delete(name);
  return undefined;
}

interface NewClaim {
  readonly message: LedgerMessage;
  readonly channel: ChannelContent;
  readonly claimedAt: number;
}

/** The claims of a commit, but for those that were over before it was written. */
function claimsOf(transitions: readonly Transition[], ledger: Ledger): NewClaim[] {
  const claims: NewClaim[] = [];
  for (const { what, seq } of transitions) {
    const message = what === 'claimed' ? ledger.messages.get(seq) : undefined;
    const channel = message && ledger.channels.get(message.channel);
    const claimedAt = message?.claims.at(-1)?.claimedAt ?? 0;
    if (message !== undefined && channel !== undefined && claimedAt !== 0) claims.push({ message, channel, claimedAt });
  }
  return claims;
}

/** What has gone through lately: the level of a bucket as of `since`, or the sum in a window that began then. */
interface Meter {
  used: number;
  since: number;
}

/** Claims are stamped in whole milliseconds. */
const STAMP_MS = 1;

function letsThrough(meter: Meter, rate: Rate, cost: number, at: number): boolean {
  if (rate.kind === 'bucket') {
    const perMs = rate.count / rate.perMs;
    meter.used = Math.max(0, meter.used - (at - meter.since) * perMs);
    meter.since = at;
    const isOpen = meter.used + Math.min(cost, rate.burst) <= rate.burst + STAMP_MS * perMs + 1e-6;
    meter.used += cost;
    return isOpen;
  }
  while (meter.used > 0 && at + STAMP_MS >= meter.since + rate.perMs) {
    meter.used = Math.max(0, meter.used - rate.count);
    meter.since += rate.perMs;
  }
  if (meter.used === 0) meter.since = at;
  const isOpen = meter.used + Math.min(cost, rate.count) <= rate.count;
  meter.used += cost;
  return isOpen;
}
