/** KV and its queue, beside Deno and its package for Node. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { openKv } from '#holdfast/doors/deno/index.js';
import type { Case, Group, Measurement } from '../case.ts';
import { onDeno, onPackage, wokenOnDeno } from '../kv/rivals.ts';
import { type MeasuredKv, WORKLOADS } from '../kv/workloads.ts';
import { percentile } from '../stopwatch.ts';

const NAMES: readonly (readonly [work: string, name: string])[] = [
  ['enqueue', 'enqueue, 100 in flight'],
  ['drain', 'drain a backlog of 100,000'],
  ['latency', 'enqueue to handler, 200/s'],
  ['set', 'set, 100 in flight'],
  ['get', 'get, one at a time'],
];

export const kv: Group = {
  name: 'kv',
  // It needs Deno, which is no part of the project.
  onlyByName: true,
  cases: [
    ...NAMES.map(([work, name]): Case => ({
      name,
      run: (folder) => measure(work, folder),
      limits: [(folder) => onDeno(work, folder), (folder) => onPackage(work, folder)],
    })),
    { name: 'enqueue to a handler in another process', run: measureWaking, limits: [wokenOnDeno] },
  ],
};

async function measure(work: string, folder: string): Promise<Measurement> {
  const opened = await openKv(`${folder}/holdfast`, { maxBacklog: Infinity });
  const figures = await WORKLOADS[work]?.(opened as unknown as MeasuredKv);
  if (figures === undefined) throw new RangeError(`Cannot find the workload "${work}"`);
  opened.close();
  return figures;
}

const SENT = 50;

/** From the call of `enqueue` in one process to the start of the handler in another. */
async function measureWaking(folder: string): Promise<Measurement> {
  const path = `${folder}/holdfast`;
  const opened = await openKv(path);
  const taken: number[] = [];
  const done = new Promise<void>((resolve) => {
    void opened.listenQueue((value) => {
      taken.push(performance.timeOrigin + performance.now() - (value as { k: number }).k);
      if (taken.length === SENT) resolve();
    });
  });
  fork(fileURLToPath(new URL('../kv/sender.js', import.meta.url)), [path, String(SENT)], { stdio: 'inherit' });
  await done;
  opened.close();
  return { messages: SENT, p50Ms: percentile(taken, 0.5), p99Ms: percentile(taken, 0.99), worstMs: Math.max(...taken) };
}
