/** A Redis for a test, which ends with it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startRedis as startRedisIn } from '../../tools/redis.ts';
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
  const redis = await startRedisIn(folder, password === undefined ? [] : ['--requirepass', password]);
  endBehind(async () => {
    await redis.end();
    rmSync(folder, { recursive: true, force: true });
  });
  const credentials = password === undefined ? '' : `:${password}@`;
  return { ...redis, url: `redis://${credentials}127.0.0.1:${redis.port}` };
}
