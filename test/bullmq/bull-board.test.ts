import type { Job, Queue } from 'bullmq';
import { beforeAll, expect, test } from 'vitest';
import { untilTrue } from '../helpers/until-true.ts';
import { endsBehindFile } from '../network/conformance.ts';
import { talking, type Talking } from '../network/processes.ts';
import { type Place, programApp, startPlace } from './place.ts';

// bull-board as it is, with its adapter for Express, over BullMQ's own module that was told to use Holdfast. Each of its
// endpoints is called; the last test looks whether there are more.

const PAST_MS = 60_000;

let place: Place;
let board: Talking;
let base: string;
let routes: readonly string[];
let mail: Queue;
const called = new Set<string>();

const endBehind = endsBehindFile();
beforeAll(async () => {
  place = await startPlace(endBehind);
  mail = await place.queue('mail', {}, endBehind);
  board = talking(
    [programApp('bull-board.mjs', endBehind).pathOf('bull-board.mjs'), 'mail', 'other'],
    place.env,
    endBehind,
  );
  const started = await board.says((line) => 'routes' in line);
  base = `http://127.0.0.1:${String(started['port'])}/board`;
  routes = started['routes'] as string[];
});

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** Calls an endpoint by its pattern, with what stands for the parts with a colon. */
async function call(
  method: 'get' | 'put' | 'post' | 'patch',
  route: string,
  parts: Readonly<Record<string, string>> = {},
  body?: unknown,
): Promise<Answer> {
  called.add(`${method} ${route.split('?')[0] ?? ''}`);
  const path = route.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(parts[name] ?? ''));
  const response = await fetch(base + path, {
    method: method.toUpperCase(),
    ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? undefined : (JSON.parse(text) as unknown) };
}

const ofMail = { queueName: 'mail' };

function ofJob({ id }: Pick<Job, 'id'>): Record<string, string> {
  return { ...ofMail, jobId: id as string };
}

interface BoardQueue {
  readonly name: string;
  readonly counts: Readonly<Record<string, number>>;
  readonly jobs: readonly { readonly id: string; readonly name: string }[];
  readonly isPaused: boolean;
  readonly globalConcurrency: number | null;
  readonly hasWorkers: boolean;
}

async function boardQueue(query = ''): Promise<BoardQueue> {
  const { status, body } = await call('get', `/api/queues?activeQueue=mail${query}`);
  expect(status).toBe(200);
  return (body as { queues: BoardQueue[] }).queues.find(({ name }) => name === 'mail') as BoardQueue;
}

async function stateOf({ id }: Pick<Job, 'id'>): Promise<string> {
  return mail.getJobState(id as string);
}

/** A job that has come to its end: "fail" does not come to a good one. */
async function ended(name: 'fail' | 'send'): Promise<Job> {
  const job = await mail.add(name, { to: 'ada' }, { attempts: 1 });
  const worker = await place.worker('mail', async (one) => {
    await one.log('about to send');
    if (one.name === 'fail') throw new Error('no such address');
    return 'sent';
  });
  await untilTrue(async () => ['completed', 'failed'].includes(await stateOf(job)));
  await worker.close();
  return job;
}

test('the board shows its page for queues and jobs', async () => {
  for (const path of ['/', '/queue/mail', '/queue/mail/1', '/job-schedulers']) {
    const response = await fetch(base + path);
    expect(response.status).toBe(200);
    expect(await response.text()).toContain('<html');
  }
});

test('the board lists queues with their counts, and pages of jobs by state', async () => {
  await mail.addBulk(Array.from({ length: 12 }, (_, n) => ({ name: 'send', data: { n } })));
  await mail.add('later', {}, { delay: 3_600_000 });
  const { counts, jobs } = await boardQueue('&status=waiting&page=2&jobsPerPage=10');
  expect(counts).toMatchObject({ waiting: 12, delayed: 1, active: 0, completed: 0, failed: 0 });
  expect(jobs).toHaveLength(2);
  expect((await boardQueue('&status=latest')).jobs).toHaveLength(11);
  expect((await boardQueue('&status=delayed')).jobs.map(({ name }) => name)).toEqual(['later']);
  expect((await call('put', '/api/queues/:queueName/empty', ofMail)).status).toBe(200);
  expect((await boardQueue()).counts).toMatchObject({ waiting: 0 });
  await mail.drain(true);
});

