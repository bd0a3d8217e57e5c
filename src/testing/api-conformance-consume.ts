/** The part of the API's conformance suite that is about consumers. */
import assert from 'node:assert/strict';
import type { HandlerContext } from '../api/handler-context.ts';
import { type ApiCase, assertLike, Gate, hasCode, messagesIn, until } from './api-conformance-tools.ts';
import { breathe } from './settled.ts';

export const consumeCases: readonly ApiCase[] = [
  [
    'consume() runs the handler for each message, in order, and keeps what it returns',
    async ({ channel, runsOnce }) => {
      const squares = channel<number, number>('squares');
      const receipts = await squares.produceAll([1, 2, 3, 4]);
      const seen: number[] = [];
      const consumer = await squares.consume(async (number) => {
        seen.push(number);
        return number ** 2;
      });
      assert.equal(await squares.result(receipts[3]?.id ?? ''), 16);
      await until(async () => (await squares.inspect()).completed === 4, 'all messages to complete');
      await consumer.drain();
      if (runsOnce) assert.deepEqual(seen, [1, 2, 3, 4]);
      assert.deepEqual(new Set(seen), new Set([1, 2, 3, 4]));
      assertLike(await squares.get(receipts[1]?.id ?? ''), { state: 'completed', result: 4, attempts: 1 });
      assertLike(await squares.inspect(), { ready: 0, leased: 0, completed: 4 });
    },
  ],
  [
    'consume() never runs more handlers than `concurrency`, and as many when there is work',
    async ({ channel }) => {
      const jobs = channel<number>('jobs');
      await jobs.produceAll(Array.from({ length: 200 }, (_, i) => i));
      let running = 0;
      let most = 0;
      await jobs.consume(
        async () => {
          most = Math.max(most, ++running);
          await breathe();
          await breathe();
          running -= 1;
        },
        { concurrency: 7 },
      );
      await until(async () => (await jobs.inspect()).completed === 200, 'all messages to complete');
      assert.equal(most, 7);
    },
  ],
  [
    'consume() runs one handler at a time by default',
    async ({ channel }) => {
      const jobs = channel<number>('jobs');
      await jobs.produceAll([1, 2, 3]);
      let running = 0;
      let most = 0;
      await jobs.consume(async () => {
        most = Math.max(most, ++running);
        await breathe();
        running -= 1;
      });
      await until(async () => (await jobs.inspect()).completed === 3, 'all messages to complete');
      assert.equal(most, 1);
    },
  ],
  [
    'consume() gives the handler all that belongs to its message',
    async ({ channel, nameOf, runsOnce }) => {
      const mails = channel<string>('mail');
      const { id } = await mails.produce('hello');
      const seen: object[] = [];
      await mails.consume((_message, context) => {
        const { id: own, channel: name, attempt, token, redelivered, producedAt, signal } = context;
        seen.push({ own, name, attempt, redelivered, producedAt, aborted: signal.aborted, hasToken: token > 0 });
      });
      await until(() => seen.length > 0, 'the message');
      const producedAt = (await mails.get(id))?.producedAt;
      const always = { own: id, name: nameOf('mail'), producedAt, aborted: false, hasToken: true };
      assertLike(seen[0], runsOnce ? { ...always, attempt: 1, redelivered: false } : always);
    },
  ],
  [
    'several consumers, of several instances, share the messages of a channel',
    async ({ channel, nameOf, open, runsOnce }) => {
      const jobs = channel<number>('jobs');
      const effects = channel<number>('effects');
      await jobs.produceAll(Array.from({ length: 300 }, (_, i) => i));
      const seen: number[] = [];
      for (let instances = 0; instances < 3; instances++) {
        const hf = await open();
        const produceTo = hf.channel<number>(nameOf('effects'));
        await hf.channel<number>(nameOf('jobs')).consume(
          (number, { tx }) => {
            seen.push(number);
            tx.produce(produceTo, number);
          },
          { concurrency: 5 },
        );
      }
      await until(async () => (await jobs.inspect()).completed === 300, 'all messages to complete');
      assert.equal(new Set(seen).size, 300);
      if (runsOnce) assert.equal(seen.length, 300);
      assertLike(await effects.inspect(), { ready: 300 });
      const done = new Set<number>();
      for (let offset = 0; offset < 300; offset += 100) {
        for (const { message } of await effects.list('ready', { offset, limit: 100 })) done.add(message);
      }
      assert.equal(done.size, 300);
    },
  ],
  [
    'drain() settles what runs, gives back what waits, and takes no more',
    async ({ channel, runsOnce }) => {
      const jobs = channel<number>('jobs');
      await jobs.produceAll([1, 2, 3]);
      const gate = new Gate();
      const consumer = await jobs.consume((number) => gate.enter(number), { prefetch: 2 });
      await until(() => gate.started.length > 0, 'the handler to start');
      const drained = consumer.drain();
      await jobs.inspect();
      const opening = setOpen(gate, drained);
      await drained;
      await opening;
      await consumer.stopped;
      await consumer.drain();
      if (!runsOnce) return;
      assert.deepEqual(gate.started, [1]);
      assertLike(await jobs.inspect(), { ready: 2, leased: 0, completed: 1, consumers: 0 });
      assert.deepEqual(await messagesIn(jobs, 'ready'), [2, 3]);
    },
  ],
  [
    'close() aborts what runs and gives everything back, uncounted',
    async ({ channel }) => {
      const jobs = channel<number>('jobs');
      const { id } = await jobs.produce(1);
      const contexts: HandlerContext[] = [];
      const consumer = await jobs.consume((_number, context) => {
        contexts.push(context);
        return new Promise<void>((resolve) => context.signal.addEventListener('abort', () => resolve()));
      });
      await until(() => contexts.length > 0, 'the handler to start');
      await consumer.close();
      await consumer.close();
      await consumer.stopped;
      for (const { signal } of contexts) assert.ok(signal.aborted);
      await until(async () => (await jobs.get(id))?.state === 'ready', 'the message to be given back');
      assertLike(await jobs.get(id), { state: 'ready', attempts: 0 });
      await until(async () => (await jobs.inspect()).consumers === 0, 'the consumer to be gone');
      assertLike(await jobs.inspect(), { completed: 0 });
    },
  ],
  [
    'a signal closes the consumer, and one that has fired opens none',
    async ({ channel }) => {
      const jobs = channel<number>('jobs');
      const controller = new AbortController();
      const consumer = await jobs.consume(() => {}, { signal: controller.signal });
      controller.abort();
      await consumer.stopped;
      const again = jobs.consume(() => {}, { signal: controller.signal });
      await assert.rejects(again, (error) => error === controller.signal.reason);
      assertLike(await jobs.inspect(), { consumers: 0 });
    },
  ],
  [
    'Symbol.asyncDispose closes a consumer',
    async ({ channel }) => {
      const jobs = channel<number>('jobs');
      const consumer = await jobs.consume(() => {});
      await consumer[Symbol.asyncDispose]();
      assertLike(await jobs.inspect(), { consumers: 0 });
    },
  ],
  [
    'prefetch as a number is the most that is held in advance',
    async ({ channel }) => {
      const jobs = channel<number>('jobs');
      await jobs.produceAll([1, 2, 3, 4, 5, 6]);
      const gate = new Gate();
      await jobs.consume((number) => gate.enter(number), { concurrency: 2, prefetch: 3 });
      await until(async () => (await jobs.inspect()).leased === 5, 'the messages in advance');
    },
  ],
  [
    'close() of an instance is safe twice, and everything behind it rejects with CLOSED',
    async ({ hf, channel }) => {
      const mails = channel<number>('mail');
      await mails.produce(1);
      await Promise.all([hf.close(), hf.close()]);
      await hf.close();
      await assert.rejects(mails.produce(2), hasCode('CLOSED'));
      await assert.rejects(mails.inspect(), hasCode('CLOSED'));
      await assert.rejects(
        mails.consume(() => {}),
        hasCode('CLOSED'),
      );
    },
  ],
  [
    'Symbol.asyncDispose closes an instance',
    async ({ hf }) => {
      await hf[Symbol.asyncDispose]();
      await assert.rejects(hf.channelNames(), hasCode('CLOSED'));
    },
  ],
  [
    'close() of an instance drains: handlers that run are settled, and what was asked for is answered',
    async ({ hf, channel, nameOf, open, runsOnce }) => {
      const mails = channel<number>('mail');
      const gate = new Gate();
      const consumer = await mails.consume((number) => gate.enter(number));
      const { id } = await mails.produce(1);
      await until(() => gate.started.length > 0, 'the handler to start');
      const produced = mails.produce(2);
      const closed = hf.close();
      await setOpen(gate, closed);
      await closed;
      await produced;
      await consumer.stopped;
      const other = (await open()).channel<number>(nameOf('mail'));
      // Where the connection was cut, the lease may have been lost, and this consumer took no more.
      const isSettled = async (): Promise<boolean> => (await other.get(id))?.state !== 'leased';
      await until(isSettled, 'the message to be settled');
      const state = (await other.get(id))?.state;
      assert.ok(state === 'completed' || (state === 'ready' && !runsOnce), `The message is ${state}`);
    },
  ],
];

/** Lets handlers go, again and again because one may run twice, until this is done. */
async function setOpen(gate: Gate, done: Promise<void>): Promise<void> {
  let isDone = false;
  void done.then(() => (isDone = true));
  while (!isDone) {
    gate.open();
    await breathe();
  }
}
