/** `BrokerQueue`: Deepkit's typed channels, which keep what Deepkit promises of them. */
import { checkChannelName, refuseUnknown } from '../../api/checks.ts';
import type { HandlerContext } from '../../api/handler-context.ts';
import type { Holdfast } from '../../api/holdfast.ts';
import { HandlerOutcome } from '../../api/outcomes.ts';
import { clientOf } from '../../api/client-of.ts';
import type { Receipt } from '../../api/receipt.ts';
import { HoldfastBrokerAdapter, outcomeOf } from './adapter.ts';
import { BrokerQueueMessage } from './message.ts';
import {
  type BrokerQueueChannelOptions,
  type BrokerQueueConsumeOptions,
  type BrokerQueueProduceOptions,
  type ParsedChannelOptions,
  parseChannelOptions,
} from './options.ts';
import type { TypedChannel } from './typed-channel.ts';

/** Ends a consumer: takes no more messages, gives back those not started, and resolves when running handlers are settled. */
export type Release = () => Promise<void>;

/**
 * Handles a message; when it returns, the message is processed, and when it throws, it comes again. What it returns is not kept, but for
 * what `retry`, `snooze`, `deadLetter` and `rateLimited` of Holdfast give.
 */
export type BrokerQueueHandler<T> = (data: T, message: BrokerQueueMessage<T>) => unknown;

/** Where Deepkit's compiler leaves the type arguments of a call, on the function that is called. */
interface ReceivesTypes {
  Ω?: readonly unknown[] | undefined;
}

export class BrokerQueue {
  readonly adapter: HoldfastBrokerAdapter;

  /**
   * @param where an instance, a URL as for `open`, or an adapter; by default what `open` takes by default
   * @throws TypeError
   */
  constructor(where?: Holdfast | HoldfastBrokerAdapter | string) {
    this.adapter = where instanceof HoldfastBrokerAdapter ? where : new HoldfastBrokerAdapter(checkTarget(where));
  }

  /**
   * A channel whose messages are of type `T`. Compiled by Deepkit's type compiler, they are checked by it when they are produced and
   * when they are consumed, constraints such as `MinLength` too; else `T` is a promise of compile time, unless there is a `schema`.
   *
   * @param type a runtime type, where the compiler does not know `T`: what `typeOf` of `@deepkit/type` gives
   * @throws TypeError, RangeError for an option that cannot be used
   */
  channel<T>(name: string, options: BrokerQueueChannelOptions = {}, type?: unknown): BrokerQueueChannel<T> {
    // oxlint-disable-next-line typescript/unbound-method -- the compiler's mark stands on the function, whoever it belongs to.
    const called = this.channel as ReceivesTypes;
    const received = type ?? called.Ω?.[0];
    // The next call may be one without a type.
    called.Ω = undefined;
    checkChannelName(name);
    return new BrokerQueueChannel(name, this.adapter, parseChannelOptions(options), received);
  }
}

export class BrokerQueueChannel<T> {
  readonly name: string;
  readonly #adapter: HoldfastBrokerAdapter;
  readonly #channel: TypedChannel;

  /** @internal Channels come from `channel()` of a queue. */
  constructor(name: string, adapter: HoldfastBrokerAdapter, options: ParsedChannelOptions, type: unknown) {
    this.name = name;
    this.#adapter = adapter;
    this.#channel = adapter.channel(name, options, type);
  }

  /**
   * Stores a message and resolves when it is as safe as the store promises.
   *
   * @throws TypeError, RangeError for a message or option that cannot be used; nothing is stored then
   * @throws InvalidMessageError when the message does not match its type or the schema
   * @throws HoldfastError `UNREACHABLE`, `BACKLOG_FULL`, `STORE_FULL`, `FORBIDDEN`, `CLOSED`
   */
  produce(message: T, options: BrokerQueueProduceOptions = {}): Promise<Receipt> {
    return this.#channel.produce(message, options);
  }

  /**
   * Runs a handler on the channel's messages until it is released. It keeps the process alive.
   *
   * @throws TypeError, RangeError; HoldfastError `UNREACHABLE`, `CLOSED`
   */
  async consume(handler: BrokerQueueHandler<T>, options: BrokerQueueConsumeOptions = {}): Promise<Release> {
    if (typeof handler !== 'function') throw new TypeError('Cannot consume: the handler must be a function');
    refuseUnknown(options, ['maxParallel'], 'consume');
    const run = async (data: unknown, context: HandlerContext): Promise<HandlerOutcome | undefined> => {
      const message = new BrokerQueueMessage(data as T, context);
      try {
        const returned = await handler(message.data, message);
        if (returned instanceof HandlerOutcome) return returned;
      } catch (error) {
        message.failed(error as Error);
      }
      return outcomeOf(message);
    };
    return this.#adapter.run(this.#channel, run, options.maxParallel ?? 1);
  }
}

/** @throws TypeError */
function checkTarget(where: Holdfast | string | undefined): Holdfast | string | undefined {
  if (where === undefined || typeof where === 'string' || clientOf(where) !== undefined) return where;
  throw new TypeError('Cannot make a BrokerQueue: give an instance of Holdfast, a URL, or a HoldfastBrokerAdapter');
}

/**
 * What Deepkit's compiler would leave on the class for `{ name: string; data: T }`, so that its container tells channels of different
 * messages apart: it compares providers by structure.
 */
Object.defineProperty(BrokerQueueChannel, '__type', {
  value: ['T', 'name', 'data', 'BrokerQueueChannel', 'b!&3"9e!!3#9<5w$'],
});
