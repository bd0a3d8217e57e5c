/** The way to Redis. It takes the package `ioredis`, which nothing else does. */
import { Redis } from 'ioredis';
import { HoldfastError } from '../../../model/errors.ts';

/** @throws TypeError for what is no URL of Redis; HoldfastError `UNREACHABLE` */
export async function connectRedis(url: string): Promise<Redis> {
  if (!/^rediss?:\/\//.test(url))
    throw new TypeError(`Cannot read "${url}": give a URL such as redis://localhost:6379`);
  const redis = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 0, retryStrategy: () => null });
  // Without a listener it writes each error to the console; the call that failed says it as well.
  let reason: Error | undefined;
  redis.on('error', (error: Error) => (reason = error));
  try {
    await redis.connect();
    await redis.ping();
  } catch (error) {
    redis.disconnect();
    const { message } = reason ?? (error as Error);
    throw new HoldfastError('UNREACHABLE', `Cannot reach "${withoutPassword(url)}": ${message}`, { cause: error });
  }
  return redis;
}

function withoutPassword(url: string): string {
  return url.replace(/\/\/[^@/]*@/, '//');
}
