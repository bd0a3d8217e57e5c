/**
 * The two records of a channel. The head has what seldom changes: its name, its settings, and what was counted before the
 * minute under way. Behind it stand the counters, which nearly every commit writes, and which are therefore short.
 *
 *     head:     version name retention limits(JSON) pastLatency pastHandling oldest newest
 *     counters: version flags purgeBelow redriveLeft totals [used(f64) usedAt(f64) heldUntil(f64)]
 *               minute [counts latency handling]
 */
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import { TOTALS } from '../model/metrics.ts';
import { type ChannelSettings, DEFAULT_SETTINGS, patched, type SettingsPatch } from '../model/policy.ts';
import { createChannel } from './channel.ts';
import { createCounts, NO_TIMES, readHistogram, readTotals, writeHistogram } from './counts.ts';
import type { Channel } from './memory.ts';

/** Up to version 3 the head had all of it: version 2 brought limits, version 3 what is counted by the minute. */
const HEAD_VERSION = 4;
const [WITH_LIMITS, WITH_MINUTES] = [2, 3];

const COUNTERS_VERSION = 1;

const FLAG = { paused: 1, boundsGroups: 2, gate: 4 } as const;

/** The totals before there were minutes. */
const FIRST_TOTALS = ['produced', 'completed', 'dead', 'cancelled', 'purged', 'redelivered', 'deduplicated'] as const;

const scratch = new ByteWriter(1_024);

export function encodeChannelHead({ name, settings, counts }: Channel): Uint8Array {
  const record = scratch;
  record.clear();
  record.u8(HEAD_VERSION);
  record.text(name);
  for (const { count, ageMs } of [settings.completed, settings.dead]) {
    record.f64(count ?? -1);
    record.f64(ageMs ?? -1);
  }
  const { concurrency, rate, groups } = settings;
  record.text(JSON.stringify({ concurrency, rate, groups }));
  writeHistogram(record, counts?.pastLatency ?? NO_TIMES);
  writeHistogram(record, counts?.pastHandling ?? NO_TIMES);
  record.varint(counts?.oldest ?? 0);
  record.varint(counts?.newest ?? 0);
  return record.finish();
}

export function encodeChannelCounters(channel: Channel): Uint8Array {
  const { paused, boundsGroups, totals, gate, counts } = channel;
  const record = scratch;
  record.clear();
  record.u8(COUNTERS_VERSION);
  const hasGate = gate.usedAt !== 0 || gate.heldUntil !== 0;
  record.u8((paused ? FLAG.paused : 0) | (boundsGroups ? FLAG.boundsGroups : 0) | (hasGate ? FLAG.gate : 0));
  record.varint(channel.purgeBelow);
  record.varint(channel.redriveLeft);
  for (const total of TOTALS) record.varint(totals[total]);
  if (hasGate) for (const field of [gate.used, gate.usedAt, gate.heldUntil]) record.f64(field);
  record.varint(counts?.minute ?? 0);
  if (counts === undefined) return record.finish();
  for (const total of TOTALS) record.varint(totals[total] - counts.before[total]);
  writeHistogram(record, counts.latency ?? NO_TIMES);
  writeHistogram(record, counts.handling ?? NO_TIMES);
  return record.finish();
}

export function readChannelHead(number: number, value: Uint8Array): Channel {
  const [version = 0] = value;
  const reader = new ByteReader(value, 1);
  const channel = createChannel(number, reader.text(), DEFAULT_SETTINGS);
  if (version < HEAD_VERSION) {
    readProgress(reader, channel);
    for (const total of FIRST_TOTALS) channel.totals[total] = reader.varint();
  }
  channel.settings = { ...DEFAULT_SETTINGS, ...readRetention(reader) };
  if (version >= WITH_LIMITS) {
    channel.settings = patched(channel.settings, JSON.parse(reader.text()) as SettingsPatch);
    if (version < HEAD_VERSION) readGate(reader, channel);
  }
  if (version >= HEAD_VERSION) readPast(reader, channel);
  else if (version >= WITH_MINUTES) {
    for (const total of ['failed', 'expired'] as const) channel.totals[total] = reader.varint();
    readMinuteUnderWay(reader, channel);
    if (channel.counts !== undefined) readPast(reader, channel);
  }
  return channel;
}

/** Reads the counters of a channel whose head has been read. */
export function readChannelCounters(channel: Channel, value: Uint8Array): void {
  const reader = new ByteReader(value, 1);
  const flags = readProgress(reader, channel);
  for (const total of TOTALS) channel.totals[total] = reader.varint();
  if ((flags & FLAG.gate) !== 0) readGate(reader, channel);
  readMinuteUnderWay(reader, channel);
}

function readProgress(reader: ByteReader, channel: Channel): number {
  const flags = reader.u8();
  channel.paused = (flags & FLAG.paused) !== 0;
  channel.boundsGroups = (flags & FLAG.boundsGroups) !== 0;
  channel.purgeBelow = reader.varint();
  channel.redriveLeft = reader.varint();
  return flags;
}

function readGate(reader: ByteReader, { gate }: Channel): void {
  const [used, usedAt, heldUntil] = [reader.f64(), reader.f64(), reader.f64()];
  Object.assign(gate, { used, usedAt, heldUntil });
}

function readRetention(reader: ByteReader): Pick<ChannelSettings, 'completed' | 'dead'> {
  const bound = (value: number): number | undefined => (value < 0 ? undefined : value);
  const retention = (): { count: number | undefined; ageMs: number | undefined } => ({
    count: bound(reader.f64()),
    ageMs: bound(reader.f64()),
  });
  return { completed: retention(), dead: retention() };
}

function readPast(reader: ByteReader, channel: Channel): void {
  const past = { pastLatency: readHistogram(reader), pastHandling: readHistogram(reader) };
  const bounds = { oldest: reader.varint(), newest: reader.varint() };
  channel.counts = { ...(channel.counts ?? createCounts(0, channel.totals)), ...past, ...bounds };
}

/** Before anything was counted there is none. */
function readMinuteUnderWay(reader: ByteReader, channel: Channel): void {
  const minute = reader.varint();
  if (minute === 0) {
    channel.counts = undefined;
    return;
  }
  const before = readTotals(reader);
  for (const total of TOTALS) before[total] = channel.totals[total] - before[total];
  const times = { latency: readHistogram(reader), handling: readHistogram(reader) };
  const { pastLatency, pastHandling, oldest, newest } = channel.counts ?? createCounts(minute, before);
  channel.counts = { ...createCounts(minute, before), ...times, pastLatency, pastHandling, oldest, newest };
}
