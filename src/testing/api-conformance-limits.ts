/** The part of the API's conformance suite that is about groups of messages, limits and rates. */
import assert from 'node:assert/strict';
import { rateLimited } from '../api/outcomes.ts';
import type { GroupView } from '../model/views.ts';
import { type ApiCase, assertLike, Gate, hasCode, until } from './api-conformance-tools.ts';

export const limitCases: readonly ApiCase[] = [
  [
    'messages of a group are handled in their order, one at a time, beside those of others',
    async ({ channel, open, nameOf, runsOnce }) => {
      const orders = channel<string>('orders');
      const gate = new Gate();
      const handle = (order: string): Promise<void> => gate.enter(order);
      await orders.consume(handle, { concurrency: 10 });
      await (await open()).channel<string>(nameOf('orders')).consume(handle, { concurrency: 10 });
      for (const order of ['a1', 'b1', 'a2', 'b2', 'a3']) await orders.produce(order, { group: order.slice(0, 1) });
      await until(() => gate.started.length >= 2, 'the first of each group');
      assertLike(await orders.inspect(), { leased: 2, ready: 3, groups: 2 });
      await until(async () => {
        gate.open();
        return (await orders.inspect()).completed === 5;
      }, 'all of them');
      for (const group of ['a', 'b']) {
        const seen = gate.started.filter((order) => String(order).startsWith(group));
        if (runsOnce) assert.deepEqual(seen, [...new Set(seen)]);
        const once = [...new Set(seen.map(String))];
        assert.deepEqual(
          once,
          once.toSorted((a, b) => (a < b ? -1 : 1)),
        );
      }
      assertLike(await orders.inspect(), { groups: 0 });
    },
  ],
  [
    'a message of a group that failed keeps the next ones waiting until it has ended',
    async ({ channel }) => {
      const orders = channel<number>('orders', { attempts: 3, backoff: { type: 'fixed', delay: 1, jitter: 0 } });
      const seen: number[] = [];
      await orders.produceAll([1, 2], { group: 'a' });
      await orders.consume((number, { attempt }) => {
        seen.push(number);
        if (number === 1 && attempt < 3) throw new Error('boom');
      });
      await until(async () => (await orders.inspect()).completed === 2, 'both messages');
      assert.deepEqual(
        seen.toSorted((a, b) => a - b),
        seen,
      );
    },
  ],
  [
    'groups with a concurrency, and without a limit, take more at a time',
    async ({ channel, runsOnce }) => {
      // Where connections are cut a message may become a suspect, and wait for a client whose handlers have ended.
      if (!runsOnce) return;
      for (const [concurrency, most] of [
        [2, 2],
        [Infinity, 4],
      ] as const) {
        const jobs = channel<number>(`jobs ${most}`, { groups: { concurrency } });
        const gate = new Gate();
        await jobs.produceAll([1, 2, 3, 4], { group: 'a' });
        await jobs.consume((number) => gate.enter(number), { concurrency: 10 });
        await until(() => gate.started.length >= most, 'as many as may');
        assertLike(await jobs.inspect(), { leased: most, ready: 4 - most });
      }
    },
  ],
  [
    'pause(), resume(), configure() and inspect() of a group, with messages and without',
    async ({ channel }) => {
      const jobs = channel<number>('jobs');
      const seen: number[] = [];
      const group = jobs.group('slow');
      assert.equal(group.key, 'slow');
      assert.equal(await group.inspect(), undefined);
      // A channel exists with its first message, or its first declaration.
      await group.pause();
      assertLike(await group.inspect(), { group: 'slow', paused: true, backlog: 0 });
      await jobs.consume((number) => void seen.push(number));
      await jobs.produce(1, { group: 'slow' });
      await jobs.produce(2, { group: 'other' });
      await until(() => seen.length > 0, 'the message of the other group');
      assert.deepEqual([...new Set(seen)], [2]);
      await group.configure({ weight: 3, priority: -1, concurrency: 4, maxBacklog: 1, rate: { count: 5, per: '1s' } });
      const { rules } = (await group.inspect()) as GroupView;
      assert.deepEqual(rules, {
        concurrency: 4,
        ordered: false,
        rate: { kind: 'bucket', count: 5, perMs: 1_000, burst: 5 },
        maxBacklog: 1,
        weight: 3,
        priority: -1,
      });
      await assert.rejects(jobs.produce(3, { group: 'slow' }), hasCode('BACKLOG_FULL'));
      await group.resume();
      await until(() => seen.includes(1), 'the message of the group');
      await group.configure(false);
      await until(async () => (await group.inspect()) === undefined, 'the group to be forgotten');
    },
  ],
  [
    'groups() gives all of them, however many, in the order in which they came up',
    async ({ channel }) => {
      const jobs = channel<number>('jobs');
      await jobs.pause();
      const keys = Array.from({ length: 1_203 }, (_, i) => `user ${i}`);
      await Promise.all(keys.map((group, i) => jobs.produce(i, { group })));
      const found: string[] = [];
      for await (const { group, ready } of jobs.groups()) {
        found.push(group);
        assert.equal(ready, 1);
      }
      assert.deepEqual(found, keys);
      const empty: GroupView[] = [];
      for await (const group of channel<number>('nothing').groups()) empty.push(group);
      assert.deepEqual(empty, []);
    },
  ],
  [
    'a message shows its group and its name',
    async ({ channel }) => {
      const jobs = channel<number>('jobs');
      const { id } = await jobs.produce(1, { group: 'a', name: 'import', cost: 3, delay: '1h' });
      assertLike(await jobs.get(id), { group: 'a', name: 'import' });
    },
  ],
  [
    'a full group refuses, waits, and refuses all of a produceAll',
    async ({ channel }) => {
      const jobs = channel<number>('jobs', { groups: { maxBacklog: 2 } });
      await jobs.produceAll([1, 2], { group: 'a' });
      await assert.rejects(jobs.produce(3, { group: 'a' }), {
        code: 'BACKLOG_FULL',
        message: `Cannot produce to "${jobs.name}": its group holds as many messages as it may`,
      });
      await assert.rejects(jobs.produceAll([1, 2, 3], { group: 'b' }), hasCode('BACKLOG_FULL'));
      assertLike(await jobs.inspect(), { ready: 2, groups: 1 });
      await jobs.produce(4, { group: 'b' });

      const patient = channel<number>('patient', { groups: { maxBacklog: 2 }, onFull: 'wait' });
      await patient.produceAll([1, 2], { group: 'a' });
      const waiting = patient.produceAll([3, 4], { group: 'a' });
      // More than there can ever be room for is not waited for.
      await assert.rejects(patient.produceAll([1, 2, 3], { group: 'c' }), hasCode('BACKLOG_FULL'));
      await patient.consume(() => {});
      assert.equal((await waiting).length, 2);
    },
  ],
  [
    'the concurrency of a channel holds over all consumers, and can be changed',
    async ({ channel, open, nameOf, runsOnce }) => {
      const jobs = channel<number>('jobs', { limits: { concurrency: 2 } });
      const gate = new Gate();
      await jobs.produceAll([1, 2, 3, 4, 5, 6]);
      await jobs.consume((number) => gate.enter(number), { concurrency: 5 });
      const other = (await open()).channel<number>(nameOf('jobs'));
      await other.consume((number) => gate.enter(number), { concurrency: 5 });
      await until(() => gate.started.length >= 2, 'as many as may');
      // Where connections are cut a message may become a suspect, and wait for a client whose handlers have ended.
      if (!runsOnce) return;
      assertLike(await jobs.inspect(), { leased: 2, ready: 4 });
      await other.configure({ limits: { concurrency: 4 } });
      await until(() => gate.started.length >= 4, 'two more');
      assertLike(await jobs.inspect(), { leased: 4, ready: 2, settings: { concurrency: 4 } });
      await other.configure({ limits: { concurrency: Infinity } });
      await until(() => gate.started.length >= 6, 'all');
    },
  ],
  [
    'the rate of a channel holds messages back by their cost',
    async ({ channel, runsOnce }) => {
      // What is handed out again because a connection was cut takes of the rate again.
      if (!runsOnce) return;
      const jobs = channel<number>('jobs', { limits: { rate: { count: 5, per: '1h', kind: 'window' } } });
      await jobs.produceAll([1, 2], { cost: 2 });
      await jobs.produce(3, { cost: 2 });
      await jobs.consume(() => {}, { concurrency: 5 });
      await until(async () => (await jobs.inspect()).completed === 2, 'as many as the rate lets through');
      const { ready, heldMs, settings } = await jobs.inspect();
      assert.equal(ready, 1);
      assert.equal(heldMs, 0);
      assert.deepEqual(settings.rate, { kind: 'window', count: 5, perMs: 3_600_000 });
      await jobs.configure({ limits: { rate: false } });
      await until(async () => (await jobs.inspect()).completed === 3, 'the last');
    },
  ],
  [
    'rateLimited() gives a message back uncounted, and holds back its channel or its group',
    async ({ channel, runsOnce }) => {
      for (const of of ['channel', 'group'] as const) {
        const calls = channel<number>(`calls of a ${of}`);
        const seen: { readonly number: number; readonly attempt: number }[] = [];
        let isBusy = true;
        await calls.consume((number, { attempt }) => {
          seen.push({ number, attempt });
          return number === 1 && isBusy ? rateLimited(50, { of }) : undefined;
        });
        const { id } = await calls.produce(1, { group: 'a' });
        const isHeld = async (): Promise<boolean> =>
          (await calls.get(id))?.history.some(({ note }) => note === 'The handler was told to wait') === true;
        await until(isHeld, 'the hold');
        await calls.produce(2, { group: 'a' });
        if (of === 'group') {
          await calls.produce(3, { group: 'b' });
          await until(() => seen.some(({ number }) => number === 3), 'the other group');
        }
        isBusy = false;
        await calls.result(id);
        await until(() => seen.some(({ number }) => number === 2), 'the one behind');
        const numbers = seen.map(({ number }) => number);
        assert.ok(numbers.lastIndexOf(1) < numbers.indexOf(2), `In ${numbers.join()}`);
        // Where connections are cut, a death may be counted, and taken back.
        if (runsOnce) for (const { number, attempt } of seen) if (number === 1) assert.equal(attempt, 1);
      }
    },
  ],
];
