import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describe, expect, test } from 'vitest';
import { type Channel, type Holdfast, open, restore, type ScheduleOptions, type ScheduleRule } from 'holdfast';
import { z } from 'zod';
import { newFolder, openUntilEnd, setups, startInMemory } from '../helpers/instances.ts';
import { ManualClock } from '../helpers/manual-clock.ts';

const EVERY: ScheduleRule = { every: '1m' };

/** What is wrong, how it is tried, and what the message says. The values are not what the types allow. */
const CASES: readonly (readonly [
  name: string,
  attempt: (hf: Holdfast, channel: Channel<unknown>) => unknown,
  says: string,
])[] = [
  ['cron', with_({ cron: 'often' }), 'Cannot use "often" as "cron": it has 1 fields; write five fields (minute, hour,'],
  ['cron out of range', with_({ cron: '0 25 * * *' }), 'Invalid value for hour: 25; write five fields'],
  ['cron never', with_({ cron: '0 0 31 4 *' }), 'no day of any year fits it'],
  ['cron of another type', with_({ cron: 5 as never }), 'Cannot use number as "cron": it must be a text'],
  ['time zone', with_({ cron: '* * * * *', timeZone: 'Berlin' }), 'it must be a name of the IANA time zone database'],
  ['every 0', with_({ every: 0 }), 'Cannot use 0 ms as "every": it must be at least 1 ms'],
  ['every', with_({ every: 'often' as never }), 'Cannot read "often" as "every"'],
  ['every too long', with_({ every: '90000d' }), 'as "every": it must be from 0 to'],
  ['no rule', with_({} as never), 'give { cron, timeZone } or { every }'],
  ['two rules', with_({ cron: '* * * * *', every: 5 } as never), 'give { cron, timeZone } or { every }'],
  ['rule of another type', with_('* * * * *' as never), 'give { cron, timeZone } or { every }'],
  [
    'rule option',
    with_({ every: 5, offset: 3 } as never),
    'Cannot use "offset" as an option of "rule": known are every',
  ],
  ['limit 0', with_(EVERY, { limit: 0 }), 'Cannot use 0 as "limit": it must be a whole number from 1'],
  ['end before start', with_(EVERY, { start: 5, end: 4 }), 'Cannot use "end": it must not be before "start"'],
  [
    'start',
    with_(EVERY, { start: 'now' as never }),
    '"start": it must be a valid Date or a time in epoch milliseconds',
  ],
  ['end', with_(EVERY, { end: new Date(Number.NaN) }), 'Cannot use "end": it must be a valid Date'],
  [
    'jitter',
    with_(EVERY, { jitter: '1m' }),
    'Cannot use 60000 ms as "jitter": it must be less than "every", which is 60000 ms',
  ],
  ['missed', with_(EVERY, { missed: 'some' as never }), '"missed": it must be one of skip, one, all'],
  ['overlap', with_(EVERY, { overlap: 'no' as never }), '"overlap": it must be one of allow, skip, queue'],
  ['immediately', with_(EVERY, { immediately: 1 as never }), 'Cannot use "immediately": it must be true or false'],
  [
    'dueAt',
    with_(EVERY, { dueAt: 5 } as never),
    'Cannot use "dueAt" as an option of "schedule": known are start, end, limit',
  ],
  ['priority', with_(EVERY, { priority: 0.5 }), '"priority": it must be a whole number'],
  [
    'dedupeKey',
    with_(EVERY, { dedupeKey: 'k' }),
    `Cannot use "dedupeKey": open the channel with process: 'exactlyOnce'`,
  ],
  ['key', (_, channel) => channel.schedule('', EVERY, 1), 'it must have from 1 to 255 characters'],
  ['key with half a pair', (_, channel) => channel.schedule('\ud800', EVERY, 1), 'no half of a surrogate pair'],
  ['key of another type', (hf) => hf.schedules.pause(5 as never), `Cannot use number as a schedule's key`],
  ['key to get', (hf) => hf.schedules.get(''), 'it must have from 1 to 255 characters'],
  ['large message', (_, channel) => channel.schedule('k', EVERY, 'x'.repeat(600_000)), 'Cannot use a message of 600'],
  ['message', (_, channel) => channel.schedule('k', EVERY, () => {}), 'function'],
  ['no target', (hf) => hf.schedules.upsert('k', EVERY, undefined as never), 'give { channel, message }'],
  [
    'no channel',
    (hf) => hf.schedules.upsert('k', EVERY, { channel: 'a', message: 1 } as never),
    'give { channel, message }',
  ],
  [
    'list',
    (hf) => hf.schedules.list({ limit: 101 }),
    'Cannot use 101 as "limit": it must be a whole number from 1 to 100',
  ],
  ['list option', (hf) => hf.schedules.list({ offset: 1 } as never), 'known are after, limit, channel'],
  ['list after', (hf) => hf.schedules.list({ after: 5 as never }), 'Cannot use number as "after"'],
  ['list channel', (hf) => hf.schedules.list({ channel: 5 as never }), 'Cannot use number as "channel"'],
];

