import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { newFolder, openIn, startWorkers, workersIn } from './running-workers.ts';

const AT_WORK = { msg: 'A worker process is at work' };
const FOLLOWS = { msg: 'A worker process has died; another one follows' };

interface Job {
  readonly name: string;
  readonly exit?: number;
}

describe('holdfast worker', () => {
  test('runs a module that opens its consumer itself, in as many processes as it is told', async () => {
    const folder = newFolder();
    const workers = startWorkers(['jobs'], { folder, args: ['--processes', '2'] });
    await workers.until(AT_WORK, 2);
    const hf = await openIn(folder);
    const jobs = hf.channel<Job, number>('jobs');
    const results = await Promise.all([1, 2, 3, 4].map((i) => jobs.request({ name: `job ${i}` })));
    expect(new Set(workersIn(workers))).toEqual(new Set(results));
    expect(results).toHaveLength(4);
  });

  test('works on what the command line names, whatever the environment says', async () => {
    const folder = newFolder();
    const env = { HOLDFAST_URL: `file:${join(folder, 'elsewhere')}`, HOLDFAST_DATA: join(folder, 'nowhere') };
    const workers = startWorkers(['jobs'], { folder, env, args: ['--processes', '1'] });
    await workers.until(AT_WORK);
    const hf = await openIn(folder);
    await hf.channel<Job>('jobs').request({ name: 'here' });
  });

  test('calls the functions that a module exports for it, and no others', async () => {
    const folder = newFolder();
    const workers = startWorkers(['exports', 'consumer'], { folder, args: ['--processes', '1'] });
    const hf = await openIn(folder);
    for (const name of ['default', 'mails', 'letters', 'exported']) await hf.channel<string>(name).produce('hello');
    for (const said of ['default', 'mails', 'letters', 'exported']) await workers.until({ said, text: 'hello' });
    expect(workers.lines.filter(({ said }) => said?.startsWith('called') === true)).toEqual([]);
  });

  test('drains a module that keeps its own module waiting', async () => {
    const workers = startWorkers(['consumer'], { args: ['--processes', '1'] });
    await workers.until(AT_WORK);
    workers.supervisor.kill('SIGTERM');
    expect(await workers.ended).toEqual({ code: 0, signal: null });
  });

  test('starts a process again when it dies, after pauses that grow', async () => {
    const folder = newFolder();
    const workers = startWorkers(['jobs'], { folder, args: ['--processes', '1'] });
    await workers.until(AT_WORK);
    const hf = await openIn(folder);
    const jobs = hf.channel<Job>('jobs', { maxDeaths: 4 });
    await jobs.produce({ name: 'deadly', exit: 7 });
    const deaths = await workers.until(FOLLOWS, 4);
    expect(deaths.map(({ code }) => code)).toEqual([7, 7, 7, 7]);
    const pauses = deaths.map(({ restartMs }) => restartMs as number);
    // Each is drawn from the upper half of 100, 200, 400 and 800 ms.
    pauses.forEach((pause, i) => {
      expect(pause).toBeGreaterThanOrEqual(50 * 2 ** i);
      expect(pause).toBeLessThanOrEqual(100 * 2 ** i);
    });
    await jobs.request({ name: 'after it' });
  });

  test('gives up with exit code 1 when a file cannot be loaded, and says where it is wrong', async () => {
    const folder = newFolder();
    const wrong = join(folder, 'syntax-error.mjs');
    await writeFile(wrong, 'let x = ;\n');
    const workers = startWorkers(['jobs', wrong], { folder, args: ['--processes', '3'] });
    expect(await workers.ended).toEqual({ code: 1, signal: null });
    expect(workersIn(workers)).toHaveLength(1);
    expect(workers.lines.find(({ msg }) => msg === 'A file cannot be loaded')).toMatchObject({
      file: wrong,
      reason: expect.stringContaining('SyntaxError') as string,
    });
    expect(workers.errors()).toContain('syntax-error.mjs:1');
  });

  test('gives up with exit code 1 when a file is not there, and starts nothing', async () => {
    const workers = startWorkers(['jobs', 'nowhere']);
    expect(await workers.ended).toEqual({ code: 1, signal: null });
    expect(workers.lines).toMatchObject([
      { msg: 'A file cannot be loaded: there is none', file: expect.stringContaining('nowhere.mjs') as string },
    ]);
  });

  test('gives up with exit code 1 when a file ends its process again and again before it works', async () => {
    const workers = startWorkers(['exits'], { args: ['--processes', '2'] });
    expect(await workers.ended).toEqual({ code: 1, signal: null });
    expect(workersIn(workers)).toHaveLength(3);
  });

  test('replaces a process that takes more memory than it may', async () => {
    const folder = newFolder();
    const workers = startWorkers(['jobs'], { folder, args: ['--processes', '1', '--max-memory', '1MiB'] });
    await workers.until({ msg: 'A worker process takes too much memory and is replaced' }, 2);
    expect(workersIn(workers).length).toBeGreaterThanOrEqual(2);
  });

  test.each([
    [['--processes', '0']],
    [['--processes', 'many']],
    [['--processes', '2', '--min', '3']],
    [['--grace', 'soon']],
    [['--max-memory', '1 pound']],
  ])('refuses %j as a wrong usage', async (args) => {
    const workers = startWorkers(['jobs'], { args });
    expect(await workers.ended).toEqual({ code: 2, signal: null });
    expect(workers.lines).toEqual([]);
  });
});
