/** The part of the API's conformance suite that is about looking into channels, managing them, and results. */
import assert from 'node:assert/strict';
import { HoldfastError } from '../model/errors.ts';
import { type ApiCase, assertLike, hasCode, messagesIn, NOBODY, until } from './api-conformance-tools.ts';

export const manageCases: readonly ApiCase[] = [
  [
    'pause() and resume() hold messages back and let them go',
    async ({ channel }) => {
      const mails = channel<number>('mail');
      const seen: number[] = [];
      await mails.consume((number) => void seen.push(number));
      await mails.pause();
      await mails.produce(1);
      assertLike(await mails.inspect(), { paused: true, ready: 1 });
      assert.deepEqual(seen, []);
      await mails.resume();
      await until(() => seen.length > 0, 'the message');
    },
  ],
  [
    'purge() deletes what waits and says how much',
    async ({ channel }) => {
      const mails = channel<number>('mail');
      await mails.produceAll([1, 2, 3]);
      await mails.produce(4, { delay: '1h' });
      assert.equal(await mails.purge(), 4);
      await until(async () => (await mails.inspect()).totals.purged === 4, 'the purge');
      assertLike(await mails.inspect(), { ready: 0, delayed: 0 });
    },
  ],
  [
    'cancel(), promote() and redrive() of one message',
    async ({ channel }) => {
      const mails = channel<number>('mail', { attempts: 1 });
      const { id } = await mails.produce(1, { delay: '1h' });
      await mails.promote(id);
      assertLike(await mails.get(id), { state: 'ready' });
      await assert.rejects(mails.promote(id), hasCode('WRONG_STATE'));
      await mails.cancel(id);
      await assert.rejects(mails.cancel(id), hasCode('WRONG_STATE'));
      await assert.rejects(mails.redrive(id), hasCode('WRONG_STATE'));
      for (const action of ['cancel', 'promote', 'redrive'] as const) {
        await assert.rejects(mails[action](NOBODY), hasCode('NOT_FOUND'));
      }
      assert.equal(await mails.get(NOBODY), undefined);
    },
  ],
  [
    'redrive() brings all dead messages back, with new attempts',
    async ({ channel, runsOnce }) => {
      const mails = channel<number>('mail', { attempts: 1 });
      const receipts = await mails.produceAll([1, 2, 3]);
      let isBroken = true;
      const seen: number[] = [];
      await mails.consume((number) => {
        if (isBroken) throw new Error('boom');
        seen.push(number);
      });
      for (const { id } of receipts) await assert.rejects(mails.result(id), hasCode('DEAD'));
      isBroken = false;
      assert.equal(await mails.redrive(), 3);
      await until(async () => (await mails.inspect()).completed === 3, 'all messages to complete');
      if (runsOnce) assert.deepEqual(seen, [1, 2, 3]);
      assert.deepEqual(new Set(seen), new Set([1, 2, 3]));
    },
  ],
  [
    'retain() changes what is kept of the past',
    async ({ channel }) => {
      const mails = channel<number>('mail');
      const receipts = await mails.produceAll([1, 2, 3]);
      await mails.consume(() => {});
      for (const { id } of receipts) await mails.result(id);
      await mails.retain({ completed: { count: 0 }, dead: false });
      const { settings } = await mails.inspect();
      assertLike(settings, {
        completed: { count: 0, ageMs: undefined },
        dead: { count: undefined, ageMs: undefined },
      });
      await until(async () => (await mails.inspect()).completed === 0, 'the past to be forgotten');
    },
  ],
  [
    'list() gives live messages in their order, ended ones the newest first, a part at a time',
    async ({ channel }) => {
      const mails = channel<number>('mail');
      const receipts = await mails.produceAll([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      const numbers = async (state: 'ready' | 'cancelled', options = {}): Promise<number[]> =>
        (await mails.list(state, options)).map(({ message }) => message);
      assert.deepEqual(await numbers('ready'), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      assert.deepEqual(await numbers('ready', { offset: 7, limit: 2 }), [7, 8]);
      assert.deepEqual(await numbers('ready', { offset: 10 }), []);
      for (const { id } of receipts.slice(0, 4)) await mails.cancel(id);
      assert.deepEqual(await numbers('cancelled'), [3, 2, 1, 0]);
      assert.deepEqual(await numbers('cancelled', { offset: 1, limit: 2 }), [2, 1]);
    },
  ],
  [
    'list() gives all that is asked for, also where it is too long for one answer',
    async ({ channel }) => {
      const mails = channel<Uint8Array>('mail');
      for (let i = 0; i < 11; i++) await mails.produce(new Uint8Array(3 * 1024 * 1024).fill(i));
      const listed = await mails.list('ready', { limit: 11 });
      assert.deepEqual(
        listed.map(({ message }) => [message.length, message[0]]),
        Array.from({ length: 11 }, (_, i) => [3 * 1024 * 1024, i]),
      );
    },
  ],
  [
    'what one instance has stored another one finds',
    async ({ channel, open, nameOf }) => {
      const mails = channel<string>('mail');
      const { id } = await mails.produce('hello');
      const other = (await open()).channel<string>(nameOf('mail'));
      assertLike(await other.get(id), { message: 'hello', state: 'ready' });
      await other.cancel(id);
      assert.deepEqual(await messagesIn(mails, 'cancelled'), ['hello']);
    },
  ],
  [
    'request() and result() give what the handler returned, lossless',
    async ({ channel }) => {
      const ask = channel<number, Map<string, bigint> | undefined>('ask');
      await ask.consume((number) => (number === 0 ? undefined : new Map([['n', BigInt(number)]])));
      assert.deepEqual(await ask.request(5), new Map([['n', 5n]]));
      assert.equal(await ask.request(0), undefined);
      const { id } = await ask.produce(7);
      assert.deepEqual(await ask.result(id), new Map([['n', 7n]]));
      assert.deepEqual(await ask.result(id), new Map([['n', 7n]]));
    },
  ],
  [
    'request() of a duplicate waits for the result of the message that stands',
    async ({ channel, runsOnce }) => {
      const double = channel<number, number>('double', { process: 'exactlyOnce' });
      let runs = 0;
      await double.consume((number) => {
        runs += 1;
        return number * 2;
      });
      assert.deepEqual(await Promise.all([double.request(21), double.request(21)]), [42, 42]);
      assert.equal(await double.request(21), 42);
      if (runsOnce) assert.equal(runs, 1);
    },
  ],
  [
    'request() and result() reject with DEAD and the error of the handler, or when the message was cancelled',
    async ({ channel }) => {
      const ask = channel<number>('ask', { attempts: 1 });
      await ask.consume(() => {
        throw new RangeError('too far');
      });
      const error: unknown = await ask.request(5).catch((thrown: unknown) => thrown);
      assert.ok(error instanceof HoldfastError);
      assertLike(error, { code: 'DEAD' });
      assertLike(error.cause, { name: 'RangeError', message: 'too far' });
      const { id } = await ask.produce(1, { delay: '1h' });
      const waiting = assert.rejects(ask.result(id), hasCode('DEAD'));
      await ask.cancel(id);
      await waiting;
      await assert.rejects(ask.result(NOBODY), hasCode('NOT_FOUND'));
    },
  ],
  [
    'a signal ends the waiting of request(), and the message goes on',
    async ({ channel }) => {
      const ask = channel<number, string>('ask');
      const controller = new AbortController();
      const { signal } = controller;
      const isReason = (error: unknown): boolean => error === signal.reason;
      const waiting = assert.rejects(ask.request(1, { signal }), isReason);
      await until(async () => (await ask.inspect())?.ready === 1, 'the message');
      controller.abort();
      await waiting;
      await assert.rejects(ask.request(2, { signal }), isReason);
      assertLike(await ask.inspect(), { ready: 1 });
    },
  ],
  [
    'a request() that waits when the instance closes is rejected',
    async ({ hf, channel }) => {
      const ask = channel<number>('ask');
      const waiting = assert.rejects(ask.request(1), hasCode('CLOSED'));
      await until(async () => (await ask.inspect())?.ready === 1, 'the message');
      await hf.close();
      await waiting;
    },
  ],
];
