/** One attempt: a delivery is decoded, checked, handed to the handler, and what came of it becomes an outcome. */
import type { Client } from '../client/client.ts';
import type { Settlement } from '../client/consumer.ts';
import type { Work } from '../client/held-message.ts';
import { encode } from '../codec/bson.ts';
import type { CancelTimer } from '../model/clock.ts';
import type { Delivery, Outcome } from '../model/command.ts';
import { parseDuration } from '../model/duration.ts';
import { describe, failureOf, NotedError, withNote } from './failure.ts';
import { nodesBelow } from './flow.ts';
import { AttemptContext, type HandlerContext } from './handler-context.ts';
import { decodeDelivery } from './messages.ts';
import type { ResolvedChannelOptions } from './options.ts';
import { EncodedResult, HandlerOutcome } from './outcomes.ts';
import { producedOf } from './produced.ts';
import { checkMessage, InvalidMessageError } from './schema.ts';
import type { WithScope } from './scope.ts';
import { conflictError, MAX_TRIES } from './transact.ts';

/** Handles one message. What it returns is the message's result; `retry`, `deadLetter` and `snooze` mean what they say. */
export type Handler<Message, Result> = (
  message: Message,
  context: HandlerContext,
) => Result | HandlerOutcome | Promise<Result | HandlerOutcome>;

/** A {@link Handler} that runs in a scope of its own each time, as `context.scope`. */
export type ScopedHandler<Message, Result, Scope> = (
  message: Message,
  context: WithScope<HandlerContext, Scope>,
) => Result | HandlerOutcome | Promise<Result | HandlerOutcome>;

/** Runs attempts of one channel's handler. */
export function attemptRunner(
  client: Client,
  channel: string,
  options: ResolvedChannelOptions,
  handler: Handler<unknown, unknown>,
): (delivery: Delivery, work: Work) => Settlement | Promise<Settlement> {
  return (delivery, work) => {
    if (work.conflicts >= MAX_TRIES) return failure(conflictError(MAX_TRIES), delivery, options);
    let message: unknown;
    try {
      message = decodeDelivery(delivery);
    } catch (error) {
      return settleWith({ kind: 'undecodable', failure: failureOf(error) });
    }
    if (options.schema !== undefined || delivery.timeoutMs !== 0) return attemptWithCare(message, delivery, work);
    const context = new AttemptContext(client, channel, work, NO_TIMER.restart);
    try {
      const returned = handler(message, context);
      // A handler that neither waits nor produces is settled at once: a promise or two would cost more than all the rest.
      if (!isThenable(returned) && context.isPlain) return settlementOf(returned);
      return settleLater(returned, context, delivery);
    } catch (error) {
      return failChecked(error, delivery, context);
    }
  };

  async function attemptWithCare(message: unknown, delivery: Delivery, work: Work): Promise<Settlement> {
    const timer = createTimer(client, work, delivery.timeoutMs);
    const context = new AttemptContext(client, channel, work, timer.restart);
    try {
      const checked = options.schema === undefined ? message : await checkMessage(options.schema, channel, message);
      return await settleLater(timer.race(handler(checked, context)), context, delivery);
    } catch (error) {
      return await failChecked(error, delivery, context);
    } finally {
      timer.stop();
    }
  }

  async function settleLater(returned: unknown, context: AttemptContext, delivery: Delivery): Promise<Settlement> {
    try {
      const settlement = settlementOf(await returned);
      if (context.isPlain) return settlement;
      if (settlement.outcome.kind === 'wait') return await waitWith(context);
      if (settlement.outcome.kind !== 'ack') return await withChecks(settlement, context);
      const { tx } = context;
      if (context.added.length > 0) throw new TypeError('Cannot end with new children: return waitForChildren()');
      return { outcome: settlement.outcome, produced: await tx.produced(), effects: await tx.entries.effects() };
    } catch (error) {
      return failChecked(error, delivery, context);
    }
  }

  async function waitWith({ tx, added }: AttemptContext): Promise<Settlement> {
    const before = await tx.prepared();
    const { prepared, edges } = await nodesBelow(client, added, before.length);
    const produced = producedOf([...before, ...prepared]);
    return { outcome: { kind: 'wait', edges }, produced, effects: await tx.entries.effects() };
  }

  /** A handler may have thrown because it read what no longer holds: then it has not failed, and runs again. */
  function failChecked(error: unknown, delivery: Delivery, context: AttemptContext): Settlement | Promise<Settlement> {
    const failed = failure(error, delivery, options);
    return context.isPlain ? failed : withChecks(failed, context);
  }
}