test('the board adds a job, shows it, changes it and deletes it', async () => {
  const added = await call('post', '/api/queues/:queueName/add', ofMail, {
    name: 'send',
    data: { to: 'ada' },
    options: { delay: 3_600_000 },
  });
  expect(added).toMatchObject({ status: 200, body: { status: 'delayed' } });
  const job = { id: (added.body as { job: { id: string } }).job.id };
  const runAt = Date.now() + 60_000;
  expect((await call('patch', '/api/queues/:queueName/:jobId/delay', ofJob(job), { runAt })).status).toBe(200);
  expect((await mail.getJob(job.id))?.delay).toBeLessThanOrEqual(60_000);
  const data = { jobData: { to: 'liz' } };
  expect((await call('patch', '/api/queues/:queueName/:jobId/update-data', ofJob(job), data)).status).toBe(200);
  expect((await call('put', '/api/queues/:queueName/:jobId/promote', ofJob(job))).status).toBe(204);
  expect(await stateOf(job)).toBe('waiting');
  const priority = { priority: 7 };
  expect((await call('patch', '/api/queues/:queueName/:jobId/priority', ofJob(job), priority)).status).toBe(200);
  expect(await stateOf(job)).toBe('prioritized');
  expect(await call('get', '/api/queues/:queueName/:jobId', ofJob(job))).toMatchObject({
    status: 200,
    body: { status: 'prioritized', job: { name: 'send', data: { to: 'liz' }, priority: 7 } },
  });
  expect((await call('put', '/api/queues/:queueName/:jobId/clean', ofJob(job))).status).toBe(204);
  expect((await call('get', '/api/queues/:queueName/:jobId', ofJob(job))).status).toBe(404);
});

test('the board shows why a job failed with its log, and has one or all tried again', async () => {
  const job = await ended('fail');
  expect(await call('get', '/api/queues/:queueName/:jobId', ofJob(job))).toMatchObject({
    body: { status: 'failed', job: { failedReason: 'no such address', attempts: 1, isFailed: true } },
  });
  expect((await call('get', '/api/queues/:queueName/:jobId/logs', ofJob(job))).body).toEqual(['about to send']);
  expect((await call('put', '/api/queues/:queueName/:jobId/retry', ofJob(job))).status).toBe(204);
  expect(await stateOf(job)).toBe('waiting');
  await mail.drain();
  await ended('fail');
  const retried = await call('put', '/api/queues/:queueName/retry/:queueStatus', { ...ofMail, queueStatus: 'failed' });
  expect(retried).toMatchObject({ status: 200, body: { retried: 1, skipped: 0 } });
  await mail.drain();
  const done = await ended('send');
  expect((await call('put', '/api/queues/:queueName/:jobId/retry', ofJob(done))).status).toBe(204);
  await mail.drain();
});

test('the board promotes all that are delayed, and cleans by state', async () => {
  const timestamp = Date.now() - PAST_MS;
  await mail.add('later', {}, { delay: 3_600_000 });
  await mail.add('old', {}, { timestamp });
  expect((await call('put', '/api/queues/:queueName/promote', ofMail)).status).toBe(200);
  expect(await mail.getJobCounts('waiting', 'delayed')).toEqual({ waiting: 2, delayed: 0 });
  const cleaned = await call('put', '/api/queues/:queueName/clean/:queueStatus', { ...ofMail, queueStatus: 'waiting' });
  expect(cleaned.status).toBe(200);
  expect((await mail.getWaiting()).map(({ name }) => name)).toEqual(['later']);
  await mail.drain();
});

test('the board pauses and resumes one queue and all', async () => {
  const isPaused = async (): Promise<boolean> => (await boardQueue()).isPaused;
  expect((await call('put', '/api/queues/:queueName/pause', ofMail)).status).toBe(200);
  expect([await isPaused(), await mail.isPaused()]).toEqual([true, true]);
  expect((await call('put', '/api/queues/:queueName/resume', ofMail)).status).toBe(200);
  expect(await isPaused()).toBe(false);
  expect((await call('put', '/api/queues/pause')).status).toBe(200);
  expect(await isPaused()).toBe(true);
  expect((await call('put', '/api/queues/resume')).status).toBe(200);
  expect(await isPaused()).toBe(false);
});

