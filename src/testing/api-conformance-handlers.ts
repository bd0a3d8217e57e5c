/** The part of the API's conformance suite that is about handlers: what they return, throw, and produce. */
import assert from 'node:assert/strict';
import type { HandlerContext } from '../api/handler-context.ts';
import { deadLetter, retry, snooze } from '../api/outcomes.ts';
import type { ErrorCode } from '../model/errors.ts';
import { type ApiCase, assertLike, Gate, hasCode, messagesIn, until } from './api-conformance-tools.ts';

export const handlerCases: readonly ApiCase[] = [
  [
    'a throw is a failed attempt, and the message is dead with the last error',
    async ({ channel, runsOnce }) => {
      const mails = channel<string>('mail', { attempts: 3, backoff: [1, 1] });
      const { id } = await mails.produce('hello');
      const attempts: number[] = [];
      await mails.consume((_message, { attempt }) => {
        attempts.push(attempt);
        throw new RangeError(`boom ${attempt}`);
      });
      await until(async () => (await mails.get(id))?.state === 'dead', 'the message to die');
      assertLike(await mails.get(id), { attempts: 3, failure: { name: 'RangeError' } });
      if (runsOnce) assert.deepEqual(attempts, [1, 2, 3]);
    },
  ],
  [
    'retry(), snooze() and deadLetter() do what they say',
    async ({ channel, runsOnce }) => {
      const mails = channel<string>('mail', { attempts: 2 });
      const [retried, dead, snoozed] = await mails.produceAll(['again', 'give up', 'later']);
      const seen: string[] = [];
      await mails.consume((message) => {
        seen.push(message);
        if (message === 'give up') return deadLetter('no such address');
        if (message === 'later') return seen.filter((one) => one === 'later').length < 2 ? snooze(1) : undefined;
        return retry({ delay: 1, reason: 'busy' });
      });
      const stateOf = async (id = ''): Promise<string | undefined> => (await mails.get(id))?.state;
      await until(async () => (await stateOf(retried?.id)) === 'dead', 'the retried message to die');
      await until(async () => (await stateOf(dead?.id)) === 'dead', 'the dead letter to die');
      await until(async () => (await stateOf(snoozed?.id)) === 'completed', 'the snoozed message to complete');
      assertLike(await mails.get(retried?.id ?? ''), { attempts: 2, failure: { name: 'Retry', message: 'busy' } });
      assertLike(await mails.get(dead?.id ?? ''), { failure: { name: 'DeadLettered', message: 'no such address' } });
      assertLike(await mails.get(snoozed?.id ?? ''), { attempts: 1 });
      if (runsOnce) assert.deepEqual(seen.sort(), ['again', 'again', 'give up', 'later', 'later']);
    },
  ],
  [
    'a dead-letter channel gets what died, under its id',
    async ({ channel, nameOf }) => {
      const mails = channel<string>('mail', { attempts: 1, deadLetter: nameOf('dead mail') });
      const { id } = await mails.produce('hello');
      await mails.consume(() => {
        throw new Error('boom');
      });
      const letters = channel<string>('dead mail');
      await until(async () => (await letters.inspect())?.ready === 1, 'the dead letter');
      assertLike((await letters.list('ready'))[0], { id, message: 'hello', failure: { message: 'boom' } });
    },
  ],
  [
    'a result that cannot be stored is a failed attempt',
    async ({ channel }) => {
      const mails = channel<string>('mail', { attempts: 1 });
      const { id } = await mails.produce('hello');
      await mails.consume(() => () => 'a function');
      await until(async () => (await mails.get(id))?.state === 'dead', 'the message to die');
      assertLike(await mails.get(id), { failure: { name: 'TypeError' } });
    },
  ],
  [
    'a handler that runs longer than its timeout gets its signal, and its attempt has failed',
    async ({ channel }) => {
      const mails = channel<string>('mail', { timeout: 50, attempts: 1 });
      const { id } = await mails.produce('hello');
      const signals: AbortSignal[] = [];
      await mails.consume((_message, { signal }) => {
        signals.push(signal);
        return new Promise<void>(() => {});
      });
      await until(async () => (await mails.get(id))?.state === 'dead', 'the message to die');
      assertLike(await mails.get(id), { failure: { name: 'TimeoutError' } });
      assert.ok(signals.every(({ aborted }) => aborted));
    },
  ],
  [
    'cancel() fires the signal of a running handler, and what it returns is lost',
    async ({ channel }) => {
      const mails = channel<string>('mail');
      const effects = channel<string>('effect');
      const { id } = await mails.produce('hello');
      const errors: ErrorCode[] = [];
      const signals: AbortSignal[] = [];
      const gate = new Gate();
      await mails.consume(
        (message, { signal, tx }) => {
          signals.push(signal);
          tx.produce(effects, message);
          return gate.enter(message);
        },
        { onError: ({ code }) => errors.push(code) },
      );
      await until(() => signals.length > 0, 'the handler to start');
      await mails.cancel(id);
      await until(() => signals.every(({ aborted }) => aborted), 'the signal');
      assertLike(signals.at(-1)?.reason, { code: 'LEASE_LOST' });
      gate.open();
      await until(() => errors.length === signals.length, 'the error');
      assert.ok(errors.every((code) => code === 'LEASE_LOST'));
      assertLike(await mails.get(id), { state: 'cancelled' });
      assertLike(await effects.inspect(), { ready: 0, totals: { produced: 0 } });
    },
  ],
  [
    'progress(), log() and extend() are kept, and reject with LEASE_LOST when the message is lost',
    async ({ channel, runsOnce }) => {
      // Where a connection is cut in between, the message is somebody else's by then.
      if (!runsOnce) return;
      const mails = channel<string>('mail');
      const { id } = await mails.produce('hello');
      const contexts: HandlerContext[] = [];
      await mails.consume((_message, context) => {
        contexts.push(context);
        return new Promise<void>(() => {});
      });
      await until(() => contexts.length > 0, 'the handler to start');
      const context = contexts[0] as HandlerContext;
      await context.progress({ percent: 10 });
      await context.log('one');
      await context.log('two');
      await context.extend('1h');
      assertLike(await mails.get(id), { progress: { percent: 10 }, log: ['one', 'two'] });
      await assert.rejects(context.progress('x'.repeat(20_000)), RangeError);
      await mails.cancel(id);
      await assert.rejects(context.progress(1), hasCode('LEASE_LOST'));
      await assert.rejects(context.log('late'), hasCode('LEASE_LOST'));
      await assert.rejects(context.extend('5s'), hasCode('LEASE_LOST'));
    },
  ],
  [
    'tx.produce() commits with the ack, to several channels, and not when the handler fails',
    async ({ channel }) => {
      const orders = channel<number>('orders', { backoff: 1 });
      const mails = channel<string>('mails');
      const bills = channel<string>('bills');
      let isBroken = true;
      await orders.consume((order, { tx }) => {
        tx.produce(mails, `mail ${order} ${isBroken}`);
        tx.produce(bills, `bill ${order}`, { delay: '1h' });
        if (isBroken) throw new Error('boom');
      });
      const { id } = await orders.produce(1);
      await until(async () => ((await orders.get(id))?.attempts ?? 0) > 0, 'the first attempt');
      assertLike(await mails.inspect(), { ready: 0 });
      isBroken = false;
      await until(async () => (await orders.get(id))?.state !== 'leased', 'the attempt to end');
      await until(async () => ['completed', 'dead'].includes((await orders.get(id))?.state ?? ''), 'the end');
      if ((await orders.get(id))?.state === 'dead') await orders.redrive(id);
      await until(async () => (await orders.get(id))?.state === 'completed', 'the order to complete');
      assert.deepEqual(await messagesIn(mails, 'ready'), ['mail 1 false']);
      assertLike(await bills.inspect(), { delayed: 1 });
    },
  ],
  [
    'tx.produce() refuses a channel of another instance, and what cannot be stored',
    async ({ channel, open, nameOf }) => {
      const orders = channel<number>('orders', { attempts: 1 });
      const foreign = (await open()).channel<unknown>(nameOf('mails'));
      const own = channel<unknown>('mails');
      await orders.consume((order, { tx }) => tx.produce(order === 1 ? foreign : own, order === 1 ? 1 : () => {}));
      const receipts = await orders.produceAll([1, 2]);
      await until(async () => (await orders.inspect()).dead === 2, 'both to die');
      const [first, second] = await Promise.all(receipts.map(({ id }) => orders.get(id)));
      assert.match(first?.failure?.message ?? '', /the channel is of another instance/);
      assertLike(second, { failure: { name: 'TypeError' } });
      assertLike(await own.inspect(), { ready: 0 });
    },
  ],
  [
    'follow-ups are not held back by a full backlog',
    async ({ channel, runsOnce }) => {
      const orders = channel<number>('orders', { maxBacklog: 1 });
      const seen: number[] = [];
      await orders.consume((order, { tx }) => {
        seen.push(order);
        if (order < 5) for (const next of [order + 1, order + 2]) tx.produce(orders, next);
      });
      await orders.produce(4);
      await until(async () => (await orders.inspect()).completed === 3, 'all messages to complete');
      if (runsOnce) assert.deepEqual(seen, [4, 5, 6]);
      assertLike(await orders.inspect(), { totals: { produced: 3 } });
    },
  ],
  [
    "mode: 'keepLast' runs the first and the last, one after the other",
    async ({ channel, runsOnce }) => {
      const saves = channel<number>('saves', { dedupe: { window: 'untilSettled', mode: 'keepLast' } });
      const gate = new Gate();
      await saves.consume((number) => gate.enter(number), { concurrency: 5 });
      await saves.produce(1, { dedupeKey: 'document' });
      await until(() => gate.started.length > 0, 'the first message');
      for (const number of [2, 3]) await saves.produce(number, { dedupeKey: 'document' });
      assertLike(await saves.inspect(), { waiting: 1 });
      await until(async () => {
        gate.open();
        return (await saves.inspect()).completed === 2;
      }, 'both to complete');
      if (runsOnce) assert.deepEqual(gate.started, [1, 3]);
      assert.ok(!gate.started.includes(2));
    },
  ],
];
