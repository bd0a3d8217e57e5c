import { describe, expect, test } from 'vitest';
import { type Channel, deadLetter, type Holdfast, open, rateLimited, retry, snooze } from 'holdfast';
import { startInMemory } from '../helpers/instances.ts';

type Attempt = (hf: Holdfast, channel: Channel<unknown>) => unknown;

/** What is wrong, how it is tried, and what the message says. The values are not what the types allow. */
const CASES: readonly (readonly [name: string, attempt: Attempt, says: string])[] = [
  ['channel name', (hf) => hf.channel(''), 'it must have from 1 to 255'],
  ['channel name too long', (hf) => hf.channel('x'.repeat(256)), 'it must have from 1 to 255'],
  ['channel name with half a pair', (hf) => hf.channel('\ud800mail'), 'half of a surrogate pair stands alone in it'],
  ['channel name of another type', (hf) => hf.channel(5 as never), 'it must be a text'],
  [
    'channel option',
    (hf) => hf.channel('a', { attemps: 3 } as never),
    'Cannot use "attemps" as an option of "channel": known are',
  ],
  ['channel options', (hf) => hf.channel('a', null as never), 'they must be an object'],
  ['attempts 0', (hf) => hf.channel('a', { attempts: 0 }), '"attempts": it must be a whole number from 1'],
  ['attempts 1.5', (hf) => hf.channel('a', { attempts: 1.5 }), '"attempts": it must be a whole number'],
  ['maxDeaths', (hf) => hf.channel('a', { maxDeaths: 0 }), '"maxDeaths": it must be a whole number from 1'],
  ['maxUndecodable', (hf) => hf.channel('a', { maxUndecodable: -1 }), '"maxUndecodable"'],
  ['maxBacklog', (hf) => hf.channel('a', { maxBacklog: 0 }), '"maxBacklog": it must be a whole number from 1'],
  ['maxPayloadBytes', (hf) => hf.channel('a', { maxPayloadBytes: 5_000_000 }), '"maxPayloadBytes": it must be'],
  ['onFull', (hf) => hf.channel('a', { onFull: 'drop' as never }), 'it must be one of reject, wait'],
  ['process', (hf) => hf.channel('a', { process: 'once' as never }), 'it must be one of exactlyOnce, atLeastOnce'],
  ['interval alone', (hf) => hf.channel('a', { deduplicationInterval: '1s' }), "without process: 'exactlyOnce'"],
  [
    'interval and dedupe',
    (hf) => hf.channel('a', { deduplicationInterval: 1, dedupe: {} }),
    'write the time as "dedupe.window"',
  ],
  ['dedupe mode', (hf) => hf.channel('a', { dedupe: { mode: 'last' as never } }), 'one of reject, replace, keepLast'],
  ['dedupe option', (hf) => hf.channel('a', { dedupe: { key: 1 } as never }), 'known are window, mode'],
  ['dead-letter name', (hf) => hf.channel('a', { deadLetter: '' }), 'it must have from 1 to 255'],
  ['timeout', (hf) => hf.channel('a', { timeout: '5 s' as never }), 'Cannot read "5 s" as "timeout"'],
  ['timeToLive', (hf) => hf.channel('a', { timeToLive: -1 }), 'as "timeToLive": it must be from 0'],
  ['schema', (hf) => hf.channel('a', { schema: {} as never }), 'it must be a Standard Schema'],
  [
    'backoff',
    (hf) => hf.channel('a', { backoff: true as never }),
    'give a duration, a list of them, options, or a function',
  ],
  ['backoff list', (hf) => hf.channel('a', { backoff: [] }), 'give at least one delay'],
  ['backoff type', (hf) => hf.channel('a', { backoff: { type: 'linear' } as never }), 'one of fixed, exponential'],
  [
    'backoff option',
    (hf) => hf.channel('a', { backoff: { type: 'fixed', delay: 1, max: 5 } as never }),
    'known are type, delay, jitter',
  ],
  ['backoff factor', (hf) => hf.channel('a', { backoff: { type: 'exponential', factor: 0.5 } }), 'from 1 to 1000'],
  ['backoff jitter', (hf) => hf.channel('a', { backoff: { type: 'exponential', jitter: 2 } }), 'from 0 to 1'],
  [
    'limit option',
    (hf) => hf.channel('a', { limits: { conc: 5 } as never }),
    'of "limits": known are concurrency, rate',
  ],
  ['limits', (hf) => hf.channel('a', { limits: 5 as never }), 'they must be an object'],
  [
    'concurrency 0',
    (hf) => hf.channel('a', { limits: { concurrency: 0 } }),
    '"limits.concurrency": it must be a whole',
  ],
  ['rate', (hf) => hf.channel('a', { limits: { rate: true as never } }), 'they must be an object'],
  [
    'rate option',
    (hf) => hf.channel('a', { limits: { rate: { max: 5 } as never } }),
    'known are count, per, kind, burst',
  ],
  ['rate count', (hf) => hf.channel('a', { limits: { rate: { count: 0, per: 1 } } }), '"limits.rate.count"'],
  ['rate per', (hf) => hf.channel('a', { limits: { rate: { count: 1, per: 'x' as never } } }), '"limits.rate.per"'],
  [
    'rate kind',
    (hf) => hf.channel('a', { limits: { rate: { count: 1, per: 1, kind: 'leaky' as never } } }),
    'one of bucket, window',
  ],
  [
    'burst of a window',
    (hf) => hf.channel('a', { limits: { rate: { count: 1, per: 1, kind: 'window', burst: 2 } } }),
    'with a window: it is for a bucket',
  ],
  [
    'group option',
    (hf) => hf.channel('a', { groups: { weight: 2 } as never }),
    'known are concurrency, rate, ordered, maxBacklog',
  ],
  [
    'order of several at a time',
    (hf) => hf.channel('a', { groups: { ordered: true, concurrency: 2 } }),
    'Cannot keep order with "groups.concurrency" 2: it must be 1 then',
  ],
  [
    'ordered',
    (hf) => hf.channel('a', { groups: { ordered: 1 as never } }),
    '"groups.ordered": it must be true or false',
  ],
  ['group maxBacklog', (hf) => hf.channel('a', { groups: { maxBacklog: 0 } }), '"groups.maxBacklog"'],
  ['group key', (_, c) => c.produce(1, { group: '' }), '"group": it must have from 1 to'],
  ['group of another type', (_, c) => c.produce(1, { group: 5 as never }), 'it must be a text'],
  ['group with half a pair', (_, c) => c.produce(1, { group: '\ud800' }), 'no half of a surrogate pair'],
  ['name', (_, c) => c.produce(1, { name: 'x'.repeat(1_000) }), '"name": it must have from 1 to'],
  ['cost', (_, c) => c.produce(1, { cost: 0 }), '"cost": it must be a whole number from 1 to 1000000'],
  ['group()', (_, c) => c.group(''), '"group": it must have from 1 to'],
  ['weight', (_, c) => c.group('a').configure({ weight: 0 }), '"weight": it must be from 0.001 to 1000'],
  ['group priority', (_, c) => c.group('a').configure({ priority: 0.5 }), '"priority": it must be a whole number'],
  [
    'own group option',
    (_, c) => c.group('a').configure({ wait: 1 } as never),
    'known are concurrency, rate, ordered, maxBacklog, weight, priority',
  ],
  ['configure', (_, c) => c.configure({ limit: {} } as never), 'known are retain, limits, groups'],
  ['rateLimited', () => rateLimited(-1), 'as "rateLimited": it must be from 0'],
  ['rateLimited of', () => rateLimited(1, { of: 'all' as never }), 'one of channel, group'],
  ['rateLimited option', () => rateLimited(1, { for: 'group' } as never), 'known are of'],
  ['retain option', (hf) => hf.channel('a', { retain: { done: 5 } as never }), 'known are completed, dead'],
  ['retain count', (hf) => hf.channel('a', { retain: { dead: { count: -1 } } }), '"retain.dead.count"'],
  [
    'produce option',
    (_, c) => c.produce(1, { delai: 5 } as never),
    'Cannot use "delai" as an option of "produce": known are',
  ],
  ['priority', (_, c) => c.produce(1, { priority: 0.5 }), '"priority": it must be a whole number'],
  ['priority too large', (_, c) => c.produce(1, { priority: 2 ** 30 }), '"priority": it must be a whole number'],
  ['delay', (_, c) => c.produce(1, { delay: '1w' as never }), 'write a number and one of ms, s, m, h, d'],
  ['dueAt', (_, c) => c.produce(1, { dueAt: new Date(Number.NaN) }), 'a valid Date or a time in epoch milliseconds'],
  ['dueAt as a text', (_, c) => c.produce(1, { dueAt: '5' as never }), 'a valid Date or a time in epoch milliseconds'],
  [
    'dueAt beyond all calendars',
    (_, c) => c.produce(1, { dueAt: 1e300 }),
    'a valid Date or a time in epoch milliseconds',
  ],
  ['delay and dueAt', (_, c) => c.produce(1, { delay: 5, dueAt: 5 }), '"delay" and "dueAt" together: give one'],
  ['name', (_, c) => c.produce(1, { name: '' }), '"name": it must have from 1 to 255 characters'],
  ['group', (_, c) => c.produce(1, { group: 'a'.repeat(256) }), '"group": it must have from 1 to 255 characters'],
  ['a group that is no text', (_, c) => c.produce(1, { group: 7 as never }), 'number as "group": it must be a text'],
  ['cost', (_, c) => c.produce(1, { cost: 0 }), '"cost": it must be a whole number from 1 to 1000000'],
  ['lifo', (_, c) => c.produce(1, { lifo: 1 as never }), '"lifo": it must be true or false'],
  [
    'dedupeKey without dedupe',
    (_, c) => c.produce(1, { dedupeKey: 'a' }),
    'with process: \'exactlyOnce\' or with "dedupe"',
  ],
  [
    'empty dedupeKey',
    (hf) => hf.channel('d', { dedupe: {} }).produce(1, { dedupeKey: '' }),
    'a text that is not empty',
  ],
  [
    'backoff function of a message',
    (_, c) => c.produce(1, { backoff: () => 1 }),
    'give it to the channel of the consumer',
  ],
  ['produceAll without an array', (_, c) => c.produceAll(5 as never), 'give the messages as an array'],
  ['handler', (_, c) => c.consume('handler' as never), 'the handler must be a function'],
  [
    'consume option',
    (_, c) => c.consume(() => {}, { limit: 5 } as never),
    'known are concurrency, prefetch, signal, onError, scope',
  ],
  [
    'concurrency',
    (_, c) => c.consume(() => {}, { concurrency: 0 }),
    '"concurrency": it must be a whole number from 1 to 10000',
  ],
  ['prefetch', (_, c) => c.consume(() => {}, { prefetch: -1 }), '"prefetch": it must be a whole number from 0'],
  ['onError', (_, c) => c.consume(() => {}, { onError: 5 as never }), '"onError": it must be a function'],
  ['consumer signal', (_, c) => c.consume(() => {}, { signal: {} as never }), '"signal": it must be an AbortSignal'],
  ['request option', (_, c) => c.request(1, { timout: 5 } as never), 'Cannot use "timout" as an option of "produce"'],
  ['request options', (_, c) => c.request(1, null as never), 'they must be an object'],
  ['request signal', (_, c) => c.request(1, { signal: 5 as never }), '"signal": it must be an AbortSignal'],
  ['result option', (_, c) => c.result('x', { wait: 5 } as never), 'known are signal'],
  ['id of result', (_, c) => c.result('x'), 'Cannot use "x" as a message id'],
  ['id of get', (_, c) => c.get('x'), 'Cannot use "x" as a message id'],
  ['id of cancel', (_, c) => c.cancel(undefined as never), 'as a message id'],
  ['id of promote', (_, c) => c.promote(5 as never), 'as a message id'],
  ['id of redrive', (_, c) => c.redrive(''), 'as a message id'],
  ['state', (_, c) => c.list('done' as never), 'states are ready, delayed, leased'],
  ['list limit', (_, c) => c.list('dead', { limit: 101 }), '"limit": it must be a whole number from 1 to 100'],
  ['list offset', (_, c) => c.list('dead', { offset: -1 }), '"offset": it must be a whole number from 0'],
  ['list option', (_, c) => c.list('dead', { count: 1 } as never), 'known are offset, limit'],
  ['retain()', (_, c) => c.retain({ completed: { count: 1.5 } }), '"retain.completed.count"'],
  ['retry option', () => retry({ after: 5 } as never), 'known are delay, reason'],
  ['retry delay', () => retry({ delay: -1 }), 'as "delay"'],
  ['retry reason', () => retry({ reason: 5 as never }), '"reason": it must be a text'],
  ['dead letter without a reason', () => deadLetter(undefined as never), '"reason": it must be a text'],
  ['snooze', () => snooze('soon' as never), 'as "snooze"'],
  ['URL', () => open(''), 'give a URL such as "file:./data", "holdfast://localhost" or "memory:"'],
  ['URL of another type', () => open(5 as never), 'give a URL such as'],
  ['null as URL', () => open(null as never), 'give a URL such as'],
  ['scheme', () => open('mysql://x'), 'this version opens "file:FOLDER", "holdfast://"'],
  ['folder', () => open('file:'), 'name a folder'],
  [
    'open option',
    () => open('memory:', { durability: 1 } as never),
    'Cannot use "durability" as an option of "open": known are',
  ],
  ['space', () => open('memory:', { space: 'a/b' }), 'may hold letters, digits, "_" and "-"'],
  ['reserveBytes', () => open('memory:', { reserveBytes: -1 }), '"reserveBytes": it must be a whole number'],
  ['sessionTimeout', () => open('memory:', { sessionTimeout: 'x' as never }), 'as "sessionTimeout"'],
];

describe('a wrong argument is refused at the call, with what is allowed', () => {
  test.each(CASES)('%s', async (_name, attempt, says) => {
    const { hf } = await startInMemory();
    const channel = hf.channel<unknown>('mail');
    const error = await (async () => attempt(hf, channel))().then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toSatisfy((thrown) => thrown instanceof TypeError || thrown instanceof RangeError);
    expect((error as Error).message).toContain(says);
    expect(await channel.inspect()).toMatchObject({ totals: { produced: 0 }, consumers: 0 });
  });
});
