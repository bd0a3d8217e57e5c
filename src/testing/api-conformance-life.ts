/** The part of the API's conformance suite that is about changing, stopping and finding messages in the course of their lives. */
import assert from 'node:assert/strict';
import { CancelledError } from '../api/handler-context.ts';
import type { Channel } from '../api/channel.ts';
import type { FilterOptions } from '../api/search.ts';
import { HoldfastError } from '../model/errors.ts';
import { type ApiCase, assertLike, Gate, hasCode, messagesIn, NOBODY, until } from './api-conformance-tools.ts';

export const lifeCases: readonly ApiCase[] = [
  [
    'cancel() keeps the reason, for the history and for whoever waits',
    async ({ channel }) => {
      const mails = channel<number>('mail');
      const { id } = await mails.produce(1, { delay: '1h' });
      const waiting = mails.result(id).catch((error: unknown) => error);
      await mails.cancel(id, { reason: 'no longer wanted' });
      const error = await waiting;
      assert.ok(error instanceof HoldfastError);
      assertLike(error.cause, { name: 'Cancelled', message: 'no longer wanted' });
      const stored = await mails.get(id);
      assertLike(stored?.history.at(-1), { what: 'cancelled', note: 'no longer wanted' });
    },
  ],
  [
    'cancel() with a deadline lets the handler end, and counts what it returns in time',
    async ({ channel, runsOnce }) => {
      const work = channel<number, string>('work', { attempts: 3 });
      const reasons: unknown[] = [];
      const started: number[] = [];
      await work.consume(
        (number, { signal }) =>
          new Promise((resolve, reject) => {
            started.push(number);
            const stop = (): void => {
              reasons.push(signal.reason);
              if (number === 1) resolve('saved');
              else reject(new Error('gave up'));
            };
            if (signal.aborted) stop();
            else signal.addEventListener('abort', stop);
          }),
        { concurrency: 2 },
      );
      const [saved, givenUp] = await work.produceAll([1, 2]);
      assert.ok(saved !== undefined && givenUp !== undefined);
      await until(() => new Set(started).size === 2, 'both handlers');
      for (const { id } of [saved, givenUp]) await work.cancel(id, { reason: 'enough', deadline: '1h' });
      // With its link a handler may lose its lease meanwhile; then the message is cancelled.
      if (runsOnce) assert.equal(await work.result(saved.id), 'saved');
      await assert.rejects(work.result(givenUp.id), hasCode('DEAD'));
      assertLike(await work.get(givenUp.id), { state: 'cancelled', failure: { name: 'Cancelled', message: 'enough' } });
      assert.ok(reasons.length >= 2);
      for (const reason of reasons) {
        assert.ok(reason instanceof CancelledError);
        assertLike(reason, { code: 'CANCELLED', reason: 'enough' });
      }
    },
  ],
  [
    'cancel() with a deadline takes the message from a handler that does not end in time',
    async ({ channel }) => {
      const work = channel<number>('work');
      const gate = new Gate();
      await work.consume((number) => gate.enter(number));
      const { id } = await work.produce(1);
      await until(() => gate.started.length > 0, 'the handler');
      await work.cancel(id, { deadline: 50 });
      await assert.rejects(work.result(id), hasCode('DEAD'));
      gate.open();
      await until(async () => (await work.inspect()).leased === 0, 'the end of the handler');
      assertLike(await work.get(id), { state: 'cancelled' });
    },
  ],
  [
    'retry() brings back what has ended, and result() waits for the new end',
    async ({ channel }) => {
      const work = channel<number, number>('work', { attempts: 1 });
      let run = 0;
      let isOpen = true;
      const gate = new Gate();
      await work.consume(async (number) => {
        if (!isOpen) await gate.enter(number);
        return ++run;
      });
      const { id } = await work.produce(1);
      const first = await work.result(id);
      isOpen = false;
      await work.retry(id);
      assert.equal((await work.get(id))?.result, undefined);
      const waiting = work.result(id);
      await until(() => gate.started.length > 0, 'the handler');
      isOpen = true;
      gate.open();
      assert.ok((await waiting) > first);
      await assert.rejects(work.retry(NOBODY), hasCode('NOT_FOUND'));
      const later = await work.produce(2, { delay: '1h' });
      await assert.rejects(work.retry(later.id), hasCode('WRONG_STATE'));
      await work.cancel(later.id);
      await work.retry(later.id, { attempts: 'keep' });
      assert.ok((await work.result(later.id)) > first);
    },
  ],
  [
    'remove() deletes what waits or has ended, and gives its dedupe key free',
    async ({ channel }) => {
      const mails = channel<number>('mail', { process: 'exactlyOnce' });
      const { id } = await mails.produce(1, { delay: '1h', dedupeKey: 'one' });
      await mails.remove(id);
      assert.equal(await mails.get(id), undefined);
      const again = await mails.produce(1, { dedupeKey: 'one' });
      assert.equal(again.deduplicated, false);
      const gate = new Gate();
      await mails.consume((number) => gate.enter(number));
      await until(() => gate.started.length > 0, 'the handler');
      await assert.rejects(mails.remove(again.id), hasCode('WRONG_STATE'));
      gate.open();
      await mails.result(again.id);
      await mails.remove(again.id);
      await assert.rejects(mails.result(again.id), hasCode('NOT_FOUND'));
      await assert.rejects(mails.remove(again.id), hasCode('NOT_FOUND'));
    },
  ],
  [
    'update() changes the payload, the time and the priority of what waits',
    async ({ channel, hf }) => {
      const mails = channel<{ to: string }>('mail');
      const late = await mails.produce({ to: 'ada' }, { delay: '1h' });
      const second = await mails.produce({ to: 'bob' });
      await mails.update(late.id, { message: { to: 'eve' }, delay: 0, priority: -1 });
      assert.deepEqual(await messagesIn(mails, 'ready'), [{ to: 'eve' }, { to: 'bob' }]);
      await mails.update(second.id, { lifo: true, priority: -1 });
      const third = await mails.produce({ to: 'cid' });
      await hf.admin.update(third.id, { dueAt: new Date('2100-01-01T00:00:00Z') });
      assertLike(await mails.get(third.id), { state: 'delayed', dueAt: Date.UTC(2100, 0, 1) });
      const seen: string[] = [];
      await mails.consume(({ to }) => void seen.push(to));
      await until(async () => (await mails.inspect()).completed === 2, 'both messages');
      assert.deepEqual([...new Set(seen)], ['bob', 'eve']);
      assert.deepEqual(await mails.get(late.id).then((stored) => stored?.message), { to: 'eve' });
      await assert.rejects(mails.update(late.id, { priority: 3 }), hasCode('WRONG_STATE'));
      await assert.rejects(mails.update(NOBODY, { priority: 3 }), hasCode('NOT_FOUND'));
    },
  ],
  [
    'search() finds by what is in messages and what has become of them, a page at a time',
    async ({ channel, hf, nameOf }) => {
      const mails = channel<{ to: string }>('mail', { attempts: 1 });
      for (const to of ['ada', 'bob', 'ada@home']) await mails.produce({ to }, { delay: '1h', name: `to ${to}` });
      const [failed] = await mails.produceAll([{ to: 'nobody' }], { name: 'fails' });
      await mails.consume(() => {
        throw new RangeError('no such mailbox');
      });
      await assert.rejects(mails.result((failed as { id: string }).id), hasCode('DEAD'));
      const found = async (filter: FilterOptions): Promise<string[]> => {
        const { messages, cursor } = await mails.search({ ...filter, order: 'oldest' });
        assert.equal(cursor, undefined);
        return messages.map(({ message: { to } }) => to);
      };
      assert.deepEqual(await found({ text: 'ada' }), ['ada', 'ada@home']);
      assert.deepEqual(await found({ name: 'to bob' }), ['bob']);
      assert.deepEqual(await found({ failure: 'mailbox', state: ['dead', 'completed'] }), ['nobody']);
      assert.deepEqual(await found({ failure: 'mailbox', producedAfter: new Date('2100-01-01') }), []);
      assert.deepEqual(await found({ state: 'delayed', producedBefore: Date.UTC(2100, 0, 1) }), [
        'ada',
        'bob',
        'ada@home',
      ]);
      const pages: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await mails.search({ limit: 1, ...(cursor !== undefined && { cursor }) });
        pages.push(...page.messages.map(({ message: { to } }) => to));
        ({ cursor } = page);
      } while (cursor !== undefined);
      assert.deepEqual(pages, ['ada@home', 'bob', 'ada', 'nobody']);
      const everywhere = await hf.admin.search({ channel: nameOf('mail'), text: 'bob' });
      assert.deepEqual(
        everywhere.messages.map(({ message }) => message),
        [{ to: 'bob' }],
      );
    },
  ],
  [
    'bulk() does to all that a filter holds for what can be done to one',
    async ({ channel, hf, nameOf }) => {
      const mails = channel<number>('mail', { attempts: 1 });
      await mails.produceAll(Array.from({ length: 500 }, (_, i) => i));
      const cancelled = await (await mails.bulk('cancel', { state: 'ready' }, { reason: 'all of them' })).done();
      assertLike(cancelled, { state: 'done', action: 'cancel', changed: 500 });
      assertLike(await mails.inspect(), { ready: 0, cancelled: 500 });
      const later = await mails.bulk('retry', { failure: 'all of' }, { limit: 300 });
      assertLike(await later.done(), { changed: 300 });
      assertLike(await later.progress(), { state: 'done', changed: 300 });
      await (await mails.bulk('update', { state: 'ready' }, { delay: '1h', priority: 2 })).done();
      assertLike(await mails.inspect(), { ready: 0, delayed: 300 });
      await (await mails.bulk('promote', {}, { limit: 200 })).done();
      assertLike(await mails.inspect(), { ready: 200, delayed: 100 });
      const removing = await hf.admin.startBulk(nameOf('mail'), 'remove', { state: ['ready', 'cancelled'] });
      assertLike(await hf.admin.bulk(removing.id).done(), { changed: 400 });
      assertLike(await mails.inspect(), { ready: 0, delayed: 100, cancelled: 0 });
      const listed = await hf.admin.bulks(nameOf('mail'));
      assert.deepEqual(
        listed.map(({ action }) => action),
        ['cancel', 'retry', 'update', 'promote', 'remove'],
      );
      await removing.stop();
      await assert.rejects(hf.admin.startBulk(nameOf('none'), 'cancel', {}), hasCode('NOT_FOUND'));
      await assert.rejects(hf.admin.bulk(2 ** 50).progress(), hasCode('NOT_FOUND'));
    },
  ],
  [
    'pause() of a consumer holds it back alone, and resume() lets it go on',
    async ({ channel, open, nameOf }) => {
      const mails = channel<number>('mail');
      const [own, others]: [number[], number[]] = [[], []];
      const consumer = await mails.consume((number) => void own.push(number));
      await mails.produce(1);
      await until(() => own.length > 0, 'the first message');
      await consumer.pause();
      const before = own.length;
      const held: Channel<number> = (await open()).channel<number>(nameOf('mail'));
      await held.produceAll([2, 3]);
      assertLike(await held.inspect(), { ready: 2 });
      const other = await held.consume((number) => void others.push(number));
      await until(() => new Set(others).size === 2, 'the messages at the other consumer');
      await other.close();
      assert.equal(own.length, before);
      consumer.resume();
      await held.produce(4);
      await until(() => own.includes(4), 'the message behind the pause');
    },
  ],
];
