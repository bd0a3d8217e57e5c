/** How queues and jobs are called: the names that BullMQ shows are those that it has in Redis. */

const DEFAULT_PREFIX = 'bull';

const TYPES = [
  '',
  'active',
  'wait',
  'waiting-children',
  'paused',
  'id',
  'delayed',
  'prioritized',
  'stalled-check',
  'completed',
  'failed',
  'stalled',
  'repeat',
  'limiter',
  'meta',
  'events',
  'pc',
  'marker',
  'de',
] as const;

/** The name of a queue with its prefix. */
export function qualify(name: string, prefix: string = DEFAULT_PREFIX): string {
  return `${prefix}:${name}`;
}

export function keysOf(qualified: string): Record<string, string> {
  return Object.fromEntries(TYPES.map((type) => [type, `${qualified}:${type}`]));
}

/** Takes the key of a job apart; neither the id nor the name of its queue has a colon, unless a scheduler made the id. */
export function parseKey(key: string): { prefix: string; queueName: string; id: string } {
  const scheduled = /^(.*):([^:]*):(repeat:.*:[^:]*)$/.exec(key);
  const [, prefix = '', queueName = '', id = ''] = scheduled ?? /^(.*):([^:]*):([^:]*)$/.exec(key) ?? [];
  return { prefix, queueName, id };
}

/** What a client calls itself, so that those of a queue are found. */
export function clientNameOf(name: string, prefix: string = DEFAULT_PREFIX): string {
  return `${prefix}:${Buffer.from(name).toString('base64')}`;
}
