/** A batch: many messages for one run of a handler, with an outcome for each. */
import type { Client } from '../client/client.ts';
import type { BatchSettlement, RunBatch, Settlement } from '../client/consumer.ts';
import type { Cancellation, StopReason, Work } from '../client/held-message.ts';
import type { Together } from '../model/command.ts';
import type { Duration } from '../model/duration.ts';
import { createTimer, failure, settlementOf, settleWith } from './attempt.ts';
import { failureOf } from './failure.ts';
import { AttemptContext, stopError } from './handler-context.ts';
import { decodeDelivery } from './messages.ts';
import type { ResolvedChannelOptions } from './options.ts';
import { HandlerOutcome } from './outcomes.ts';
import { checkMessage } from './schema.ts';
import { UndisposedError, type WithScope } from './scope.ts';
import { conflictError, MAX_TRIES } from './transact.ts';
import { GatheredTransaction, type Transaction } from './transaction.ts';

/** A message of a batch. */
export interface BatchMessage<Message, Result = unknown> {
  readonly message: Message;
  /** The message's id; the same at every attempt. */
  readonly id: string;
  /** 1 for the first attempt; failed attempts and deaths of the process count. */
  readonly attempt: number;
  /** Grows with each claim of the message. */
  readonly token: number;
  /** Whether the message was handed to a handler before. */
  readonly redelivered: boolean;
  /** When the message was produced, in epoch milliseconds. */
  readonly producedAt: number;
  /** Fires when this one need not be handled any more: it was cancelled, or is somebody else's. The others go on. */
  readonly signal: AbortSignal;
  /** Keeps how far the work on this one is. @throws HoldfastError `LEASE_LOST` */
  progress(value: unknown): Promise<void>;
  /** Keeps a line with this one. @throws HoldfastError `LEASE_LOST` */
  log(line: string): Promise<void>;
  /**
   * Says how this one has ended, as the return value of a handler of one message does: with a result, or with what `retry`,
   * `snooze` or `deadLetter` give. It counts when the handler has ended; the last word stands.
   *
   * @throws TypeError, RangeError for a result that cannot be stored
   */
  settle(outcome?: Result | HandlerOutcome): void;
  /** Says that the attempt at this one has failed, as if a handler of it alone had thrown this. */
  fail(error: unknown): void;
}

/** What a handler gets beside the messages of its batch. */
export interface BatchContext {
  readonly channel: string;
  /** Fires when the handler should stop: its time is over, the consumer is closed, or no message is its own any more. */
  readonly signal: AbortSignal;
  /**
   * Effects of the batch as a whole. They commit together with the ends of all its messages, or not at all: where one of them is
   * lost meanwhile, or what was read has changed, the handler runs again with those that are left.
   */
  readonly tx: Transaction;
  /** Moves the end of the handler's time to `duration` from now. @throws HoldfastError `LEASE_LOST` */
  readonly extend: (duration: Duration) => Promise<void>;
}

/**
 * Handles a batch. It returns nothing, one outcome for all, or a list with a result or an outcome for each, in their order. That
 * is for the messages that were not settled one by one; so is an error that it throws.
 */
export type BatchHandler<Message, Result> = (
  batch: readonly BatchMessage<Message, Result>[],
  context: BatchContext,
) => BatchReturn<Result> | Promise<BatchReturn<Result>>;

/** A {@link BatchHandler} that runs in a scope of its own each time, as `context.scope`. */
export type ScopedBatchHandler<Message, Result, Scope> = (
  batch: readonly BatchMessage<Message, Result>[],
  context: WithScope<BatchContext, Scope>,
) => BatchReturn<Result> | Promise<BatchReturn<Result>>;

// A function that returns nothing is of type `void`, and so is its promise.
export type BatchReturn<Result> = void | HandlerOutcome | readonly (Result | HandlerOutcome | undefined)[];

/** Results and messages that commit in one take no more than this, in bytes. */
const MAX_TOGETHER_BYTES: number = 8 * 1024 * 1024;

