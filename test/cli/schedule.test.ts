import { describe, expect, test } from 'vitest';
import type { ScheduleInfo } from 'holdfast';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';
import { holdfast, json } from './running-cli.ts';

async function fill(): Promise<string> {
  const folder = newFolder();
  const hf = await openUntilEnd(`file:${folder}`);
  const reports = hf.channel<object>('reports');
  await reports.schedule('nightly', { cron: '30 2 * * *', timeZone: 'Europe/Berlin' }, { size: 12n }, { limit: 9 });
  await hf
    .channel<string>('mail')
    .schedule('digest\u001b[2J', { every: '90s' }, 'x', { jitter: '5s', overlap: 'skip' });
  return folder;
}

describe('holdfast schedule', () => {
  test('ls lists schedules, all or those of a channel, and is harmless on a terminal', async () => {
    const folder = await fill();
    const { code, output } = await holdfast('schedule', 'ls', '--data', folder);
    expect(code).toBe(0);
    const rows = output.split('\n').map((line) => line.split(/ {2,}/));
    expect(rows[0]).toEqual(['KEY', 'CHANNEL', 'RULE', 'STATE', 'NEXT', 'LAST', 'TICKS']);
    expect(rows[1]?.slice(0, 4)).toEqual(['digest\\u{1b}[2J', 'mail', 'every 1m 30s', 'live']);
    expect(rows[2]?.slice(0, 4)).toEqual(['nightly', 'reports', '30 2 * * * Europe/Berlin', 'live']);
    expect(rows[2]?.[4]).toMatch(/^in /);
    const listed = await json<ScheduleInfo[]>('schedule', 'ls', '--channel', 'reports', '--data', folder);
    expect(listed).toMatchObject([{ key: 'nightly', state: 'live', ticks: 0 }]);
    expect(await json('schedule', 'ls', '--limit', '1', '--data', folder)).toHaveLength(1);
  });

  test('get, pause, resume, run and rm', async () => {
    const folder = await fill();
    const at = ['--data', folder] as const;
    const { output } = await holdfast('schedule', 'get', 'nightly', ...at);
    expect(output).toMatch(/^nightly\n +channel +reports\n +rule +30 2 \* \* \* Europe\/Berlin\n +state +live\n/);
    expect(output).toContain('0 of 9');
    expect(output).toContain('{ size: 12n }');
    expect(await json('schedule', 'get', 'nightly', ...at)).toMatchObject({
      message: { size: { '$hf:bigint': '12' } },
    });
    expect((await holdfast('schedule', 'pause', 'nightly', ...at)).output).toBe('nightly is paused\n');
    expect(await json('schedule', 'get', 'nightly', ...at)).toMatchObject({ state: 'paused' });
    expect((await holdfast('schedule', 'resume', 'nightly', ...at)).output).toBe('nightly goes on\n');
    const { id } = await json<{ id: string }>('schedule', 'run', 'nightly', ...at);
    expect(await json('get', id, ...at)).toMatchObject({
      channel: 'reports',
      schedule: { key: 'nightly', manual: true },
    });
    expect((await holdfast('get', id, ...at)).output).toMatch(/\n +schedule +nightly, for \d{4}-/);
    expect(await json('schedule', 'rm', 'nightly', ...at)).toEqual({ key: 'nightly', done: 'rm' });
    for (const action of ['get', 'pause', 'resume', 'run', 'rm']) {
      expect(await holdfast('schedule', action, 'nightly', ...at)).toMatchObject({
        code: 1,
        errors: expect.stringContaining('"nightly"') as string,
      });
    }
  });
});
