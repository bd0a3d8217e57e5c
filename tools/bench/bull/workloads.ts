/** What is measured of BullMQ's classes, apart from what is behind them: the same on Holdfast and on Redis. */
import type { Job, Processor } from 'bullmq';
import type { Measurement } from '../case.ts';
import { startStopwatch } from '../stopwatch.ts';

/** As much of BullMQ's classes as is measured: their full types name what is behind them. */
interface Queue {
  add(name: string, data: object): Promise<unknown>;
  addBulk(jobs: { readonly name: string; readonly data: object }[]): Promise<unknown>;
  getJobCountByTypes(state: 'waiting' | 'completed'): Promise<number>;
  close(): Promise<void>;
}

interface Worker {
  on(event: 'completed', listener: (job: Job) => void): unknown;
  close(): Promise<void>;
}

/** How the classes are made where they are measured. */
export interface Maker {
  queue(name: string): Queue;
  worker(name: string, processor: Processor, concurrency: number): Worker;
}

const IN_FLIGHT = 100;
const CONCURRENCY = 50;
const MEASURE_MS = 3_000;

/** The first calls are of cold code. */
const WARM_UP_MS = 2_000;
const WARM_UP_JOBS = 30_000;

const BACKLOG = 60_000;
const BULK = 1_000;

const FILLING = 'x'.repeat(64);

/** Measures, and closes all that was made. */
export async function runWork(work: string, maker: Maker): Promise<Measurement> {
  const run = WORKLOADS[work];
  if (run === undefined) throw new RangeError(`Cannot find the workload "${work}"`);
  const made: (Queue | Worker)[] = [];
  const keep = <T extends Queue | Worker>(one: T): T => {
    made.push(one);
    return one;
  };
  try {
    return await run({
      queue: (name) => keep(maker.queue(name)),
      worker: (name, processor, concurrency) => keep(maker.worker(name, processor, concurrency)),
    });
  } finally {
    for (const one of made) await one.close();
  }
}

/** All that is measured, by name. */
const WORKLOADS: Readonly<Record<string, (maker: Maker) => Promise<Measurement>>> = {
  async add(maker) {
    const queue = maker.queue('add');
    await keepAdding(queue, WARM_UP_MS);
    const watch = startStopwatch();
    const measured = watch.stop(await keepAdding(queue, MEASURE_MS));
    await check(queue, 'waiting', measured.messages);
    return measured;
  },

  async process(maker) {
    await addThenProcess(maker, 'warm-up', WARM_UP_JOBS);
    return addThenProcess(maker, 'process', BACKLOG);
  },

  async both(maker) {
    await addWhileProcessing(maker, 'warm-up', WARM_UP_MS);
    return addWhileProcessing(maker, 'both', MEASURE_MS);
  },
};

/** The rate counts from the start of the worker until it was told that the last job is completed. */
async function addThenProcess(maker: Maker, name: string, count: number): Promise<Measurement> {
  const queue = maker.queue(name);
  for (let from = 0; from < count; from += BULK) {
    await queue.addBulk(Array.from({ length: BULK }, (_, i) => ({ name: 'job', data: dataOf(from + i) })));
  }
  const watch = startStopwatch();
  const completed = countCompleted(maker, name);
  await completed.reach(count);
  const measured = watch.stop(count);
  await check(queue, 'completed', count);
  return measured;
}

async function addWhileProcessing(maker: Maker, name: string, ms: number): Promise<Measurement> {
  const queue = maker.queue(name);
  const completed = countCompleted(maker, name);
  const watch = startStopwatch();
  const added = await keepAdding(queue, ms);
  await completed.reach(added);
  const measured = watch.stop(added);
  await check(queue, 'completed', added);
  return measured;
}

/** Starts a worker, and counts what it has completed. */
function countCompleted(maker: Maker, name: string): { reach(count: number): Promise<void> } {
  let completed = 0;
  let awaited = Infinity;
  let reached = (): void => {};
  const worker = maker.worker(name, () => Promise.resolve(), CONCURRENCY);
  worker.on('completed', () => {
    completed += 1;
    if (completed >= awaited) reached();
  });
  return {
    reach: (count) =>
      new Promise((resolve) => {
        awaited = count;
        reached = resolve;
        if (completed >= count) resolve();
      }),
  };
}

/** Keeps adds under way, each awaited until it is durable. */
async function keepAdding(queue: Queue, forMs: number): Promise<number> {
  const endsAt = performance.now() + forMs;
  let added = 0;
  const lane = async (): Promise<void> => {
    while (performance.now() < endsAt) await queue.add('job', dataOf(added++));
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  return added;
}

function dataOf(k: number): { k: number; t: number; p: string } {
  return { k, t: Date.now(), p: FILLING };
}

async function check(queue: Queue, state: 'waiting' | 'completed', least: number): Promise<void> {
  const count = await queue.getJobCountByTypes(state);
  if (count < least) throw new Error(`Cannot trust the figure: of ${least} jobs ${count} are ${state}`);
}
