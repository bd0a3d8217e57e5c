/** The real clients of KV Connect: Deno itself, and its package for Node. `npm run integrations` installs them. */
import { spawn } from 'node:child_process';
import type { webcrypto } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { DENO, denoProgram } from '../helpers/deno.ts';
import { untilTrue } from '../helpers/until-true.ts';
import { type KvServer, startKvServer } from './server.ts';

/** The keys that the scenario uses; there is one besides that it may not. */
const PREFIXES =
  'values list many absent sum min max checked watched unwritten stays expires from opened stamped undelivered'.split(
    ' ',
  );

interface Said {
  readonly report: unknown;
  readonly stamped: unknown;
  readonly enqueued: unknown;
  readonly failed: string | undefined;
}

type Client = (url: string, token: string) => Promise<Said>;

const onDeno: Client = (url, token) => runOnDeno('on-deno', url, token);

function runOnDeno(name: string, url: string, token: string): Promise<Said> {
  return say(denoProgram(), ['run', '--no-config', '--allow-all', '--unstable-kv', program(name), url], {
    DENO_KV_ACCESS_TOKEN: token,
    DENO_NO_UPDATE_CHECK: '1',
  });
}

const onNode: Client = (url, token) => say(process.execPath, [program('on-node'), url, token, DENO], {});

/** Runs a program that says one line, and gives that. */
async function say(file: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Said> {
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  onTestFinished(() => void child.kill('SIGKILL'));
  let [said, errors] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  await once(child, 'close');
  if (said === '') throw new Error(`It has said nothing: ${errors}`);
  return JSON.parse(said) as Said;
}

function program(name: string): string {
  return fileURLToPath(new URL(`./programs/${name}.mjs`, import.meta.url));
}

async function tokenOf({ hf }: KvServer): Promise<string> {
  const scopes = [...PREFIXES.map((prefix) => `kv:${prefix}:r,w`), 'channel:kv/queue:produce'];
  return (await hf.tokens.create({ label: 'client', scopes })).token;
}

const REPORT = {
  values: [],
  ofOthers: 'hello',
  lists: {
    ordered: ['1', 'text', '-2', '3', '1.5', 'false', 'true'],
    many: 250,
    isInOrder: true,
    backwards: [120, '249', '130'],
    range: ['10', '11', '12'],
    behind: ['3', '4'],
    several: [1, null, 2],
  },
  numbers: ['4', '5', '9'],
  checks: [true, false, true, true, true],
  watched: [
    ['first', null],
    ['second', null],
    ['second', 'third'],
  ],
  expired: 1,
  refused: [
    expect.stringMatching(/^Cannot read this key: .* lacks kv:PREFIX:r/),
    expect.stringMatching(/^Cannot write this key: .* lacks kv:PREFIX:w/),
  ],
};

describe('Deno', () => {
  test('has the server as its database', async () => {
    const server = await startKvServer();
    const { kv } = server.hf;
    await kv.set(['from', 'others'], 'hello');
    const said = await onDeno(server.url, await tokenOf(server));
    expect(said.failed).toBe(undefined);
    expect(said.report).toEqual(REPORT);
    expect(said.stamped).toBe(1);
    // Deno does not send messages over the network; that is decided there.
    expect(said.enqueued).toBe('Enqueue operations are not supported in KV Connect');
    const value = { by: 'Deno', at: new Date(5), map: new Map([[1n, new Set(['a'])]]) };
    expect((await kv.get(['from', 'client'])).value).toEqual(value);
  });

  test('reads DOMExceptions and secret CryptoKeys from here, and the other way round', async () => {
    const server = await startKvServer();
    const { kv } = server.hf;
    const raw = Uint8Array.from({ length: 16 }, (_, i) => i);
    const key = await crypto.subtle.importKey('raw', raw, 'AES-GCM', true, ['encrypt']);
    await kv.set(['values', 'error'], new DOMException('of Node', 'DataCloneError'));
    await kv.set(['values', 'key'], key);
    const { report } = await runOnDeno('platform-objects-on-deno', server.url, await tokenOf(server));
    expect(report).toEqual({
      error: [true, 'DataCloneError', 'of Node'],
      key: [{ name: 'AES-GCM', length: 128 }, [...raw]],
    });
    const { value: error } = await kv.get(['from', 'error']);
    expect(error).toBeInstanceOf(DOMException);
    expect(error).toMatchObject({ name: 'AbortError', message: 'of Deno' });
    const { value: keyOfDeno } = await kv.get<webcrypto.CryptoKey>(['from', 'key']);
    expect(await crypto.subtle.exportKey('jwk', keyOfDeno as webcrypto.CryptoKey)).toEqual(
      await crypto.subtle.exportKey('jwk', key),
    );
    const { value: within } = await kv.get<{ errors: unknown[] }>(['from', 'within']);
    expect(within?.errors[0]).toMatchObject({ name: 'AbortError', message: 'within' });
    // Deno keeps the bytes of a Blob in its memory alone.
    await expect(kv.get(['from', 'blob'])).rejects.toMatchObject({ code: 'UNDECODABLE' });
    await expect(kv.get(['from', 'keys'])).rejects.toMatchObject({ code: 'UNDECODABLE' });
  });

  test('is refused with a wrong token, and says why', async () => {
    const server = await startKvServer();
    const token = await tokenOf(server);
    const { failed } = await onDeno(server.url, token.replace(/.$/, '!'));
    expect(failed).toContain('This way in needs an access token');
  });
});

describe('@deno/kv', () => {
  test('has the server as its database, and its messages reach listeners', async () => {
    const server = await startKvServer();
    const { kv } = server.hf;
    await kv.set(['from', 'others'], 'hello');
    const heard: unknown[] = [];
    void kv.listenQueue(
      (message: unknown) => {
        heard.push(message);
        if (message === 'undelivered') throw new Error('not this one');
      },
      { onError: () => {} },
    );
    const said = await onNode(server.url, await tokenOf(server));
    expect(said.failed).toBe(undefined);
    expect(said.report).toEqual(REPORT);
    expect(said.enqueued).toEqual([true, true]);
    const value = { by: '@deno/kv', at: new Date(5), map: new Map([[1n, new Set(['a'])]]) };
    expect((await kv.get(['from', 'client'])).value).toEqual(value);
    // The package gives every message the schedule 100, 200, 400, 800.
    await untilTrue(async () => (await kv.get(['undelivered'])).value === 'undelivered');
    expect(heard.filter((message) => message === 'undelivered')).toHaveLength(5);
    expect(heard).toContainEqual({ hello: new Map([['a', 2n]]) });
  });

  test('is refused with a wrong token, and says why', async () => {
    const server = await startKvServer();
    const token = await tokenOf(server);
    const { failed } = await onNode(server.url, token.replace(/.$/, '!'));
    expect(failed).toContain('401 This way in needs an access token');
  });
});
