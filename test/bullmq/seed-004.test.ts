import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { Job, JobsOptions, Queue } from 'bullmq';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { type App, newApp } from '../helpers/app.ts';
import { untilTrue } from '../helpers/until-true.ts';
import { talking, type Talking } from '../network/processes.ts';
import { must } from '../store/children.ts';
import { MODULE, type Place, startPlace } from './place.ts';

// An article on background jobs with BullMQ on Heroku: each of its samples as printed, the import of BullMQ excepted. What
// stands before a sample is one of these, and nothing else.

/** The bundler of the article has these from the environment. */
const ENVIRONMENT = `
import.meta.env = {
  hostname: process.env.QUEUE_HOST,
  port: process.env.QUEUE_PORT,
  password: process.env.QUEUE_PASSWORD,
};
`;

/** Lets hours pass between two programs: BullMQ goes by the clock of its callers. */
const CLOCK = `
const now = Date.now;
Date.now = () => now() + Number(process.env.AHEAD_MS ?? 0);
`;

/** The application's own work, which the article names in a comment. It fails for one file, and is slow with another. */
const WORK = `
async function processUploadedFile(fileId) {
  if (fileId === 'broken') throw new Error('the file is broken');
  if (fileId === 'slow') await new Promise((go) => process.stdin.once('data', go));
}
`;

/** What the producer's sample uses from elsewhere. */
const JOB = `
${ENVIRONMENT}
const workerConnectionOptions = import.meta.env.hostname && {
  host: import.meta.env.hostname,
  port: import.meta.env.port,
  password: import.meta.env.password,
};
const jobName = 'resize';
const jobData = JSON.parse(process.env.JOB_DATA ?? '{ "fileId": "f1" }');
`;

/** The modules of the application into which the article puts its worker. */
const APPLICATION = {
  'services/core/Config.js': `
    export class Config {
      async load() {
        return { greeting: 'stored', databaseUrl: 'memory:' };
      }
    }`,
  'services/core/db.js': `
    export class DatabaseManager {
      constructor(config) {
        this.config = config;
        this.rows = new Map();
      }
      async ping() {
        if (this.config.databaseUrl !== 'memory:') throw new Error('There is no such database');
      }
    }`,
  'infra/di.js': `
    import { asClass, asFunction, asValue, createContainer } from 'awilix';
    class FileStorageService {
      constructor({ database, config }) {
        this.database = database;
        this.config = config;
      }
      store(fileId) {
        this.database.rows.set(fileId, this.config.greeting);
        return this.database.rows.get(fileId);
      }
    }
    export async function initDI({ config, database }) {
      return createContainer({ injectionMode: 'PROXY' }).register({
        config: asValue(config),
        database: asValue(database),
        Logger: asFunction(() => ({ info: (text) => console.log(text) })).singleton(),
        FileStorageService: asClass(FileStorageService).singleton(),
      });
    }`,
  'workers/fileUploadWorker.js': `${ENVIRONMENT}
    import { Worker } from '${MODULE}';
    export function WorkerFactory({ container }) {
      return function worker() {
        const connection = { ...import.meta.env, host: import.meta.env.hostname };
        new Worker('uploaded_files_queue', async (job) => container.resolve('FileStorageService').store(job.data.fileId), {
          connection,
        });
      };
    }`,
};

const [WORKER, EVENTS, THRONG, AWILIX, PRODUCER, OPTIONS] = [
  'worker.js',
  'events.js',
  'throng.js',
  'awilix.js',
  'producer.js',
  'options.js',
].map(sample) as [string, string, string, string, string, string];

const WORKER_WITH_WORK = WORKER.replace('// await processUploadedFile', 'await processUploadedFile');

const PROGRAMS = {
  'worker.js': ENVIRONMENT + WORKER,
  'worker-with-events.js': CLOCK + ENVIRONMENT + WORK + WORKER_WITH_WORK + EVENTS,
  'worker-on-every-core.js': ENVIRONMENT + WORK + onEveryCore(WORKER_WITH_WORK + EVENTS),
  'worker-with-container.js': AWILIX,
  'producer.js': JOB + PRODUCER,
  'producer-with-options.js': JOB + PRODUCER + OPTIONS,
};

