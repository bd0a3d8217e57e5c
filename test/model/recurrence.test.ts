import { describe, expect, test } from 'vitest';
import { checkCron, latestTime, nextTime, type Recurrence } from '#holdfast/model/recurrence.js';

/** The next times of a pattern, as texts in UTC. */
function timesOf(cron: string, timeZone: string, after: string, count: number): string[] {
  const times: string[] = [];
  let at: number | undefined = Date.parse(after);
  while (times.length < count) {
    at = nextTime({ cron, timeZone }, at);
    if (at === undefined) break;
    times.push(new Date(at).toISOString().replace(':00.000Z', 'Z'));
  }
  return times;
}

describe('nextTime()', () => {
  test('is behind the moment, also when that is a time itself, or within a second', () => {
    const minute = { cron: '* * * * *', timeZone: 'UTC' };
    const at = Date.UTC(2026, 0, 1, 12, 0, 0);
    for (const [after, next] of [
      [at - 1, at],
      [at, at + 60_000],
      [at + 1, at + 60_000],
      [at + 59_999, at + 60_000],
    ] as const) {
      expect(nextTime(minute, after)).toBe(next);
    }
  });

  test('knows seconds, years, the last day, and nicknames', () => {
    expect(timesOf('*/20 * * * * *', 'UTC', '2026-01-01T00:00:00Z', 2)).toEqual([
      '2026-01-01T00:00:20.000Z',
      '2026-01-01T00:00:40.000Z',
    ]);
    expect(timesOf('0 0 L * *', 'UTC', '2026-02-01T00:00:00Z', 2)).toEqual(['2026-02-28T00:00Z', '2026-03-31T00:00Z']);
    expect(timesOf('0 0 12 1 1 * 2030', 'UTC', '2026-02-01T00:00:00Z', 2)).toEqual(['2030-01-01T12:00Z']);
    expect(timesOf('@daily', 'UTC', '2026-02-01T00:00:00Z', 1)).toEqual(['2026-02-02T00:00Z']);
  });

  test('of an interval counts from its anchor, both ways', () => {
    const every: Recurrence = { everyMs: 250, anchorAt: 1_000 };
    expect([nextTime(every, 999), nextTime(every, 1_000), nextTime(every, 1_001)]).toEqual([1_000, 1_250, 1_250]);
    expect([nextTime(every, 0), nextTime(every, 750.5)]).toEqual([250, 1_000]);
  });
});

describe('daylight saving', () => {
  test('a time of the day in the gap comes at its end, north and south', () => {
    expect(timesOf('30 2 * * *', 'America/New_York', '2026-03-07T12:00:00Z', 2)).toEqual([
      '2026-03-08T07:00Z',
      '2026-03-09T06:30Z',
    ]);
    expect(timesOf('30 2 * * *', 'Europe/Berlin', '2026-03-28T12:00:00Z', 2)).toEqual([
      '2026-03-29T01:00Z',
      '2026-03-30T00:30Z',
    ]);
    expect(timesOf('30 2 * * *', 'Australia/Sydney', '2026-10-03T00:00:00Z', 2)).toEqual([
      '2026-10-03T16:00Z',
      '2026-10-04T15:30Z',
    ]);
    // Half an hour is skipped here, and midnight itself in Brazil.
    expect(timesOf('15 2 * * *', 'Australia/Lord_Howe', '2026-10-03T00:00:00Z', 1)).toEqual(['2026-10-03T15:30Z']);
    expect(timesOf('0 0 * * *', 'America/Sao_Paulo', '2018-11-03T12:00:00Z', 1)).toEqual(['2018-11-04T03:00Z']);
  });

  test('a time of the day that comes twice counts once, north and south', () => {
    expect(timesOf('30 1 * * *', 'America/New_York', '2026-10-31T12:00:00Z', 2)).toEqual([
      '2026-11-01T05:30Z',
      '2026-11-02T06:30Z',
    ]);
    expect(timesOf('30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00:00Z', 2)).toEqual([
      '2026-10-25T00:30Z',
      '2026-10-26T01:30Z',
    ]);
    expect(timesOf('30 2 * * *', 'Australia/Sydney', '2026-04-04T00:00:00Z', 2)).toEqual([
      '2026-04-04T15:30Z',
      '2026-04-05T16:30Z',
    ]);
    // From between the two, too, it is the next day.
    expect(timesOf('30 1 * * *', 'America/New_York', '2026-11-01T06:00:00Z', 1)).toEqual(['2026-11-02T06:30Z']);
  });

  test('a repeating pattern goes by the local time that there is: not in the gap, twice where it comes twice', () => {
    expect(timesOf('*/30 1-2 * * *', 'America/New_York', '2026-03-08T05:45:00Z', 3)).toEqual([
      '2026-03-08T06:00Z',
      '2026-03-08T06:30Z',
      '2026-03-09T05:00Z',
    ]);
    expect(timesOf('*/30 1 * * *', 'America/New_York', '2026-11-01T04:00:00Z', 5)).toEqual([
      '2026-11-01T05:00Z',
      '2026-11-01T05:30Z',
      '2026-11-01T06:00Z',
      '2026-11-01T06:30Z',
      '2026-11-02T06:00Z',
    ]);
    expect(timesOf('*/30 2 * * *', 'Australia/Sydney', '2026-04-04T14:00:00Z', 4)).toEqual([
      '2026-04-04T15:00Z',
      '2026-04-04T15:30Z',
      '2026-04-04T16:00Z',
      '2026-04-04T16:30Z',
    ]);
  });
});

