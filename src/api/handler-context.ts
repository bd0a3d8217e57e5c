/** What a handler gets beside its message. Most handlers use little of it, so its parts are made when they are asked for. */
import type { Client } from '../client/client.ts';
import type { Cancellation, StopReason, Work } from '../client/held-message.ts';
import { encode } from '../codec/bson.ts';
import { type Duration, parseDuration } from '../model/duration.ts';
import { HoldfastError } from '../model/errors.ts';
import type { ChildPage } from '../model/flow-views.ts';
import { childPage } from './flow.ts';
import { type ReadChildren, readChildren, type ResultSource } from './flow-children.ts';
import { type FlowNode, isNode } from './flow-nodes.ts';
import type { Tick } from '../model/block.ts';
import { deliveredId, deliveredTick } from './messages.ts';
import { GatheredTransaction, type Transaction } from './transaction.ts';

/** The context of one attempt at one message. */
export interface HandlerContext {
  /** The message's id; the same at every attempt, so it can serve as an idempotency key elsewhere. */
  readonly id: string;
  readonly channel: string;
  /** 1 for the first attempt; failed attempts and deaths of the process count. */
  readonly attempt: number;
  /** Grows with each claim of the message; a system that keeps the highest one it saw can refuse a stale handler. */
  readonly token: number;
  /** Whether the message was handed to a handler before. */
  readonly redelivered: boolean;
  /** When the message was produced, in epoch milliseconds. */
  readonly producedAt: number;
  /** The tick of a schedule that the message is; `undefined` for every other one. */
  readonly schedule: Tick | undefined;
  /**
   * Fires when the handler should stop: cancelled, timed out, lease lost, or the consumer closed. Only of a {@link CancelledError} there is
   * time left to end well.
   */
  readonly signal: AbortSignal;
  /** Effects that commit with the ack, all of them or none. */
  readonly tx: Transaction;
  /** Keeps how far the work is, at most 16 KiB encoded. Resolves when it is durable. @throws HoldfastError `LEASE_LOST` */
  readonly progress: (value: unknown) => Promise<void>;
  /** Keeps a line with the message: the newest 100, each cut after 1,024 characters. @throws HoldfastError `LEASE_LOST` */
  readonly log: (line: string) => Promise<void>;
  /**
   * The messages that this one has waited for, in the order in which they were added: with a channel only its own, whose
   * results have its type. Those that are dead or were cancelled are among them, but for `onFailure: 'drop'`.
   *
   * @throws HoldfastError `LEASE_LOST`
   */
  readonly children: ReadChildren;
  /** @internal A page of them, still encoded. */
  childPage(offset: number): Promise<ChildPage>;
  /** Adds a message that this one waits for, when the handler returns `waitForChildren()`; they commit with that. */
  readonly addChild: (node: FlowNode) => void;
  /** Moves the end of the handler's time to `duration` from now. @throws HoldfastError `LEASE_LOST` */
  readonly extend: (duration: Duration) => Promise<void>;
}

/** The most bytes that progress may take. */
export const MAX_PROGRESS_BYTES = 16_384;

const REASONS: Readonly<Record<StopReason, string>> = {
  cancelled: 'the message was cancelled',
  timeout: 'it ran longer than its timeout',
  leaseLost: 'the message is no longer its own',
  closed: 'the consumer was closed',
};

/** What most handlers add. */
const NOTHING_ADDED: FlowNode[] = [];
/**
 * The reason of a handler's signal when its message was cancelled and it has some time to end: what it does in time counts, so that an ack
 * completes the message all the same, and whatever else it comes to is the end of it.
 */
export class CancelledError extends HoldfastError {
  override readonly name = 'CancelledError';
  /** Why, as whoever cancelled has said. */
  readonly reason: string;
  /** How long the handler has from the moment at which its signal fires, in milliseconds. */
  readonly deadlineMs: number;

  constructor(id: string, { reason, deadlineMs }: Cancellation) {
    super('CANCELLED', `Handler of message "${id}" must end within ${deadlineMs} ms: ${reason}`);
    this.reason = reason;
    this.deadlineMs = deadlineMs;
  }
}

export class AttemptContext implements HandlerContext {
  readonly channel: string;
  readonly #client: Client;
  readonly #work: Work;
  readonly #onExtend: (forMs: number) => void;
  #transaction: GatheredTransaction | undefined;
  #controller: AbortController | undefined;
  #stopped: StopReason | undefined;
  #added: FlowNode[] = NOTHING_ADDED;
  #cancelling: Cancellation | undefined;

