/** The part of the API's conformance suite that is about schedules. Those without an end are removed by their case. */
import assert from 'node:assert/strict';
import type { Tick } from '../model/block.ts';
import { type ApiCase, assertLike, Gate, hasCode, until } from './api-conformance-tools.ts';

export const scheduleCases: readonly ApiCase[] = [
  [
    'an interval brings its message as often as its limit says, each tick once, with its time',
    async ({ channel, hf, nameOf }) => {
      const mails = channel<{ to: string }>('mail');
      const seen = new Map<string, Tick | undefined>();
      const messages: unknown[] = [];
      await mails.consume((message, { id, schedule }) => {
        seen.set(id, schedule);
        messages.push(message);
      });
      const key = nameOf('every');
      const receipt = await hf.schedules.upsert(
        key,
        { every: '20ms' },
        { channel: mails, message: { to: 'ada' }, limit: 5, missed: 'all' },
      );
      const { nextAt = 0 } = receipt;
      assertLike(receipt, { key, channel: mails.name });
      await until(async () => (await hf.schedules.get(key))?.state === 'ended', 'the last tick');
      await until(() => seen.size === 5, 'the messages');
      const ticks = [...seen.values()].map((tick) => tick?.at ?? 0).toSorted((a, b) => a - b);
      assert.deepEqual(
        ticks,
        Array.from({ length: 5 }, (_, i) => nextAt + 20 * i),
      );
      assert.deepEqual(new Set(messages.map((message) => JSON.stringify(message))), new Set(['{"to":"ada"}']));
      const [id = ''] = seen.keys();
      assertLike((await mails.get(id))?.schedule, { key, manual: false });
      assertLike(await mails.get((await mails.produce({ to: 'bob' })).id), { schedule: undefined });
      await hf.schedules.remove(key);
    },
  ],
  [
    'a cron pattern with seconds brings its message at whole seconds',
    async ({ channel, hf, nameOf }) => {
      const mails = channel<number>('mail');
      const times: number[] = [];
      await mails.consume((_, { schedule }) => void times.push(schedule?.at ?? 0));
      const { nextAt = 0 } = await mails.schedule(nameOf('cron'), { cron: '* * * * * *' }, 7, { limit: 2 });
      assert.equal(nextAt % 1_000, 0);
      await until(() => new Set(times).size === 2, 'two ticks');
      assert.deepEqual(
        [...new Set(times)].map((at) => at % 1_000),
        [0, 0],
      );
      await hf.schedules.remove(nameOf('cron'));
    },
  ],
  [
    'a schedule can be looked at, changed, listed and removed from another instance',
    async ({ channel, hf, open, nameOf }) => {
      const mails = channel<{ n: number }>('mail');
      const key = nameOf('a');
      const end = Date.UTC(2090, 0, 1);
      await mails.schedule(
        key,
        { cron: '0 4 * * MON', timeZone: 'Europe/Berlin' },
        { n: 1 },
        { end, jitter: '1m', priority: 3 },
      );
      const other = await open();
      const found = await other.schedules.get<{ n: number }>(key);
      assertLike(found, {
        key,
        channel: mails.name,
        message: { n: 1 },
        rule: { cron: '0 4 * * MON', timeZone: 'Europe/Berlin' },
        endAt: end,
        jitterMs: 60_000,
        missed: 'one',
        overlap: 'allow',
        state: 'live',
        ticks: 0,
      });
      const again = await mails.schedule(key, { cron: '0 4 * * MON', timeZone: 'Europe/Berlin' }, { n: 2 });
      assert.equal(again.nextAt, found?.nextAt);
      await mails.schedule(nameOf('b'), { every: '1d' }, { n: 3 });
      const listed = await other.schedules.list({ channel: mails.name, limit: 1 });
      assert.deepEqual([listed.schedules.map((one) => one.key), listed.next], [[key], key]);
      const rest = await other.schedules.list({ channel: mails.name, limit: 1, after: listed.next ?? '' });
      assert.deepEqual([rest.schedules.map((one) => one.key)], [[nameOf('b')]]);
      assertLike(await hf.schedules.get(key), { message: { n: 2 }, endAt: undefined });
      assert.equal(await other.schedules.remove(key), true);
      assert.equal(await hf.schedules.remove(key), false);
      assert.equal(await hf.schedules.get(key), undefined);
      await hf.schedules.remove(nameOf('b'));
    },
  ],
  [
    'pause(), resume() and runNow()',
    async ({ channel, hf, nameOf }) => {
      const mails = channel<string>('mail');
      const key = nameOf('rare');
      await mails.schedule(key, { every: '30d' }, 'x');
      await hf.schedules.pause(key);
      assertLike(await hf.schedules.get(key), { state: 'paused', nextAt: undefined });
      const { id } = await hf.schedules.runNow(key);
      assertLike(await mails.get(id), { message: 'x', state: 'ready', schedule: { key, manual: true } });
      await hf.schedules.resume(key);
      assertLike(await hf.schedules.get(key), { state: 'live', ticks: 0 });
      await hf.schedules.remove(key);
      for (const call of [hf.schedules.pause(key), hf.schedules.resume(key), hf.schedules.runNow(key)]) {
        await assert.rejects(call, hasCode('NOT_FOUND'));
      }
    },
  ],
  [
    'with overlap: queue one tick waits for the end of the one before',
    async ({ channel, hf, nameOf, runsOnce }) => {
      const mails = channel<number>('mail');
      const gate = new Gate();
      const ticks: number[] = [];
      let running = 0;
      let most = 0;
      await mails.consume(
        async (_, { schedule }) => {
          most = Math.max(most, ++running);
          await gate.enter(schedule?.at);
          running -= 1;
          ticks.push(schedule?.at ?? 0);
        },
        { concurrency: 5 },
      );
      const key = nameOf('queue');
      const { nextAt = 0 } = await mails.schedule(key, { every: 20 }, 1, {
        overlap: 'queue',
        // A broker that comes late leaves none out.
        missed: 'all',
        limit: 3,
        immediately: true,
      });
      await until(() => gate.started.length > 0, 'the first tick');
      await assert.rejects(hf.schedules.runNow(key), hasCode('WRONG_STATE'));
      await until(async () => {
        gate.open();
        return (await mails.inspect()).totals.completed === 3;
      }, 'the others');
      if (runsOnce) assert.equal(most, 1);
      const once = [...new Set(ticks)].toSorted((a, b) => a - b);
      assert.deepEqual(once.slice(0, 2), [nextAt, nextAt + 20]);
      await hf.schedules.remove(key);
    },
  ],
];
