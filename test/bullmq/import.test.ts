import { FlowProducer, type Job, Queue, Worker } from 'bullmq';
import { Queue as HoldfastQueue, QueueEvents as HoldfastQueueEvents, Worker as HoldfastWorker } from 'holdfast/bullmq';
import { Redis } from 'ioredis';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { holdfast, json, type Ran, startHoldfast } from '../cli/running-cli.ts';
import { newFolder } from '../helpers/instances.ts';
import { startRedis } from '../helpers/redis.ts';
import { untilTrue } from '../helpers/until-true.ts';

// A real Redis that real BullMQ has filled, moved into a folder.

const HOUR_MS = 3_600_000;

let url: string;
let connection: { host: string; port: number };
let redis: Redis;
let folder: string;

beforeEach(async () => {
  const server = await startRedis(onTestFinished);
  url = server.url;
  connection = { host: '127.0.0.1', port: server.port };
  redis = new Redis(url);
  onTestFinished(() => redis.disconnect());
  folder = newFolder();
});

async function source(name: string): Promise<Queue> {
  const queue = new Queue(name, { connection });
  onTestFinished(() => queue.close());
  await queue.waitUntilReady();
  return queue;
}

async function moved(name: string): Promise<HoldfastQueue> {
  const queue = new HoldfastQueue(name, { connection: `file:${folder}` });
  onTestFinished(() => queue.close());
  await queue.waitUntilReady();
  return queue;
}

/** Runs the jobs of a queue in Redis until one has come to its end. */
async function work(queue: Queue, job: Job, process: (job: Job) => Promise<unknown>): Promise<void> {
  const worker = new Worker(queue.name, process, { connection });
  await untilTrue(async () => ['completed', 'failed'].includes(await queue.getJobState(job.id as string)));
  await worker.close();
}

interface Imported {
  readonly queue: string;
  readonly moved: Readonly<Record<string, number>>;
  readonly clashes: readonly string[];
  readonly oldSchedulers: readonly string[];
}

async function runImport(...flags: readonly string[]): Promise<Imported[]> {
  return (await json<{ queues: Imported[] }>('import', 'bullmq', url, '--data', folder, ...flags)).queues;
}

function failing(...flags: readonly string[]): Promise<Ran> {
  return holdfast('import', 'bullmq', url, '--data', folder, ...flags);
}

/** A queue with a job in each state that is moved. */
async function fill(): Promise<{ mail: Queue; failed: Job; delayed: Job }> {
  const mail = await source('mail');
  const failed = await mail.add('fail', { to: 'nobody' }, { attempts: 1, jobId: 'f1' });
  await work(mail, failed, async (job) => {
    await job.log('about to send');
    await job.updateProgress({ done: 1 });
    throw new Error('no such address');
  });
  for (const n of [1, 2, 3]) await mail.add('send', { n }, { attempts: 3 });
  await mail.add('first', {}, { lifo: true });
  for (const priority of [9, 1, 9]) await mail.add('ranked', { priority }, { priority });
  const delayed = await mail.add('later', { at: 'noon' }, { delay: HOUR_MS });
  await mail.add('later', {}, { delay: HOUR_MS / 2 });
  await mail.add('unique', {}, { deduplication: { id: 'once', ttl: HOUR_MS } });
  await mail.upsertJobScheduler(
    'nightly',
    { pattern: '0 0 3 * * *', tz: 'Europe/Paris' },
    { name: 'report', data: { of: 'day' } },
  );
  await mail.upsertJobScheduler('often', { every: 60_000 }, { name: 'poll', opts: { attempts: 2 } });
  await mail.setGlobalConcurrency(3);
  return { mail, failed, delayed };
}

/** What jobs show, as JSON has it. */
function shown(jobs: readonly { toJSON(): object }[]): unknown[] {
  return jobs.map((job) => JSON.parse(JSON.stringify(job)) as unknown);
}

const STATES = ['waiting', 'prioritized', 'delayed', 'failed'] as const;

test('holdfast import bullmq --dry-run says what would be moved, and moves nothing', async () => {
  const { mail } = await fill();
  const before = await mail.getJobCounts();
  const would = { wait: 6, prioritized: 3, delayed: 3, failed: 1, active: 0, schedulers: 2 };
  expect(await runImport('--dry-run')).toMatchObject([{ queue: 'mail', moved: would }]);
  expect(await mail.getJobCounts()).toEqual(before);
  const { output } = await failing('--dry-run');
  expect(output).toMatch(/^QUEUE +WAITING +PRIORITIZED/);
  expect(output).toContain('Nothing was moved');
  expect(await (await moved('mail')).count()).toBe(0);
});