describe('latestTime()', () => {
  test.each([
    { cron: '* * * * *', timeZone: 'UTC' },
    { cron: '30 1 * * *', timeZone: 'America/New_York' },
    { cron: '*/30 1-3 * * *', timeZone: 'America/New_York' },
    { cron: '15 2 * * *', timeZone: 'Australia/Lord_Howe' },
    { cron: '*/7 * * * * *', timeZone: 'Europe/Berlin' },
    { cron: '0 0 29 2 *', timeZone: 'UTC' },
    { everyMs: 137, anchorAt: Date.UTC(2026, 9, 20) },
  ] satisfies Recurrence[])('is the last of the times that follow each other: %o', (recurrence) => {
    const start = Date.UTC(2026, 9, 31, 22);
    const from = nextTime(recurrence, start) as number;
    for (const span of [-1, 0, 1, 999, 1_000, 60_000, 3_600_000, 6 * 3_600_000]) {
      let last = from;
      for (let next = from; next <= from + span; next = nextTime(recurrence, next) as number) last = next;
      expect(latestTime(recurrence, from, from + span)).toBe(last);
    }
  });

  test('needs few steps for a year of minutes', () => {
    const recurrence = { cron: '* * * * *', timeZone: 'UTC' };
    const from = Date.UTC(2026, 0, 1);
    expect(latestTime(recurrence, from, Date.UTC(2027, 0, 1) + 59_999)).toBe(Date.UTC(2027, 0, 1));
  });
});

describe('checkCron()', () => {
  test.each([
    ['x', 'UTC', 'Cannot use "x" as "cron": it has 1 fields; write five fields (minute, hour, day, month, weekday)'],
    ['* * * *', 'UTC', 'it has 4 fields'],
    ['* * * * * * * *', 'UTC', 'it has 8 fields'],
    ['2026-01-01T00:00:00', 'UTC', 'it has 1 fields'],
    ['61 * * * *', 'UTC', 'Cannot use "61 * * * *" as "cron": Invalid value for minute: 61; write five fields'],
    ['* * * * XYZ', 'UTC', 'contains illegal characters; write five fields'],
    ['@reboot', 'UTC', 'Cannot use "@reboot" as "cron"'],
    ['0 0 30 2 *', 'UTC', 'Cannot use "0 0 30 2 *" as "cron": no day of any year fits it'],
    ['* '.repeat(200), 'UTC', 'Cannot use 400 characters as "cron": it must have at most 255'],
    ['* * * * *', 'Mars/Olympus', 'Cannot use "Mars/Olympus" as "timeZone": it must be a name of the IANA time zone'],
    ['* * * * *', '+01:00', 'such as "Europe/Berlin"'],
    ['* * * * *', '', 'Cannot use "" as "timeZone"'],
  ])('refuses %o in %o', (cron, timeZone, message) => {
    expect(() => checkCron(cron, timeZone)).toThrow(RangeError);
    expect(() => checkCron(cron, timeZone)).toThrow(message);
  });

  test('refuses what is no text', () => {
    expect(() => checkCron(5 as unknown as string, 'UTC')).toThrow(TypeError);
    expect(() => checkCron('* * * * *', undefined as unknown as string)).toThrow(
      'Cannot use undefined as "timeZone": it must be a text',
    );
  });

  test('takes what there is', () => {
    for (const cron of ['* * * * *', '*/5 * * * * *', '0 9 * * MON-FRI', '0 0 L * *', '0 0 * * 5#2', '@weekly']) {
      expect(() => checkCron(cron, 'Europe/Berlin')).not.toThrow();
    }
  });
});
