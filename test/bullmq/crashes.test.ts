import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { newFolder } from '../helpers/instances.ts';
import { startServer } from '../network/processes.ts';
import { Door, startBullWorker } from './door.ts';

/** BullMQ's own workers wait for a minute here. */
const AT_ONCE_MS = 1_000;

describe('a worker that is killed', () => {
  test('loses its jobs to another one at once', async () => {
    const server = await startServer({ sessionTimeoutMs: 30_000 });
    const mail = new Door(server.url);
    const queue = await mail.queue();
    const events = await mail.events();
    const first = await startBullWorker(server.url, 'mail', true);
    const job = await queue.add('x', {});
    await first.says(({ started }) => started === job.id);
    const second = await startBullWorker(server.url, 'mail', false);
    const finished = job.waitUntilFinished(events, 8_000);
    const killedAt = Date.now();
    await first.end('SIGKILL');
    const { at, attemptsStarted } = await second.says(({ started }) => started === job.id);
    expect(attemptsStarted).toBe(2);
    expect((at as number) - killedAt).toBeLessThan(AT_ONCE_MS);
    await finished;
    expect(await queue.getJob(job.id ?? '')).toMatchObject({ stalledCounter: 1, attemptsMade: 1 });
  });

  test('with the store in its own process leaves its jobs to whoever opens the folder', async () => {
    const folder = join(newFolder(), 'data');
    const worker = await startBullWorker(folder, 'mail', true);
    const mail = new Door(folder);
    const queue = await mail.queue();
    const jobs = await queue.addBulk(['a', 'b'].map((name) => ({ name, data: {} })));
    for (const { id } of jobs) await worker.says(({ started }) => started === id);
    await worker.end('SIGKILL');
    const done: string[] = [];
    const all = new Promise<void>((resolve) => {
      void mail.worker(async (job) => {
        done.push(job.name);
        if (done.length === 2) resolve();
      });
    });
    await all;
    expect(done.sort()).toEqual(['a', 'b']);
  });
});

test('jobs outlive a server that is killed, and workers go on with the next one', async () => {
  const folder = join(newFolder(), 'data');
  const first = await startServer({ folder, sessionTimeoutMs: 30_000 });
  const mail = new Door(first.url);
  const queue = await mail.queue();
  const done = new Set<string>();
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  await mail.worker(
    async (job) => {
      await held;
      done.add(job.id ?? '');
    },
    { concurrency: 10 },
  );
  await Promise.all(Array.from({ length: 50 }, (_, n) => queue.add('x', { n })));
  await first.end('SIGKILL');
  const second = await startServer({ folder, listen: first.addresses, sessionTimeoutMs: 30_000 });
  const events = await mail.events();
  let left = 50;
  const finished = new Promise<void>((resolve) => {
    events.on('completed', () => {
      left -= 1;
      if (left === 0) resolve();
    });
  });
  release();
  await finished;
  expect(done.size).toBe(50);
  expect(await queue.getJobCounts('completed', 'failed', 'active', 'waiting')).toEqual({
    completed: 50,
    failed: 0,
    active: 0,
    waiting: 0,
  });
  expect(await queue.getWorkersCount()).toBe(1);
  // All of it closes without a server, too.
  await second.end('SIGKILL');
});

test('a queue is after a restart as it was', async () => {
  const folder = join(newFolder(), 'data');
  const before = new Door(folder);
  const queue = await before.queue();
  await queue.add('delayed', {}, { delay: 60_000 });
  await queue.add('prioritized', {}, { priority: 2 });
  await queue.add('waiting', { a: [1, { b: null }] });
  await queue.upsertJobScheduler('hourly', { every: 3_600_000 }, { name: 'tick' });
  await queue.setGlobalConcurrency(3);
  await queue.pause();
  const counts = await queue.getJobCounts();
  await before.close();
  const after = await new Door(folder).queue();
  expect(await after.getJobCounts()).toEqual(counts);
  expect(await after.isPaused()).toBe(true);
  expect(await after.getGlobalConcurrency()).toBe(3);
  expect((await after.getJobSchedulers()).map(({ key }) => key)).toEqual(['hourly']);
  const [waiting] = (await after.getWaiting()).filter(({ name }) => name === 'waiting');
  expect(waiting?.data).toEqual({ a: [1, { b: null }] });
});
