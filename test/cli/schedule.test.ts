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

  test('get shows all of one, also when it is paused', async () => {
    const at = ['--data', await fill()] as const;
    const { output } = await holdfast('schedule', 'get', 'nightly', ...at);
    expect(output).toMatch(/^nightly\n +channel +reports\n +rule +30 2 \* \* \* Europe\/Berlin\n +state +live\n/);
    expect(output).toContain('0 of 9');
    expect(output).toContain('{ size: 12n }');
    expect((await holdfast('schedule', 'pause', 'nightly', ...at)).output).toBe('nightly is paused\n');
    const paused = await json('schedule', 'get', 'nightly', ...at);
    expect(paused).toMatchObject({ state: 'paused', message: { size: { '$hf:bigint': '12' } } });
    expect((await holdfast('schedule', 'resume', 'nightly', ...at)).output).toBe('nightly goes on\n');
  });

  test('run produces a message that says whose it is', async () => {
    const at = ['--data', await fill()] as const;
    const { id } = await json<{ id: string }>('schedule', 'run', 'nightly', ...at);
    const [shown, message] = await Promise.all([holdfast('get', id, ...at), json('get', id, ...at)]);
    expect(message).toMatchObject({ channel: 'reports', schedule: { key: 'nightly', manual: true } });
    expect(shown.output).toMatch(/\n +schedule +nightly, for \d{4}-/);
  });

  test('rm forgets one, and nothing can be done to it any more', async () => {
    const at = ['--data', await fill()] as const;
    expect(await json('schedule', 'rm', 'nightly', ...at)).toEqual({ key: 'nightly', done: 'rm' });
    const actions = ['get', 'pause', 'resume', 'run', 'rm'];
    for (const ran of await Promise.all(actions.map((action) => holdfast('schedule', action, 'nightly', ...at)))) {
      expect(ran).toMatchObject({ code: 1, errors: expect.stringContaining('"nightly"') as string });
    }
  });
});
