/** A channel: a named, typed, ordered store of messages. */
import type { Client } from '../client/client.ts';
import type { Ended } from '../client/waits.ts';
import { CODEC_BSON } from '../codec/bson.ts';
import type { Answer, ProduceOutcome } from '../client/outbox.ts';
import type { Command, Control, Manage } from '../model/command.ts';
import type { ChannelView, EventKind, GroupView } from '../model/views.ts';
import { HoldfastError } from '../model/errors.ts';
import type { FlowView } from '../model/flow-views.ts';
import type { BulkAction } from '../model/filter.ts';
import { type MessageId, messageIdText, parseMessageId } from '../model/message-id.ts';
import type { ChannelMetrics } from '../model/metrics.ts';
import type { State } from '../model/states.ts';
import { attemptRunner, type Handler, type ScopedHandler } from './attempt.ts';
import { type BatchHandler, batchRunner, type ScopedBatchHandler } from './batch.ts';
import {
  type BatchConsumeOptions,
  checkConsumeOptions,
  type Consumer,
  type ConsumeOptions,
  createConsumer,
  resolveBatch,
  type ScopedBatchConsumeOptions,
  type ScopedConsumeOptions,
} from './consumer.ts';
import { type ChannelEventsOptions, type JournalEvent, readEvents } from './events.ts';
import { type FlowViewOptions, viewFlow } from './flow.ts';
import { createNode, type FlowNode, type FlowNodeOptions } from './flow-nodes.ts';
import { ISOLATE_OPTIONS, type IsolatedConsumeOptions, startPool } from './isolated.ts';
import { createItem, decodePayload } from './messages.ts';
import { checkOptionsObject, checkSignal, refuseUnknown } from './checks.ts';
import { changesRules, type ProduceOptions, type ResolvedChannelOptions, rulesOver } from './options.ts';
import { type ChannelConfiguration, resolveConfiguration, type RetainOptions } from './settings.ts';
import { type ChannelGroup, channelGroup, channelGroups } from './groups.ts';
import { type MetricsOptions, readChannelMetrics } from './metrics.ts';
import {
  resolveSchedule,
  type ScheduleOptions,
  type ScheduleReceipt,
  type ScheduleRule,
  upsertSchedule,
} from './schedule-options.ts';
import { checkMessage } from './schema.ts';
import { scoped, scopedBatch } from './scope.ts';
import { type Bulk, type BulkOptions, startBulk } from './bulk.ts';
import {
  cancelMessage,
  type CancelOptions,
  retryMessage,
  type RetryOptions,
  updateMessage,
  type UpdateOptions,
} from './life.ts';
import { type FilterOptions, searchMessages, type SearchOptions, type SearchPage } from './search.ts';
import { ask, listMessages, type ListOptions, readMessage, type StoredMessage } from './stored.ts';
import { unlessAborted } from './waiting.ts';
import type { Prepared } from './produced.ts';
import type { Receipt } from './receipt.ts';
import type { TransactionTarget } from './transaction.ts';

export interface RequestOptions extends ProduceOptions {
  /** Ends the waiting; the message goes on. */
  readonly signal?: AbortSignal;
}

/**
 * A channel of messages that go in as `Input` and come to the handler as `Message`; the two differ only where a
 * schema transforms. Handlers give `Result`.
 */
export class Channel<Input, Message = Input, Result = unknown> implements TransactionTarget<Input> {
  readonly name: string;
  readonly #client: Client;
  readonly #options: ResolvedChannelOptions;
  /** The names under which the session knows the channel, by the rules that go with it. */
  readonly #refs = new Map<string, number>();
  readonly #plainRef: number;

  /** @internal Channels come from `channel()` of an instance. */
  constructor(client: Client, name: string, options: ResolvedChannelOptions) {
    this.#client = client;
    this.name = name;
    this.#options = options;
    this.#plainRef = this.#declare(options, true);
  }

