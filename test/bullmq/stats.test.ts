import { Queue, Worker } from 'holdfast/bullmq';
import { expect, onTestFinished, test } from 'vitest';
import { holdfast, json } from '../cli/running-cli.ts';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';
import { untilTrue } from '../helpers/until-true.ts';

const AGE_MS = 60_000;

interface Stats {
  readonly channels: unknown[];
  readonly queues: readonly { readonly queue: string; readonly oldestReadyMs: number | null }[];
  readonly total: { readonly backlog: number; readonly oldestReadyMs: number };
}

/** A folder with a channel and a queue of BullMQ's. */
async function fill(): Promise<string> {
  const folder = newFolder();
  const hf = await openUntilEnd(`file:${folder}`);
  await hf.channel<number>('mail').produce(1);
  const queue = new Queue('thumbnails', { connection: hf });
  onTestFinished(() => queue.close());
  await queue.add('broken', {}, { attempts: 1 });
  const worker = new Worker('thumbnails', () => Promise.reject(new Error('broken')), { connection: hf });
  await untilTrue(async () => (await queue.getFailedCount()) === 1);
  await worker.close();
  await queue.add('new', {});
  await queue.add('old', {}, { timestamp: Date.now() - AGE_MS, lifo: true });
  await queue.add('later', {}, { delay: 3_600_000 });
  await queue.pause();
  return folder;
}

test("stats shows BullMQ's queues with the channels, and adds them up", async () => {
  const folder = await fill();
  const { output } = await holdfast('stats', '--data', folder);
  const [heading, mail, queue, total] = output.split('\n').map((line) => line.split(/ {2,}/));
  expect(heading?.slice(0, 4)).toEqual(['CHANNEL', 'READY', 'DELAYED', 'LEASED']);
  expect(mail?.slice(0, 3)).toEqual(['mail', '1', '0']);
  expect(queue?.slice(0, 7)).toEqual(['bull:thumbnails', '2', '1', '0', '0', '0', '1']);
  expect(queue?.at(-1)).toBe('paused');
  expect(total?.slice(0, 3)).toEqual(['total', '3', '1']);

  const stats = await json<Stats>('stats', '--data', folder);
  expect(stats.channels).toMatchObject([{ channel: 'mail', backlog: 1 }]);
  expect(stats.queues).toMatchObject([
    { queue: 'bull:thumbnails', ready: 2, delayed: 1, dead: 1, backlog: 3, paused: true },
  ]);
  expect(stats.total.backlog).toBe(4);
  expect(stats.queues[0]?.oldestReadyMs).toBeGreaterThanOrEqual(AGE_MS);
  expect(stats.total.oldestReadyMs).toBeGreaterThanOrEqual(AGE_MS);
});

test('stats finds a queue by its name, with and without its prefix', async () => {
  const folder = await fill();
  for (const name of ['thumbnails', 'bull:thumbnails']) {
    expect(await json('stats', name, '--data', folder)).toMatchObject({ queue: 'bull:thumbnails', backlog: 3 });
    const { output } = await holdfast('stats', name, '--data', folder);
    expect(output).toMatch(/^bull:thumbnails {2}paused\n +ready +2\n/);
  }
  expect(await holdfast('stats', 'thumbnail', '--data', folder)).toMatchObject({ code: 1 });
});

test("stats tells nobody of BullMQ's queues who may not read them", async () => {
  const folder = await fill();
  const flags = ['--data', folder, '--label', 'reader', '--scope', 'channel:mail:read', '--json'];
  const { token } = JSON.parse((await holdfast('token', 'create', ...flags)).output) as { token: string };
  const stats = await json<Stats>('stats', '--data', folder, '--token', token);
  expect(stats).toMatchObject({ channels: [{ channel: 'mail' }], queues: [], total: { backlog: 1 } });
});
