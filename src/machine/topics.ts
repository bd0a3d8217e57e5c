/**
 * Topics: what is published to one is produced to every channel that is subscribed, in one commit. The payload is stored once, see
 * `pack.ts`; each channel has a message of its own, with a life of its own.
 */
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import { MAX_CHANNEL_NAME_CHARACTERS } from './channel.ts';
import type { Reply } from '../model/command.ts';
import { HoldfastError } from '../model/errors.ts';
import { mayUseTopic } from '../model/scopes.ts';
import {
  type DeclareTopic,
  MAX_COPIES,
  MAX_SUBSCRIPTIONS,
  MAX_TOPICS,
  type Subscribe,
  type SubscriptionView,
  type Unsubscribe,
} from '../model/topic.ts';
import type { Value } from '../model/records.ts';
import { backlogOf } from './channel.ts';
import { findOrCreateChannel, internPolicy } from './channels.ts';
import { messagesWithoutRoom } from './group-room.ts';
import { KIND } from './layout.ts';
import type { Session, Subscription, Topic, TopicRef } from './memory.ts';
import { admitCopies, countOf } from './produce.ts';
import { type Refused, refusalToWriteKeys } from './rights.ts';
import { erase, type MachineState, put } from './state.ts';

const RECORD_VERSION = 1;

const DONE: Reply = { kind: 'done' };

export function applyDeclareTopic(session: Session, { ref, topic }: DeclareTopic): Reply {
  session.topicRefs.set(ref, { topic, mayPublish: mayUseTopic(session.grant, topic, 'publish') });
  return DONE;
}

/** @throws HoldfastError `TOO_MANY` */
export function applySubscribe(state: MachineState, { topic: name, channel: to, policy }: Subscribe): Reply {
  const topic = findOrCreateTopic(state, name);
  const channel = findOrCreateChannel(state, to);
  const known = topic.subscriptions.get(channel.number);
  if (known === undefined && topic.subscriptions.size >= MAX_SUBSCRIPTIONS) {
    throw new HoldfastError('TOO_MANY', `Cannot subscribe "${to}": "${name}" has ${MAX_SUBSCRIPTIONS} subscriptions`);
  }
  const since = known?.since ?? Math.floor(state.now);
  topic.subscriptions.set(channel.number, { channel, policy: internPolicy(state, policy), since });
  putTopic(state, topic);
  return DONE;
}

export function applyUnsubscribe(state: MachineState, { topic: name, channel }: Unsubscribe): Reply {
  const topic = state.topics.get(name);
  const number = state.channels.get(channel)?.number ?? 0;
  if (topic === undefined || !topic.subscriptions.delete(number)) return { kind: 'value', value: 0 };
  if (topic.subscriptions.size > 0) {
    putTopic(state, topic);
  } else {
    state.topics.delete(name);
    erase(state, state.layout.key(KIND.topic, topic.number));
  }
  return { kind: 'value', value: 1 };
}

/** Publishes to all channels that are subscribed, or to none. */
export function applyPublish(
  state: MachineState,
  session: Session,
  ref: TopicRef,
  blocks: readonly Uint8Array[],
): Reply {
  const refusal = refusalToPublish(state, session, ref, blocks) ?? refusalForRoom(state, ref, blocks);
  if (refusal !== undefined) return refusal;
  const subscriptions = state.topics.get(ref.topic)?.subscriptions.size ?? 0;
  const stored = publishBlocks(state, session, ref, blocks);
  return { kind: 'published', stored, deduplicated: countOf(blocks) * subscriptions - stored };
}

/** Stores the messages in all channels that are subscribed. @returns how many that made */
export function publishBlocks(
  state: MachineState,
  session: Session,
  { topic }: TopicRef,
  blocks: readonly Uint8Array[],
): number {
  const subscriptions = subscriptionsOf(state, topic);
  if (subscriptions.length === 0) return 0;
  return blocks.reduce((sum, block) => sum + admitCopies(state, session, subscriptions, block), 0);
}