const QUEUE = 'uploaded_files_queue';
const DAY_S = 24 * 3_600;
const HOUR_MS = 3_600_000;

let app: App;
let place: Place;
let queue: Queue;

beforeEach(async () => {
  app = newApp({ ...PROGRAMS, ...APPLICATION }, onTestFinished);
  place = await startPlace();
  queue = await place.queue(QUEUE);
});

test('the worker handles what is added', async () => {
  const worker = start('worker.js');
  const { id } = await queue.add('resize', { fileId: 'f1' });
  await worker.says(isText(`handling job: [${id}]`));
  await worker.says(isText(`{ jobName: 'resize', jobId: '${id}', data: { fileId: 'f1' } }`));
  await untilTrue(async () => (await queue.getJobState(id as string)) === 'completed');
});

test('the events of a worker tell what was completed, what failed, and what went wrong with the queue', async () => {
  const worker = start('worker-with-events.js');
  const saysError = hearErrors(worker);
  const done = await queue.add('resize', { fileId: 'f1' });
  await worker.says(isText(`[${done.id}] has completed!`));
  expect(textsOf(worker)).toContain(`[${done.id}] entering job completion stage!`);

  const broken = await queue.add('resize', { fileId: 'broken' });
  await untilTrue(async () => (await queue.getJobState(broken.id as string)) === 'failed');
  const slow = await queue.add('resize', { fileId: 'slow' });
  await worker.says(isText(`handling job: [${slow.id}]`));
  await queue.pause();
  await queue.obliterate({ force: true });
  worker.tell('go');
  await saysError('WorkerInstance has errored with');
  const heard = (await worker.end()).errors;
  expect(heard).toContain(`[${broken.id}] has failed with the file is broken\nError: the file is broken\n`);
  expect(heard).toContain(`WorkerInstance has errored with Missing key for job ${slow.id}. moveToFinished`);
});

test('throng starts the worker on every core, and ends all of them', async () => {
  const worker = start('worker-on-every-core.js');
  await untilTrue(async () => (await queue.getWorkersCount()) === cpus().length);
  const jobs = await queue.addBulk(
    Array.from({ length: 20 }, (_, n) => ({ name: 'resize', data: { fileId: `f${n}` } })),
  );
  for (const { id } of jobs) await worker.says(isText(`[${id}] has completed!`));
  expect(await queue.getJobCounts('completed', 'failed', 'active', 'wait')).toEqual({
    completed: 20,
    failed: 0,
    active: 0,
    wait: 0,
  });
  expect(await worker.end('SIGTERM')).toMatchObject({ code: 0 });
  await untilTrue(async () => (await queue.getWorkersCount()) === 0);
});

test('a container of Awilix hands its services to handlers', async () => {
  const worker = start('worker-with-container.js');
  await worker.says(isText('Worker initialized'));
  const job = await queue.add('resize', { fileId: 'f1' });
  const events = await place.events(QUEUE);
  expect(await job.waitUntilFinished(events)).toBe('stored');
});

test('a producer adds a job by its name with its data, and is not tried again unless it asks for it', async () => {
  const producer = start('producer.js', { JOB_DATA: '{ "fileId": "broken" }' });
  await untilTrue(async () => (await queue.count()) === 1);
  const [job] = await queue.getWaiting();
  expect(job).toMatchObject({ name: 'resize', data: { fileId: 'broken' } });
  await producer.end();
  start('worker-with-events.js');
  await untilTrue(async () => (await queue.getFailedCount()) === 1);
  expect(await queue.getJob(job?.id as string)).toMatchObject({ attemptsMade: 1, failedReason: 'the file is broken' });
});

