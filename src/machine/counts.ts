/**
 * Counts: what happens in a channel, by the minute.
 *
 * A minute's counts are the totals at its end less those at its beginning, so nothing is counted twice and nothing is left
 * out. The minute under way stands in the counters of the channel, which are written in every commit that counts anything; when
 * something happens in a later minute, it becomes a record of its own. Those records are cold, and removed after a day.
 *
 * Starts of handlers cause no commit. They are written with the next one of the channel, at the latest a minute later.
 */
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import { addHistogram, addTime, createHistogram, type Histogram, mergeHistograms } from '../model/histogram.ts';
import { METRICS_MINUTES, METRICS_STEP_MS, TOTALS } from '../model/metrics.ts';
import type { ChannelTotals } from '../model/views.ts';
import { KIND } from './layout.ts';
import type { Channel, ChannelCounts, Lease, Message } from './memory.ts';
import { readySince } from './ready-times.ts';
import { type MachineState, put, writeSoon } from './state.ts';

/** What a channel counted in one minute. */
export interface MinuteCounts {
  readonly minute: number;
  readonly counts: ChannelTotals;
  readonly latency: Histogram;
  readonly handling: Histogram;
}

/** The start of a handler that is not known, as it may have been under another broker. */
export const UNKNOWN_START = -1;

const RECORD_VERSION = 1;

export const NO_TIMES: Histogram = { first: 0, counts: [], sumMs: 0 };

const scratch = new ByteWriter(1_024);

/** The totals of a channel, to be added to now. */
export function totalsOf(state: MachineState, channel: Channel): Channel['totals'] {
  countsOf(state, channel);
  state.changes.channels.add(channel);
  return channel.totals;
}

/** A handler has begun, as far as anybody has said so. */
export function countStart(state: MachineState, message: Message, lease: Lease): void {
  if (lease.startedAt === 0) begin(state, message, lease, countsOf(state, message.channel));
}

/** A handler has ended, in whatever way; one of which nobody said that it had begun has done so just now. */
export function countEnd(state: MachineState, message: Message): void {
  const { lease, channel } = message;
  if (lease === undefined || lease.startedAt === UNKNOWN_START) return;
  const counts = countsOf(state, channel);
  if (lease.startedAt === 0) begin(state, message, lease, counts);
  counts.handling ??= createHistogram();
  addTime(counts.handling, state.now - lease.startedAt);
  writeCountsSoon(state, channel, counts);
}

function begin(state: MachineState, message: Message, lease: Lease, counts: ChannelCounts): void {
  lease.startedAt = state.now;
  counts.latency ??= createHistogram();
  addTime(counts.latency, state.now - readySince(state, message));
  writeCountsSoon(state, message.channel, counts);
}

function writeCountsSoon(state: MachineState, channel: Channel, counts: ChannelCounts): void {
  if (counts.isUnwritten) return;
  counts.isUnwritten = true;
  writeSoon(state).channels.push(channel);
}

/** The counts of the minute that it is now. */
function countsOf(state: MachineState, channel: Channel): ChannelCounts {
  const { counts } = channel;
  return counts !== undefined && state.now < counts.endsAt ? counts : beginMinute(state, channel);
}

function beginMinute(state: MachineState, channel: Channel): ChannelCounts {
  const { counts: over } = channel;
  const minute = Math.floor(state.now / METRICS_STEP_MS);
  const counts: ChannelCounts = {
    ...createCounts(minute, { ...channel.totals }),
    pastLatency: mergeHistograms(over?.pastLatency ?? NO_TIMES, over?.latency ?? NO_TIMES),
    pastHandling: mergeHistograms(over?.pastHandling ?? NO_TIMES, over?.handling ?? NO_TIMES),
    oldest: over?.oldest ?? 0,
    newest: over?.newest ?? 0,
    isUnwritten: over?.isUnwritten ?? false,
  };
  if (over !== undefined) keepMinute(state, channel, counts);
  channel.counts = counts;
  state.changes.channelHeads.add(channel);
  state.changes.channels.add(channel);
  return counts;
}

/** Those of a minute in which nothing has been counted yet, and of no other before. */
export function createCounts(minute: number, before: ChannelTotals): ChannelCounts {
  return {
    minute,
    endsAt: (minute + 1) * METRICS_STEP_MS,
    before,
    latency: undefined,
    handling: undefined,
    pastLatency: NO_TIMES,
    pastHandling: NO_TIMES,
    oldest: 0,
    newest: 0,
    isUnwritten: false,
  };
}