test('holdfast import bullmq moves jobs as they are, in their order', async () => {
  const { mail } = await fill();
  const before = await Promise.all(STATES.map((state) => mail.getJobs([state], 0, -1, true)));
  const schedulers = await mail.getJobSchedulers();
  const logs = await mail.getJobLogs('f1');
  const [{ moved: counts } = { moved: {} }] = await runImport();
  expect(counts).toMatchObject({ wait: 6, prioritized: 3, delayed: 3, failed: 1, schedulers: 2 });

  const queue = await moved('mail');
  for (const [i, state] of STATES.entries()) {
    const after = await queue.getJobs([state], 0, -1, true);
    expect(shown(after)).toEqual(shown(before[i] as Job[]));
  }
  expect(await queue.getJobSchedulers()).toEqual(schedulers);
  expect(await queue.getJobLogs('f1')).toEqual(logs);
  expect(await queue.getGlobalConcurrency()).toBe(3);
  expect(await queue.getDeduplicationJobId('once')).toBe(await mail.getDeduplicationJobId('once'));
  expect(await queue.isPaused()).toBe(false);
  expect(await mail.getJobCountByTypes(...STATES)).toBe(0);
  // Ids go on where they were.
  const next = await mail.add('send', {});
  expect(Number((await queue.add('send', {})).id)).toBe(Number(next.id));
});

test('what was imported is worked on: a failed job again, a delayed one when it is due, a scheduler for ever', async () => {
  const { delayed } = await fill();
  await runImport();
  const queue = await moved('mail');
  const done: string[] = [];
  const connection = `file:${folder}`;
  const worker = new HoldfastWorker('mail', async (job) => void done.push(job.name), { connection });
  onTestFinished(() => worker.close());
  await untilTrue(() => done.length === 9);
  expect(done.slice(0, 4)).toEqual(['first', 'send', 'send', 'send']);
  await (await queue.getJob('f1'))?.retry();
  await (await queue.getJob(delayed.id as string))?.promote();
  await untilTrue(() => done.length === 11);
  expect(done.slice(9).sort((a, b) => (a < b ? -1 : 1))).toEqual(['fail', 'later']);
  expect(await queue.getJobSchedulersCount()).toBe(2);
  expect((await queue.getDelayed()).map(({ name }) => name)).toContain('poll');
});

test('a flow goes on behind an import: a parent waits for the children that are left', async () => {
  const flows = new FlowProducer({ connection });
  onTestFinished(() => flows.close());
  const { job: parent } = await flows.add({
    name: 'album',
    queueName: 'albums',
    children: [
      { name: 'photo', queueName: 'photos', data: { n: 1 }, opts: { jobId: 'p1' } },
      { name: 'photo', queueName: 'photos', data: { n: 2 }, opts: { jobId: 'p2', delay: HOUR_MS } },
    ],
  });
  const photos = await source('photos');
  await work(photos, (await photos.getJob('p1')) as Job, (job) => Promise.resolve(job.data.n));
  await runImport();

  const connectionHere = `file:${folder}`;
  const events = new HoldfastQueueEvents('albums', { connection: connectionHere });
  const albums = new HoldfastWorker('albums', (job) => job.getChildrenValues(), { connection: connectionHere });
  const left = new HoldfastWorker('photos', (job) => Promise.resolve(job.data.n), { connection: connectionHere });
  onTestFinished(async () => void (await Promise.all([albums.close(), left.close(), events.close()])));
  await events.waitUntilReady();
  const queue = await moved('albums');
  expect(await queue.getJobState(parent.id as string)).toBe('waiting-children');
  await (await (await moved('photos')).getJob('p2'))?.promote();
  const values = await (await queue.getJob(parent.id as string))?.waitUntilFinished(events);
  expect(values).toEqual({ 'bull:photos:p1': 1, 'bull:photos:p2': 2 });
});

test('a second import moves nothing twice, also where the jobs have ended and are gone, and moves what has come', async () => {
  const { mail } = await fill();
  await runImport();
  const queue = await moved('mail');
  await queue.drain(true);
  const [again] = await runImport();
  expect(Object.values(again?.moved ?? {})).toEqual(Array(8).fill(0));
  // What schedulers make next stays.
  expect((await queue.getJobs(['waiting', 'delayed'])).map(({ name }) => name)).toEqual(['poll', 'report']);
  await mail.add('send', { late: true });
  expect((await runImport())[0]?.moved).toMatchObject({ wait: 1 });
  expect(await queue.count()).toBe(3);
});

