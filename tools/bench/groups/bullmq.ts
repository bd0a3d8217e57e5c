/** BullMQ's classes on a folder, beside BullMQ on Redis. */
import { onRedis } from '../bull/redis.ts';
import { type Maker, runWork } from '../bull/workloads.ts';
import type { Case, Group, Measurement } from '../case.ts';

const NAMES: readonly (readonly [work: string, name: string])[] = [
  ['add', 'add, 100 in flight'],
  ['process', 'process, concurrency 50'],
  ['both', 'both at once'],
];

export const bullmq: Group = {
  name: 'bullmq',
  // It needs Redis, which is no part of the project.
  onlyByName: true,
  cases: NAMES.map(([work, name]): Case => ({
    name,
    run: (folder) => measure(work, folder),
    limits: [(folder) => onRedis(work, folder)],
  })),
};

async function measure(work: string, folder: string): Promise<Measurement> {
  // Each measured process loads all groups, and BullMQ's modules would weigh on what the others measure.
  const { Queue, Worker } = await import('#holdfast/doors/bullmq/index.js');
  const connection = `file:${folder}/holdfast`;
  const defaultJobOptions = { removeOnComplete: false };
  const maker: Maker = {
    queue: (name) => new Queue(name, { connection, defaultJobOptions }),
    worker: (name, processor, concurrency) => new Worker(name, processor, { connection, concurrency }),
  };
  return runWork(work, maker);
}
