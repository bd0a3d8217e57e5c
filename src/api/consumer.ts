/** A consumer as its owner sees it. */
import type { Client } from '../client/client.ts';
import type { ConsumerOptions as ClientConsumerOptions } from '../client/consumer.ts';
import type { BatchRules } from '../client/gathering.ts';
import { type Duration, parseDuration } from '../model/duration.ts';
import { HoldfastError } from '../model/errors.ts';
import type { BatchContext, BatchMessage } from './batch.ts';
import type { HandlerContext } from './handler-context.ts';
import { deliveredId } from './messages.ts';
import type { OpenScope } from './scope.ts';
import { checkSignal, refuseUnknown, wholeNumber } from './checks.ts';

export interface ConsumeOptions {
  /**
   * How many handlers run at a time. Raise it for handlers that wait for something; for work on the processor
   * start more processes.
   * @default 1
   */
  readonly concurrency?: number;
  /**
   * How many messages are fetched in advance. `'auto'` keeps about 10 ms of work at hand, at most 2,000 messages, and
   * none when handlers take longer than that.
   * @default 'auto'
   */
  readonly prefetch?: number | 'auto';
  /** Closes the consumer when it fires. */
  readonly signal?: AbortSignal;
  /** Hears of what no handler hears of: a message that was settled too late, with code `LEASE_LOST`. */
  readonly onError?: (error: HoldfastError) => void;
}

/** A consumer whose handler runs in a scope of its own for each message. */
export interface ScopedConsumeOptions<Message, Scope> extends ConsumeOptions {
  /**
   * Opens a scope, which the handler gets as `context.scope`: a container's, a transaction's, whatever it needs for one message. When
   * the handler has ended it is disposed of, before the message is settled: with `Symbol.asyncDispose`, `Symbol.dispose` or `dispose()`,
   * the first that it has. Where it cannot be opened or disposed of, the attempt has failed.
   *
   * The type of `context.scope` is what this returns; write down the types of its parameters if it has any, or it is unknown.
   */
  readonly scope: OpenScope<Message, HandlerContext, Scope>;
}

/** A batch consumer takes no `concurrency` of messages, but of batches. */
export interface BatchConsumeOptions extends ConsumeOptions {
  /** How many messages a batch has at most, up to 1,000. @default 100 */
  readonly size?: number;
  /**
   * With fewer messages than this a batch waits for more, for as long as `wait` says. Raise it where a run of the handler
   * costs much, whatever it has to do.
   * @default 1 without `wait`, which takes what there is; with it `size`
   */
  readonly minSize?: number;
  /** How long, from when the first message came. A message that waits so is held, and its handler has not started. */
  readonly wait?: Duration;
  /** How many batches run at a time; `size * concurrency` is at most 10,000. @default 1 */
  readonly concurrency?: number;
}

/** A batch consumer whose handler runs in a scope of its own for each batch. */
export interface ScopedBatchConsumeOptions<Message, Result, Scope> extends BatchConsumeOptions {
  /**
   * Opens a scope for a batch, as that of `consume` does for a message. Where it cannot be disposed of, none of the batch is done.
   */
  readonly scope: OpenScope<readonly BatchMessage<Message, Result>[], BatchContext, Scope>;
}

export interface Consumer {
  readonly channel: string;
  /** Resolves when the consumer has stopped; rejects with the reason when it has failed. */
  readonly stopped: Promise<void>;
  /**
   * Takes no more messages until `resume`, and gives back those not started; other consumers of the channel go on. Running handlers go on,
   * too. Resolves when no handler will start any more.
   */
  pause(): Promise<void>;
  /** Takes messages again. */
  resume(): void;
  /** Takes no more messages, gives back those not started, and resolves when running handlers are settled. Safe twice. */
  drain(): Promise<void>;
  /** Stops now: handlers get their signal, and what they work on goes back uncounted. Safe twice. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const MAX_CONCURRENCY = 10_000;

const MAX_BATCH_SIZE = 1_000;
const DEFAULT_BATCH_SIZE = 100;

/** The rules of a batch, and the other options. @throws TypeError, RangeError */
export function resolveBatch(options: BatchConsumeOptions): { rules: BatchRules; rest: ConsumeOptions } {
  checkConsumeOptions(options, ['size', 'minSize', 'wait']);
  const { size = DEFAULT_BATCH_SIZE, minSize, wait, ...rest } = options;
  wholeNumber(size, 'size', 1, MAX_BATCH_SIZE);
  if (minSize !== undefined) wholeNumber(minSize, 'minSize', 1, size);
  if (wait === undefined && minSize !== undefined && minSize > 1) {
    throw new TypeError('Cannot use "minSize" without "wait": say how long fewer messages are to wait for more');
  }
  const concurrency = wholeNumber(options.concurrency ?? 1, 'concurrency', 1, MAX_CONCURRENCY);
  if (size * concurrency > MAX_CONCURRENCY) {
    throw new RangeError(
      `Cannot run ${concurrency} batches of ${size} messages at a time: they may have at most ${MAX_CONCURRENCY} together`,
    );
  }
  const waitMs = wait === undefined ? 0 : parseDuration(wait, 'wait');
  return { rules: { size, minSize: minSize ?? (wait === undefined ? 1 : size), waitMs }, rest };
}

/** @throws TypeError for an option that there is not */
export function checkConsumeOptions(options: ConsumeOptions, others: readonly string[] = []): void {
  refuseUnknown(options, ['concurrency', 'prefetch', 'signal', 'onError', 'scope', ...others], 'consume');
}

export function createConsumer(
  client: Client,
  channel: string,
  ref: number,
  run: ClientConsumerOptions['run'],
  options: ConsumeOptions,
): Consumer {
  checkConsumeOptions(options);
  const { signal, onError = ignore } = options;
  checkSignal(signal);
  if (typeof onError !== 'function') throw new TypeError('Cannot use "onError": it must be a function');
  if (client.failure !== undefined) {
    throw new HoldfastError('CLOSED', `Cannot consume "${channel}": the broker is closed`, { cause: client.failure });
  }
  signal?.throwIfAborted();
  const inner = client.consume(ref, {
    concurrency: wholeNumber(options.concurrency ?? 1, 'concurrency', 1, MAX_CONCURRENCY),
    prefetch:
      options.prefetch === undefined || options.prefetch === 'auto'
        ? 'auto'
        : wholeNumber(options.prefetch, 'prefetch', 0, MAX_CONCURRENCY),
    run,
    onLeaseLost: (delivery) => {
      const message = `Message "${deliveredId(delivery)}" of "${channel}" was settled too late; nothing was changed`;
      // Not from within the client: whatever the listener throws is its owner's.
      client.clock.defer(() => onError(new HoldfastError('LEASE_LOST', message)));
    },
  });
  const close = (): Promise<void> => inner.close();
  signal?.addEventListener('abort', () => void close(), { once: true });
  return {
    channel,
    stopped: inner.stopped,
    pause: () => inner.pause(),
    resume: () => inner.resume(),
    drain: () => inner.drain(),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function ignore(): void {}
