/** A Redis of its own for a measurement or a test, on a free port of this machine. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';

export interface RunningRedis {
  readonly port: number;
  /** Ends it without another word: what it has not synced by then is lost. */
  end(): Promise<void>;
}

/**
 * Starts Redis with an append-only file and no snapshots.
 *
 * @param folder where it keeps its files
 * @param flags what it is told beyond that
 */
export async function startRedis(folder: string, flags: readonly string[]): Promise<RunningRedis> {
  for (;;) {
    const redis = await startAt(await freePort(), folder, flags);
    if (redis !== undefined) return redis;
  }
}

/** @returns `undefined` when the port was taken meanwhile */
async function startAt(port: number, folder: string, flags: readonly string[]): Promise<RunningRedis | undefined> {
  const place = ['--bind', '127.0.0.1', '--port', String(port), '--dir', folder];
  const child = spawn('redis-server', [...place, '--save', '', '--appendonly', 'yes', ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'close');
  const isReady = await new Promise<boolean>((resolve) => {
    createInterface({ input: child.stdout })
      .on('line', (line) => {
        if (line.includes('Ready to accept connections')) resolve(true);
      })
      .on('close', () => resolve(false));
  });
  if (!isReady) return undefined;
  const end = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
  };
  return { port, end };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
