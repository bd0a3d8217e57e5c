import { execFileSync } from 'node:child_process';
import { mkdir, readdir, truncate, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';
import { temporaryFolder } from '../faults/folders.ts';
import { need } from '../store/children.ts';
import { cleanEnvironment, fillFolder, holdfast, json, main, runProgram } from './running-cli.ts';

const NOBODY = '01900000-0000-7000-8000-000000000000';
const folder = temporaryFolder();
const data = ['--data', folder] as const;

beforeAll(async () => {
  await fillFolder(folder);
});

const COMMANDS = [
  ['stats'],
  ['ls'],
  ['peek', 'mail'],
  ['get', NOBODY],
  ['tail'],
  ['retry', NOBODY],
  ['redrive', 'mail'],
  ['cancel', NOBODY],
  ['pause', 'mail'],
  ['resume', 'mail'],
  ['purge', 'mail', '--yes'],
  ['backup', 'file'],
] as const;

test.each([...COMMANDS.map(([name]) => name), 'restore'])('%s has help with an example', async (name) => {
  const { code, output } = await holdfast(name, '--help');
  expect(code).toBe(0);
  expect(output).toContain(`Example:\n  holdfast ${name} `);
  expect((await holdfast('--help')).output).toContain(`\n  ${name} `);
});

test.each(COMMANDS.map((command) => ({ command })))('$command makes no folder and no store', async ({ command }) => {
  const empty = newFolder();
  const ran = await holdfast(...command, '--data', join(empty, 'typo'));
  expect(ran).toMatchObject({ code: 1, output: '' });
  expect(ran.errors).toContain('no store is there (NOT_FOUND)');
  expect(await readdir(empty)).toEqual([]);
});

test.each([
  ['nothing'],
  ['stats'],
  ['stats', '--unknown', ...data],
  ['stats', '--watch', '--every', '5', ...data],
  ['ls', 'mail', '--state', 'lost', ...data],
  ['ls', 'mail', '--limit', '0', ...data],
  ['ls', 'mail', '--offset', '-1', ...data],
  ['peek', ...data],
  ['get', 'no id', ...data],
  ['retry', ...data],
  ['retry', NOBODY, 'no id', ...data],
  ['cancel', 'x', ...data],
  ['tail', '--since', 'yesterday', ...data],
  ['tail', '--after', 'somewhere', ...data],
  ['tail', '--after', '1.0', '--since', '1h', ...data],
  ['purge', 'mail', ...data],
  ['restore', 'file'],
  ['stats', '--url', 'gopher://x'],
])('bad usage is refused with 2: %s %s %s', async (...args) => {
  const { code, output, errors } = await holdfast(...args);
  expect({ code, output }).toEqual({ code: 2, output: '' });
  expect(errors).not.toBe('');
  expect(errors).not.toContain('    at ');
});

test.each([
  ['get', NOBODY],
  ['stats', 'mial'],
  ['ls', 'mial'],
  ['peek', 'mial'],
  ['pause', 'mial'],
  ['purge', 'mial', '--yes'],
  ['tail', '--after', '99999.0'],
  ['stats', '--space', 'other'],
])('what is not there is a failure with 1: %s %s', async (...args) => {
  const { code, errors } = await holdfast(...args, ...data);
  expect(code).toBe(1);
  expect(errors).toContain('(NOT_FOUND)');
  expect(await json('ls', ...data)).toEqual(['mail', 'other']);
});

test('a flag counts more than the environment', async () => {
  const environment = { HOLDFAST_URL: 'holdfast://127.0.0.1:1', HOLDFAST_DATA: folder };
  const flagged = await runProgram(process.execPath, [main, 'ls', ...data], environment);
  expect(flagged.output).toBe('mail\nother\n');
  expect((await runProgram(process.execPath, [main, 'ls'], { HOLDFAST_DATA: folder })).output).toBe('mail\nother\n');
});

test('a token is proven, from the flag before the environment, and a wrong one is refused', async () => {
  const wrong = `hf_000000000000_${'A'.repeat(43)}`;
  const refused = await runProgram(process.execPath, [main, 'ls', ...data], { HOLDFAST_TOKEN: wrong });
  expect(refused.code).toBe(1);
  expect(refused.errors).toContain('(UNAUTHORIZED)');
  const made = await holdfast('token', 'create', '--label', 'reader', '--scope', 'channel:*:read', '--json', ...data);
  const { token } = JSON.parse(made.output) as { token: string };
  const typed = [main, 'ls', '--token', token, ...data];
  expect((await runProgram(process.execPath, typed, { HOLDFAST_TOKEN: wrong })).output).toBe('mail\nother\n');
});

describe('backup and restore', () => {
  test('a cut file is refused, and a file that cannot be written is said so', async () => {
    const target = newFolder();
    const file = join(target, 'backup');
    await holdfast('backup', file, '--data', folder);
    await truncate(file, (await stat(file)).size - 1);
    const cut = await holdfast('restore', file, '--data', join(target, 'restored'));
    expect(cut.code).toBe(1);
    expect(cut.errors).toContain('BACKUP_DAMAGED');
    expect(await readdir(target)).toEqual(['backup']);
    const nowhere = await holdfast('backup', join(target, 'no', 'where'), '--data', folder);
    expect(nowhere).toMatchObject({ code: 1 });
    expect(nowhere.errors).toMatch(/^holdfast: ENOENT: [^\n]*\n$/);
    await mkdir(join(target, 'taken'));
    expect(await holdfast('backup', join(target, 'taken'), '--data', folder)).toMatchObject({ code: 1 });
    expect((await readdir(target)).sort()).toEqual(['backup', 'taken']);
  });
});

describe('what is shown', () => {
  const evil = 'a\u001B[2Jb\u009B1mc\u202Ed\u2028e\u{E0041}f\nh';
  const message = { [`key ${evil}`]: evil, list: [`${evil}\uD800`] };

  test.each(['stats', 'ls', 'ls CHANNEL', 'peek CHANNEL', 'get ID'])(
    'by %s cannot command the terminal',
    async (usage) => {
      const own = newFolder();
      const hf = await openUntilEnd(`file:${own}`);
      const { id, channel } = await hf.channel<unknown>(`mail${evil}`).produce(message);
      const args = usage.split(' ').map((part) => (part === 'CHANNEL' ? channel : part === 'ID' ? id : part));
      for (const flags of [[], ['--json']]) {
        const { code, output } = await holdfast(...args, ...flags, '--data', own);
        expect(code).toBe(0);
        expect(output.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
        if (flags.length > 0 && usage === 'get ID') expect(JSON.parse(output)).toMatchObject({ message });
      }
    },
  );

  test('has every type of value as JSON', async () => {
    const folder = newFolder();
    const hf = await openUntilEnd(`file:${folder}`);
    const { id } = await hf.channel<unknown>('values').produce({
      plain: [null, true, 1.5, 'text'],
      numbers: [Number.NaN, -0, Infinity, 2n ** 70n],
      at: new Date(0),
      bytes: Uint8Array.of(1, 2),
      words: Int16Array.of(-1),
      buffer: new ArrayBuffer(1),
      map: new Map<unknown, unknown>([[{ a: 1 }, undefined]]),
      set: new Set([1n]),
      tagged: { '$hf:date': 'no date' },
      nothing: undefined,
    });
    expect((await json<{ message: unknown }>('get', id, '--data', folder)).message).toEqual({
      plain: [null, true, 1.5, 'text'],
      numbers: [
        { '$hf:number': 'NaN' },
        { '$hf:number': '-0' },
        { '$hf:number': 'Infinity' },
        { '$hf:bigint': String(2n ** 70n) },
      ],
      at: { '$hf:date': '1970-01-01T00:00:00.000Z' },
      bytes: { '$hf:bytes': 'AQI=' },
      words: { '$hf:Int16Array': '//8=' },
      buffer: { '$hf:ArrayBuffer': 'AA==' },
      map: { '$hf:map': [{ a: 1 }, { '$hf:undefined': true }] },
      set: { '$hf:set': [{ '$hf:bigint': '1' }] },
      tagged: { '$hf:object': { '$hf:date': 'no date' } },
      nothing: { '$hf:undefined': true },
    });
  });

  test('has colours only where somebody wants them', async () => {
    const args = [main, 'stats', ...data];
    expect((await runProgram(process.execPath, args)).output).not.toContain('\u001B');
    expect((await runProgram(process.execPath, args, { FORCE_COLOR: '1' })).output).toContain('\u001B[');
    expect((await runProgram(process.execPath, args, { NO_COLOR: '1' })).output).not.toContain('\u001B');
  });

  test.each(['tail --since 1h', 'tail --since 1h --json', 'stats --watch --every 100ms'])(
    'by %s ends without a word when nobody reads any further',
    async (command) => {
      const own = newFolder();
      const channel = (await openUntilEnd(`file:${own}`)).channel<number>('mail');
      await channel.produce(1);
      const line = `"${process.execPath}" "${main}" ${command} --data "${own}" | head -n 1`;
      let hasEnded = false;
      const ran = runProgram('bash', ['-o', 'pipefail', '-c', line]).finally(() => (hasEnded = true));
      // Who writes nothing more cannot notice.
      while (!hasEnded) await channel.produce(2);
      const { code, output, errors } = await ran;
      expect({ code, errors }).toEqual({ code: 0, errors: '' });
      expect(output.split('\n')).toHaveLength(2);
    },
  );
});

describe('on a terminal', () => {
  const terminal = 'script';

  beforeAll(() => need(terminal));

  /** Runs `holdfast` on a terminal of 80 columns, with this typed into it. */
  function onTerminal(args: readonly string[], typed: string = '', env: Record<string, string> = {}): string {
    const command = ['stty cols 80;', process.execPath, main, ...args].map((part, i) => (i === 0 ? part : `'${part}'`));
    return execFileSync(terminal, ['-qec', command.join(' '), '/dev/null'], {
      env: cleanEnvironment({ TERM: 'xterm', ...env }),
      input: typed,
    }).toString();
  }

  test('tables fit and have colours, but with NO_COLOR', async () => {
    const own = newFolder();
    const hf = await openUntilEnd(`file:${own}`);
    await hf.channel<string>('c'.repeat(200)).produce('日本'.repeat(100));
    for (const args of [['stats'], ['ls', 'c'.repeat(200)]]) {
      expect(onTerminal([...args, '--data', own])).toContain('\u001B[');
      const lines = onTerminal([...args, '--data', own], '', { NO_COLOR: '1' }).split('\r\n');
      expect(lines.length).toBeGreaterThan(1);
      for (const line of lines) {
        expect(line).not.toContain('\u001B');
        // Each of the two characters of a message takes two columns.
        expect(line.length + (line.match(/[日本]/g)?.length ?? 0)).toBeLessThanOrEqual(args[0] === 'ls' ? 80 : 110);
      }
    }
  });

  test('purge asks first', async () => {
    const own = newFolder();
    await fillFolder(own);
    expect(onTerminal(['purge', 'mail', '--data', own], 'n\n')).toContain('Nothing was deleted');
    expect(await json('stats', 'mail', '--data', own)).toMatchObject({ ready: 1 });
    const answered = onTerminal(['purge', 'mail', '--data', own], 'yes\n');
    expect(answered).toContain('Delete 2 messages of "mail" for good? [y/N]');
    expect(answered).toContain('mail: 2 messages deleted');
    expect(await json('stats', 'mail', '--data', own)).toMatchObject({ ready: 0, delayed: 0, dead: 1 });
  });
});
