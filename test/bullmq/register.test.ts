import 'holdfast/bullmq/register';
import { Queue, QueueEvents, Worker } from 'bullmq';
import { open } from 'holdfast';
import { expect, onTestFinished, test } from 'vitest';

test("BullMQ's own classes use Holdfast once it is registered", async () => {
  const connection = (await open('memory:')) as never;
  const queue = new Queue('mail', { connection });
  const events = new QueueEvents('mail', { connection });
  const worker = new Worker<{ n: number }, number>('mail', async ({ data }) => data.n + 1, { connection });
  onTestFinished(async () => {
    for (const each of [worker, events, queue]) await each.close();
    await (connection as { close(): Promise<void> }).close();
  });
  await events.waitUntilReady();
  const job = await queue.add('x', { n: 1 });
  expect(await job.waitUntilFinished(events, 8_000)).toBe(2);
  expect(await queue.getVersion()).toMatch(/^bullmq:6\./);
  expect((await queue.getWorkers()).map(({ name }) => name)).toEqual(['mail']);
});
