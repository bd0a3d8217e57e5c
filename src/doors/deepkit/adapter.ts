/** Where the channels of a `BrokerQueue` are: our own, or Deepkit's. */
import type {
  BrokerAdapterQueue,
  BrokerAdapterQueueProduceOptionsResolved,
  BrokerQueueMessage as MessageOfDeepkit,
  Release,
} from '@deepkit/broker';
import type { Type } from '@deepkit/type';
import type { Handler } from '../../api/attempt.ts';
import type { Consumer } from '../../api/consumer.ts';
import type { HandlerContext } from '../../api/handler-context.ts';
import type { Holdfast } from '../../api/holdfast.ts';
import { type HandlerOutcome, retry, snooze } from '../../api/outcomes.ts';
import { describe } from '../../api/failure.ts';
import { HoldfastError } from '../../model/errors.ts';
import { open, type OpenOptions } from '../../open.ts';
import { BrokerQueueMessage } from './message.ts';
import { type BrokerQueueProduceOptions, type ParsedChannelOptions, parseChannelOptions } from './options.ts';
import { load } from './packages.ts';
import { TypedChannel } from './typed-channel.ts';

/** What a handler has said of its message. */
type Said = Pick<BrokerQueueMessage<unknown>, 'state' | 'delayed'> & { readonly error?: unknown };

/**
 * Holdfast for Deepkit's queue: `new BrokerQueue(new HoldfastBrokerAdapter('file:./data'))`, with the class of this door or with that of
 * `@deepkit/broker`. Opens the store when it is first used; a store that could not be reached is tried again with the next use.
 */
export class HoldfastBrokerAdapter implements BrokerAdapterQueue {
  readonly #target: Holdfast | string | undefined;
  readonly #options: OpenOptions;
  /** Channels of Deepkit's own classes, by name and type. */
  readonly #channels = new Map<string, Map<unknown, TypedChannel>>();
  readonly #consumers = new Set<Consumer>();
  #opening: Promise<Holdfast> | undefined;
  #disconnecting: Promise<void> | undefined;

  /**
   * @param target an instance, which whoever opened it closes; or a URL as for `open`
   * @param options for `open`
   */
  constructor(target?: Holdfast | string, options: OpenOptions = {}) {
    this.#target = target;
    this.#options = options;
  }

  /** The instance that everything goes through. @throws as `open`; HoldfastError `CLOSED` */
  async holdfast(): Promise<Holdfast> {
    if (this.#disconnecting !== undefined) {
      throw new HoldfastError('CLOSED', 'Cannot use the adapter: it is disconnected');
    }
    if (typeof this.#target === 'object') return this.#target;
    const opening = (this.#opening ??= open(this.#target, this.#options));
    try {
      return await opening;
    } catch (error) {
      if (this.#opening === opening) this.#opening = undefined;
      throw error;
    }
  }

  /** @internal */
  channel(name: string, options: ParsedChannelOptions, type: unknown): TypedChannel {
    return new TypedChannel(name, () => this.holdfast(), options, type);
  }

  /** @internal Runs a handler until it is released, which drains. */
  async run(channel: TypedChannel, handler: Handler<unknown, unknown>, maxParallel: number): Promise<Release> {
    const consumer = await channel.consume(handler, maxParallel);
    this.#consumers.add(consumer);
    return async () => {
      await consumer.drain();
      this.#consumers.delete(consumer);
    };
  }

  /** Stores a message of a channel of `@deepkit/broker`. */
  async produce(
    name: string,
    message: unknown,
    type: Type,
    options: Partial<BrokerAdapterQueueProduceOptionsResolved> = {},
  ): Promise<void> {
    await this.#channelOf(name, type).produce(message, withoutUndefined(options) as BrokerQueueProduceOptions);
  }

  /** Runs the handler of a channel of `@deepkit/broker`: it gets a message, whose data is what was produced. */
  consume(
    name: string,
    callback: (message: MessageOfDeepkit<unknown>) => Promise<void>,
    { maxParallel }: { maxParallel: number },
    type: Type,
  ): Promise<Release> {
    const { package: broker } = load('@deepkit/broker');
    const handler = async (data: unknown, context: HandlerContext): Promise<HandlerOutcome | undefined> => {
      const message =
        broker === undefined ? new BrokerQueueMessage(data, context) : new broker.BrokerQueueMessage(name, data);
      message.tries = context.attempt - 1;
      await callback(message as MessageOfDeepkit<unknown>);
      return outcomeOf(message);
    };
    return this.run(this.#channelOf(name, type), handler, maxParallel);
  }

  /** Releases all consumers: none takes a message any more. Resolves when their handlers are settled. */
  async drain(): Promise<void> {
    await Promise.all([...this.#consumers].map((consumer) => consumer.drain()));
  }

  /** Drains, and closes what the adapter has opened. Safe twice. */
  disconnect(): Promise<void> {
    this.#disconnecting ??= this.#disconnect(this.#opening);
    return this.#disconnecting;
  }

  async #disconnect(opening: Promise<Holdfast> | undefined): Promise<void> {
    await this.drain();
    // What could not be opened has told whoever asked for it.
    const opened = await opening?.catch(() => undefined);
    await opened?.close();
  }

  #channelOf(name: string, type: Type): TypedChannel {
    const ofName = this.#channels.get(name) ?? new Map<unknown, TypedChannel>();
    this.#channels.set(name, ofName);
    const channel = ofName.get(type) ?? this.channel(name, parseChannelOptions({}), type);
    ofName.set(type, channel);
    return channel;
  }
}

/** What becomes of a message, after what its handler has said of it. @throws what it failed with */
export function outcomeOf({ state, error, delayed }: Said): HandlerOutcome | undefined {
  const delayMs = delayed * 1_000;
  if (state !== 'failed') return delayed > 0 ? snooze(delayMs) : undefined;
  if (delayed > 0) return retry({ delay: delayMs, reason: describe(error) });
  throw error;
}

function withoutUndefined<Options extends object>(options: Options): Options {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Options;
}