/** Runs batches of one channel's handler. */
export function batchRunner(
  client: Client,
  channel: string,
  options: ResolvedChannelOptions,
  handler: BatchHandler<unknown, unknown>,
): RunBatch['run'] {
  return async (works) => {
    const batch = new Batch(client, channel, options, works);
    if (works.some(({ conflicts }) => conflicts >= MAX_TRIES)) batch.failAll(conflictError(MAX_TRIES));
    else await batch.decode();
    if (batch.open.length > 0) await batch.attempt(handler);
    return batch.settlement;
  };
}

class Batch implements BatchContext {
  readonly channel: string;
  readonly #client: Client;
  readonly #options: ResolvedChannelOptions;
  readonly #messages: readonly HeldMessage[];
  readonly #controller = new AbortController();
  #stopped = 0;
  #transaction: GatheredTransaction | undefined;
  #together: Together | undefined;
  #restart: (forMs: number) => void = () => {};

  constructor(client: Client, channel: string, options: ResolvedChannelOptions, works: readonly Work[]) {
    this.#client = client;
    this.channel = channel;
    this.#options = options;
    this.#messages = works.map(
      (work) => new HeldMessage(client, channel, options, work, (reason) => this.#stop(reason)),
    );
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get tx(): GatheredTransaction {
    this.#transaction ??= new GatheredTransaction(this.#client);
    return this.#transaction;
  }

  get extend(): BatchContext['extend'] {
    return async (duration) => {
      await Promise.all(this.#messages.map((message) => message.extend(duration)));
    };
  }

  /** The messages of which no outcome is known yet. */
  get open(): readonly HeldMessage[] {
    return this.#messages.filter(({ settlement }) => settlement === undefined);
  }

  get settlement(): BatchSettlement {
    return { settlements: this.#messages.map(({ settlement = DONE }) => settlement), together: this.#together };
  }

  failAll(error: unknown): void {
    for (const message of this.open) message.fail(error);
  }

  /** Decodes and checks the messages; what the handler cannot use has its outcome then. */
  async decode(): Promise<void> {
    for (const message of this.#messages) message.decode();
    const { schema } = this.#options;
    if (schema === undefined) return;
    await Promise.all(
      this.open.map(async (message) => {
        try {
          message.message = await checkMessage(schema, this.channel, message.message);
        } catch (error) {
          message.fail(error);
        }
      }),
    );
  }

  async attempt(handler: BatchHandler<unknown, unknown>): Promise<void> {
    const batch = this.open;
    const times = batch.map(({ timeoutMs }) => timeoutMs).filter((timeoutMs) => timeoutMs !== 0);
    const onStop = { stop: (reason: StopReason) => batch.forEach((message) => message.stop(reason)) };
    const timer = createTimer(this.#client, { onStop }, times.length === 0 ? 0 : Math.min(...times));
    this.#restart = timer.restart;
    for (const message of batch) message.onExtend = this.#restart;
    try {
      settleOpen(batch, await timer.race(handler(batch, this)));
      await this.#commit();
    } catch (error) {
      await this.#fail(batch, error);
    } finally {
      timer.stop();
    }
  }

  async #commit(): Promise<void> {
    const tx = this.#transaction;
    if (tx === undefined || tx.isEmpty) return;
    this.#together = { produced: await tx.produced(), effects: await tx.entries.effects() };
    const bytes = this.#messages.reduce((sum, { resultBytes }) => sum + resultBytes, 0);
    if (bytes > MAX_TOGETHER_BYTES) {
      throw new RangeError(`Cannot commit results of ${bytes} bytes at once: at most ${MAX_TOGETHER_BYTES}`);
    }
  }

  /**
   * Nothing of `tx` counts, nor does a success that rests on it, or on a scope that has not ended well; and no failure does if
   * what was read has changed.
   */
  async #fail(batch: readonly HeldMessage[], error: unknown): Promise<void> {
    const tx = this.#transaction;
    this.#together = undefined;
    const isPlain = tx === undefined || tx.isEmpty;
    const isNoneDone = !isPlain || error instanceof UndisposedError;
    for (const message of batch)
      if (message.settlement === undefined || (isNoneDone && message.isDone)) message.fail(error);
    const checks = isPlain ? [] : await tx.entries.checks();
    if (checks.length > 0) this.#together = { produced: undefined, effects: { checks, mutations: [] } };
  }

  #stop(reason: StopReason): void {
    this.#stopped += 1;
    const isForAll = reason === 'closed' || reason === 'timeout' || this.#stopped === this.#messages.length;
    if (isForAll) this.#controller.abort(stopError(`a batch of "${this.channel}"`, reason));
  }
}

/** What the handler returned, for those that it has not settled one by one. */
function settleOpen(batch: readonly HeldMessage[], returned: BatchReturn<unknown>): void {
  const isList = Array.isArray(returned);
  if (isList && returned.length !== batch.length) {
    throw new TypeError(`Cannot settle a batch of ${batch.length} with ${returned.length} outcomes: give one for each`);
  }
  if (!isList && returned !== undefined && !(returned instanceof HandlerOutcome)) {
    throw new TypeError('Cannot settle a batch with this: return nothing, an outcome, or a list with one for each');
  }
  batch.forEach((message, i) => {
    if (message.settlement !== undefined) return;
    try {
      message.settle(isList ? returned[i] : returned);
    } catch (error) {
      message.fail(error);
    }
  });
}

const DONE: Settlement = settleWith({ kind: 'ack', result: undefined });

class HeldMessage implements BatchMessage<unknown> {
  readonly #work: Work;
  readonly #options: ResolvedChannelOptions;
  readonly #context: AttemptContext;
  message: unknown;
  settlement: Settlement | undefined;
  onExtend: (forMs: number) => void = () => {};

  constructor(
    client: Client,
    channel: string,
    options: ResolvedChannelOptions,
    work: Work,
    onStop: (reason: StopReason) => void,
  ) {
    this.#work = work;
    this.#options = options;
    this.#context = new AttemptContext(client, channel, work, (forMs) => this.onExtend(forMs));
    const stop = (reason: StopReason, cancelling?: Cancellation): void => {
      this.#context.stop(reason, cancelling);
      onStop(reason);
    };
    work.onStop = { stop };
    if (work.stopped !== undefined) onStop(work.stopped);
    else if (work.cancelling !== undefined) onStop('cancelled');
  }

  decode(): void {
    try {
      this.message = decodeDelivery(this.#work.delivery);
    } catch (error) {
      this.settlement = settleWith({ kind: 'undecodable', failure: failureOf(error) });
    }
  }

  get id(): string {
    return this.#context.id;
  }

  get attempt(): number {
    return this.#context.attempt;
  }

  get token(): number {
    return this.#context.token;
  }

  get redelivered(): boolean {
    return this.#context.redelivered;
  }

  get producedAt(): number {
    return this.#context.producedAt;
  }

  get signal(): AbortSignal {
    return this.#context.signal;
  }

  get timeoutMs(): number {
    return this.#work.delivery.timeoutMs;
  }

  get isDone(): boolean {
    return this.settlement?.outcome.kind === 'ack';
  }

  get resultBytes(): number {
    const { outcome } = this.settlement ?? DONE;
    return outcome.kind === 'ack' ? (outcome.result?.length ?? 0) : 0;
  }

  progress(value: unknown): Promise<void> {
    return this.#context.progress(value);
  }

  log(line: string): Promise<void> {
    return this.#context.log(line);
  }

  extend(duration: Duration): Promise<void> {
    return this.#context.extend(duration);
  }

  stop(reason: StopReason): void {
    this.#work.onStop?.stop(reason);
  }

  settle(outcome?: unknown): void {
    this.settlement = settlementOf(outcome);
  }

  fail(error: unknown): void {
    this.settlement = failure(error, this.#work.delivery, this.#options);
  }
}
