/** The part of the API's conformance suite that is about metrics and usage. */
import assert from 'node:assert/strict';
import { encode } from '../codec/bson.ts';
import { countOf } from '../model/histogram.ts';
import { summarizeMetrics } from '../model/metrics.ts';
import { type ApiCase, assertLike, until } from './api-conformance-tools.ts';

const sizeOf = (value: unknown): number => encode(value).length;

export const countsCases: readonly ApiCase[] = [
  [
    'metrics() of a channel has what happened, with the times of handlers',
    async ({ channel, runsOnce }) => {
      const mails = channel<number, number>('mail', { attempts: 2, backoff: 0 });
      assertLike(await mails.metrics(), { channel: mails.name, points: [], now: { ready: 0 }, stepMs: 60_000 });
      await mails.consume((number) => {
        if (number === 3) throw new Error('boom');
        return number;
      });
      const receipts = await mails.produceAll([1, 2, 3]);
      await mails.result(receipts[0]?.id ?? '');
      await until(async () => (await mails.inspect()).dead === 1, 'the end of the third message');
      await until(async () => (await mails.inspect()).completed === 2, 'the end of the others');
      const metrics = await mails.metrics();
      const { counts, latency, handling } = summarizeMetrics(metrics);
      assert.deepEqual(counts, metrics.now.totals);
      if (!runsOnce) return;
      assertLike(counts, { produced: 3, completed: 2, dead: 1, failed: 2, redelivered: 1 });
      assert.deepEqual([latency.count, handling.count], [4, 4]);
      assert.deepEqual([countOf(metrics.latency), countOf(metrics.handling)], [4, 4]);
      assert.ok((handling.meanMs ?? -1) >= 0 && (latency.p99Ms ?? -1) > 0);
    },
  ],
  [
    'metrics() in larger steps comes to the same, and in none of another time',
    async ({ channel }) => {
      const mails = channel<number>('mail');
      await mails.produceAll([1, 2, 3]);
      const now = (await mails.metrics()).to;
      const { points, stepMs, from } = await mails.metrics({ from: now - 86_400_000, step: '24h' });
      assert.equal(stepMs, 86_400_000);
      assert.equal(from % 60_000, 0);
      assert.equal(
        points.reduce((sum, { counts }) => sum + counts.produced, 0),
        3,
      );
      assert.deepEqual((await mails.metrics({ to: now - 7_200_000 })).points, []);
    },
  ],
  [
    'admin.metrics() gives all channels, a page at a time',
    async ({ hf, channel, nameOf }) => {
      const names = ['a', 'b', 'c'].map(nameOf);
      for (const [i, name] of ['a', 'b', 'c'].entries())
        await channel<number>(name).produceAll(Array.from({ length: i + 1 }, () => 0));
      const found = new Map<string, number>();
      for (let after: number | undefined = 0; after !== undefined;) {
        const page = await hf.admin.metrics({ after, limit: 2 });
        assert.ok(page.channels.length <= 2);
        for (const metrics of page.channels) {
          if (names.includes(metrics.channel)) found.set(metrics.channel, summarizeMetrics(metrics).counts.produced);
        }
        after = page.next;
      }
      assert.deepEqual(
        names.map((name) => found.get(name)),
        [1, 2, 3],
      );
    },
  ],
  [
    'admin.usage() counts messages, reads, writes and bytes exactly',
    async ({ hf, channel, runsOnce }) => {
      const mails = channel<string, string>('mail');
      const receipts = await mails.produceAll(['one', 'two']);
      await mails.get(receipts[0]?.id ?? '');
      await mails.list('ready');
      const before = await hf.admin.usage({ channel: mails.name });
      const written = 2 * sizeOf('one');
      const shown = { reads: 3, writes: 2, messages: 2, bytesRead: 3 * sizeOf('one'), bytesWritten: written };
      if (!runsOnce) {
        // What is asked again over another link is read again, and written once.
        assertLike(before.total, { writes: 2, messages: 2, bytesWritten: written });
        return assert.ok(before.total.reads >= shown.reads);
      }
      assert.deepEqual(before.total, shown);
      assertLike(before.rows[0], { of: 'channel', channel: mails.name, ...shown });
      await mails.consume(async (text, context) => {
        await context.progress({ half: true });
        return `${text}!`;
      });
      for (const { id } of receipts) await mails.result(id);
      const { total } = await hf.admin.usage({ channel: mails.name });
      assert.deepEqual(total, {
        reads: 5,
        writes: 6,
        messages: 2,
        bytesRead: 5 * sizeOf('one'),
        bytesWritten: written + 2 * sizeOf({ half: true }) + 2 * sizeOf('one!'),
      });
    },
  ],
  [
    'admin.usage() of a channel that nobody has used, or of another day, is nothing',
    async ({ hf, channel, nameOf }) => {
      await channel<number>('mail').produce(1);
      const nothing = { reads: 0, writes: 0, messages: 0, bytesRead: 0, bytesWritten: 0 };
      assert.deepEqual(await hf.admin.usage({ channel: nameOf('other') }), { rows: [], total: nothing });
      const past = { from: new Date(0), to: new Date(86_400_000) };
      assert.deepEqual((await hf.admin.usage({ ...past, channel: nameOf('mail') })).rows, []);
    },
  ],
  [
    'metrics() and usage() refuse what cannot be asked for',
    async ({ hf, channel }) => {
      const mails = channel<number>('mail');
      await assert.rejects(mails.metrics({ step: '90s' }), RangeError);
      await assert.rejects(mails.metrics({ step: '25h' }), RangeError);
      await assert.rejects(mails.metrics({ from: new Date(NaN) }), TypeError);
      await assert.rejects(mails.metrics({ from: 2, to: 1 }), RangeError);
      await assert.rejects(mails.metrics({ every: '1m' } as never), /known are from, to, step/);
      await assert.rejects(hf.admin.metrics({ limit: 0 }), RangeError);
      await assert.rejects(hf.admin.usage({ token: 'nobody' }), TypeError);
      await assert.rejects(hf.admin.usage({ from: 2, to: 1 }), RangeError);
      await assert.rejects(hf.admin.usage({ day: 1 } as never), /known are from, to, token, channel/);
    },
  ],
];
