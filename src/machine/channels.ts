/** The channels and policies of a space: found by name or content, or created. */
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import { HoldfastError } from '../model/errors.ts';
import { type ChannelSettings, DEFAULT_SETTINGS, patched, type Policy, type SettingsPatch } from '../model/policy.ts';
import type { Channel, PolicyRef } from './memory.ts';
import { createChannel, MAX_CHANNEL_NAME_CHARACTERS } from './channel.ts';
import { readCounts, writeCounts } from './counts.ts';
import { KIND } from './layout.ts';
import { type MachineState, put } from './state.ts';

/** How many channels, and how many different sets of rules, a space may have. */
export const MAX_CHANNELS = 100_000;
const MAX_POLICIES = 100_000;

const POLICY_VERSION = 1;

/** Version 2 has limits, and what a rate has let through; version 3 has what is counted by the minute. */
const CHANNEL_VERSION = 3;
const WITH_LIMITS = 2;

const scratch = new ByteWriter(512);
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Finds a channel, or makes it with the default settings. @throws HoldfastError `TOO_MANY` */
export function findOrCreateChannel(state: MachineState, name: string): Channel {
  const found = state.channels.get(name);
  if (found !== undefined) return found;
  if (state.channels.size >= MAX_CHANNELS) {
    throw new HoldfastError('TOO_MANY', `Cannot create channel "${name}": a space has at most ${MAX_CHANNELS}`);
  }
  if (name.length === 0 || name.length > MAX_CHANNEL_NAME_CHARACTERS) {
    throw new HoldfastError('PROTOCOL', `Cannot create a channel whose name has ${name.length} characters`);
  }
  const channel = createChannel(state.nextChannel++, name, DEFAULT_SETTINGS);
  addChannel(state, channel);
  state.changes.channels.add(channel);
  state.changes.dirty = true;
  return channel;
}

export function addChannel(state: MachineState, channel: Channel): void {
  if (channel.counts !== undefined && channel.counts.newest !== 0) state.oldMinutes.add(channel);
  state.channels.set(channel.name, channel);
  state.channelNumbers.set(channel.number, channel);
}

/** Finds a policy of the same content, or stores it. @throws HoldfastError `TOO_MANY` */
export function internPolicy(state: MachineState, policy: Policy): PolicyRef {
  const content = policyText(policy);
  const found = state.policies.get(content);
  if (found !== undefined) return found;
  if (state.policies.size >= MAX_POLICIES) {
    throw new HoldfastError(
      'TOO_MANY',
      `Cannot store the rules of a channel: a space has at most ${MAX_POLICIES} sets`,
    );
  }
  const ref: PolicyRef = { number: state.nextPolicy++, policy: JSON.parse(content) as Policy };
  addPolicy(state, ref, content);
  const record = new ByteWriter();
  record.u8(POLICY_VERSION);
  record.raw(encoder.encode(content));
  put(state, state.layout.key(KIND.policy, ref.number), record.finish());
  return ref;
}

export function addPolicy(state: MachineState, ref: PolicyRef, content: string): void {
  state.policies.set(content, ref);
  state.policyNumbers.set(ref.number, ref);
}

/** A policy as the text that stands for its content: its fields in this order. */
function policyText(policy: Policy): string {
  const { maxAttempts, backoff, maxDeaths, maxUndecodable, timeoutMs, timeToLiveMs, deadLetter, dedupe, maxBacklog } =
    policy;
  return JSON.stringify({
    maxAttempts,
    backoff,
    maxDeaths,
    maxUndecodable,
    timeoutMs,
    timeToLiveMs,
    deadLetter,
    dedupe,
    maxBacklog,
  });
}

export function readPolicyRecord(value: Uint8Array): { policy: Policy; content: string } {
  const content = decoder.decode(value.subarray(1));
  return { policy: JSON.parse(content) as Policy, content };
}

export function encodeChannel(channel: Channel): Uint8Array {
  const { totals, settings, gate } = channel;
  const record = scratch;
  record.clear();
  record.u8(CHANNEL_VERSION);
  record.text(channel.name);
  record.u8((channel.paused ? 1 : 0) | (channel.boundsGroups ? 2 : 0));
  record.varint(channel.purgeBelow);
  record.varint(channel.redriveLeft);
  for (const total of TOTALS) record.varint(totals[total]);
  for (const { count, ageMs } of [settings.completed, settings.dead]) {
    record.f64(count ?? -1);
    record.f64(ageMs ?? -1);
  }
  const { concurrency, rate, groups } = settings;
  record.text(JSON.stringify({ concurrency, rate, groups }));
  for (const field of [gate.used, gate.usedAt, gate.heldUntil]) record.f64(field);
  writeCounts(record, channel);
  return record.finish();
}

export function readChannel(number: number, value: Uint8Array): Channel {
  const reader = new ByteReader(value, 1);
  const channel = createChannel(number, reader.text(), DEFAULT_SETTINGS);
  const flags = reader.u8();
  channel.paused = (flags & 1) !== 0;
  channel.boundsGroups = (flags & 2) !== 0;
  channel.purgeBelow = reader.varint();
  channel.redriveLeft = reader.varint();
  for (const total of TOTALS) channel.totals[total] = reader.varint();
  const retention = readRetention(reader);
  channel.settings = { ...DEFAULT_SETTINGS, ...retention };
  const [version = 0] = value;
  if (version < WITH_LIMITS) return channel;
  channel.settings = patched(channel.settings, JSON.parse(reader.text()) as SettingsPatch);
  const [used, usedAt, heldUntil] = [reader.f64(), reader.f64(), reader.f64()];
  Object.assign(channel.gate, { used, usedAt, heldUntil });
  if (version >= CHANNEL_VERSION) readCounts(reader, channel);
  return channel;
}

const TOTALS = ['produced', 'completed', 'dead', 'cancelled', 'purged', 'redelivered', 'deduplicated'] as const;

function readRetention(reader: ByteReader): Pick<ChannelSettings, 'completed' | 'dead'> {
  const bound = (value: number): number | undefined => (value < 0 ? undefined : value);
  const retention = (): { count: number | undefined; ageMs: number | undefined } => ({
    count: bound(reader.f64()),
    ageMs: bound(reader.f64()),
  });
  return { completed: retention(), dead: retention() };
}