test('with the options of the article a job that fails is tried again after 30 s, and is then among the dead', async () => {
  start('producer-with-options.js', { JOB_DATA: '{ "fileId": "broken" }' });
  await untilTrue(async () => (await queue.count()) === 2);
  const asked = (await queue.getWaiting()).find((job) => job.opts.attempts === 2) as Job;
  expect(asked.opts).toMatchObject({
    attempts: 2,
    backoff: { type: 'exponential', delay: 30_000 },
    removeOnComplete: { age: DAY_S },
    removeOnFail: { age: DAY_S },
  });
  const events = await place.events(QUEUE);
  const exhausted: string[] = [];
  events.on('retries-exhausted', ({ jobId }) => void exhausted.push(jobId));
  start('worker-with-events.js');
  const { id } = asked as { id: string };
  await untilTrue(async () => (await queue.getJobState(id)) === 'delayed');
  const waiting = (await queue.getJob(id)) as Job;
  expect(waiting).toMatchObject({ attemptsMade: 1, delay: 30_000 });
  await waiting.promote();
  await untilTrue(async () => (await queue.getJobState(id)) === 'failed');
  await untilTrue(() => exhausted.includes(id));
  // What BullMQ has for a dead letter queue: those that failed for good, with the reason, until somebody has them tried again.
  const dead = (await queue.getFailed()).find((job) => job.id === id) as Job;
  expect(dead).toMatchObject({ attemptsMade: 2, failedReason: 'the file is broken', data: { fileId: 'broken' } });
  expect(dead.stacktrace).toHaveLength(2);
  await dead.updateData({ fileId: 'mended' });
  await dead.retry();
  await untilTrue(async () => (await queue.getJobState(id)) === 'completed');
});

const FINISHED = [
  { what: 'completed', fileId: 'f1', kept: { removeOnComplete: { age: DAY_S } } },
  { what: 'failed', fileId: 'broken', kept: { removeOnFail: { age: DAY_S } } },
] as const;

test.each(FINISHED)('what has $what is removed by its age when another one has', async ({ what, fileId, kept }) => {
  const first = await queue.add('resize', { fileId }, kept);
  await finishAt(0, first, what);
  const second = await queue.add('resize', { fileId }, kept);
  await finishAt(23 * HOUR_MS, second, what);
  expect(await queue.getJob(first.id as string)).toBeDefined();
  const third = await queue.add('resize', { fileId }, kept);
  await finishAt(25 * HOUR_MS, third, what);
  expect(await idsOf(what)).toEqual([second.id, third.id]);
});

test.each(FINISHED)("of two rules for what has $what the job's counts, not the queue's", async ({ what, fileId }) => {
  const option = what === 'completed' ? 'removeOnComplete' : 'removeOnFail';
  const removing = await place.queue(QUEUE, { defaultJobOptions: { [option]: true } });
  const kept = await removing.add('resize', { fileId }, { [option]: { age: DAY_S } });
  await finishAt(0, kept, what);
  const gone = await removing.add('resize', { fileId });
  const keeping = await place.queue(QUEUE, { defaultJobOptions: { [option]: { age: DAY_S } } });
  const goneToo = await keeping.add('resize', { fileId }, { [option]: true });
  const last = await keeping.add('resize', { fileId });
  await finishAt(0, last, what);
  expect(await idsOf(what)).toEqual([kept.id, last.id]);
  for (const { id } of [gone, goneToo]) expect(await queue.getJob(id as string)).toBeUndefined();
});

test('attempts and backoff of the queue hold for jobs that have none of their own', async () => {
  const strict: JobsOptions = { attempts: 3, backoff: { type: 'exponential', delay: 30_000 } };
  const withDefaults = await place.queue(QUEUE, { defaultJobOptions: strict });
  const plain = await withDefaults.add('resize', { fileId: 'broken' });
  const own = await withDefaults.add('resize', { fileId: 'broken' }, { attempts: 1 });
  start('worker-with-events.js');
  await untilTrue(async () => (await queue.getJobState(own.id as string)) === 'failed');
  await untilTrue(async () => (await queue.getJobState(plain.id as string)) === 'delayed');
  for (const delay of [30_000, 60_000]) {
    const waiting = (await queue.getJob(plain.id as string)) as Job;
    expect(waiting.delay).toBe(delay);
    await waiting.promote();
    const made = waiting.attemptsMade + 1;
    await untilTrue(async () => {
      const job = (await queue.getJob(plain.id as string)) as Job;
      return job.attemptsMade === made && ['delayed', 'failed'].includes(await job.getState());
    });
  }
  expect(await queue.getJobState(plain.id as string)).toBe('failed');
});

