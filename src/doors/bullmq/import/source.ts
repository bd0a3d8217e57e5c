/** Reads the queues of BullMQ, versions 4 to 6, as they lie in Redis. */
import { Job } from 'bullmq';
import type { Redis } from 'ioredis';
import type { BullImport, BullSchedulerView } from '../../../model/bull.ts';

/** Where the jobs of a state lie: in a list, whose oldest is the last, or ordered by a number. */
export interface SourcePlace {
  readonly key: 'active' | 'wait' | 'paused' | 'prioritized' | 'delayed' | 'waiting-children' | 'failed';
  readonly state: BullImport['state'];
  readonly isList: boolean;
}

/** All places, in the order in which they are emptied: what was being worked on comes first. */
export const SOURCE_PLACES: readonly SourcePlace[] = [
  { key: 'active', state: 'wait', isList: true },
  { key: 'wait', state: 'wait', isList: true },
  // Where versions before 6 keep what waits in a queue that is paused.
  { key: 'paused', state: 'wait', isList: true },
  { key: 'prioritized', state: 'prioritized', isList: false },
  { key: 'delayed', state: 'delayed', isList: false },
  { key: 'waiting-children', state: 'waiting-children', isList: false },
  { key: 'failed', state: 'failed', isList: false },
];

/** A queue as it lies in Redis. */
export interface SourceQueue {
  readonly qualified: string;
  readonly name: string;
  /** How many jobs are in each place. */
  readonly counts: Readonly<Record<SourcePlace['key'], number>>;
  readonly schedulers: readonly BullSchedulerView[];
  /** What repeats in the way of versions before 5.16, which BullMQ 6 itself cannot read any more. */
  readonly oldSchedulers: readonly string[];
  readonly workers: number;
  readonly isPaused: boolean;
  /** Concurrency and rate for all workers, where there are any. */
  readonly limits: Readonly<Record<string, string>>;
  readonly nextJob: number;
}

/** A job, and what takes it out of its place; what is there of old versions' marks, or of a job that is gone, has none. */
export interface SourceJob {
  readonly member: string;
  readonly job: BullImport | undefined;
}

/** Finds the queues with this prefix, by name; `only` leaves out the others. */
export async function findQueues(redis: Redis, prefix: string, only: readonly string[]): Promise<SourceQueue[]> {
  const names = only.length > 0 ? only : await queueNames(redis, prefix);
  const workers = await workerNames(redis);
  const queues: SourceQueue[] = [];
  for (const name of [...new Set(names)].sort((a, b) => (a < b ? -1 : 1))) {
    queues.push(await readQueue(redis, prefix, name, workers));
  }
  return queues;
}

async function queueNames(redis: Redis, prefix: string): Promise<string[]> {
  const names: string[] = [];
  const escaped = prefix.replaceAll(/[?*[\]\\^]/g, '\\$&');
  for (let cursor = '0', isFirst = true; isFirst || cursor !== '0'; isFirst = false) {
    const [next, keys] = await redis.scan(cursor, 'MATCH', `${escaped}:*:meta`, 'COUNT', 1_000);
    cursor = next;
    for (const key of keys) {
      const name = key.slice(prefix.length + 1, -':meta'.length);
      if (!name.includes(':')) names.push(name);
    }
  }
  return names;
}

/** What the connections of this Redis call themselves; nothing where the server does not tell. */
async function workerNames(redis: Redis): Promise<string[]> {
  const list = await redis.client('LIST').catch(() => '');
  return String(list)
    .split('\n')
    .map((line) => / name=(\S*)/.exec(line)?.[1] ?? '');
}

async function readQueue(redis: Redis, prefix: string, name: string, clients: readonly string[]): Promise<SourceQueue> {
  const qualified = `${prefix}:${name}`;
  const counts: Record<string, number> = {};
  for (const { key, isList } of SOURCE_PLACES) {
    const full = `${qualified}:${key}`;
    counts[key] = isList ? await redis.llen(full) : await redis.zcard(full);
  }
  const meta = await redis.hgetall(`${qualified}:meta`);
  const worker = `${prefix}:${Buffer.from(name).toString('base64')}`;
  const { schedulers, oldSchedulers } = await readSchedulers(redis, qualified);
  return {
    qualified,
    name,
    counts: counts as SourceQueue['counts'],
    schedulers,
    oldSchedulers,
    workers: clients.filter((client) => client === worker || client.startsWith(`${worker}:w:`)).length,
    isPaused: 'paused' in meta,
    limits: Object.fromEntries(Object.entries(meta).filter(([field]) => LIMITS.has(field))),
    nextJob: Number((await redis.get(`${qualified}:id`)) ?? 0) + 1,
  };
}

const LIMITS: ReadonlySet<string> = new Set(['concurrency', 'max', 'duration']);

async function readSchedulers(
  redis: Redis,
  qualified: string,
): Promise<Pick<SourceQueue, 'schedulers' | 'oldSchedulers'>> {
  const schedulers: BullSchedulerView[] = [];
  const oldSchedulers: string[] = [];
  const members = await redis.zrange(`${qualified}:repeat`, '0', '-1', 'WITHSCORES');
  for (let i = 0; i < members.length; i += 2) {
    const id = members[i] as string;
    const fields = await redis.hgetall(`${qualified}:repeat:${id}`);
    const { opts } = fields;
    if (opts !== undefined) fields['opts'] = longOptions(opts);
    if ('ic' in fields) schedulers.push({ id, fields, nextAt: Number(members[i + 1]) });
    else oldSchedulers.push(id);
  }
  return { schedulers, oldSchedulers };
}

