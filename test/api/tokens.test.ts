import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type CreateTokenOptions, type NewToken, open } from 'holdfast';
import { newFolder, openUntilEnd, startInMemory, timelessSetups } from '../helpers/instances.ts';

const OPTIONS: CreateTokenOptions = { label: 'worker', scopes: ['channel:mail/*:consume', 'kv:users:r'] };

describe.each(timelessSetups)('tokens ($name)', ({ start }) => {
  test('are made, listed and revoked', async () => {
    const { hf } = await start();
    expect(await hf.tokens.list()).toEqual([]);
    const made = await hf.tokens.create({ ...OPTIONS, expiresIn: '90d' });
    const { token, ...known } = made;
    expect(token).toMatch(/^hf_[0-9a-f]{12}_[A-Za-z0-9_-]{43}$/);
    expect(token.split('_')[1]).toBe(made.id);
    expect(made).toMatchObject(OPTIONS);
    expect(made.expiresAt).toBe(made.createdAt + 90 * 86_400_000);
    expect(await hf.tokens.list()).toEqual([{ ...known, state: 'live', revokedAt: undefined }]);
    await hf.tokens.revoke(made.id);
    await hf.tokens.revoke(made.id);
    expect(await hf.tokens.list()).toMatchObject([{ id: made.id, state: 'revoked', revokedAt: expect.any(Number) }]);
  });

  test('with the same label and scopes live at once', async () => {
    const { hf } = await start();
    const [one, two] = [await hf.tokens.create(OPTIONS), await hf.tokens.create(OPTIONS)];
    expect(one.id).not.toBe(two.id);
    expect(one.expiresAt).toBeUndefined();
    expect((await hf.tokens.list()).map(({ state }) => state)).toEqual(['live', 'live']);
  });

  test('revoke() of an unknown one is NOT_FOUND', async () => {
    const { hf } = await start();
    await expect(hf.tokens.revoke('0123456789ab')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('in a folder', () => {
  const fileSetups = timelessSetups.filter(({ name }) => name.startsWith('file'));

  test.each(fileSetups)('tokens outlive the process, and no byte of a secret is kept ($name)', async ({ start }) => {
    const { hf, url } = await start();
    const made: NewToken[] = [];
    for (let i = 0; i < 20; i++) made.push(await hf.tokens.create({ ...OPTIONS, label: `worker ${i}` }));
    await hf.tokens.revoke(made[3]?.id ?? '');
    const before = await hf.tokens.list();
    const folder = url.startsWith('file://') ? fileURLToPath(url) : url.slice('file:'.length);
    // While it is open, the commit log holds what the store does not hold yet.
    const whileOpen = bytesOf(folder);
    await hf.close();
    const again = await openUntilEnd(url);
    expect(await again.tokens.list()).toEqual(before);
    await again.close();
    const everything = Buffer.concat([whileOpen, bytesOf(folder)]);
    expect(everything.includes('worker 19')).toBe(true);
    for (const { token } of made) {
      const secret = token.slice(-43);
      for (const form of [secret, secret.slice(0, 12), secret.slice(-12)])
        expect(everything.includes(form)).toBe(false);
      const raw = Buffer.from(secret, 'base64url');
      for (const part of [raw, raw.subarray(0, 8)]) expect(everything.includes(part)).toBe(false);
    }
  });

  test('a token that is given is looked at, even where none is needed', async () => {
    const url = `file:${newFolder()}`;
    const hf = await openUntilEnd(url);
    const { token, id } = await hf.tokens.create({ label: 'a', scopes: ['channel:mail:produce'] });
    const limited = await openUntilEnd(url, { token });
    await limited.channel<number>('mail').produce(1);
    await expect(limited.channel<number>('mail').inspect()).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(open(url, { token: `${token.slice(0, -1)}?` })).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    await hf.tokens.revoke(id);
    await expect(limited.channel<number>('mail').produce(2)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    await expect(open(url, { token })).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });
});

test('a token ends by itself', async () => {
  const { hf, clock } = await startInMemory();
  await hf.tokens.create({ ...OPTIONS, expiresIn: 1_000 });
  await clock.advance(999);
  expect(await hf.tokens.list()).toMatchObject([{ state: 'live' }]);
  await clock.advance(1);
  expect(await hf.tokens.list()).toMatchObject([{ state: 'expired', revokedAt: undefined }]);
});

test.each<[string, object, string]>([
  ['no options', [] as never, '"label" must be a text'],
  ['no label', { scopes: OPTIONS.scopes }, '"label" must be a text'],
  ['an empty label', { ...OPTIONS, label: '' }, 'it must have from 1 to 255'],
  ['a long label', { ...OPTIONS, label: 'x'.repeat(256) }, 'it must have from 1 to 255'],
  ['no scopes', { label: 'a' }, '"scopes" must be an array of texts'],
  ['scopes that are a text', { label: 'a', scopes: 'server:admin' }, '"scopes" must be an array of texts'],
  ['an empty list of scopes', { label: 'a', scopes: [] }, 'give from 1 to 64'],
  ['too many scopes', { label: 'a', scopes: Array.from({ length: 65 }, () => 'server:admin') }, 'give from 1 to 64'],
  ['a scope that is none', { label: 'a', scopes: ['mail'] }, 'Cannot use "mail" as a scope: write channel:GLOB'],
  [
    'a right that is none',
    { label: 'a', scopes: ['channel:a:write'] },
    '"write" is none of produce, consume, read, admin',
  ],
  ['a time that has passed', { ...OPTIONS, expiresIn: 0 }, 'it would have ended before it begins'],
  ['a time that is none', { ...OPTIONS, expiresIn: 'soon' }, 'as "expiresIn"'],
  ['an unknown option', { ...OPTIONS, ttl: 5 }, 'Cannot use "ttl" as an option of "create"'],
])('create() refuses %s', async (_name, options, says) => {
  const { hf } = await startInMemory();
  const error: unknown = await hf.tokens.create(options as never).catch((thrown: unknown) => thrown);
  expect(error).toSatisfy((thrown) => thrown instanceof TypeError || thrown instanceof RangeError);
  expect((error as Error).message).toContain(says);
  expect(await hf.tokens.list()).toEqual([]);
});

test.each(['', 'x', 'ABCDEF012345', '0123456789a', 5 as never, `hf_0123456789ab_${'a'.repeat(43)}`])(
  'revoke() refuses %j as an id',
  async (id) => {
    const { hf } = await startInMemory();
    await expect(hf.tokens.revoke(id)).rejects.toThrow('give its id, the 12 digits behind "hf_"');
  },
);

function bytesOf(folder: string): Buffer {
  const files = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile());
  return Buffer.concat(files.map(({ name }) => readFileSync(join(folder, name))));
}
