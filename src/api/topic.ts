/** A topic: what is published to it reaches every channel that is subscribed. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { blocksOf, type Client } from '../client/client.ts';
import { refusal } from '../client/outbox.ts';
import { type MessageId, messageIdText } from '../model/message-id.ts';
import type { SubscriptionView } from '../model/topic.ts';
import { Channel } from './channel.ts';
import { checkChannelName, refuseUnknown } from './checks.ts';
import { createItem } from './messages.ts';
import {
  type ChannelOptions,
  type ProduceOptions,
  type ResolvedChannelOptions,
  resolveChannelOptions,
} from './options.ts';
import type { Prepared } from './produced.ts';
import { checkMessage } from './schema.ts';
import { ask } from './stored.ts';
import type { TransactionTarget } from './transaction.ts';

export interface TopicOptions<Schema extends StandardSchemaV1 | undefined = StandardSchemaV1 | undefined> {
  /** Checks each message when it is published, and when it is consumed from a subscription that was opened with this topic. */
  readonly schema?: Schema;
  /**
   * The largest encoded message, in bytes.
   * @default 4194304
   */
  readonly maxPayloadBytes?: number;
}

/** Of a message that is published. How often it is tried, and the like, is each subscription's own. */
export type PublishOptions = Pick<
  ProduceOptions,
  'delay' | 'dueAt' | 'priority' | 'lifo' | 'dedupeKey' | 'name' | 'group' | 'cost'
>;

/** The options of the channel, but for its schema, which is that of the topic. */
export type SubscribeOptions = Omit<ChannelOptions, 'schema' | 'onFull' | 'maxPayloadBytes'>;

/** What a publish gives: the messages are stored as safely as `durability` says, all in one commit. */
export interface PublishReceipt {
  /** Of the message in the first channel; the others have ids of their own. */
  readonly id: MessageId;
  readonly topic: string;
  /** How many channels have got the message. With none, nobody was subscribed, and nothing was stored. */
  readonly subscriptions: number;
  /** How many channels did not store it, since they deduplicate, and a message with its key stands there. */
  readonly deduplicated: number;
  readonly durability: 'memory' | 'disk' | 'replicated';
}

const PUBLISH_OPTIONS = ['delay', 'dueAt', 'priority', 'lifo', 'dedupeKey', 'name', 'group', 'cost'] as const;

/**
 * A topic of messages that go in as `Input` and come to the handlers as `Message`; the two differ only where a schema
 * transforms. In `tx.produce` and in `produce` of an atomic operation it stands for all channels that are subscribed.
 */
export class Topic<Input, Message = Input> implements TransactionTarget<Input> {
  readonly name: string;
  readonly #client: Client;
  readonly #options: ResolvedChannelOptions;
  readonly #schema: StandardSchemaV1 | undefined;
  #ref: number | undefined;

  /** @internal Topics come from `topic()` of an instance. */
  constructor(client: Client, name: string, options: TopicOptions) {
    refuseUnknown(options, ['schema', 'maxPayloadBytes'], 'topic');
    this.#client = client;
    this.name = name;
    this.#schema = options.schema;
    // Whether a channel deduplicates is its own affair, so each message carries its key.
    this.#options = resolveChannelOptions({ ...options, process: 'exactlyOnce' });
  }

  /**
   * Stores the message in every channel that is subscribed at the commit, or in none, and resolves when that is as safe as
   * the store promises.
   *
   * @throws TypeError, RangeError for a message or option that cannot be used
   * @throws InvalidMessageError when the message does not match the schema
   * @throws HoldfastError `BACKLOG_FULL` when one of the channels has no room; `STORE_FULL`, `TOO_MANY`, `FORBIDDEN`, `CLOSED`
   */
  async publish(message: Input, options?: PublishOptions): Promise<PublishReceipt> {
    const prepared = this.#prepare(message, options);
    const { ref, item } = prepared instanceof Promise ? await prepared : prepared;
    const reply = await this.#client.request({ kind: 'produce', ref, atomic: true, blocks: blocksOf([item]) });
    if (reply.kind !== 'published') throw refusal(reply);
    return {
      id: messageIdText(item.id),
      topic: this.name,
      subscriptions: reply.stored,
      deduplicated: reply.deduplicated,
      durability: this.#client.durability,
    };
  }

  /**
   * Lets a channel have, from now on, everything that is published, under these options; both are made when they are new. It
   * lasts until `unsubscribe`, whoever comes and goes. Whoever subscribes it again changes the options for what comes then.
   *
   * @returns the channel, to consume from
   * @throws TypeError, RangeError for a name or an option that cannot be used
   * @throws HoldfastError `TOO_MANY`, `FORBIDDEN`
   */
  async subscribe<Result = unknown>(
    channel: string,
    options: SubscribeOptions = {},
  ): Promise<Channel<Input, Message, Result>> {
    checkChannelName(channel);
    const resolved = resolveChannelOptions({ ...options, ...(this.#schema !== undefined && { schema: this.#schema }) });
    const opened = new Channel<Input, Message, Result>(this.#client, channel, resolved);
    await ask(this.#client, { kind: 'subscribe', topic: this.name, channel, policy: resolved.policy });
    return opened;
  }

  /**
   * Ends a subscription. The channel stays, with the messages that it has.
   *
   * @returns whether there was one
   * @throws HoldfastError `FORBIDDEN`
   */
  async unsubscribe(channel: string): Promise<boolean> {
    checkChannelName(channel);
    return (await ask(this.#client, { kind: 'unsubscribe', topic: this.name, channel })) === 1;
  }

  /** The channels that are subscribed, in the order of their names. @throws HoldfastError `FORBIDDEN` */
  async subscriptions(): Promise<SubscriptionView[]> {
    return (await ask(this.#client, { kind: 'inspect', what: 'topic', topic: this.name })) as SubscriptionView[];
  }

  /** @internal */
  prepare(client: Client, message: Input, options: ProduceOptions | undefined): Prepared | Promise<Prepared> {
    if (client !== this.#client) {
      throw new TypeError(`Cannot publish to "${this.name}" with this ack: the topic is of another instance`);
    }
    return this.#prepare(message, options);
  }

  #prepare(message: Input, options: PublishOptions | undefined): Prepared | Promise<Prepared> {
    if (options !== undefined) refuseUnknown(options, PUBLISH_OPTIONS, 'publish');
    const item = (): Prepared => {
      this.#ref ??= this.#client.declareTopic(this.name);
      return { ref: this.#ref, item: createItem(this.#client, this.#options, message, options, false) };
    };
    if (this.#schema === undefined) return item();
    const checked = checkMessage(this.#schema, this.name, message);
    return checked instanceof Promise ? checked.then(item) : item();
  }
}
