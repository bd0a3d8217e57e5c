import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import type { NewToken, TokenView } from 'holdfast';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `holdfast token` with nothing but these variables of ours in its environment. */
function token(args: readonly string[], variables: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith('HOLDFAST_'));
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, 'token', ...args], {
      env: { ...Object.fromEntries(others), ...variables },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

describe('holdfast token', () => {
  test('creates a token that works, shows it once, lists it and revokes it', async () => {
    const folder = newFolder();
    const create = ['create', '--data', folder, '--label', 'the worker', '--scope', 'channel:mail:produce'];
    const created = await token([...create, '--expires-in', '90d']);
    expect(created.code).toBe(0);
    expect(created.stdout).toMatch(/^hf_[0-9a-f]{12}_[A-Za-z0-9_-]{43}\n$/);
    const text = created.stdout.trim();
    const id = text.slice(3, 15);
    expect(created.stderr).toContain(`Access token "${id}" for "the worker" allows channel:mail:produce and expires 2`);
    expect(created.stderr).not.toContain(text);

    const hf = await openUntilEnd(`file:${folder}`, { token: text });
    await hf.channel<number>('mail').produce(1);
    await expect(hf.channel<number>('mail').pause()).rejects.toMatchObject({ code: 'FORBIDDEN' });

    const listed = await token(['list', '--data', folder]);
    expect(listed.code).toBe(0);
    expect(listed.stdout).toMatch(/^ID +STATE +CREATED +EXPIRES +LABEL +SCOPES\n/);
    expect(listed.stdout).toMatch(new RegExp(`^${id} +live +2\\S+Z +2\\S+Z +the worker +channel:mail:produce$`, 'm'));
    expect(listed.stdout).not.toContain(text.slice(-43));

    // From another process than the one that leads the store and has the connection.
    const revoked = await token(['revoke', id], { HOLDFAST_DATA: folder });
    expect(revoked).toMatchObject({ code: 0, stdout: `Access token "${id}" is revoked\n`, stderr: '' });
    await expect(hf.channel<number>('mail').produce(2)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    expect((await token(['list', '--data', folder])).stdout).toMatch(new RegExp(`^${id} +revoked`, 'm'));
  });

  test('works on the folder of a flag, whatever server the environment names', async () => {
    const folder = newFolder();
    const create = ['create', '--data', folder, '--label', 'ci', '--scope', 'server:admin'];
    const created = await token(create, { HOLDFAST_URL: `file:${newFolder()}` });
    expect(created.code).toBe(0);
    const listed = await token(['list', '--data', folder]);
    expect(listed.stdout).toContain(created.stdout.slice(3, 15));
  });

  test('speaks JSON', async () => {
    const folder = newFolder();
    const scopes = ['--scope', 'server:admin', 'kv:a:r', '--scope', 'channel:a,b:read,admin'];
    const created = await token(['create', '--url', `file:${folder}`, '--label', 'a', ...scopes, '--json']);
    expect(created).toMatchObject({ code: 0, stderr: '' });
    const made = JSON.parse(created.stdout) as NewToken;
    expect(made).toMatchObject({ label: 'a', scopes: ['server:admin', 'kv:a:r', 'channel:a,b:read,admin'] });
    const listed = JSON.parse((await token(['list', '--data', folder, '--json'])).stdout) as TokenView[];
    expect(listed).toEqual([
      { id: made.id, label: 'a', scopes: made.scopes, state: 'live', createdAt: made.createdAt },
    ]);
    const revoked = await token(['revoke', '--data', folder, made.id, '--json']);
    expect(JSON.parse(revoked.stdout)).toEqual({ id: made.id, state: 'revoked' });
  });

  test('may do what the token in the environment allows, and no more', async () => {
    const folder = newFolder();
    const made = await token(['create', '--data', folder, '--label', 'a', '--scope', 'channel:*:read']);
    const forbidden = await token(['list', '--data', folder], { HOLDFAST_TOKEN: made.stdout.trim() });
    expect(forbidden).toMatchObject({ code: 1, stdout: '' });
    expect(forbidden.stderr).toBe(
      'holdfast: Cannot list access tokens: the access token lacks server:admin (FORBIDDEN)\n',
    );
    const unknown = await token(['list', '--data', folder], { HOLDFAST_TOKEN: 'hf_x' });
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('(UNAUTHORIZED)') });
  });

  test('does not let a label write to the terminal', async () => {
    const folder = newFolder();
    const label = 'a\u001b[2J\nb\u202e';
    const created = await token(['create', '--data', folder, '--label', label, '--scope', 'channel:\u001b[2J:read']);
    const listed = await token(['list', '--data', folder]);
    for (const shown of [created.stderr, listed.stdout]) {
      expect(shown).toContain('a\ufffd[2J\ufffdb\ufffd');
      expect(shown).not.toContain('\u001b');
    }
  });

  test.each([
    ['no label', ['create', '--scope', 'server:admin'], "required option '--label <text>' not specified"],
    ['no scope', ['create', '--label', 'a'], "required option '--scope <scope...>' not specified"],
    ['a scope that is none', ['create', '--label', 'a', '--scope', 'x'], 'Cannot use "x" as a scope'],
    ['an end that is none', ['create', '--label', 'a', '--scope', 'server:admin', '--expires-in', 'x'], 'expires-in'],
    ['no id', ['revoke'], "missing required argument 'id'"],
    ['an id that is none', ['revoke', 'x'], 'give its id, the 12 digits behind "hf_"'],
  ])('refuses %s as wrong usage', async (_name, args, says) => {
    const ended = await token([...args, '--data', newFolder()]);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toContain(says);
  });

  test('fails with NOT_FOUND for an unknown id', async () => {
    const ended = await token(['revoke', '--data', newFolder(), '0123456789ab']);
    expect(ended).toMatchObject({ code: 1, stderr: expect.stringContaining('(NOT_FOUND)') });
  });

  test.each(['create', 'list', 'revoke'])('%s --help shows an example', async (command) => {
    const { code, stdout } = await token([command, '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain(`Example:\n  holdfast token ${command} `);
  });
});
