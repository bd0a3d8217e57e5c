/** An instance: the channels of one store, seen through one session. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Client } from '../client/client.ts';
import type { EventKind } from '../model/views.ts';
import { type Duration, parseDuration } from '../model/duration.ts';
import { type Admin, createAdmin } from './admin.ts';
import { Channel } from './channel.ts';
import { type ChannelMap, type Channels, createChannels } from './channel-map.ts';
import { type BackupOptions, takeBackup } from './backup.ts';
import { createKv } from './kv/kv.ts';
import { type KvLimits, resolveKvOptions } from './kv/limits.ts';
import type { HoldfastKv } from './kv/types.ts';
import { addFlow, type FlowOptions, type FlowReceipt } from './flow.ts';
import type { FlowNode } from './flow-nodes.ts';
import { type EventsOptions, type JournalEvent, readEvents } from './events.ts';
import { checkChannelName } from './checks.ts';
import { CLIENT } from './client-of.ts';
import { type ChannelOptions, resolveChannelOptions } from './options.ts';
import { createSchedules, type Schedules } from './schedules.ts';
import { createTokens, type Tokens } from './tokens.ts';
import { ask } from './stored.ts';
import { Topic, type TopicOptions } from './topic.ts';
import { transact } from './transact.ts';
import type { Transaction } from './transaction.ts';

export interface Holdfast {
  /**
   * A channel whose messages are of type `Message`; a compile-time promise, for every process that uses the name.
   *
   * @throws TypeError, RangeError for an option that cannot be used
   */
  channel<Message, Result = unknown>(
    name: string,
    options?: ChannelOptions<undefined>,
  ): Channel<Message, Message, Result>;
  /** A channel whose messages are checked by a schema, which also gives them their type. */
  channel<Schema extends StandardSchemaV1, Result = unknown>(
    name: string,
    options: ChannelOptions<Schema> & { readonly schema: Schema },
  ): Channel<StandardSchemaV1.InferInput<Schema>, StandardSchemaV1.InferOutput<Schema>, Result>;
  /**
   * A topic: what is published to it reaches every channel that is subscribed, each with a message of its own.
   *
   * @throws TypeError, RangeError for a name or an option that cannot be used
   */
  topic<Message>(name: string, options?: TopicOptions<undefined>): Topic<Message>;
  /** A topic whose messages are checked by a schema, which also gives them their type. */
  topic<Schema extends StandardSchemaV1>(
    name: string,
    options: TopicOptions<Schema> & { readonly schema: Schema },
  ): Topic<StandardSchemaV1.InferInput<Schema>, StandardSchemaV1.InferOutput<Schema>>;
  /** The names of all topics with subscriptions that the access token may use, in order. */
  topicNames(): Promise<string[]>;
  /** Values under ordered keys, and a queue: all of Deno.Kv, with its limits where `open` was not told otherwise. */
  readonly kv: HoldfastKv;
  /** Messages that come again and again, by cron patterns or at intervals: each tick once, whoever leads. */
  readonly schedules: Schedules;
  /** The names of all channels that the access token may read, in order. */
  channelNames(): Promise<string[]>;
  /** Access tokens of the space: who may come in from elsewhere, and what that allows. They take `server:admin`. */
  readonly tokens: Tokens;
  /**
   * What happens to messages and channels, in the order of the commits, each event once, without an end. Events are kept for
   * 24 h, at most 100,000 of them, unless `admin.retainEvents` says otherwise; who falls behind further hears `trimmed`. A
   * message's state is in the store, not in its events.
   *
   * @throws TypeError for options that cannot be used
   */
  events<const What extends EventKind = EventKind>(
    options?: EventsOptions<What>,
  ): AsyncGenerator<JournalEvent<What>, never, void>;
  /**
   * A backup of the whole space while it is in use, as the bytes of a file for `restore`. It has everything that was
   * acknowledged before the first part was asked for, and is the state of one moment, that of its last part. The broker
   * waits for whoever takes the parts, up to 64 MiB of later writes.
   *
   * @throws HoldfastError `CLOSED` when the broker was replaced meanwhile: begin again; `TOO_MANY` when too much was written
   * while the parts were not taken, or too many backups are under way
   */
  backup(options?: BackupOptions): AsyncGenerator<Uint8Array, void, void>;
  /**
   * Reads and changes entries of KV and produces messages in one commit, or none. Where something that `work` read has
   * changed by the time of the commit, it runs again, up to 100 times; so it must have no other effects than those of `tx`.
   *
   * @returns what `work` returns, when its effects are durable
   * @throws HoldfastError `CONFLICT` when what it read kept changing; `BACKLOG_FULL`, `FORBIDDEN`; what `work` throws
   */
  transact<Result>(work: (tx: Transaction) => Result | Promise<Result>): Promise<Result>;
  /**
   * Adds messages of which some wait for others, in one commit or not at all: at most 10,000 messages of 8 MiB together. A
   * message waits until all of its children have ended; its handler then reads their results with `context.children()`.
   *
   * @param flow what `node()` of a channel returns, with its children; or a list of that
   * @throws TypeError, RangeError for messages or options that cannot be used, a key that is there twice, an unknown parent,
   * messages that wait for each other; nothing is stored then
   * @throws HoldfastError `DUPLICATE` when a message that has children is deduplicated; `BACKLOG_FULL`, whatever `onFull`
   * says; `NOT_FOUND` for a parent that has ended; `STORE_FULL`, `FORBIDDEN`, `CLOSED`
   */
  flow(flow: FlowNode, options?: FlowOptions): Promise<FlowReceipt>;
  flow(flow: readonly FlowNode[], options?: FlowOptions): Promise<FlowReceipt[]>;
  /** For those who operate the store: looks at everything, and makes no channel. */
  readonly admin: Admin;
  /** What an acknowledged write survives: `memory` nothing, `disk` a power cut, `replicated` the loss of a machine. */
  readonly durability: 'memory' | 'disk' | 'replicated';
  /**
   * Drains all consumers, waits for what is unanswered, and lets the store go. Where no broker can be reached any more,
   * it waits for one for 5 s; what is unanswered then rejects with `CLOSED`. Safe twice.
   *
   * @throws TypeError, RangeError for a grace that is no duration
   */
  close(options?: CloseOptions): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** An instance that was opened with definitions of channels. */