test('the board sets concurrency and rate of a queue, and lifts a rate that holds', async () => {
  const concurrency = { concurrency: 3 };
  expect((await call('put', '/api/queues/:queueName/concurrency', ofMail, concurrency)).status).toBe(200);
  expect((await boardQueue()).globalConcurrency).toBe(3);
  expect(await mail.getGlobalConcurrency()).toBe(3);
  expect((await call('put', '/api/queues/:queueName/concurrency', ofMail, { concurrency: 0 })).status).toBe(200);

  const rate = { max: 1, duration: 60_000 };
  expect((await call('put', '/api/queues/:queueName/rate-limit', ofMail, rate)).status).toBe(200);
  expect(await mail.getGlobalRateLimit()).toEqual(rate);
  expect(await call('get', '/api/queues/:queueName/rate-limit', ofMail)).toMatchObject({
    status: 200,
    body: { rateLimit: rate },
  });
  await mail.rateLimit(3_600_000);
  expect(await mail.getRateLimitTtl()).toBeGreaterThan(0);
  expect((await call('put', '/api/queues/:queueName/rate-limit/release', ofMail)).status).toBe(200);
  expect(await mail.getRateLimitTtl()).toBeLessThanOrEqual(0);
  await mail.removeGlobalRateLimit();
});

test('the board shows workers, metrics and what jobs get by default', async () => {
  const worker = await place.worker('mail', () => Promise.resolve());
  const { status, body } = await call('get', '/api/queues/:queueName/workers', ofMail);
  expect(status).toBe(200);
  expect((body as { workers: unknown[] }).workers).toHaveLength(1);
  expect((await boardQueue()).hasWorkers).toBe(true);
  await worker.close();
  expect((await call('get', '/api/queues/:queueName/metrics', ofMail)).body).toMatchObject({
    completed: { count: 0 },
    failed: { count: 0 },
  });
  const defaults = await call('get', '/api/queues/:queueName/default-job-options', ofMail);
  expect(defaults).toMatchObject({ status: 200, body: { attempts: 3 } });
  expect(await call('get', '/api/queues/:queueName/job-data-schema', ofMail)).toEqual({ status: 200, body: {} });
});

test('the board lists schedulers, changes one, runs it once more and removes it', async () => {
  await mail.upsertJobScheduler('nightly', { pattern: '0 0 3 * * *' }, { name: 'report', data: { kind: 'daily' } });
  const scheduler = { ...ofMail, schedulerId: 'nightly' };
  expect((await call('get', '/api/job-schedulers')).body).toMatchObject({
    schedulers: [{ id: 'nightly', name: 'report', pattern: '0 0 3 * * *', queueName: 'mail' }],
  });
  const route = '/api/queues/:queueName/job-schedulers/:schedulerId' as const;
  expect((await call('patch', route, scheduler, { every: 3_600_000 })).status).toBe(204);
  expect(await mail.getJobScheduler('nightly')).toMatchObject({ every: 3_600_000 });
  const run = await call('put', `${route}/run`, scheduler);
  expect(run).toMatchObject({ status: 200, body: { job: { name: 'report', data: { kind: 'daily' } } } });
  expect((await call('put', `${route}/remove`, scheduler)).status).toBe(204);
  expect((await call('put', `${route}/remove`, scheduler)).status).toBe(404);
  expect(await mail.getJobSchedulersCount()).toBe(0);
  await mail.drain(true);
});

test('the board shows the tree of a flow, and removes children that were not processed', async () => {
  const flows = await place.flows();
  const { job } = await flows.add({
    name: 'album',
    queueName: 'mail',
    children: [
      { name: 'photo 1', queueName: 'other' },
      { name: 'photo 2', queueName: 'other' },
    ],
  });
  const flow = await call('get', '/api/queues/:queueName/:jobId/flow', ofJob(job));
  expect(flow.status).toBe(200);
  expect(JSON.stringify(flow.body)).toMatch(/album.*photo/);
  const removed = await call('put', '/api/queues/:queueName/:jobId/remove-unprocessed-children', ofJob(job));
  expect(removed).toEqual({ status: 200, body: { removed: 2 } });
  expect(await (await place.queue('other')).count()).toBe(0);
});

test('the board obliterates a queue', async () => {
  await mail.add('send', {});
  const route = '/api/queues/:queueName/obliterate';
  expect((await call('put', route, ofMail, { force: true })).status).toBe(400);
  await mail.pause();
  expect((await call('put', route, ofMail, { force: true })).status).toBe(200);
  expect(await mail.count()).toBe(0);
  expect(await mail.isPaused()).toBe(false);
});

test('the board tells what it can of the server behind the queues', async () => {
  const { status, body } = await call('get', '/api/redis/stats');
  // A store that it knows nothing of is no error: the board shows no numbers then.
  expect([200, 404]).toContain(status);
  expect(body).toBeDefined();
});

test('the board ends when it is told to', async () => {
  expect(await board.end('SIGTERM')).toEqual({ code: 0, signal: null, errors: '' });
});

test('each endpoint of the board was called', () => {
  expect(routes.length).toBeGreaterThan(30);
  expect([...called].sort()).toEqual([...routes].sort());
});
