import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { type ChannelMetrics, type Holdfast, open, restore, summarizeMetrics, type UsageReport } from 'holdfast';
import { newFolder, openUntilEnd, timelessSetups } from '../helpers/instances.ts';

const USED = { reads: 6, writes: 7, messages: 3 };

/** Three messages, of which one fails once. */
async function work(hf: Holdfast): Promise<void> {
  const mails = hf.channel<number>('mail', { attempts: 2, backoff: 0 });
  const consumer = await mails.consume((number, { attempt }) => {
    if (number === 1 && attempt === 1) throw new Error('boom');
  });
  const receipts = await mails.produceAll([1, 2, 3]);
  for (const { id } of receipts) await mails.result(id);
  for (const { id } of receipts.slice(0, 2)) await mails.get(id);
  await consumer.drain();
}

interface Counted {
  readonly metrics: ChannelMetrics;
  readonly usage: UsageReport;
}

async function countedIn(hf: Holdfast): Promise<Counted> {
  return { metrics: await hf.channel<number>('mail').metrics(), usage: await hf.admin.usage({ channel: 'mail' }) };
}

function expectAll({ metrics, usage }: Counted): void {
  const { counts, latency, handling } = summarizeMetrics(metrics);
  expect(counts).toMatchObject({ produced: 3, completed: 3, failed: 1, redelivered: 1 });
  expect([latency.count, handling.count]).toEqual([4, 4]);
  expect(usage.total).toMatchObject(USED);
}

describe('what is counted', () => {
  test.each(timelessSetups)('is exact ($name)', async ({ start }) => {
    const { hf } = await start();
    await work(hf);
    expectAll(await countedIn(hf));
  });

  test('is there when the folder is opened again, to the last read', async () => {
    const url = `file:${newFolder()}`;
    const first = await open(url);
    await work(first);
    const before = await countedIn(first);
    await first.close();
    const second = await openUntilEnd(url);
    const { metrics, usage } = await countedIn(second);
    expectAll({ metrics, usage });
    expect(metrics.points).toEqual(before.metrics.points);
    expect(usage).toEqual(before.usage);
    await work(second);
    expect((await second.admin.usage({ channel: 'mail' })).total).toMatchObject({ messages: 6, reads: 12, writes: 14 });
  });

  test('goes with a backup', async () => {
    const folder = newFolder();
    const hf = await openUntilEnd(`file:${join(folder, 'a')}`);
    await work(hf);
    await pipeline(Readable.from(hf.backup()), createWriteStream(join(folder, 'backup')));
    await restore(join(folder, 'backup'), join(folder, 'b'));
    const { metrics, usage } = await countedIn(await openUntilEnd(`file:${join(folder, 'b')}`));
    expect(summarizeMetrics(metrics).counts).toMatchObject({ produced: 3, completed: 3 });
    expect(usage.total).toMatchObject({ messages: 3, writes: 7 });
  });

  test('is told apart by access token', async () => {
    const url = `file:${newFolder()}`;
    const hf = await openUntilEnd(url);
    const { id, token } = await hf.tokens.create({
      label: 'ann',
      scopes: ['channel:*:produce,consume,read', 'kv:ann:r,w'],
    });
    const ann = await openUntilEnd(url, { token });
    await work(ann);
    await ann.kv.set(['ann', 1], 'x');
    await ann.kv.get(['ann', 1]);
    await hf.channel<number>('mail').produce(4);
    const { rows, total } = await hf.admin.usage({ token: id });
    expect(rows).toMatchObject([
      { token: id, of: 'kv', reads: 1, writes: 1, messages: 0 },
      { token: id, of: 'channel', channel: 'mail', ...USED },
    ]);
    expect(total).toMatchObject({ reads: 7, writes: 8, messages: 3 });
    expect((await hf.admin.usage({ token: 'embedded' })).total).toMatchObject({ messages: 1, writes: 1, reads: 0 });
    await expect(ann.admin.usage()).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect((await ann.admin.metrics()).channels.map(({ channel }) => channel)).toEqual(['mail']);
  });
});
