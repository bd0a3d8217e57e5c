import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { LogLine } from 'holdfast';
import { describe, expect, test } from 'vitest';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';
import { untilTrue } from '../helpers/until-true.ts';
import { startWorker, type Talking } from './processes.ts';
import { effectsIn, effectsOf, expectEachOnce, hasStarted, isLeaseLost, untilCompleted, workOf } from './work.ts';

describe('the leader of a folder dies', () => {
  test('and handlers in flight in other processes settle as if nothing had happened', async () => {
    const url = `file:${newFolder()}`;
    const leader = await startWorker({ url, consume: false, options: { sessionTimeout: '10s' } });
    const survivor = await startWorker({ url, name: 'survivor', concurrency: 10, options: { sessionTimeout: '10s' } });
    const hf = await openUntilEnd(url, { sessionTimeout: '10s' });
    const held = Array.from({ length: 10 }, (_, n) => n);
    await workOf(hf).produceAll(held.map((n) => ({ n, act: 'hold' })));
    await Promise.all(held.map((n) => survivor.says(hasStarted(n))));
    await leader.end();
    survivor.tell('release');
    await untilCompleted(hf, 10);
    await expectEachOnce(hf, 10);
    expect((await workOf(hf).inspect()).totals.redelivered).toBe(0);
    expect(survivor.said.filter(isLeaseLost)).toEqual([]);
    expect(survivor.said.filter((line) => 'stopped' in line)).toEqual([]);
  });

  test('under load, again and again, and every message has its effect once', async () => {
    const url = `file:${newFolder()}`;
    const start = (name: string): Promise<Talking> => startWorker({ url, name, concurrency: 5 });
    const workers: Talking[] = [];
    for (const name of ['first', 'second', 'third']) workers.push(await start(name));
    const hf = await openUntilEnd(url);
    let produced = 0;
    for (let kills = 0; kills < 3; kills++) {
      // Whoever started first leads; what is killed is replaced at the end of the line.
      const [leader] = workers.splice(0, 1);
      const others = workers.map((worker, i) => {
        worker.tell(`produce ${produced + i * 100} 100`);
        return worker.says((line) => line['produced'] === produced + i * 100);
      });
      const completed = (await workOf(hf).inspect())?.totals.completed ?? 0;
      await untilTrue(async () => ((await workOf(hf).inspect())?.totals.completed ?? 0) > completed + 20);
      await leader?.end();
      await Promise.all(others);
      produced += 200;
      workers.push(await start(`number ${kills}`));
    }
    await untilCompleted(hf, produced);
    await expectEachOnce(hf, produced);
  });

  test('only seemingly: one that was stopped and deposed writes nothing more, and goes on as a client', async () => {
    const url = `file:${newFolder()}`;
    const options = { sessionTimeout: '2s' };
    const leader = await startWorker({ url, name: 'old', options });
    const hf = await openUntilEnd(url, { sessionTimeout: '2s' });
    await workOf(hf).produce({ n: 0, act: 'hold' });
    await leader.says(hasStarted(0));
    leader.kill('SIGSTOP');
    // This takes as long as a leader may be silent: then this process leads.
    await workOf(hf).produce({ n: 1 });
    await workOf(hf).consume(({ n }, { tx }) => tx.produce(effectsOf(hf), { n, by: 'new' }));
    await untilCompleted(hf, 2);
    leader.kill('SIGCONT');
    leader.tell('release');
    await leader.says(isLeaseLost);
    leader.tell('produce 2 10');
    await leader.says((line) => line['produced'] === 2);
    await untilCompleted(hf, 12);
    await expectEachOnce(hf, 12);
    const effects = await effectsIn(hf);
    expect([effects.get(0), effects.get(1)]).toEqual([['new'], ['new']]);
  });
});

test('a leader that was stopped and is not deposed takes no lease from those who gave up their links meanwhile', async () => {
  const url = `file:${newFolder()}`;
  const options = { sessionTimeout: '2s' } as const;
  const leader = await startWorker({ url, consume: false, options });
  let giveUp = (): void => {};
  const hasGivenUp = new Promise<void>((resolve) => (giveUp = resolve));
  const log = ({ message }: LogLine): void => {
    if (message.endsWith('is gone, or does not answer')) giveUp();
  };
  const hf = await openUntilEnd(url, { ...options, log });
  let start = (): void => {};
  const started = new Promise<void>((resolve) => (start = resolve));
  let release = (): void => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  await workOf(hf).consume(async ({ n }, { tx }) => {
    start();
    await released;
    tx.produce(effectsOf(hf), { n, by: 'holder' });
  });
  await workOf(hf).produce({ n: 0 });
  await started;
  leader.kill('SIGSTOP');
  await hasGivenUp;
  leader.kill('SIGCONT');
  // An answer comes over the next link, when the leader has dealt with the end of the last one.
  expect((await workOf(hf).inspect()).leased).toBe(1);
  release();
  await untilCompleted(hf, 1);
  expect((await workOf(hf).inspect()).totals.redelivered).toBe(0);
  const [message] = await workOf(hf).list('completed');
  expect(message).toMatchObject({ attempts: 1, deaths: 0 });
});

test('a folder whose path is longer than the name of a socket may be is shared', async () => {
  const folder = join(newFolder(), 'long'.repeat(30), 'longer'.repeat(30));
  mkdirSync(folder, { recursive: true });
  expect(folder.length).toBeGreaterThan(250);
  const worker = await startWorker({ url: `file:${folder}` });
  const hf = await openUntilEnd(`file:${folder}`);
  for (let n = 0; n < 10; n++) await workOf(hf).produce({ n });
  await untilCompleted(hf, 10);
  await worker.end();
  await workOf(hf).produce({ n: 10 });
  expect((await workOf(hf).inspect()).ready).toBe(1);
});
