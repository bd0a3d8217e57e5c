import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { isAlive, newFolder, openIn, type RunningWorkers, startWorkers, workersIn } from './running-workers.ts';

const AT_WORK = { msg: 'A worker process is at work' };

interface Job {
  readonly name: string;
  readonly holds?: boolean;
  readonly blocks?: boolean;
  readonly waitsFor?: string;
}

/** All processes have ended; those that a supervisor leaves behind end a little later than it. */
async function gone(pids: readonly number[]): Promise<void> {
  while (pids.some(isAlive)) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Sends a signal again and again until the supervisor has ended. How soon the second one comes is chance. */
async function insist(workers: RunningWorkers, signal: NodeJS.Signals): Promise<number | null> {
  const again = setInterval(() => workers.supervisor.kill(signal), 5);
  try {
    return (await workers.ended).code;
  } finally {
    clearInterval(again);
  }
}

describe.each(['SIGTERM', 'SIGINT'] as const)('%s', (signal) => {
  test.each([
    ['to the supervisor', false],
    ['to the whole group', true],
  ])('%s lets handlers finish, takes no more messages, and ends with 0', async (_to, isGroup) => {
    const folder = newFolder();
    const go = join(folder, 'go');
    const hf = await openIn(folder);
    const jobs = hf.channel<Job>('jobs');
    const running = await Promise.all(['a', 'b'].map((name) => jobs.produce({ name, waitsFor: go })));
    const waiting = await jobs.produce({ name: 'c' });
    const workers = startWorkers(['jobs'], { folder, isGroup, args: ['--processes', '2'] });
    await workers.until({ said: 'handling' }, 2);
    if (isGroup) process.kill(-(workers.supervisor.pid as number), signal);
    else workers.supervisor.kill(signal);
    await workers.until({ msg: 'Ending', signal });
    await writeFile(go, '');
    expect(await workers.ended).toEqual({ code: 0, signal: null });
    for (const { id } of running) expect(await jobs.get(id)).toMatchObject({ state: 'completed', deaths: 0 });
    expect(await jobs.get(waiting.id)).toMatchObject({ state: 'ready', attempts: 0 });
    expect(workers.lines.filter(({ said }) => said === 'handling')).toHaveLength(2);
    expect(workersIn(workers).filter(isAlive)).toEqual([]);
  });
});

describe('SIGTERM', () => {
  test('gives back, uncounted, what handlers that never end work on when the grace is over', async () => {
    const folder = newFolder();
    const hf = await openIn(folder);
    const jobs = hf.channel<Job>('jobs');
    const { id } = await jobs.produce({ name: 'endless', holds: true });
    const workers = startWorkers(['jobs'], { folder, args: ['--processes', '1', '--grace', '300ms'] });
    await workers.until({ said: 'handling' });
    workers.supervisor.kill('SIGTERM');
    await workers.until({ said: 'stopped', job: 'endless' });
    expect(await workers.ended).toEqual({ code: 0, signal: null });
    expect(await jobs.get(id)).toMatchObject({ state: 'ready', attempts: 0, deaths: 0 });
  });

  test('kills a process whose handler blocks its event loop, some time after the grace, and counts no death', async () => {
    const folder = newFolder();
    const hf = await openIn(folder);
    const jobs = hf.channel<Job>('jobs');
    const go = join(folder, 'go');
    const { id } = await jobs.produce({ name: 'stubborn', waitsFor: go, blocks: true });
    const workers = startWorkers(['jobs'], { folder, args: ['--processes', '1', '--grace', '0'] });
    await workers.until({ said: 'handling' });
    // By then the broker knows that the handler runs, and would charge it.
    await writeFile(go, '');
    await workers.until({ said: 'blocking' });
    workers.supervisor.kill('SIGTERM');
    expect(await workers.ended).toEqual({ code: 0, signal: null });
    expect(workers.lines).toContainEqual(
      expect.objectContaining({ msg: 'A worker process did not end within its grace and was killed' }),
    );
    expect(await jobs.get(id)).toMatchObject({ state: 'ready', attempts: 0, deaths: 0 });
  });

  test('a second time ends everything at once', async () => {
    const folder = newFolder();
    const hf = await openIn(folder);
    await hf.channel<Job>('jobs').produce({ name: 'endless', holds: true });
    const workers = startWorkers(['jobs'], { folder, args: ['--processes', '2'] });
    await workers.until(AT_WORK, 2);
    await workers.until({ said: 'handling' });
    expect(await insist(workers, 'SIGTERM')).toBe(1);
    await gone(workersIn(workers));
  });

  test('to a worker process alone replaces it', async () => {
    const workers = startWorkers(['jobs'], { args: ['--processes', '1'] });
    const [first] = await workers.until({ ...AT_WORK });
    process.kill(first?.worker as number, 'SIGTERM');
    const [, second] = await workers.until(AT_WORK, 2);
    expect(second?.worker).not.toBe(first?.worker);
  });
});

describe('a supervisor that is killed', () => {
  test('leaves no process behind, and what they worked on goes back uncounted', async () => {
    const folder = newFolder();
    const hf = await openIn(folder);
    const jobs = hf.channel<Job>('jobs');
    const { id } = await jobs.produce({ name: 'endless', holds: true });
    const workers = startWorkers(['jobs'], { folder, args: ['--processes', '2', '--grace', '100ms'] });
    await workers.until(AT_WORK, 2);
    await workers.until({ said: 'handling' });
    workers.supervisor.kill('SIGKILL');
    await gone(workersIn(workers));
    expect(await jobs.get(id)).toMatchObject({ state: 'ready', attempts: 0, deaths: 0 });
  });

  test('leaves none behind whose handler blocks its event loop', async () => {
    const folder = newFolder();
    const hf = await openIn(folder);
    await hf.channel<Job>('jobs').produce({ name: 'stubborn', blocks: true });
    const workers = startWorkers(['jobs'], { folder, args: ['--processes', '1', '--grace', '0'] });
    await workers.until({ said: 'handling' });
    workers.supervisor.kill('SIGKILL');
    await gone(workersIn(workers));
  });
});
