/** BullMQ as it is, on a Redis of its own that syncs each write before it answers. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { startRedis } from '../../redis.ts';
import type { Limit } from '../case.ts';
import { type Maker, runWork } from './workloads.ts';

/** What BullMQ makes of this on Redis. */
export async function onRedis(work: string, folder: string): Promise<Limit> {
  execFileSync(fileURLToPath(new URL('../../../../scripts/need.sh', import.meta.url)), ['redis-server']);
  const { Queue, Worker } = await import('bullmq');
  const redis = await startRedis(folder, ['--appendfsync', 'always']);
  const connection = { host: '127.0.0.1', port: redis.port };
  // What keeps all jobs is BullMQ's default; it is written here because Holdfast's is another one.
  const defaultJobOptions = { removeOnComplete: false };
  const maker: Maker = {
    queue: (name) => new Queue(name, { connection, defaultJobOptions }),
    worker: (name, processor, concurrency) => new Worker(name, processor, { connection, concurrency }),
  };
  try {
    const { perSecond = 0 } = await runWork(work, maker);
    return { name: 'BullMQ on Redis, appendfsync always', perSecond };
  } finally {
    await redis.end();
  }
}