export interface HoldfastWith<Definitions extends ChannelMap> extends Holdfast {
  /** The channels of the definitions, each made when it is first asked for. @throws TypeError for another one */
  readonly channels: Channels<Definitions>;
}

export interface CloseOptions {
  /**
   * How long handlers may go on; what still runs then gets its signal and goes back, uncounted.
   * @default as long as they take
   */
  readonly grace?: Duration;
}

/** How long an instance that is closed waits for a broker that cannot be reached, in milliseconds. */
const UNREACHABLE_MS = 5_000;

/** Lets handlers finish, and takes from those that still run after the grace what they work on. */
export async function drainWithin(client: Client, graceMs: number | undefined): Promise<void> {
  const cancel = graceMs === undefined ? () => {} : client.clock.timer(graceMs, () => client.closeConsumers());
  await client.drainConsumers();
  cancel();
}

/** @param release lets the broker go, once the client has said goodbye */
export function createHoldfast(
  client: Client,
  release: () => Promise<void>,
  kvLimits: KvLimits = resolveKvOptions(),
  definitions: ChannelMap = {},
): HoldfastWith<ChannelMap> {
  let closing: Promise<void> | undefined;
  const finish = async (graceMs: number | undefined): Promise<void> => {
    await drainWithin(client, graceMs);
    await client.idle();
  };
  const close = ({ grace }: CloseOptions = {}): Promise<void> => {
    const graceMs = grace === undefined ? undefined : parseDuration(grace, 'grace');
    closing ??= (async () => {
      const unreachable = client.whenUnreachable(UNREACHABLE_MS);
      await Promise.race([finish(graceMs), unreachable.reached]);
      unreachable.stop();
      client.close();
      await release();
    })();
    return closing;
  };
  const channel = (name: string, options: ChannelOptions = {}): Channel<never, never, never> => {
    checkChannelName(name);
    return new Channel(client, name, resolveChannelOptions(options));
  };
  return {
    [CLIENT]: client,
    channel,
    channels: createChannels(definitions, ({ name, options }) => channel(name, options)),
    topic: (name: string, options: TopicOptions = {}) => {
      checkChannelName(name);
      return new Topic<never>(client, name, options);
    },
    topicNames: () => ask(client, { kind: 'inspect', what: 'topics' }) as Promise<string[]>,
    kv: createKv(client, kvLimits),
    schedules: createSchedules(client),
    tokens: createTokens(client),
    transact: (work) => transact(client, work),
    flow: (flow: FlowNode | readonly FlowNode[], options?: FlowOptions) => addFlow(client, flow, options),
    channelNames: () => ask(client, { kind: 'inspect', what: 'channels' }) as Promise<string[]>,
    admin: createAdmin(client),
    backup: (options: BackupOptions = {}) => takeBackup(client, options),
    events: <What extends EventKind>(options: EventsOptions<What> = {}) => readEvents(client, options),
    get durability() {
      return client.durability;
    },
    close,
    [Symbol.asyncDispose]: () => close(),
  } as HoldfastWith<ChannelMap>;
}