test('an import that is killed goes on when it is run again, and nothing runs before it is through', async () => {
  const mail = await source('mail');
  const count = 20_000;
  for (let from = 0; from < count; from += 1_000) {
    await mail.addBulk(Array.from({ length: 1_000 }, (_, n) => ({ name: 'send', data: { n: from + n } })));
  }
  const handled: number[] = [];
  for (const limit of [2_000, 9_000]) {
    const running = startHoldfast('import', 'bullmq', url, '--data', folder);
    await untilTrue(async () => (await redis.scard('bull:mail:moved-to-holdfast')) >= limit);
    running.child.kill('SIGKILL');
    await running.ended;
    const queue = await moved('mail');
    expect(await queue.isPaused()).toBe(true);
  }
  const worker = new HoldfastWorker('mail', async (job) => void handled.push(job.data.n), {
    connection: `file:${folder}`,
    concurrency: 50,
  });
  onTestFinished(() => worker.close());
  await worker.waitUntilReady();
  expect(handled).toEqual([]);
  await runImport();
  await untilTrue(() => handled.length >= count);
  expect(handled).toHaveLength(count);
  expect(new Set(handled).size).toBe(count);
  expect(await mail.count()).toBe(0);
}, 120_000);

test('an import is refused while there are workers, unless it is forced; then what they held runs again', async () => {
  const mail = await source('mail');
  let go = (): void => {};
  const held = new Promise<void>((resolve) => (go = resolve));
  const { id } = await mail.add('send', { n: 1 });
  await mail.add('send', { n: 2 });
  const worker = new Worker('mail', () => held, { connection, name: 'ann' });
  onTestFinished(() => worker.close(true));
  worker.on('error', () => {});
  await untilTrue(async () => (await mail.getJobState(id as string)) === 'active');
  expect(await failing()).toMatchObject({
    code: 1,
    errors: expect.stringContaining('Cannot import "mail": there are workers, or jobs that they hold') as string,
  });
  expect(await mail.getJobCounts('active', 'waiting')).toEqual({ active: 1, waiting: 1 });

  expect((await runImport('--force'))[0]?.moved).toMatchObject({ active: 1, wait: 1 });
  const waiting = await (await moved('mail')).getWaiting(0, -1);
  expect(waiting.map((job) => job.data.n).sort((a: number, b: number) => a - b)).toEqual([1, 2]);
  go();
});

test('a job whose id another job has in the store stays where it is, and is named', async () => {
  const mail = await source('mail');
  await mail.add('send', { from: 'redis' }, { jobId: 'same' });
  await mail.add('send', { n: 2 });
  const queue = await moved('mail');
  await queue.add('send', { from: 'here' }, { jobId: 'same' });
  const { code, errors, output } = await failing('--json');
  expect({ code, errors }).toMatchObject({
    code: 1,
    errors: expect.stringContaining('1 jobs stay in Redis') as string,
  });
  expect((JSON.parse(output) as { queues: Imported[] }).queues[0]).toMatchObject({
    moved: { wait: 1 },
    clashes: ['same'],
  });
  expect((await queue.getJob('same'))?.data).toEqual({ from: 'here' });
  expect((await mail.getWaiting()).map(({ id }) => id)).toEqual(['same']);
});

test('queues that were paused stay so, only those are moved that are named, and repeatable jobs of old versions stay', async () => {
  const [mail, other] = [await source('mail'), await source('other')];
  await mail.add('send', {});
  await other.add('send', {});
  await mail.pause();
  await redis.zadd('bull:mail:repeat', '1900000000000', 'report:::UTC:0 3 * * *');
  const imported = await runImport('--queue', 'mail');
  expect(imported).toMatchObject([{ queue: 'mail', oldSchedulers: ['report:::UTC:0 3 * * *'] }]);
  expect(await (await moved('mail')).isPaused()).toBe(true);
  expect(await other.count()).toBe(1);
  expect(await redis.zcard('bull:mail:repeat')).toBe(1);
});

test.each([
  [['redis://127.0.0.1:1'], 1, 'UNREACHABLE'],
  [['http://127.0.0.1'], 2, 'give a URL such as redis://'],
  [[], 2, 'missing required argument'],
] as const)('holdfast import bullmq %s is refused', async (args, code, reason) => {
  const ran = await holdfast('import', 'bullmq', ...args, '--data', folder);
  expect(ran).toMatchObject({ code, output: '', errors: expect.stringContaining(reason) as string });
});
