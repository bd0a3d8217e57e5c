import { join } from 'node:path';
import { open } from 'holdfast';
import { Job, UnrecoverableError } from 'holdfast/bullmq';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { newFolder } from '../helpers/instances.ts';
import { everyLink } from '../network/every-link.ts';
import { Door } from './door.ts';

const links = everyLink();
beforeAll(() => links.start().then(() => {}));

describe.each([
  ['memory', () => ({ url: 'memory:', space: `s${next++}` })],
  ['a folder, by its path', () => join(newFolder(), 'data')],
  ['a socket', () => links.server.url],
  ['TCP, as host and port', () => ({ host: '127.0.0.1', port: Number(new URL(links.url('holdfast')).port) })],
  [
    'TLS, as host and port',
    () => ({ host: 'localhost', port: Number(new URL(links.url('holdfasts')).port), tls: links.tls }),
  ],
  ['TLS', () => ({ url: links.url('holdfasts'), tls: links.tls })],
  ['WebSocket', () => ({ url: links.url('ws') })],
  ['WebSocket over TLS', () => ({ url: links.url('wss'), tls: links.tls })],
] as const)('over %s', (_, connectionOf) => {
  const door = (): Door => new Door(connectionOf(), `queue-${next++}`);

  test('jobs are added, worked on, and heard of', async () => {
    const mail = door();
    const [queue, events] = [await mail.queue(), await mail.events()];
    await mail.worker(async (job: Job<{ n: number }>) => job.data.n * 2, { concurrency: 3 });
    const jobs = await queue.addBulk([1, 2, 3].map((n) => ({ name: 'double', data: { n } })));
    const results = await Promise.all(jobs.map((job) => job.waitUntilFinished(events, 8_000)));
    expect(results).toEqual([2, 4, 6]);
    expect(await queue.getJobCounts('completed', 'waiting', 'active')).toEqual({ completed: 3, waiting: 0, active: 0 });
  });

  test('what fails is tried again, later, and then no more', async () => {
    const mail = door();
    const [queue, events] = [await mail.queue(), await mail.events()];
    const seen: number[] = [];
    await mail.worker(async (job) => {
      seen.push(job.attemptsMade);
      if (job.name === 'hopeless') throw new UnrecoverableError('never');
      if (job.attemptsMade < 2) throw new Error(`attempt ${job.attemptsMade}`);
      return 'at last';
    });
    const retried = await queue.add('retried', {}, { attempts: 3, backoff: { type: 'fixed', delay: 20 } });
    expect(await retried.waitUntilFinished(events, 8_000)).toBe('at last');
    expect(seen).toEqual([0, 1, 2]);
    const hopeless = await queue.add('hopeless', {}, { attempts: 3 });
    await expect(hopeless.waitUntilFinished(events, 8_000)).rejects.toThrow('never');
    const failed = await queue.getJob(hopeless.id ?? '');
    expect(failed).toMatchObject({ failedReason: 'never', attemptsMade: 1 });
    expect(failed?.stacktrace).toHaveLength(1);
  });

  test('delayed jobs come at their time, and not before', async () => {
    const mail = door();
    const [queue, events] = [await mail.queue(), await mail.events()];
    await mail.worker(async (job) => Date.now() - job.timestamp);
    const job = await queue.add('later', {}, { delay: 150 });
    expect(await job.waitUntilFinished(events, 8_000)).toBeGreaterThanOrEqual(150);
  });

  test('a parent has the values of its children', async () => {
    const mail = door();
    const [events] = [await mail.events(), await mail.queue()];
    await mail.worker(async (job) => (job.name === 'child' ? job.data : Object.values(await job.getChildrenValues())), {
      concurrency: 2,
    });
    const { queueName } = mail;
    const children = ['a', 'b'].map((data) => ({ name: 'child', queueName, data }));
    const { job } = await mail.flows().add({ name: 'parent', queueName, children });
    expect((await job.waitUntilFinished(events, 8_000)).sort()).toEqual(['a', 'b']);
  });
});

let next = 1;

test('objects that give the same connection share one instance, closed with the last of them', async () => {
  const folder = join(newFolder(), 'data');
  const mail = new Door(folder);
  const [one, two] = [await mail.queue(), await mail.queue()];
  await one.add('x', {});
  expect(await two.count()).toBe(1);
  await one.close();
  expect(await two.count()).toBe(1);
  await mail.close();
  // With another setting it could not be opened if the instance were still there.
  const after = await open(`file:${folder}`, { thread: false });
  await after.close();
});

test('an instance that is given stays open', async () => {
  const holdfast = await open('memory:');
  onTestFinished(() => holdfast.close());
  const mail = new Door(holdfast);
  const queue = await mail.queue();
  await queue.add('x', {});
  await mail.close();
  const again = await new Door(holdfast).queue();
  expect(await again.count()).toBe(1);
});

test('what has finished stays within bounds, unless it is said otherwise', async () => {
  const queue = await new Door('memory:').queue();
  const job = await queue.add('x', {});
  expect(job.opts).toMatchObject({ removeOnComplete: { count: 1_000 }, removeOnFail: { count: 100_000 } });
  const own = await new Door('memory:').queue({ defaultJobOptions: { removeOnComplete: false } });
  expect((await own.add('x', {})).opts.removeOnComplete).toBe(false);
});

test('bad input is answered at the call', async () => {
  const queue = await new Door('memory:').queue();
  await expect(queue.add('x', { text: 'x'.repeat(5 * 1024 * 1024) })).rejects.toThrow(RangeError);
  await expect(queue.add('x', {}, { jobId: 'x'.repeat(500) })).rejects.toThrow(RangeError);
  await expect(queue.add('x', {}, { parent: { id: 'none', queue: 'bull:none' } })).rejects.toThrow(
    'Missing key for parent job bull:none:none. addJob',
  );
  const job = await queue.add('x', {});
  await expect(job.moveToCompleted('x', 'token', false)).rejects.toMatchObject({ code: -2 });
  await expect(job.promote()).rejects.toThrow(`Job ${job.id} is not in the delayed state. promote`);
  // The queue goes on.
  expect(await queue.count()).toBe(1);
});

test('a connection that cannot be opened is the reason why a command fails', async () => {
  const queue = new (await import('holdfast/bullmq')).Queue('mail', { connection: 'nowhere://' });
  queue.on('error', () => {});
  await expect(queue.add('x', {})).rejects.toThrow(TypeError);
  await queue.close();
});

test('a job is an instance of Job', async () => {
  const queue = await new Door('memory:').queue();
  expect(await queue.add('x', {})).toBeInstanceOf(Job);
});
