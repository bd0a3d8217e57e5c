/** BullMQ as it is, on a Redis of its own that syncs each write before it answers. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Queue, Worker } from 'bullmq';
import type { Limit } from '../case.ts';
import { type Maker, runWork } from './workloads.ts';

/** What BullMQ makes of this on Redis. */
export async function onRedis(work: string, folder: string): Promise<Limit> {
  execFileSync(fileURLToPath(new URL('../../../../scripts/need.sh', import.meta.url)), ['redis-server']);
  const redis = await startRedis(folder);
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
    redis.kill();
  }
}

async function startRedis(folder: string): Promise<{ readonly port: number; kill(): void }> {
  for (;;) {
    const port = await freePort();
    const flags = [
      '--bind',
      '127.0.0.1',
      '--dir',
      folder,
      '--save',
      '',
      '--appendonly',
      'yes',
      '--appendfsync',
      'always',
    ];
    const child = spawn('redis-server', ['--port', String(port), ...flags], { stdio: ['ignore', 'pipe', 'inherit'] });
    const isReady = await new Promise<boolean>((resolve) => {
      createInterface({ input: child.stdout })
        .on('line', (line) => {
          if (line.includes('Ready to accept connections')) resolve(true);
        })
        .on('close', () => resolve(false));
    });
    if (isReady) return { port, kill: () => child.kill('SIGKILL') };
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