/** Why the session may not publish this at all; `undefined` when it may. */
export function refusalToPublish(
  state: MachineState,
  session: Session,
  { topic, mayPublish }: TopicRef,
  blocks: readonly Uint8Array[],
): Refused | undefined {
  if (!mayPublish) {
    const message = `Cannot publish to "${topic}": the access token lacks topic:${topic}:publish`;
    return { kind: 'refused', code: 'FORBIDDEN', message };
  }
  const copies = countOf(blocks) * (state.topics.get(topic)?.subscriptions.size ?? 0);
  if (copies > MAX_COPIES) {
    const message = `Cannot publish to "${topic}": it would make ${copies} messages at once, and at most ${MAX_COPIES} may be`;
    return { kind: 'refused', code: 'TOO_MANY', message };
  }
  return refusalToWriteKeys(session, blocks);
}

/** Why there is no room for this; `undefined` when every subscribed channel has it. */
export function refusalForRoom(
  state: MachineState,
  { topic }: TopicRef,
  blocks: readonly Uint8Array[],
): Refused | undefined {
  const count = countOf(blocks);
  const full = subscriptionsOf(state, topic).find(({ channel, policy }) => {
    const { maxBacklog } = policy.policy;
    if (maxBacklog !== 0 && backlogOf(channel) + count > maxBacklog) return true;
    return messagesWithoutRoom(channel, blocks).length > 0;
  });
  if (full === undefined) return undefined;
  const message = `Cannot publish to "${topic}": its subscription "${full.channel.name}" holds as many messages as it may`;
  return { kind: 'refused', code: 'BACKLOG_FULL', message };
}

/** The topics that somebody is subscribed to and that the session may use, in order. */
export function viewTopics({ topics }: MachineState, { grant }: Session): string[] {
  const mayUse = (name: string): boolean =>
    mayUseTopic(grant, name, 'publish') || mayUseTopic(grant, name, 'subscribe');
  return [...topics.keys()].filter(mayUse).sort();
}

/** Those who are subscribed, in the order of their names. */
export function viewSubscriptions(state: MachineState, topic: string): SubscriptionView[] {
  const views = subscriptionsOf(state, topic).map(({ channel, since }) => ({
    channel: channel.name,
    subscribedAt: since,
  }));
  return views.sort((a, b) => (a.channel < b.channel ? -1 : 1));
}

/** Takes in the record of a topic. */
export function addTopic(state: MachineState, number: number, value: Value): void {
  const reader = new ByteReader(value, 1);
  const topic: Topic = { number, name: reader.text(), subscriptions: new Map() };
  for (let left = reader.varint(); left > 0; left--) {
    const channel = state.channelNumbers.get(reader.varint());
    const policy = state.policyNumbers.get(reader.varint());
    const since = reader.f64();
    if (channel === undefined || policy === undefined) {
      throw new HoldfastError('STORE_CORRUPT', `Cannot read the topic "${topic.name}": a channel of it is missing`);
    }
    topic.subscriptions.set(channel.number, { channel, policy, since });
  }
  state.topics.set(topic.name, topic);
  state.nextTopic = Math.max(state.nextTopic, number + 1);
}

function subscriptionsOf({ topics }: MachineState, name: string): Subscription[] {
  return [...(topics.get(name)?.subscriptions.values() ?? [])];
}

function findOrCreateTopic(state: MachineState, name: string): Topic {
  const found = state.topics.get(name);
  if (found !== undefined) return found;
  if (state.topics.size >= MAX_TOPICS) {
    throw new HoldfastError('TOO_MANY', `Cannot subscribe to "${name}": a space has at most ${MAX_TOPICS} topics`);
  }
  if (name.length === 0 || name.length > MAX_CHANNEL_NAME_CHARACTERS) {
    throw new HoldfastError('PROTOCOL', `Cannot create a topic whose name has ${name.length} characters`);
  }
  const topic: Topic = { number: state.nextTopic++, name, subscriptions: new Map() };
  state.topics.set(name, topic);
  return topic;
}

function putTopic(state: MachineState, { number, name, subscriptions }: Topic): void {
  const record = new ByteWriter();
  record.u8(RECORD_VERSION);
  record.text(name);
  record.varint(subscriptions.size);
  for (const { channel, policy, since } of subscriptions.values()) {
    record.varint(channel.number);
    record.varint(policy.number);
    record.f64(since);
  }
  put(state, state.layout.key(KIND.topic, number), record.finish());
}