/** Writes the minute that is over, and removes those that are too old. */
function keepMinute(state: MachineState, channel: Channel, next: ChannelCounts): void {
  const over = minuteUnderWay(channel) as MinuteCounts;
  if (next.newest !== 0) state.oldMinutes.remove(channel);
  put(state, state.layout.key(KIND.minutes, channel.number, over.minute), encodeMinute(over));
  if (next.oldest === 0) next.oldest = over.minute;
  next.newest = over.minute;
  const oldest = next.minute - METRICS_MINUTES;
  if (next.oldest < oldest) {
    clearMinutes(state, channel, oldest);
    next.oldest = oldest;
  }
  // The index goes by what the channel has, which it is about to have.
  channel.counts = next;
  state.oldMinutes.add(channel);
}

/** When all minutes of a channel that have records are too old, in machine time. */
export function minutesEndAt({ counts }: Channel): number {
  return ((counts?.newest ?? 0) + METRICS_MINUTES + 1) * METRICS_STEP_MS;
}

/** Removes the minutes of a channel in which nothing has happened for a day; false when there is none. */
export function removeOldMinutes(state: MachineState): boolean {
  const channel = state.oldMinutes.first();
  if (channel?.counts === undefined || minutesEndAt(channel) > state.now) return false;
  state.oldMinutes.remove(channel);
  clearMinutes(state, channel, channel.counts.newest + 1);
  channel.counts.oldest = 0;
  channel.counts.newest = 0;
  state.changes.channelHeads.add(channel);
  return true;
}

function clearMinutes({ layout, changes }: MachineState, { number }: Channel, before: number): void {
  const { from } = layout.range(KIND.minutes, number);
  changes.writes.push({ kind: 'clear', from, to: layout.key(KIND.minutes, number, before) });
  changes.dirty = true;
}

/** What has been counted since the last minute that has a record. */
export function minuteUnderWay({ counts: underWay, totals }: Channel): MinuteCounts | undefined {
  if (underWay === undefined) return undefined;
  const { minute, before, latency = NO_TIMES, handling = NO_TIMES } = underWay;
  const counts = { ...totals };
  for (const total of TOTALS) counts[total] -= before[total];
  return { minute, counts, latency, handling };
}

/** What was ever counted. */
export function timesEver({ counts }: Channel): Pick<MinuteCounts, 'latency' | 'handling'> {
  if (counts === undefined) return { latency: NO_TIMES, handling: NO_TIMES };
  const { latency = NO_TIMES, handling = NO_TIMES, pastLatency, pastHandling } = counts;
  return { latency: mergeHistograms(pastLatency, latency), handling: mergeHistograms(pastHandling, handling) };
}

function encodeMinute({ counts, latency, handling }: MinuteCounts): Uint8Array {
  const record = scratch;
  record.clear();
  record.u8(RECORD_VERSION);
  for (const total of TOTALS) record.varint(counts[total]);
  writeHistogram(record, latency);
  writeHistogram(record, handling);
  return record.finish();
}

export function readMinute(minute: number, value: Uint8Array): MinuteCounts {
  const reader = new ByteReader(value, 1);
  const counts = readTotals(reader);
  return { minute, counts, latency: readHistogram(reader), handling: readHistogram(reader) };
}

export function readTotals(reader: ByteReader): Channel['totals'] {
  return Object.fromEntries(TOTALS.map((total) => [total, reader.varint()])) as unknown as Channel['totals'];
}

export function writeHistogram(record: ByteWriter, { first, counts, sumMs }: Histogram): void {
  record.varint(counts.length);
  if (counts.length === 0) return;
  record.varint(first);
  for (const count of counts) record.varint(count);
  record.f64(sumMs);
}

export function readHistogram(reader: ByteReader): ReturnType<typeof createHistogram> {
  const histogram = createHistogram();
  const length = reader.varint();
  if (length === 0) return histogram;
  const first = reader.varint();
  const counts = Array.from({ length }, () => reader.varint());
  addHistogram(histogram, { first, counts, sumMs: reader.f64() });
  return histogram;
}