  constructor(client: Client, channel: string, work: Work, onExtend: (forMs: number) => void) {
    this.#client = client;
    this.channel = channel;
    this.#work = work;
    this.#onExtend = onExtend;
    this.#cancelling = work.cancelling;
    this.#stopped = work.stopped ?? (work.cancelling && 'cancelled');
    work.onStop = this;
  }

  /** The consumer says why the handler should stop. */
  stop(reason: StopReason, cancelling?: Cancellation): void {
    if (this.#stopped === undefined) this.#cancelling = cancelling;
    this.#stopped ??= reason;
    this.#controller?.abort(this.#stopError(reason));
  }

  get tx(): GatheredTransaction {
    this.#transaction ??= new GatheredTransaction(this.#client);
    return this.#transaction;
  }

  /** Whether there is nothing that is to commit with the ack, or to be checked then. */
  get isPlain(): boolean {
    return (this.#transaction === undefined || this.#transaction.isEmpty) && this.#added.length === 0;
  }

  /** What is to be added below the message. */
  get added(): readonly FlowNode[] {
    return this.#added;
  }

  /** This one and those below give functions of their own, because handlers take their context apart. */
  get children(): ReadChildren {
    return <Result>(channel?: ResultSource<Result>) => readChildren((offset) => this.childPage(offset), channel?.name);
  }

  childPage(offset: number): Promise<ChildPage> {
    return childPage(this.#client, this.lease, offset);
  }

  get addChild(): HandlerContext['addChild'] {
    return (node) => {
      if (!isNode(node)) throw new TypeError('Cannot add a child: give what node() of its channel returns');
      if (this.#added === NOTHING_ADDED) this.#added = [];
      this.#added.push(node);
    };
  }

  get id(): string {
    return deliveredId(this.#work.delivery);
  }

  get attempt(): number {
    return this.#work.delivery.attempt;
  }

  get token(): number {
    return this.#work.delivery.token;
  }

  get redelivered(): boolean {
    return this.#work.delivery.redelivered;
  }

  get producedAt(): number {
    return this.#work.delivery.producedAt;
  }

  get schedule(): Tick | undefined {
    return deliveredTick(this.#work.delivery);
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#stopped !== undefined) this.#controller.abort(this.#stopError(this.#stopped));
    return this.#controller.signal;
  }

  get progress(): HandlerContext['progress'] {
    return async (value) => this.#annotate(encode(value, { maxBytes: MAX_PROGRESS_BYTES }), undefined);
  }

  get log(): HandlerContext['log'] {
    return async (line) => {
      if (typeof line !== 'string') throw new TypeError(`Cannot log ${typeof line}: a line must be a text`);
      await this.#annotate(undefined, line);
    };
  }

  get extend(): HandlerContext['extend'] {
    return async (duration) => {
      const forMs = parseDuration(duration, 'duration');
      this.#onExtend(forMs);
      await this.#held({ kind: 'extend', ...this.lease, forMs });
    };
  }

  get lease(): { readonly seq: number; readonly token: number } {
    const { seq, token } = this.#work.delivery;
    return { seq, token };
  }

  async #annotate(progress: Uint8Array | undefined, line: string | undefined): Promise<void> {
    await this.#held({ kind: 'annotate', ...this.lease, progress, line });
  }

  async #held(command: Parameters<Client['request']>[0]): Promise<void> {
    const reply = await this.#client.request(command);
    if (reply.kind === 'refused') throw new HoldfastError(reply.code, reply.message);
    if (reply.kind === 'settled' && reply.lost.length > 0) throw this.#stopError('leaseLost');
  }

  #stopError(reason: StopReason): HoldfastError {
    if (reason === 'cancelled' && this.#cancelling !== undefined) return new CancelledError(this.id, this.#cancelling);
    return stopError(`message "${this.id}"`, reason);
  }
}

/** The reason of a handler's signal. */
export function stopError(handled: string, reason: StopReason): HoldfastError {
  const code = reason === 'closed' ? 'CLOSED' : 'LEASE_LOST';
  return new HoldfastError(code, `Handler of ${handled} must stop: ${REASONS[reason]}`);
}
