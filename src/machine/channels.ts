/** The channels and policies of a space: found by name or content, or created. */
import { ByteWriter } from '../model/bytes.ts';
import { HoldfastError } from '../model/errors.ts';
import { DEFAULT_SETTINGS, type Policy } from '../model/policy.ts';
import type { Channel, PolicyRef } from './memory.ts';
import { createChannel, MAX_CHANNEL_NAME_CHARACTERS } from './channel.ts';
import { KIND } from './layout.ts';
import { type MachineState, put } from './state.ts';

/** How many channels, and how many different sets of rules, a space may have. */
export const MAX_CHANNELS = 100_000;
const MAX_POLICIES = 100_000;

const POLICY_VERSION = 1;

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
  state.changes.channelHeads.add(channel);
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
