import { expect, test } from 'vitest';
import { newFolder, openIn, startWorkers } from './running-workers.ts';

interface Job {
  readonly name: string;
  readonly exit?: number;
  readonly signal?: NodeJS.Signals;
  readonly fills?: boolean;
}

const killers: readonly Job[] = [
  { name: 'exits', exit: 1 },
  { name: 'crashes', signal: 'SIGSEGV' },
  { name: 'is killed', signal: 'SIGKILL' },
  { name: 'runs out of memory', fills: true },
];

test.each(killers)('a message whose handler $name is dead after three deaths; the others are done', async (killer) => {
  const folder = newFolder();
  const hf = await openIn(folder);
  const jobs = hf.channel<Job>('jobs');
  const names = Array.from({ length: 10 }, (_, i) => `innocent ${i}`);
  const before = await jobs.produceAll(names.slice(0, 5).map((name) => ({ name })));
  const { id } = await jobs.produce(killer);
  const behind = await jobs.produceAll(names.slice(5).map((name) => ({ name })));
  const env = { CONCURRENCY: '3', NODE_OPTIONS: '--max-old-space-size=48' };
  const workers = startWorkers(['jobs'], { folder, env, args: ['--processes', '2'] });
  await expect(jobs.result(id)).rejects.toMatchObject({ code: 'DEAD', cause: { name: 'ProcessDied' } });
  for (const innocent of [...before, ...behind]) await jobs.result(innocent.id);
  expect(await jobs.get(id)).toMatchObject({ state: 'dead', attempts: 0, deaths: 3, failure: { name: 'ProcessDied' } });
  for (const innocent of [...before, ...behind]) {
    expect(await jobs.get(innocent.id)).toMatchObject({ state: 'completed' });
  }
  expect(workers.lines.filter(({ said, job }) => said === 'handled' && job === killer.name)).toEqual([]);
});