/** Reads the next jobs of a place, the first to come first. */
export async function readJobs(
  redis: Redis,
  { qualified }: SourceQueue,
  { key, state, isList }: SourcePlace,
  limit: number,
): Promise<SourceJob[]> {
  const full = `${qualified}:${key}`;
  const places: (readonly [member: string, score: number])[] = [];
  if (isList) {
    const members = await redis.lrange(full, -limit, -1);
    places.push(...members.reverse().map((member) => [member, 0] as const));
  } else {
    const members = await redis.zrange(full, '0', String(limit - 1), 'WITHSCORES');
    for (let i = 0; i < members.length; i += 2) places.push([members[i] as string, Number(members[i + 1])]);
  }
  return Promise.all(
    places.map(async ([member, score]) => ({ member, job: await readJob(redis, qualified, member, state, score) })),
  );
}

async function readJob(
  redis: Redis,
  qualified: string,
  id: string,
  state: BullImport['state'],
  score: number,
): Promise<BullImport | undefined> {
  const key = `${qualified}:${id}`;
  const [fields, logs, children] = await Promise.all([
    redis.hgetall(key),
    redis.lrange(`${key}:logs`, 0, -1),
    readChildren(redis, key),
  ]);
  const { data, opts = '{}', name, deid } = fields;
  if (data === undefined || name === undefined) return undefined;
  const dedupe = deid === undefined ? undefined : await readDedupe(redis, qualified, id, deid);
  return {
    id,
    name,
    data,
    opts: longOptions(opts),
    timestamp: Number(fields['timestamp'] ?? 0),
    state,
    // The time at which it is due, with the number of the job among those of the same millisecond below it.
    at: state === 'delayed' ? Math.floor(score / 4_096) : score,
    delay: Number(fields['delay'] ?? 0),
    priority: Number(fields['priority'] ?? 0),
    attemptsMade: Number(fields['atm'] ?? fields['attemptsMade'] ?? 0),
    attemptsStarted: Number(fields['ats'] ?? fields['atm'] ?? fields['attemptsMade'] ?? 0),
    stalledCounter: Number(fields['stc'] ?? 0),
    ...numbers(fields, ['processedOn', 'finishedOn']),
    ...texts(fields, {
      progress: 'progress',
      returnvalue: 'returnvalue',
      failedReason: 'failedReason',
      stacktrace: 'stacktrace',
      deferredFailure: 'defa',
      processedBy: 'pb',
      parentKey: 'parentKey',
      parent: 'parent',
      schedulerId: 'rjk',
    }),
    ...(logs.length > 0 && { logs }),
    ...(dedupe !== undefined && { dedupe }),
    ...(children !== undefined && { children }),
  };
}

/** In Redis some options have short names. */
function longOptions(opts: string): string {
  return JSON.stringify(Job.optsFromJSON(opts));
}

function numbers(fields: Readonly<Record<string, string>>, names: readonly string[]): Record<string, number> {
  return Object.fromEntries(names.filter((name) => fields[name]).map((name) => [name, Number(fields[name])]));
}

function texts(
  fields: Readonly<Record<string, string>>,
  names: Readonly<Record<string, string>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(names).flatMap(([ours, theirs]) => (fields[theirs] ? [[ours, fields[theirs]]] : [])),
  );
}

/** Whether the job stands for this id still, and for how long it does. */
async function readDedupe(
  redis: Redis,
  qualified: string,
  jobId: string,
  id: string,
): Promise<NonNullable<BullImport['dedupe']>> {
  const key = `${qualified}:de:${id}`;
  const [standing, ttl] = await Promise.all([redis.get(key), redis.pttl(key)]);
  return { id, stands: standing === jobId, ...(ttl > 0 && { ttl }) };
}

async function readChildren(redis: Redis, key: string): Promise<BullImport['children'] | undefined> {
  const [unprocessed, processed, ignored, failed] = await Promise.all([
    redis.smembers(`${key}:dependencies`),
    redis.hgetall(`${key}:processed`),
    redis.hgetall(`${key}:failed`),
    redis.zrange(`${key}:unsuccessful`, '0', '-1'),
  ]);
  const children = {
    unprocessed: unprocessed.sort((a, b) => (a < b ? -1 : 1)).map((child) => [child, ''] as const),
    processed: Object.entries(processed),
    ignored: Object.entries(ignored),
    failed: failed.map((child) => [child, ''] as const),
  };
  return Object.values(children).some((kind) => kind.length > 0) ? children : undefined;
}

/** Where what was moved is noted. Its data stay in Redis: nobody takes them any more, and nobody has lost them. */
function movedKey({ qualified }: SourceQueue): string {
  return `${qualified}:moved-to-holdfast`;
}

/** Takes jobs out of their place, all at once or none. */
export async function takeOut(
  redis: Redis,
  queue: SourceQueue,
  { key, isList }: SourcePlace,
  members: readonly string[],
): Promise<void> {
  if (members.length === 0) return;
  const full = `${queue.qualified}:${key}`;
  const all = redis.multi();
  if (isList) for (const member of members) all.lrem(full, -1, member);
  else all.zrem(full, ...members);
  all.sadd(movedKey(queue), ...members);
  const outcomes = await all.exec();
  const failed = outcomes?.find(([error]) => error !== null);
  if (failed !== undefined) throw failed[0] as Error;
}

export async function takeOutScheduler(redis: Redis, { qualified }: SourceQueue, id: string): Promise<void> {
  await redis.zrem(`${qualified}:repeat`, id);
}
