/** Handlers that run in isolates: what they get, and how a consumer is told to run them so. */
import type { Client } from '../client/client.ts';
import type { ConsumeOptions } from './consumer.ts';
import type { FlowChild } from './flow-children.ts';
import type { FlowNodeOptions } from './flow-nodes.ts';
import type { HandlerContext } from './handler-context.ts';
import type { IsolateKind } from './isolate.ts';
import { IsolatePool } from './isolate-pool.ts';
import { wholeNumber } from './checks.ts';
import { type ProduceOptions } from './options.ts';
import type { HandlerOutcome } from './outcomes.ts';
import type { OpenScope, WithScope } from './scope.ts';
import type { Transaction, TransactionTarget } from './transaction.ts';

/**
 * The default export of a module whose handler runs in an isolate. It may block its event loop: nobody else waits for it.
 * Up to `concurrency` of them run at a time, each in an isolate of its own.
 */
export type IsolatedHandler<Message, Result = unknown> = (
  message: Message,
  context: IsolatedContext,
) => Result | HandlerOutcome | Promise<Result | HandlerOutcome>;

/**
 * What such a module may export by the name `scope`: it opens a scope for each message, as the option of `consume` does for a handler
 * that runs in no isolate.
 */
export type IsolatedScope<Message, Scope> = OpenScope<Message, IsolatedContext, Scope>;

/** An {@link IsolatedHandler} whose module exports `scope` as well. */
export type ScopedIsolatedHandler<Message, Scope, Result = unknown> = (
  message: Message,
  context: WithScope<IsolatedContext, Scope>,
) => Result | HandlerOutcome | Promise<Result | HandlerOutcome>;

/** The context of an attempt in an isolate: as that of any other, but channels are named, for they are elsewhere. */
export interface IsolatedContext extends Omit<HandlerContext, 'tx' | 'children' | 'childPage' | 'addChild'> {
  /** The messages that this one has waited for; with the name of a channel only its own. */
  readonly children: <Result = unknown>(channel?: string) => AsyncGenerator<FlowChild<Result>, void, void>;
  /**
   * Adds a message that this one waits for, when the handler returns `waitForChildren()`.
   *
   * @param channel the name of one of the channels in the consumer's `produces`
   */
  readonly addChild: (
    channel: string,
    message: unknown,
    options?: Omit<FlowNodeOptions, 'children' | 'parents'>,
  ) => void;
  readonly tx: {
    /**
     * Produces a message in the same commit as the ack.
     *
     * @param channel the name of one of the channels in the consumer's `produces`
     */
    produce(channel: string, message: unknown, options?: ProduceOptions): void;
  } & Omit<Transaction, 'produce' | 'entries'>;
}

export interface IsolatedConsumeOptions extends ConsumeOptions {
  /**
   * What the handler runs in, one message at a time in each. `process` survives everything that a handler may do; a
   * `thread` starts faster and takes less memory, but a crash of native code takes the whole process along.
   */
  readonly isolate: IsolateKind;
  /**
   * How much memory an isolate may take, in bytes; more counts as a death of the process. Of a process, all that it has
   * in use, Node's own 45 MB included, at least 64 MiB. Of a thread, its heap without buffers, at least 16 MiB.
   * @default no bound
   */
  readonly memoryBytes?: number;
  /** The channels that the handler may produce to with its ack; their options apply. */
  readonly produces?: readonly TransactionTarget<never>[];
}

/** The options that only a consumer with isolates has. */
export const ISOLATE_OPTIONS: readonly string[] = ['isolate', 'memoryBytes', 'produces'];

const LEAST_BYTES = { process: 64 * 2 ** 20, thread: 16 * 2 ** 20 } as const;
const MOST_BYTES: number = 2 ** 40;

/** Starts the first isolate. @throws TypeError, RangeError for options; TypeError when the module cannot be loaded */
export async function startPool(
  client: Client,
  channel: string,
  module: URL,
  options: IsolatedConsumeOptions,
): Promise<IsolatePool> {
  const { isolate: kind, memoryBytes, produces = [] } = options;
  if ('scope' in options) {
    throw new TypeError(`Cannot open a scope here for an isolate: export it from the module, by the name "scope"`);
  }
  if (kind !== 'process' && kind !== 'thread') {
    throw new TypeError(`Cannot consume "${channel}" with a module: say isolate: 'process' or isolate: 'thread'`);
  }
  if (memoryBytes !== undefined) wholeNumber(memoryBytes, 'memoryBytes', LEAST_BYTES[kind], MOST_BYTES);
  if (!Array.isArray(produces)) throw new TypeError('Cannot use "produces": it must be a list of channels');
  const pool = new IsolatePool({
    kind,
    module: module.href,
    memoryBytes,
    size: options.concurrency ?? 1,
    clock: client.clock,
    produces: new Map(produces.map((target: TransactionTarget<never>) => [target.name, target])),
  });
  try {
    await pool.start();
  } catch (error) {
    pool.close();
    const why = error instanceof Error ? error.message : String(error);
    throw new TypeError(`Cannot consume "${channel}": the module "${module.href}" cannot be loaded: ${why}`, {
      cause: error,
    });
  }
  return pool;
}