test('the line that the article adds to its Procfile starts the worker, and a push brings it there', async () => {
  const [, , adding] = sampleLines('heroku.sh') as [string, string, string];
  must('sh', '-c', `cd '${app.folder}' && ${adding}`);
  const [name, line] = readFileSync(join(app.folder, 'Procfile'), 'utf8').trim().split(': ') as [string, string];
  expect(name).toBe('worker');
  writeFileSync(join(app.folder, '.gitignore'), 'node_modules\nheroku.git\n');
  const git = `git -c user.name=a -c user.email=a@example.org`;
  must(
    'sh',
    '-c',
    `cd '${app.folder}' && git init -q -b main && git init -q --bare heroku.git && git remote add heroku heroku.git && git add . &&
     ${git} commit -qm 'Add a worker' && ${sampleLines('push.sh')[0]}`,
  );
  const pushed = talking(
    ['-C', join(app.folder, 'heroku.git'), 'ls-tree', '--name-only', 'main'],
    {},
    onTestFinished,
    'git',
  );
  await pushed.says(isText('Procfile'));
  const worker = talking(['-c', `cd '${app.folder}' && exec ${line}`], { ...place.env }, onTestFinished, '/bin/sh');
  const { id } = await queue.add('resize', { fileId: 'f1' });
  await worker.says(isText(`handling job: [${id}]`));
});

/** A sample as it is printed, but for where BullMQ comes from. */
function sample(name: string): string {
  return readSample(name).replace(/from "bullmq"/, `from "${MODULE}"`);
}

function readSample(name: string): string {
  return readFileSync(new URL(`./samples/${name}.txt`, import.meta.url), 'utf8');
}

function sampleLines(name: string): string[] {
  return readSample(name).trim().split('\n');
}

/** What the article describes in a comment: the code of the worker in a function; what it imports stays outside. */
function onEveryCore(worker: string): string {
  const lines = worker.split('\n');
  const imports = lines.filter((line) => line.startsWith('import '));
  const code = lines.filter((line) => !line.startsWith('import '));
  return `${imports.join('\n')}\n${THRONG}\nfunction worker() {\n${code.join('\n')}\n}\n`;
}

function start(name: keyof typeof PROGRAMS, env: Readonly<Record<string, string>> = {}): Talking {
  return talking([app.pathOf(name)], { ...place.env, ...env });
}

/** The jobs in this state, in the order in which they came to it. */
async function idsOf(state: 'completed' | 'failed'): Promise<unknown[]> {
  return (await queue.getJobs([state], 0, -1, true)).map(({ id }) => id);
}

/** Has a worker whose clock is ahead finish all there is, until this job is. */
async function finishAt(aheadMs: number, { id }: Job, what: string): Promise<void> {
  const worker = start('worker-with-events.js', { AHEAD_MS: String(aheadMs) });
  await untilTrue(async () => (await queue.getJobState(id as string)) === what);
  await worker.end();
}

const isText =
  (text: string) =>
  (line: Readonly<Record<string, unknown>>): boolean =>
    line['text'] === text;

function textsOf({ said }: Talking): unknown[] {
  return said.map(({ text }) => text);
}

/** Gives what resolves when the program has written this to its standard error. */
function hearErrors({ process }: Talking): (text: string) => Promise<void> {
  let heard = '';
  let look = (): void => {};
  process.stderr?.on('data', (piece: string) => {
    heard += piece;
    look();
  });
  return (text) =>
    new Promise((resolve) => {
      look = () => {
        if (heard.includes(text)) resolve();
      };
      look();
    });
}
