import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';
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

  test('stats shows rates and times of the last while', async () => {
    const { folder } = await fill();
    const { output } = await holdfast('stats', 'mail', '--data', folder, '--window', '1h');
    expect(output).toMatch(/produced a second +0\.\d+ over 1h/);
    expect(output).toMatch(/ready to start +p50 \S+, p95 \S+, p99 \S+ of 1\n/);
    const { lately } = await json<{ lately: unknown }>('stats', 'mail', '--data', folder);
    expect(lately).toMatchObject({
      counts: { produced: 3, dead: 1, failed: 1, completed: 0 },
      perSecond: { produced: expect.any(Number) as unknown },
      latency: { count: 1, p99Ms: expect.any(Number) as unknown },
      handling: { count: 1 },
    });
    const values = await json<{ channels: { lately: unknown }[] }>('stats', '--data', folder);
    expect(values.channels[1]?.lately).toMatchObject({ counts: { produced: 1 }, latency: { count: 0, p99Ms: null } });
    const wrong = await holdfast('stats', '--data', folder, '--window', '90s');
    expect(wrong).toMatchObject({ code: 2, output: '' });
    expect(await holdfast('stats', 'nothing', '--data', folder)).toMatchObject({ code: 1, output: '' });
  });

  test('usage shows who has used how much', async () => {
    const { folder } = await fill();
    const { rows, total } = await json<{ rows: unknown[]; total: unknown }>('usage', '--data', folder);
    expect(rows).toMatchObject([
      { token: 'embedded', of: 'channel', channel: 'mail', messages: 3, writes: 5, reads: 1 },
      { token: 'embedded', of: 'channel', channel: 'other', messages: 1, writes: 1, reads: 0 },
    ]);
    expect(total).toMatchObject({ messages: 4, writes: 6 });
    const { code, output } = await holdfast('usage', '--data', folder, '--channel', 'mail', '--of', 'embedded');
    const [heading, mail, sum] = output.split('\n').map((line) => line.split(/ {2,}/));
    expect([code, heading?.slice(0, 2)]).toEqual([0, ['DAY', 'TOKEN']]);
    expect(mail?.slice(1, 6)).toEqual(['embedded', 'mail', '1', '5', '3']);
    expect(sum?.slice(0, 4)).toEqual(['total', '1', '5', '3']);
    const past = await holdfast('usage', '--data', folder, '--from', '2020-02-29', '--to', '2020-03-01');
    expect(past).toEqual({ code: 0, output: 'Nothing was counted\n', errors: '' });
    expect(await holdfast('usage', '--data', folder, '--from', '2021-02-29')).toMatchObject({ code: 2, output: '' });
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
  });

  test('groups and limit refuse what cannot be, and say why', async () => {
    const { folder } = await fill();
    for (const [wrong, says] of [
      [['limit', 'mail'], 'Cannot limit nothing: give --concurrency, --rate, or both'],
      [['limit', 'mail', '--concurrency', '2', '--window'], 'Cannot count in windows without a rate: give --rate too'],
      [['limit', 'nothing', '--concurrency', '2'], 'No channel is named "nothing"'],
      [['groups', 'nothing'], 'No channel is named "nothing"'],
      [['limit', 'mail', '--rate', '5'], 'It must be like 100/1m, or none.'],
      [['limit', 'mail', '--concurrency', '0'], 'It must be a whole number from 1, or none.'],
    ] as const) {
      const { code, errors } = await holdfast(...wrong, '--data', folder);
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

  test('flow shows what waits for what, and cancel takes its children along', async () => {
    const { folder } = await fill();
    const hf = await openUntilEnd(`file:${folder}`);
    const other = hf.channel<number>('other');
    const children = [other.node(1, { key: 'part', onFailure: 'ignore' })];
    const { id: top, children: below } = await hf.flow(other.node(2, { children }));
    const child = below[0]?.id as string;
    const { output } = await holdfast('flow', top, '--data', folder);
    expect(output).toBe(
      `${top}  other  waiting  waits for 1 of 1\n  ${child}  other  ready  part  on failure: ignore\n`,
    );
    const less = await holdfast('flow', top, '--data', folder, '--depth', '0');
    expect(less.output).toBe(`${top}  other  waiting  waits for 1 of 1\n  1 not shown\n`);
    const shown = await json('flow', top, '--data', folder);
    expect(shown).toMatchObject({ id: top, size: 1, children: [{ id: child, key: 'part' }] });
    expect(await holdfast('flow', NOBODY, '--data', folder)).toMatchObject({ code: 1, output: '' });
    await holdfast('cancel', top, '--children', '--data', folder);
    const gone = await json('get', child, '--data', folder);
    expect(gone).toMatchObject({ state: 'cancelled' });
  });

  test('search finds, and update, cancel, retry and remove change', async () => {
    const { folder, ready, dead, delayed } = await fill();
    const found = await json<Shown[]>('search', 'mail', '--text', 'nobody', '--data', folder);
    expect(found).toMatchObject([{ id: dead, state: 'dead' }]);
    expect(await json<Shown[]>('search', '--failure', 'no such', '--data', folder)).toMatchObject([{ id: dead }]);
    const all = await json<Shown[]>('search', 'mail', '--oldest', '--produced-after', '1h', '--data', folder);
    expect(all.map(({ id }) => id)).toEqual([...[ready, delayed].toSorted(), dead]);
    const table = await holdfast('search', 'mail', '--state', 'dead', 'ready', '--limit', '1', '--data', folder);
    expect(table.output.split('\n').slice(1, -1)).toHaveLength(1);
    expect(await holdfast('search', 'nowhere', '--data', folder)).toMatchObject({ code: 1 });
    const change = ['--message', '{"to":"ada"}', '--priority', '-1', '--delay', '1h'];
    expect((await holdfast('update', ready, ...change, '--data', folder)).output).toBe(`${ready} is updated\n`);
    expect(await json('get', ready, '--data', folder)).toMatchObject({
      state: 'delayed',
      message: { to: 'ada' },
      priority: -1,
    });
    expect(await holdfast('update', ready, '--message', '{', '--data', folder)).toMatchObject({ code: 2 });
    expect(await holdfast('update', ready, '--data', folder)).toMatchObject({ code: 2 });
    await holdfast('cancel', ready, '--reason', 'out of stock', '--deadline', '5s', '--data', folder);
    expect(await json('get', ready, '--data', folder)).toMatchObject({ failure: { message: 'out of stock' } });
    expect(await json('retry', ready, '--keep-attempts', '--data', folder)).toMatchObject([
      { id: ready, state: 'ready' },
    ]);
    expect((await holdfast('remove', ready, '--data', folder)).output).toBe(`${ready} is removed\n`);
    expect(await holdfast('get', ready, '--data', folder)).toMatchObject({ code: 1 });
  });

  test('bulk changes all that the flags say, and bulks shows it', async () => {
    const { folder } = await fill();
    const cancelled = await holdfast(
      'bulk',
      'cancel',
      'mail',
      '--state',
      'ready',
      'delayed',
      '--reason',
      'closed',
      '--data',
      folder,
    );
    expect(cancelled).toMatchObject({ code: 0, output: 'mail: 2 of 2 messages changed, done\n' });
    const retried = await json('bulk', 'retry', 'mail', '--failure', 'closed', '--limit', '1', '--data', folder);
    expect(retried).toMatchObject({ action: 'retry', state: 'done', changed: 1 });
    expect(await json('bulk', 'remove', 'mail', '--state', 'dead', '--no-wait', '--data', folder)).toMatchObject([
      { action: 'remove' },
    ]);
    const wide = await holdfast('bulk', 'remove', 'mail', '--data', folder);
    expect(wide).toMatchObject({ code: 2, output: '' });
    expect(wide.errors).toContain('say with "state"');
    expect(await holdfast('bulk', 'promote', 'mail', '--reason', 'x', '--data', folder)).toMatchObject({ code: 2 });
    const listed = await holdfast('bulks', 'mail', '--data', folder);
    expect(
      listed.output
        .split('\n')
        .slice(1, -1)
        .map((row) => row.split(/ {2,}/)[2]),
    ).toEqual(['cancel', 'retry', 'remove']);
    const [first] = await json<{ id: number }[]>('bulks', '--data', folder);
    expect(await json('bulks', '--stop', String(first?.id), '--data', folder)).toMatchObject([{ state: 'done' }]);
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
