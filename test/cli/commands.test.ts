import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { newFolder } from '../helpers/instances.ts';
import { holdfast, json, situations, startHoldfast } from './running-cli.ts';

const NOBODY = '01900000-0000-7000-8000-000000000000';

interface Shown {
  readonly id: string;
  readonly state: string;
  readonly message: unknown;
}

describe.each(situations)('in $name', ({ fill }) => {
  test('stats shows all channels, or one', async () => {
    const { folder } = await fill();
    const all = await holdfast('stats', '--data', folder);
    expect(all).toMatchObject({ code: 0, errors: '' });
    const [heading, mail, other, total] = all.output.split('\n').map((line) => line.split(/ {2,}/));
    expect(heading?.slice(0, 4)).toEqual(['CHANNEL', 'READY', 'DELAYED', 'LEASED']);
    expect(mail?.slice(0, 7)).toEqual(['mail', '1', '1', '0', '0', '0', '1']);
    expect(other?.slice(0, 3)).toEqual(['other', '1', '0']);
    expect(total?.slice(0, 3)).toEqual(['total', '2', '1']);
    const values = await json<{ channels: unknown[]; total: unknown }>('stats', '--data', folder);
    expect(values.channels).toMatchObject([
      { channel: 'mail', ready: 1, delayed: 1, dead: 1, backlog: 2, oldestReadyMs: expect.any(Number) as unknown },
      { channel: 'other', ready: 1, backlog: 1 },
    ]);
    expect(values.total).toMatchObject({ ready: 2, delayed: 1, dead: 1, backlog: 3 });
    expect((await holdfast('stats', 'mail', '--data', folder)).output).toMatch(/^mail\n +ready +1\n/);
    expect(await json('stats', 'mail', '--url', `file:${folder}`)).toMatchObject({ channel: 'mail', ready: 1 });
  });

  test('ls lists channels, and messages by state', async () => {
    const { folder, ready, dead, delayed } = await fill();
    expect(await holdfast('ls', '--data', folder)).toEqual({ code: 0, output: 'mail\nother\n', errors: '' });
    expect(await json('ls', '--data', folder)).toEqual(['mail', 'other']);
    const { output } = await holdfast('ls', 'mail', '--data', folder);
    const rows = output.split('\n').slice(1, -1);
    expect(rows.map((row) => row.split(/ {2,}/).slice(0, 2))).toEqual([
      [ready, 'ready'],
      [delayed, 'delayed'],
      [dead, 'dead'],
    ]);
    expect(rows[0]).toContain("{ to: 'peter', size: 12n }");
    const listed = await json<Shown[]>('ls', 'mail', '--data', folder, '--state', 'dead');
    expect(listed).toMatchObject([{ id: dead, state: 'dead', message: { to: 'nobody' } }]);
    const page = await json<Shown[]>('ls', 'mail', '--data', folder, '--offset', '1', '--limit', '1');
    expect(page.map(({ id }) => id)).toEqual([delayed]);
  });

  test('groups, limit and pause --group show and change what holds for a channel and its groups', async () => {
    const { folder } = await fill();
    const at = ['--data', folder];
    expect(await holdfast('groups', 'mail', ...at)).toEqual({ code: 0, output: 'mail has no groups\n', errors: '' });
    expect(await holdfast('limit', 'mail', '--concurrency', '3', '--rate', '100/1m', ...at)).toMatchObject({
      code: 0,
      output: 'mail has new limits\n',
    });
    const rate = { kind: 'bucket', count: 100, perMs: 60_000, burst: 100 };
    expect(await json('stats', 'mail', ...at)).toMatchObject({ settings: { concurrency: 3, rate } });
    expect((await holdfast('stats', 'mail', ...at)).output).toMatch(/rate +100\/1m/);
    await holdfast('limit', 'mail', '--group', 'ann', '--rate', '5/1s', '--window', ...at);
    await holdfast('pause', 'mail', '--group', 'ann', ...at);
    expect(await json('groups', 'mail', ...at)).toMatchObject([
      { group: 'ann', paused: true, rules: { rate: { kind: 'window', count: 5, perMs: 1_000 } } },
    ]);
    expect((await holdfast('groups', 'mail', ...at)).output).toMatch(/ann .* 5\/1s, by windows .* paused\n/);
    await holdfast('resume', 'mail', '--group', 'ann', ...at);
    await holdfast('limit', 'mail', '--concurrency', 'none', '--rate', 'none', ...at);
    expect(await json('stats', 'mail', ...at)).toMatchObject({ settings: { concurrency: 0, rate: null } });
    for (const [wrong, says] of [
      [['limit', 'mail'], 'Cannot limit nothing: give --concurrency, --rate, or both'],
      [['limit', 'mail', '--concurrency', '2', '--window'], 'Cannot count in windows without a rate: give --rate too'],
      [['limit', 'nothing', '--concurrency', '2'], 'No channel is named "nothing"'],
      [['groups', 'nothing'], 'No channel is named "nothing"'],
      [['limit', 'mail', '--rate', '5'], 'It must be like 100/1m, or none.'],
      [['limit', 'mail', '--concurrency', '0'], 'It must be a whole number from 1, or none.'],
    ] as const) {
      const { code, errors } = await holdfast(...wrong, ...at);
      expect(code).not.toBe(0);
      expect(errors).toContain(says);
    }
  });

  test('peek shows what comes next and leaves it there', async () => {
    const { folder, ready } = await fill();
    const peeked = await json<Shown[]>('peek', 'mail', '--data', folder);
    expect(peeked).toMatchObject([{ id: ready, message: { to: 'peter', size: { '$hf:bigint': '12' } } }]);
    const { code, output } = await holdfast('peek', 'mail', '--data', folder, '--limit', '5');
    expect(code).toBe(0);
    expect(output).toContain(ready);
    expect(output).toContain("{ to: 'peter', size: 12n }");
    expect(await json('stats', 'mail', '--data', folder)).toMatchObject({ ready: 1, leased: 0 });
  });

  test('get shows everything of a message', async () => {
    const { folder, dead } = await fill();
    const { output } = await holdfast('get', dead, '--data', folder);
    for (const part of [dead, "{ to: 'nobody' }", 'Error: no such address', 'about to fail', 'claimed', 'failed']) {
      expect(output).toContain(part);
    }
    expect(await json('get', dead, '--data', folder)).toMatchObject({
      id: dead,
      channel: 'mail',
      state: 'dead',
      message: { to: 'nobody' },
      failure: { message: 'no such address' },
      log: ['about to fail'],
      history: [{ what: 'produced' }, { what: 'claimed' }, { what: 'failed' }],
    });
  });

  test('retry and cancel act on messages, and say which they could not', async () => {
    const { folder, ready, dead } = await fill();
    expect(await holdfast('retry', dead, '--data', folder)).toMatchObject({ code: 0, output: `${dead} is ready\n` });
    const again = await holdfast('retry', dead, NOBODY, '--data', folder);
    expect(again).toMatchObject({ code: 1, output: '' });
    expect(again.errors).toContain('WRONG_STATE');
    expect(again.errors).toContain('NOT_FOUND');
    const both = await holdfast('cancel', NOBODY, ready, '--data', folder, '--json');
    expect(both.code).toBe(1);
    expect(JSON.parse(both.output)).toMatchObject([
      { id: NOBODY, code: 'NOT_FOUND' },
      { id: ready, state: 'cancelled' },
    ]);
  });

  test('pause, resume, redrive and purge act on a channel', async () => {
    const { folder } = await fill();
    expect((await holdfast('pause', 'mail', '--data', folder)).output).toBe('mail is paused\n');
    expect(await json('stats', 'mail', '--data', folder)).toMatchObject({ paused: true });
    expect(await json('resume', 'mail', '--data', folder)).toEqual({ channel: 'mail', done: 'resume' });
    expect(await json('redrive', 'mail', '--data', folder)).toEqual({ channel: 'mail', done: 'redrive', messages: 1 });
    const unasked = await holdfast('purge', 'mail', '--data', folder);
    expect(unasked).toMatchObject({ code: 2, output: '' });
    expect(unasked.errors).toContain('add --yes');
    expect(await json('purge', 'other', '--yes', '--data', folder)).toMatchObject({ messages: 1 });
    expect(await json('stats', 'mail', '--data', folder)).toMatchObject({ paused: false, delayed: 1 });
  });

  test('tail shows what happened and what happens, until it is interrupted', async () => {
    const { folder, ready } = await fill();
    const { child, ended, said } = startHoldfast('tail', 'mail', '--data', folder, '--since', '1h', '--json');
    await said(ready);
    await holdfast('cancel', ready, '--data', folder);
    await said('cancelled');
    child.kill('SIGINT');
    const { code, output, errors } = await ended;
    expect({ code, errors }).toEqual({ code: 0, errors: '' });
    const events = output
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { what: string; id: string; position: string; channel: string });
    expect(events.every(({ channel }) => channel === 'mail')).toBe(true);
    expect(events.filter(({ id }) => id === ready).map(({ what }) => what)).toEqual(['produced', 'cancelled']);
    const last = events.at(-2);
    const rest = startHoldfast('tail', 'mail', '--data', folder, '--after', last?.position ?? '');
    await rest.said('cancelled');
    rest.child.kill('SIGTERM');
    const shown = await rest.ended;
    expect(shown.code).toBe(0);
    expect(shown.output.trimEnd().split('\n')).toHaveLength(1);
    expect(shown.output).toContain(ready);
  });

  test('backup and restore make the same store elsewhere', async () => {
    const { folder, ready, dead } = await fill();
    const target = newFolder();
    const file = join(target, 'backup');
    expect(await json('backup', file, '--data', folder)).toMatchObject({ file, bytes: expect.any(Number) as unknown });
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(target)).toEqual(['backup']);
    const restored = join(target, 'restored');
    const { code, output } = await holdfast('restore', file, '--data', restored);
    expect(code).toBe(0);
    expect(output).toContain('the space "default" as of ');
    expect(await json('get', ready, '--data', restored)).toMatchObject({ state: 'ready' });
    expect(await json('get', dead, '--data', restored)).toMatchObject({ state: 'dead' });
    const twice = await holdfast('restore', file, '--data', restored);
    expect(twice).toMatchObject({ code: 1, output: '' });
    expect(twice.errors).toContain('STORE_EXISTS');
    const whole = await json('restore', file, '--data', join(target, 'again'));
    expect(whole).toMatchObject({ folder: join(target, 'again'), space: 'default' });
  });
});
