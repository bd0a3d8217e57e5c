/** A Redis of its own for a test, synced at each write, on a free port. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { need } from '../store/children.ts';
import type { EndBehind } from '../network/processes.ts';

export interface Redis {
  readonly port: number;
  readonly url: string;
  end(): Promise<void>;
}

/** Starts Redis, which is ended as told. */
export async function startRedis(endBehind: EndBehind, password?: string): Promise<Redis> {
  need('redis-server');
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-redis-'));
  for (;;) {
    const port = await freePort();
    const redis = await startRedisAt(port, folder, password);
    if (redis === undefined) continue;
    endBehind(async () => {
      await redis.end();
      rmSync(folder, { recursive: true, force: true });
    });
    return redis;
  }
}

/** @returns `undefined` when the port was taken meanwhile */
async function startRedisAt(port: number, folder: string, password: string | undefined): Promise<Redis | undefined> {
  const rights = password === undefined ? [] : ['--requirepass', password];
  const child = spawn(
    'redis-server',
    ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'yes', ...rights],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const ended = once(child, 'close');
  const ready = new Promise<boolean>((resolve) => {
    createInterface({ input: child.stdout })
      .on('line', (line) => {
        if (line.includes('Ready to accept connections')) resolve(true);
      })
      .on('close', () => resolve(false));
  });
  if (!(await ready)) return undefined;
  const end = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
  };
  return { port, url: `redis://${password === undefined ? '' : `:${password}@`}127.0.0.1:${port}`, end };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