function with_(rule: ScheduleRule, options?: ScheduleOptions): (hf: Holdfast, channel: Channel<unknown>) => unknown {
  return (_, channel) => channel.schedule('key', rule, 1, options);
}

describe('bad arguments change nothing', () => {
  test.each(CASES)('%s', async (_name, attempt, says) => {
    const { hf } = await startInMemory();
    const channel = hf.channel<unknown>('mail');
    const refused = await Promise.resolve()
      .then(() => attempt(hf, channel))
      .catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(Error);
    expect((refused as Error).message).toContain(says);
    expect((await hf.schedules.list()).schedules).toEqual([]);
  });

  test('a message that does not match the schema, and a channel of another instance', async () => {
    const { hf } = await startInMemory();
    const channel = hf.channel('mail', { schema: z.object({ to: z.string() }) });
    await expect(channel.schedule('k', EVERY, { to: 5 } as never)).rejects.toMatchObject({ code: 'INVALID_MESSAGE' });
    const { hf: other } = await startInMemory();
    await expect(other.schedules.upsert('k', EVERY, { channel, message: { to: 'ada' } })).rejects.toThrow(
      'Cannot make a schedule for "mail" here: the channel is of another instance',
    );
    expect((await hf.schedules.list()).schedules).toEqual([]);
  });
});

const MINUTE = 60_000;

describe.each(setups)('schedules ($name)', ({ start }) => {
  test('go by the clock of the broker, and tell handlers the time that each message is due for', async () => {
    const { hf, clock } = await start();
    const jobs = hf.channel<string>('jobs');
    const from = clock.wallMs();
    const seen: number[] = [];
    await jobs.consume((_, { schedule }) => void seen.push(((schedule?.at ?? 0) - from) / MINUTE));
    await jobs.schedule('all', { every: '10m' }, 'x', { missed: 'all' });
    for (let minute = 0; minute < 30; minute++) await clock.advance(MINUTE);
    expect(seen).toEqual([10, 20, 30]);
    expect(await hf.schedules.get('all')).toMatchObject({ nextAt: from + 40 * MINUTE, message: 'x', ticks: 3 });
  });

  test('are in a backup, and go on from it where it is restored', async () => {
    const { hf, clock } = await start();
    const jobs = hf.channel<object>('jobs');
    const from = clock.wallMs();
    await jobs.schedule(
      'daily',
      { cron: '0 4 * * *', timeZone: 'Asia/Tokyo' },
      { size: 12n },
      { overlap: 'queue', limit: 9 },
    );
    await jobs.schedule('often', { every: '1m' }, { n: 1 }, { missed: 'all' });
    for (let minute = 0; minute < 3; minute++) await clock.advance(MINUTE);
    const file = join(newFolder(), 'backup');
    await pipeline(Readable.from(hf.backup()), createWriteStream(file));
    const folder = join(newFolder(), 'restored');
    await restore(file, folder);
    const later = new ManualClock(clock.wallMs() + 2 * MINUTE);
    const again = await openUntilEnd(`file:${folder}`, { thread: false, clock: later });
    await later.advance(0);
    expect(await again.schedules.get('daily')).toEqual(await hf.schedules.get('daily'));
    expect(await again.schedules.get('often')).toMatchObject({ ticks: 5, lastAt: from + 5 * MINUTE });
    const ready = await again.channel<object>('jobs').list('ready');
    expect(ready.map(({ schedule }) => ((schedule?.at ?? 0) - from) / MINUTE)).toEqual([1, 2, 3, 4, 5]);
  });
});

describe('below the reserve of the disk', () => {
  test('a schedule is refused, and those that there are wait for room', async () => {
    const url = `file:${newFolder()}`;
    const clock = new ManualClock();
    const from = clock.wallMs();
    const first = await open(url, { thread: false, clock });
    await first.channel<string>('jobs').schedule('often', { every: '1m' }, 'x', { missed: 'all' });
    await first.close();

    const full = await open(url, { thread: false, clock, reserveBytes: 2 ** 50 });
    const jobs = full.channel<string>('jobs');
    for (let minute = 0; minute < 3; minute++) await clock.advance(MINUTE);
    expect(await jobs.inspect()).toMatchObject({ ready: 0 });
    for (const call of [jobs.schedule('new', EVERY, 'x'), full.schedules.runNow('often')]) {
      await expect(call).rejects.toMatchObject({ code: 'STORE_FULL' });
    }
    await full.schedules.resume('often');
    await full.close();

    const roomy = await openUntilEnd(url, { thread: false, clock });
    await clock.advance(0);
    const ready = await roomy.channel<string>('jobs').list('ready');
    expect(ready.map(({ schedule }) => ((schedule?.at ?? 0) - from) / MINUTE)).toEqual([1, 2, 3]);
  });
});
