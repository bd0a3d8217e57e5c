import { appendFile, copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fileOf, newFolder, openIn, type RunningWorkers, startWorkers, workersIn } from './running-workers.ts';

const AT_WORK = { msg: 'A worker process is at work' };
const WAITING = { msg: 'Waiting for messages' };
const STARTED = { msg: 'A worker process was started' };
const LET_GO = { msg: 'A worker process is idle and is let go' };
const HAS_ENDED = { msg: 'A worker process has ended' };
const DEMAND = ['--min', '0', '--idle', '200ms'];

interface Job {
  readonly name: string;
  readonly waitsFor?: string;
  readonly exit?: number;
}

async function end(workers: RunningWorkers): Promise<void> {
  workers.supervisor.kill('SIGTERM');
  expect(await workers.ended).toEqual({ code: 0, signal: null });
}

describe('--min 0', () => {
  test('lets its process go when it is idle, and starts one when a message comes', async () => {
    const folder = newFolder();
    const hf = await openIn(folder);
    const jobs = hf.channel<Job, number>('jobs');
    const workers = startWorkers(['jobs'], { folder, args: [...DEMAND, '--processes', '2'] });
    await workers.until(LET_GO);
    await workers.until(HAS_ENDED);
    const first = await jobs.request({ name: 'first' });
    await workers.until(HAS_ENDED, 2);
    const second = await jobs.request({ name: 'second' });
    expect(new Set([first, second]).size).toBe(2);
    await end(workers);
    expect(workersIn(workers)).toHaveLength(3);
  });

  test('remembers what its files listen to, and starts nothing until a message comes', async () => {
    const folder = newFolder();
    const before = startWorkers(['jobs'], { folder, args: DEMAND });
    await before.until(AT_WORK);
    await end(before);
    const hf = await openIn(folder);
    const workers = startWorkers(['jobs'], { folder, args: DEMAND });
    expect(await workers.until(WAITING)).toMatchObject([{ channels: ['jobs'] }]);
    expect(workersIn(workers)).toEqual([]);
    await hf.channel<Job>('jobs').request({ name: 'first' });
    await end(workers);
  });

  test('starts a process for what came while no supervisor ran', async () => {
    const folder = newFolder();
    const before = startWorkers(['jobs'], { folder, args: DEMAND });
    await before.until(AT_WORK);
    await end(before);
    const hf = await openIn(folder);
    const jobs = hf.channel<Job>('jobs');
    const { id } = await jobs.produce({ name: 'left' });
    const workers = startWorkers(['jobs'], { folder, args: DEMAND });
    await jobs.result(id);
    await end(workers);
  });

  test('learns anew when a file has changed', async () => {
    const folder = newFolder();
    for (const name of ['jobs', 'say']) await copyFile(fileOf(name), join(folder, `${name}.mjs`));
    const file = join(folder, 'jobs.mjs');
    await writeImport(file);
    const before = startWorkers([file], { folder, args: DEMAND });
    await before.until(AT_WORK);
    await end(before);
    await appendFile(file, `await hf.channel('another').consume((text) => say({ said: 'another', text }));\n`);
    const workers = startWorkers([file], { folder, args: DEMAND });
    await workers.until(AT_WORK);
    await workers.until(LET_GO);
    const hf = await openIn(folder);
    await hf.channel<string>('another').produce('hello');
    await workers.until({ said: 'another', text: 'hello' });
    expect(workers.lines.filter(({ msg }) => msg === WAITING.msg)).toEqual([]);
    await end(workers);
  });

  test('starts more processes as long as messages wait, up to --processes', async () => {
    const folder = newFolder();
    const go = join(folder, 'go');
    const hf = await openIn(folder);
    const jobs = hf.channel<Job>('jobs');
    const workers = startWorkers(['jobs'], { folder, args: [...DEMAND, '--processes', '3'] });
    await workers.until(HAS_ENDED);
    for (const name of ['a', 'b', 'c', 'd']) await jobs.produce({ name, waitsFor: go });
    await workers.until({ said: 'handling' }, 3);
    expect(new Set(workers.lines.flatMap((line) => (line.said === 'handling' ? [line.process] : []))).size).toBe(3);
    expect(await jobs.inspect()).toMatchObject({ ready: 1, leased: 3 });
    await appendFile(go, '');
    await end(workers);
  });

  test('quarantines a message that kills what is started for it', async () => {
    const folder = newFolder();
    const hf = await openIn(folder);
    const jobs = hf.channel<Job>('jobs');
    const workers = startWorkers(['jobs'], { folder, args: [...DEMAND, '--processes', '1'] });
    await workers.until(HAS_ENDED);
    await expect(jobs.request({ name: 'deadly', exit: 1 })).rejects.toMatchObject({ code: 'DEAD' });
    await jobs.request({ name: 'after it' });
    await end(workers);
  });
});

test('--min 1 keeps one process, however idle it is', async () => {
  const folder = newFolder();
  const go = join(folder, 'go');
  const hf = await openIn(folder);
  const jobs = hf.channel<Job>('jobs');
  const workers = startWorkers(['jobs'], { folder, args: ['--min', '1', '--idle', '200ms', '--processes', '2'] });
  await workers.until(AT_WORK);
  const held = [await jobs.produce({ name: 'a', waitsFor: go }), await jobs.produce({ name: 'b', waitsFor: go })];
  await workers.until({ said: 'handling' }, 2);
  await appendFile(go, '');
  for (const { id } of held) await jobs.result(id);
  await workers.until(HAS_ENDED);
  expect(workers.lines.filter(({ msg }) => msg === STARTED.msg)).toHaveLength(2);
  await jobs.request({ name: 'c' });
  expect(workers.lines.filter(({ msg }) => msg === STARTED.msg)).toHaveLength(2);
  await end(workers);
});

/** A copy outside of the repository finds the package by its address. */
async function writeImport(file: string): Promise<void> {
  const text = await readFile(file, 'utf8');
  await writeFile(file, text.replace(`'holdfast'`, `'${import.meta.resolve('holdfast')}'`));
}
