/** Counts: by the minute, and by access token. */
import type { ChannelTotals } from '../../../model/views.ts';
import { METRICS_MINUTES, METRICS_STEP_MS, NO_TOTALS, TOTALS } from '../../../model/metrics.ts';
import type { ChannelContent, MinuteContent } from '../commit-content.ts';
import type { Committed, Inspected } from '../records.ts';
import type { Invariant, Judge, Seen } from './invariant.ts';

export const COUNTS: readonly Invariant[] = [
  {
    id: 'S18',
    says: 'Conservation by the minute: what a channel has counted is in exactly one minute, that in which it happened, whatever has crashed',
    begin: beginMinutes,
  },
  {
    id: 'S18',
    says: 'Conservation of usage: each message that a client has produced is counted for its access token, once, whatever has crashed',
    begin: beginUsage,
  },
  {
    id: 'S18',
    says: 'Conservation by the minute: the minutes that are shown come to the totals',
    begin: beginShown,
  },
];

const DAY_MS: number = METRICS_MINUTES * METRICS_STEP_MS;

/** What is known of a channel from the commits so far. */
interface Known {
  /** What its minutes that are over have counted. */
  readonly over: { -readonly [K in keyof ChannelTotals]: ChannelTotals[K] };
  newest: number;
  last: ChannelContent | undefined;
  claimed: number;
}

function beginMinutes(): Judge {
  const channels = new Map<number, Known>();
  const knownOf = (number: number): Known => {
    let known = channels.get(number);
    if (known === undefined)
      channels.set(number, (known = { over: { ...NO_TOTALS }, newest: 0, last: undefined, claimed: 0 }));
    return known;
  };
  return (record, seen) => {
    if (record.kind !== 'commit') return undefined;
    const { content } = record;
    for (const { what, seq } of content.transitions) {
      const number = seen.ledger.messages.get(seq)?.channel;
      if (what === 'claimed' && number !== undefined) knownOf(number).claimed += 1;
    }
    for (const minute of content.minutes) {
      const found = closedWrongly(minute, knownOf(minute.channel));
      if (found !== undefined) return found;
    }
    for (const channel of content.channels) {
      const known = knownOf(channel.number);
      const found = countedWrongly(channel, known, record, seen);
      known.last = channel;
      if (found !== undefined) return found;
    }
    return undefined;
  };
}

function closedWrongly({ channel, minute, counts }: MinuteContent, known: Known): string | undefined {
  if (minute <= known.newest) return `channel ${channel} closes minute ${minute} behind minute ${known.newest}`;
  if (known.last?.underWay !== undefined && minute < known.last.underWay.minute) {
    return `channel ${channel} closes minute ${minute} and was at minute ${known.last.underWay.minute}`;
  }
  known.newest = minute;
  for (const total of TOTALS) known.over[total] += counts[total];
  return undefined;
}

function countedWrongly(channel: ChannelContent, known: Known, { content }: Committed, seen: Seen): string | undefined {
  const { name, totals, underWay, begun, ended } = channel;
  for (const total of TOTALS) {
    const counted = known.over[total] + (underWay?.counts[total] ?? 0);
    if (counted !== totals[total]) return `"${name}" has ${totals[total]} ${total}, and its minutes have ${counted}`;
  }
  const { last } = known;
  if (begun < (last?.begun ?? 0) || ended < (last?.ended ?? 0)) return `"${name}" has lost times of handlers`;
  if (ended > begun || begun > known.claimed) {
    return `"${name}" has measured ${begun} starts and ${ended} ends of ${known.claimed} claims`;
  }
  const hasCounted = TOTALS.some((total) => totals[total] !== (last?.totals[total] ?? 0));
  if (!hasCounted || underWay === undefined) return undefined;
  const [from, to] = [seen.previousNow, content.now].map((at) => Math.floor(at / METRICS_STEP_MS)) as [number, number];
  if (underWay.minute >= from && underWay.minute <= to) return undefined;
  return `"${name}" counts in minute ${underWay.minute} what happened in ${from} to ${to}`;
}

function beginUsage(): Judge {
  const rows = new Map<string, { readonly channel: number; readonly messages: number }>();
  const produced = new Map<number, number>();
  return (record, { ledger }) => {
    if (record.kind !== 'commit') return undefined;
    for (const { producedTo: channel, schedule } of ledger.produced) {
      // What a schedule produces, no client has.
      if (schedule === undefined) produced.set(channel, (produced.get(channel) ?? 0) + 1);
    }
    for (const row of record.content.usage) rows.set(row.row, row);
    const counted = new Map<number, number>();
    for (const { channel, messages } of rows.values()) counted.set(channel, (counted.get(channel) ?? 0) + messages);
    for (const [channel, count] of produced) {
      const found = counted.get(channel) ?? 0;
      if (found !== count) return `channel ${channel} had ${count} messages produced, and ${found} are accounted for`;
    }
    return undefined;
  };
}

/** Of what happened more than a day ago nothing is shown: machine time goes ahead when a broker starts and the wall clock has. */
function beginShown(): Judge {
  let firstAt: number | undefined;
  return (record, { previousNow }) => {
    if (record.kind === 'commit') firstAt ??= record.content.now;
    if (record.kind !== 'inspected' || firstAt === undefined) return undefined;
    return previousNow - firstAt < DAY_MS - METRICS_STEP_MS ? shownWrongly(record) : undefined;
  };
}

function shownWrongly({ views, counted }: Inspected): string | undefined {
  for (const { channel, counts } of counted) {
    const view = views.find((one) => one.channel === channel);
    const wrong = view && TOTALS.find((total) => view.totals[total] !== counts[total]);
    if (view !== undefined && wrong !== undefined) {
      return `"${channel}" shows ${view.totals[wrong]} ${wrong}, and minutes with ${counts[wrong]}`;
    }
  }
  return undefined;
}