  /**
   * Stores a message and resolves when it is as safe as the store promises.
   *
   * @throws TypeError, RangeError for a message or option that cannot be used; nothing is stored then
   * @throws InvalidMessageError when the message does not match the schema
   * @throws HoldfastError `BACKLOG_FULL`, `STORE_FULL`, `FORBIDDEN`, `CLOSED`
   */
  produce(message: Input, options?: ProduceOptions): Promise<Receipt> {
    // Written without `await`: this is the hottest function of the API, and each await costs a promise.
    try {
      const prepared = this.#prepare(message, options, false);
      return prepared instanceof Promise ? prepared.then((ready) => this.#send(ready)) : this.#send(prepared);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  /**
   * Stores all messages in one commit, or none: at most 10,000 messages of 8 MiB together.
   *
   * @throws as `produce`; `BACKLOG_FULL` when there is not room for all
   */
  async produceAll(messages: readonly Input[], options?: ProduceOptions): Promise<Receipt[]> {
    if (!Array.isArray(messages)) {
      throw new TypeError(`Cannot produce all of ${typeof messages}: give the messages as an array`);
    }
    if (messages.length > MAX_MESSAGES)
      throw new RangeError(`Cannot produce more than ${MAX_MESSAGES} messages at once`);
    if (messages.length === 0) return [];
    const prepared: Prepared[] = [];
    let bytes = 0;
    for (const message of messages) {
      const one = this.#prepare(message, options, false);
      const ready = one instanceof Promise ? await one : one;
      bytes += ready.item.payload.length;
      prepared.push(ready);
    }
    if (bytes > MAX_BYTES)
      throw new RangeError(`Cannot produce ${bytes} bytes at once: at most ${MAX_BYTES} fit into one commit`);
    const ref = (prepared[0] as Prepared).ref;
    const items = prepared.map(({ item }) => item);
    for (;;) {
      const outcomes = await this.#client.produceAll(ref, items);
      if (!outcomes.some(({ what }) => what === 'backlogFull')) {
        return outcomes.map((outcome, i) => this.receipt((prepared[i] as Prepared).item.id, outcome));
      }
      await this.#waitForRoom(items.length);
    }
  }

  /**
   * Stores a message and waits for what its handler returns.
   *
   * @throws as `produce`; HoldfastError `DEAD` with the handler's last error as cause when the message is dead or
   * was cancelled; the signal's reason when it fires
   */
  async request(message: Input, options: RequestOptions = {}): Promise<Result> {
    checkOptionsObject(options, 'request');
    const { signal, ...produce } = options;
    checkSignal(signal);
    signal?.throwIfAborted();
    const prepared = this.#prepare(message, Object.keys(produce).length === 0 ? undefined : produce, true);
    const { ref, item } = prepared instanceof Promise ? await prepared : prepared;
    const own = this.#client.waits.end(item.id, true);
    let receipt: Receipt;
    try {
      receipt = await this.#send({ ref, item });
    } catch (error) {
      own.stop();
      throw error;
    }
    if (!receipt.deduplicated) {
      const ended = await untilAborted(own, signal);
      // Unknown is what it was as long as it waited for room, if the link was renewed meanwhile; now it is stored.
      if (ended.state !== undefined) return this.#resultOf(receipt.id, ended);
    }
    own.stop();
    return this.#result(receipt.id, this.#client.waits.end(parseMessageId(receipt.id), false), signal);
  }

  /** Waits for what the handler of a stored message returned, or will. @throws as `request`; `NOT_FOUND` */
  async result(id: MessageId, options: { readonly signal?: AbortSignal } = {}): Promise<Result> {
    refuseUnknown(options, ['signal'], 'result');
    checkSignal(options.signal);
    return this.#result(id, this.#client.waits.end(parseMessageId(id), false), options.signal);
  }

  /**
   * Makes a schedule that produces this message again and again, or changes the one of this key: `schedules.upsert` of the instance.
   *
   * @throws TypeError, RangeError for a rule, an option or a message that cannot be used; nothing is changed then
   * @throws InvalidMessageError when the message does not match the schema
   * @throws HoldfastError `STORE_FULL`, `FORBIDDEN`, `TOO_MANY`, `CLOSED`
   */
  async schedule(
    key: string,
    rule: ScheduleRule,
    message: Input,
    options: ScheduleOptions = {},
  ): Promise<ScheduleReceipt> {
    const resolved = resolveSchedule(key, rule, options);
    const { produce } = resolved;
    const plain = Object.keys(produce).length === 0;
    const prepared = await this.#prepare(message, plain ? undefined : produce, false);
    // Each tick has the same content, and is another message all the same.
    const dedupe = produce.dedupeKey === undefined ? undefined : prepared.item.options.dedupe;
    const item = { ...prepared.item, options: { ...prepared.item.options, dedupe } };
    return upsertSchedule(this.#client, key, this.name, resolved, { ref: prepared.ref, item });
  }

  /** Runs a handler on the channel's messages, each time in a scope of its own, which it gets as `context.scope`. */
  async consume<Scope>(
    handler: ScopedHandler<Message, Result, Scope>,
    options: ScopedConsumeOptions<Message, Scope>,
  ): Promise<Consumer>;
  /**
   * Runs a handler on the channel's messages until the consumer is drained or closed. An open consumer keeps the
   * process alive. `stopped` rejects with `FORBIDDEN` when the access token does not allow it.
   */
  async consume(handler: Handler<Message, Result>, options?: ConsumeOptions): Promise<Consumer>;
  /**
   * Runs the handler that a module exports as its default in isolates: child processes or threads, up to `concurrency` of
   * them, each with one message at a time. An isolate that dies takes only its own message along, as a death.
   *
   * @throws TypeError when the module cannot be loaded, or exports no function as its default
   */
  async consume(module: URL, options: IsolatedConsumeOptions): Promise<Consumer>;
  async consume(
    handler: Handler<Message, Result> | ScopedHandler<Message, Result, never> | URL,
    options: ConsumeOptions | IsolatedConsumeOptions = {},
  ): Promise<Consumer> {
    if (handler instanceof URL) return this.#consumeIsolated(handler, options as IsolatedConsumeOptions);
    if (typeof handler !== 'function') throw new TypeError('Cannot consume: the handler must be a function');
    if ('isolate' in options) {
      throw new TypeError(
        'Cannot run a function in an isolate: give the URL of a module that exports it as its default',
      );
    }
    const { scope } = options as Partial<ScopedConsumeOptions<Message, never>>;
    const run = attemptRunner(
      this.#client,
      this.name,
      this.#options,
      (scope === undefined ? handler : scoped(scope, handler)) as Handler<unknown, unknown>,
    );
    return createConsumer(this.#client, this.name, this.#plainRef, run, options);
  }

  /** Runs a handler on many messages at a time, each time in a scope of its own, which it gets as `context.scope`. */
  async consumeBatch<Scope>(
    handler: ScopedBatchHandler<Message, Result, Scope>,
    options: ScopedBatchConsumeOptions<Message, Result, Scope>,
  ): Promise<Consumer>;
  /**
   * Runs a handler on many messages at a time, each with an outcome of its own, until the consumer is drained or closed. What
   * becomes of each message is as with `consume`; when the process dies, all of a batch that had started are charged a death.
   *
   * @throws TypeError, RangeError
   */
  async consumeBatch(handler: BatchHandler<Message, Result>, options?: BatchConsumeOptions): Promise<Consumer>;
  async consumeBatch(
    handler: BatchHandler<Message, Result> | ScopedBatchHandler<Message, Result, never>,
    options: BatchConsumeOptions = {},
  ): Promise<Consumer> {
    if (typeof handler !== 'function') {
      throw new TypeError('Cannot consume: the handler must be a function; an isolate has one message at a time');
    }
    const { rules, rest } = resolveBatch(options);
    const { scope } = options as Partial<ScopedBatchConsumeOptions<Message, Result, never>>;
    const run = batchRunner(
      this.#client,
      this.name,
      this.#options,
      (scope === undefined ? handler : scopedBatch(scope, handler)) as BatchHandler<unknown, unknown>,
    );
    return createConsumer(this.#client, this.name, this.#plainRef, { ...rules, run }, rest);
  }

  async #consumeIsolated(module: URL, options: IsolatedConsumeOptions): Promise<Consumer> {
    const { isolate: _isolate, memoryBytes: _memoryBytes, produces: _produces, ...rest } = options;
    checkConsumeOptions(rest, ISOLATE_OPTIONS);
    const pool = await startPool(this.#client, this.name, module, options);
    const run = attemptRunner(this.#client, this.name, this.#options, (message, context) =>
      pool.handle(message, context),
    );
    try {
      const consumer = createConsumer(this.#client, this.name, this.#plainRef, run, rest);
      const close = (): void => pool.close();
      consumer.stopped.then(close, close);
      return consumer;
    } catch (error) {
      pool.close();
      throw error;
    }
  }

  /**
   * Resolves as soon as the channel has messages to hand out and no consumer, in any process, with room for them: to
   * start one then. A paused channel hands out nothing.
   *
   * @throws the signal's reason when it fires; HoldfastError `FORBIDDEN`, `CLOSED`
   */
  async wanted(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    refuseUnknown(options, ['signal'], 'wanted');
    const { signal } = options;
    checkSignal(signal);
    signal?.throwIfAborted();
    const { wanted, stop } = this.#client.waits.wanted(this.name);
    await unlessAborted(wanted, stop, signal);
    if (this.#client.failure !== undefined) throw this.#client.failure;
  }

  /**
   * What happens to this channel and its messages, as `events` of the instance has it.
   *
   * @throws TypeError for options that cannot be used
   */
  events<const What extends EventKind = EventKind>(
    options: ChannelEventsOptions<What> = {},
  ): AsyncGenerator<JournalEvent<What>, never, void> {
    refuseUnknown(options, ['after', 'kinds', 'signal'], 'events');
    return readEvents(this.#client, { ...options, channel: this.name });
  }

  /** What the channel holds at one moment. */
  async inspect(): Promise<ChannelView> {
    return (await this.#value({ kind: 'inspect', what: 'channel', channel: this.name })) as ChannelView;
  }

  /** What happened by the minute over the last day, with how long messages waited and handlers ran. @throws TypeError, RangeError */
  metrics(options: MetricsOptions = {}): Promise<ChannelMetrics> {
    return readChannelMetrics(this.#client, this.name, options);
  }

  /** A message with its payload, result, errors and history; `undefined` when it is not kept any more. */
  get(id: MessageId): Promise<StoredMessage<Message> | undefined> {
    return readMessage(this.#client, id);
  }

  /** Messages of one state: live ones in the order in which they come, ended ones the newest first. */
  list(state: State, options: ListOptions = {}): Promise<StoredMessage<Message>[]> {
    return listMessages(this.#client, this.name, state, options);
  }

  /** Hands out no more messages until `resume`. Handlers that run go on. */
  async pause(): Promise<void> {
    await this.#control('pause');
  }

  async resume(): Promise<void> {
    await this.#control('resume');
  }

  /** Deletes the messages that wait (ready, delayed, or behind another) and says how many there were. */
  async purge(): Promise<number> {
    return Number(await this.#control('purge'));
  }

  /** Brings one dead message back, or all, and says how many; their attempts are counted anew. */
  async redrive(id?: MessageId): Promise<number> {
    if (id === undefined) return Number(await this.#control('redrive'));
    await this.#manage(id, 'redrive');
    return 1;
  }

  /** Changes how long ended messages are kept. */
  async retain(options: RetainOptions): Promise<void> {
    await this.configure({ retain: options });
  }

  /** Changes what holds for the channel in all processes, from now on; what is not named stays. @throws TypeError, RangeError */
  async configure(configuration: ChannelConfiguration): Promise<void> {
    refuseUnknown(configuration, ['retain', 'limits', 'groups'], 'configure');
    const settings = resolveConfiguration(configuration);
    if (settings === undefined) return;
    await this.#value({ kind: 'control', channel: this.name, action: 'configure', settings });
  }

  /** One group of messages: those that were produced with this `group`. @throws TypeError, RangeError */
  group(key: string): ChannelGroup {
    return channelGroup(this.#client, this.name, key);
  }

  /** All groups that have messages, or something that is kept for them, in the order in which they came up. */
  groups(): AsyncGenerator<GroupView, void, void> {
    return channelGroups(this.#client, this.name);
  }

  /** Stops a message that has not ended; a handler that runs gets its signal. @throws HoldfastError `NOT_FOUND`, `WRONG_STATE` */
  cancel(id: MessageId, options?: CancelOptions): Promise<void> {
    return cancelMessage(this.#client, id, options);
  }

  /** A message of a flow, with what it waits for; `hf.flow` adds it. @throws TypeError, RangeError for options of the flow */
  node(message: Input, options?: FlowNodeOptions): FlowNode {
    return createNode(this, message, options);
  }

  /** What waits for what below a message; `undefined` when it is not kept any more. */
  flow(id: MessageId, options?: FlowViewOptions): Promise<FlowView | undefined> {
    return viewFlow(this.#client, id, options);
  }

  /**
   * Brings a message back that has ended, in whatever way; its history goes on, its result is gone, and whoever waits for one from now on
   * waits for the new one. @throws HoldfastError `NOT_FOUND`, `WRONG_STATE`
   */
  retry(id: MessageId, options?: RetryOptions): Promise<void> {
    return retryMessage(this.#client, id, options);
  }

  /**
   * Deletes a message that waits, or that has ended, and gives its dedupe key free. One that a handler has must be cancelled first.
   *
   * @throws HoldfastError `NOT_FOUND`, `WRONG_STATE`
   */
  async remove(id: MessageId): Promise<void> {
    await this.#manage(id, 'remove');
  }

  /**
   * Changes a message that waits, or when it is handed out.
   *
   * @throws TypeError, RangeError for what cannot be used; InvalidMessageError when the message does not match the schema
   * @throws HoldfastError `NOT_FOUND`; `WRONG_STATE` when a handler has it or it has ended
   */
  async update(id: MessageId, options: UpdateOptions<Input>): Promise<void> {
    checkOptionsObject(options, 'update');
    const { schema, limits } = this.#options;
    if (schema !== undefined && 'message' in options) await checkMessage(schema, this.name, options.message);
    await updateMessage(this.#client, id, options, limits);
  }

  /** Messages that a filter holds for, a page at a time. */
  search(options: SearchOptions = {}): Promise<SearchPage<Message>> {
    return searchMessages(this.#client, this.name, options);
  }

  /**
   * Has the broker cancel, promote, update, retry or remove all messages that a filter holds for, as far as they were produced, or had ended,
   * by now. It does so step by step, while everything else goes on, and after a restart too.
   *
   * @throws TypeError, RangeError for what cannot be used; HoldfastError `TOO_MANY` when a hundred of them run
   */
  bulk<Action extends BulkAction>(
    action: Action,
    filter: FilterOptions,
    options: BulkOptions<Action> = {} as BulkOptions<Action>,
  ): Promise<Bulk> {
    return startBulk(this.#client, this.name, action, filter, options);
  }

  /** Makes a delayed message ready now. @throws HoldfastError `NOT_FOUND`, `WRONG_STATE` */
  async promote(id: MessageId): Promise<void> {
    await this.#manage(id, 'promote');
  }

  /** @internal */
  checkInstance(client: Client): void {
    if (client === this.#client) return;
    throw new TypeError(`Cannot make a schedule for "${this.name}" here: the channel is of another instance`);
  }

  /** @internal */
  prepare(client: Client, message: Input, options: ProduceOptions | undefined): Prepared | Promise<Prepared> {
    if (client !== this.#client) {
      throw new TypeError(`Cannot produce to "${this.name}" with this ack: the channel is of another instance`);
    }
    return this.#prepare(message, options, false);
  }

  #prepare(message: Input, options: ProduceOptions | undefined, awaited: boolean): Prepared | Promise<Prepared> {
    const { schema } = this.#options;
    if (schema === undefined) return this.#item(message, options, awaited);
    // What the schema makes of the message is for the handler; the message travels as it was given.
    const checked = checkMessage(schema, this.name, message);
    if (checked instanceof Promise) return checked.then(() => this.#item(message, options, awaited));
    return this.#item(message, options, awaited);
  }

  #item(message: Input, options: ProduceOptions | undefined, awaited: boolean): Prepared {
    const item = createItem(this.#client, this.#options, message, options, awaited);
    return { ref: options === undefined ? this.#plainRef : this.#refFor(options), item };
  }

  #send(prepared: Prepared): Promise<Receipt> {
    return new Promise((resolve, reject) => {
      this.#client.produce(prepared.ref, prepared.item, new PendingReceipt(this, prepared, resolve, reject));
    });
  }

  /** @internal Sends again what found the backlog full, when there is room. */
  async sendAgain(prepared: Prepared): Promise<Receipt> {
    await this.#waitForRoom();
    return this.#send(prepared);
  }

  /** @internal */
  receipt(id: Uint8Array, outcome: ProduceOutcome): Receipt {
    const deduplicated = outcome.what === 'deduplicated';
    return {
      id: messageIdText(deduplicated ? outcome.id : id),
      channel: this.name,
      deduplicated,
      durability: this.#client.durability,
    };
  }

  async #waitForRoom(wanted: number = 1): Promise<void> {
    const { maxBacklog } = this.#options.policy;
    if (maxBacklog !== 0 && wanted > maxBacklog) {
      const message = `Cannot produce ${wanted} messages to "${this.name}" at once: it holds at most ${maxBacklog}`;
      throw new HoldfastError('BACKLOG_FULL', message);
    }
    if (this.#options.onFull === 'reject') {
      const ofGroup = 'its group holds as many messages as it may';
      const why = maxBacklog === 0 ? ofGroup : `it holds ${maxBacklog} messages already, or ${ofGroup}`;
      throw new HoldfastError('BACKLOG_FULL', `Cannot produce to "${this.name}": ${why}`);
    }
    await this.#client.waits.room(this.name);
  }

  async #result(
    id: MessageId,
    waiting: { ended: Promise<Ended>; stop: () => void },
    signal?: AbortSignal,
  ): Promise<Result> {
    return this.#resultOf(id, await untilAborted(waiting, signal));
  }

  #resultOf(id: MessageId, ended: Ended): Result {
    if (ended.state === 'completed')
      return (ended.result === undefined ? undefined : decodePayload(CODEC_BSON, ended.result)) as Result;
    if (this.#client.failure !== undefined) throw this.#client.failure;
    if (ended.refused !== undefined) throw ended.refused;
    if (ended.state === undefined)
      throw new HoldfastError('NOT_FOUND', `Cannot wait for message "${id}": it is not kept any more`);
    const cause =
      ended.failure === undefined ? undefined : Object.assign(new Error(ended.failure.message), ended.failure);
    throw new HoldfastError('DEAD', `Message "${id}" of "${this.name}" is ${ended.state}`, { cause });
  }

  #refFor(options: ProduceOptions): number {
    if (!changesRules(options)) return this.#plainRef;
    return this.#declare({ ...this.#options, policy: rulesOver(this.#options.policy, options) }, false);
  }

  #declare({ policy, settings }: ResolvedChannelOptions, first: boolean): number {
    const content = JSON.stringify(policy);
    const known = this.#refs.get(content);
    if (known !== undefined) return known;
    const { ref, done } = this.#client.declare(this.name, policy, first ? settings : undefined);
    // A refusal (too many channels) shows at the first command that uses the name.
    done.catch(() => {});
    this.#refs.set(content, ref);
    return ref;
  }

  async #control(action: Control['action']): Promise<unknown> {
    return this.#value({ kind: 'control', channel: this.name, action, settings: undefined });
  }

  async #manage(id: MessageId, action: Manage['action']): Promise<void> {
    await this.#value({ kind: 'manage', id: parseMessageId(id), action });
  }

  #value(command: Command): Promise<unknown> {
    return ask(this.#client, command);
  }
}

/** A produced message whose receipt somebody waits for. */
class PendingReceipt implements Answer<ProduceOutcome> {
  readonly #channel: Pick<Channel<never>, 'receipt' | 'sendAgain'>;
  readonly #prepared: Prepared;
  readonly #resolve: (receipt: Receipt | Promise<Receipt>) => void;
  readonly reject: (error: unknown) => void;

  constructor(
    channel: Pick<Channel<never>, 'receipt' | 'sendAgain'>,
    prepared: Prepared,
    resolve: (receipt: Receipt | Promise<Receipt>) => void,
    reject: (error: unknown) => void,
  ) {
    this.#channel = channel;
    this.#prepared = prepared;
    this.#resolve = resolve;
    this.reject = reject;
  }

  resolve(outcome: ProduceOutcome): void {
    const full = outcome.what === 'backlogFull';
    this.#resolve(
      full ? this.#channel.sendAgain(this.#prepared) : this.#channel.receipt(this.#prepared.item.id, outcome),
    );
  }
}

/** The limits of one `produceAll`. */
const MAX_MESSAGES = 10_000;
const MAX_BYTES = 8 * 1024 * 1024;

function untilAborted(
  { ended, stop }: { ended: Promise<Ended>; stop: () => void },
  signal: AbortSignal | undefined,
): Promise<Ended> {
  return unlessAborted(ended, stop, signal);
}