/** Nothing commits but the outcome, and that only if what was read still holds. */
async function withChecks(settlement: Settlement, { tx }: AttemptContext): Promise<Settlement> {
  const checks = await tx.entries.checks();
  return checks.length === 0 ? settlement : { ...settlement, effects: { checks, mutations: [] } };
}

/** How a message is settled whose handler has returned this. @throws TypeError, RangeError for what cannot be stored */
export function settlementOf(returned: unknown): Settlement {
  if (returned instanceof HandlerOutcome) return settleWith(outcomeOf(returned));
  if (returned instanceof EncodedResult) return ackWith(returned.bytes);
  return returned === undefined ? DONE : ackWith(encode(returned));
}

function ackWith(result: Uint8Array | undefined): Settlement {
  return settleWith({ kind: 'ack', result });
}

/** What most handlers come to. */
const DONE: Settlement = { outcome: { kind: 'ack', result: undefined }, produced: undefined, effects: undefined };

function isThenable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

function outcomeOf({ kind, delayMs, reason }: HandlerOutcome): Outcome {
  switch (kind) {
    case 'snooze':
      return { kind, delayMs: delayMs ?? 0 };
    case 'holdChannel':
    case 'holdGroup':
      return { kind: 'hold', delayMs: delayMs ?? 0, what: kind === 'holdGroup' ? 'group' : 'channel' };
    case 'deadLetter':
      return { kind: 'fail', failure: { name: 'DeadLettered', message: reason, stack: undefined } };
    case 'died':
      return { kind, failure: { name: 'ProcessDied', message: reason, stack: undefined } };
    case 'wait':
      return { kind, edges: [] };
    case 'retry':
      return { kind: 'nack', delayMs, failure: { name: 'Retry', message: reason, stack: undefined } };
  }
}

/** How a message is settled whose handler threw. */
export function failure(thrown: unknown, delivery: Delivery, options: ResolvedChannelOptions): Settlement {
  const reason = failureOf(thrown);
  const error = thrown instanceof NotedError ? thrown.error : thrown;
  // A message that does not match its schema will not match it the next time either.
  if (error instanceof InvalidMessageError) return settleWith({ kind: 'fail', failure: reason });
  if (options.backoffFunction === undefined) return settleWith({ kind: 'nack', delayMs: undefined, failure: reason });
  try {
    const delay = options.backoffFunction(delivery.attempt, error);
    if (delay === undefined) return settleWith({ kind: 'fail', failure: reason });
    return settleWith({ kind: 'nack', delayMs: parseDuration(delay, 'backoff'), failure: reason });
  } catch (backoffError) {
    // The attempt failed for its own reason; a backoff function that fails too must not hide it.
    const noted = withNote(reason, `and the backoff function failed: ${describe(backoffError)}`);
    return settleWith({ kind: 'nack', delayMs: undefined, failure: noted });
  }
}

export interface HandlerTimer {
  /** Gives the handler this long from now. */
  readonly restart: (forMs: number) => void;
  /** Rejects when the time is over before the handler has ended. */
  race<T>(running: T | Promise<T>): T | Promise<T>;
  stop(): void;
}

const NO_TIMER: HandlerTimer = { restart: () => {}, race: (running) => running, stop: () => {} };

export function createTimer(client: Client, work: Pick<Work, 'onStop'>, timeoutMs: number): HandlerTimer {
  if (timeoutMs === 0) return NO_TIMER;
  let cancel: CancelTimer = () => {};
  let expire: (error: Error) => void = () => {};
  const expired = new Promise<never>((_resolve, reject) => {
    expire = reject;
  });
  // The rejection is meant for whoever races with it; a handler that was faster leaves nobody.
  expired.catch(() => {});
  const restart = (forMs: number): void => {
    cancel();
    cancel = client.clock.timer(forMs, () => {
      const error = new Error(`The handler ran longer than ${forMs} ms`);
      error.name = 'TimeoutError';
      expire(error);
      work.onStop?.stop('timeout');
    });
  };
  restart(timeoutMs);
  return { restart, race: (running) => Promise.race([running, expired]), stop: () => cancel() };
}

export function settleWith(outcome: Outcome): Settlement {
  return { outcome, produced: undefined, effects: undefined };
}
