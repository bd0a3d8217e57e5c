import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as Deno from 'holdfast/deno';
import type { HandlerContext, HoldfastKv } from 'holdfast';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { bunProgram } from '../helpers/bun.ts';
import { denoProgram } from '../helpers/deno.ts';
import { newFolder } from '../helpers/instances.ts';
import { ManualClock, settled, until } from '../helpers/manual-clock.ts';
import { startServer } from '../network/processes.ts';

const { openKv } = Deno;

async function opened(...options: Parameters<typeof openKv>): Promise<Deno.Kv> {
  const kv = await openKv(...options);
  onTestFinished(() => kv[Symbol.dispose]());
  return kv;
}

/** Runs a program of this folder that says one line, and gives that. */
async function said(runtime: string, name: string, flags: readonly string[]): Promise<unknown> {
  const program = fileURLToPath(new URL(`programs/${name}.mjs`, import.meta.url));
  const env = { ...process.env, DENO_NO_UPDATE_CHECK: '1' };
  return JSON.parse((await promisify(execFile)(runtime, [...flags, program], { env })).stdout);
}

beforeEach(() => {
  for (const name of ['DENO_KV_DEFAULT_PATH', 'DENO_KV_PATH_PREFIX', 'DENO_KV_DB_MODE', 'DENO_KV_ACCESS_TOKEN']) {
    vi.stubEnv(name, undefined);
  }
});

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('openKv()', () => {
  test('of :memory: opens one that nobody else has', async () => {
    const [one, other] = [await opened(':memory:'), await opened(':memory:')];
    await one.set(['a'], 1);
    expect((await other.get(['a'])).value).toBeNull();
  });

  test('of a path keeps what it holds in a folder there, and shares it', async () => {
    const path = join(newFolder(), 'kv.sqlite3');
    const one = await opened(path);
    await one.set(['a'], 1);
    const other = await opened(path);
    expect((await other.get(['a'])).value).toBe(1);
    one.close();
    other.close();
    expect((await (await opened(`file:${path}`)).get(['a'])).value).toBe(1);
  });

  test('follows the environment of Deno', async () => {
    const folder = newFolder();
    vi.stubEnv('DENO_KV_DEFAULT_PATH', join(folder, 'default'));
    await (await opened()).set(['a'], 'default');
    vi.stubEnv('DENO_KV_PATH_PREFIX', `${folder}/`);
    expect((await (await opened('default')).get(['a'])).value).toBe('default');
    vi.stubEnv('DENO_KV_DB_MODE', 'memory');
    expect((await (await opened('default')).get(['a'])).value).toBeNull();
  });

  test('of the URL of a server reaches it, with its token', async () => {
    const server = await startServer({ folder: newFolder(), endBehind: onTestFinished });
    const url = server.url.replace(/^holdfast:/, 'http:');
    const [one, other] = [await opened(url), await opened(server.url)];
    const heard: unknown[] = [];
    const listening = other.listenQueue((message) => {
      heard.push(message);
      other.close();
    });
    await one.enqueue('over the network');
    await listening;
    expect(heard).toEqual(['over the network']);
  });

  test.each<[unknown, string]>([
    ['', 'Filename cannot be empty'],
    [5, 'Filename cannot be empty'],
    [':x', `Filename cannot start with ':' unless prefixed with './'`],
  ])('refuses %j', async (path, message) => {
    await expect(openKv(path as string)).rejects.toThrow(new TypeError(message));
  });

  test('of a URL says why there is no server of ours', async () => {
    const other = createServer((_request, response) => response.writeHead(404).end('nothing'));
    await once(other.listen(0, '127.0.0.1'), 'listening');
    onTestFinished(() => void other.close());
    const url = `http://127.0.0.1:${(other.address() as AddressInfo).port}/kv`;
    const failureOf = async (...args: Parameters<typeof openKv>): Promise<unknown> =>
      openKv(...args).catch((error: unknown) => error);
    const options = { connectTimeout: 0 };
    const answered = await failureOf(url, options);
    expect(answered).toEqual(
      new TypeError(`Could not open Deno KV database: the metadata endpoint at '${url}' responded with status 404`),
    );
    expect(answered).toMatchObject({ cause: { code: 'UNREACHABLE' } });
    await new Promise((resolve) => other.close(resolve));
    expect(await failureOf(url, options)).toMatchObject({
      name: 'TypeError',
      message: expect.stringContaining(
        `Could not open Deno KV database: failed to connect to '${url}': connect ECONNREFUSED`,
      ),
      cause: { code: 'UNREACHABLE' },
    });
    const server = await startServer({ folder: newFolder(), endBehind: onTestFinished });
    expect(await failureOf(server.url.replace(/^holdfast:/, 'http:'), { token: 'wrong' })).toMatchObject({
      name: 'TypeError',
      message: expect.stringMatching(/^Could not open Deno KV database: .*token/),
      cause: { code: 'UNAUTHORIZED' },
    });
    await expect(openKv(url.replace(/^http:/, 'ws:'), options)).rejects.toThrow(/^Cannot reach "ws:/);
  });

  test('of :memory: needs no permission of Deno, and has its error', async () => {
    expect(await said(denoProgram(), 'without-permissions', ['run', '--no-config', '--no-prompt'])).toEqual({
      value: 1,
      refused: [
        'TypeError: Filename cannot be empty',
        `TypeError: Filename cannot start with ':' unless prefixed with './'`,
      ],
      isOfDeno: true,
    });
  });

  test('refuses a file, and options that it does not know', async () => {
    const file = join(newFolder(), 'kv.sqlite3');
    writeFileSync(file, 'SQLite format 3');
    await expect(openKv(file)).rejects.toThrow(/it is a file, such as Deno makes, and a store is a folder/);
    await expect(openKv(':memory:', { maxSize: 5 } as never)).rejects.toThrow(/Cannot use "maxSize"/);
  });

  test('has the limits of Deno, and takes others', async () => {
    const strict = await opened(':memory:');
    await expect(strict.set(['a'], new Uint8Array(65_537))).rejects.toThrow('Value too large (max 65536 bytes)');
    await strict.enqueue(1, { keysIfUndelivered: Array.from({ length: 5_000 }, (_, i) => [i]), delay: 1_000 });
    const lifted = await opened(':memory:', { maxValueBytes: 100_000, maxBacklog: 1 });
    await lifted.set(['a'], new Uint8Array(100_000));
    await lifted.enqueue(1);
    await expect(lifted.enqueue(2)).rejects.toThrow(new TypeError('Queue backlog limit exceeded'));
  });

  test('takes 100,000 undelivered messages, and no more unless it is told', async () => {
    const strict = await opened(':memory:');
    const unlimited = await opened(':memory:', { maxBacklog: Infinity });
    for (const kv of [strict, unlimited]) {
      for (let i = 0; i < 100; i++) {
        const atomic = kv.atomic();
        for (let j = 0; j < 1_000; j++) atomic.enqueue(j, { delay: 1_000_000 });
        await atomic.commit();
      }
    }
    await expect(strict.enqueue('one more')).rejects.toThrow(new TypeError('Queue backlog limit exceeded'));
    expect(await unlimited.enqueue('one more')).toMatchObject({ ok: true });
  });
});

describe('Blob, File, DOMException and CryptoKey', () => {
  const algorithm = { name: 'RSA-OAEP', modulusLength: 2048, hash: { name: 'SHA-256' } };
  const refused = (kind: string): string => `TypeError: #<${kind}> could not be cloned.`;

  test.each([
    ['Node', process.execPath, []],
    ['Deno', denoProgram(), ['run', '--no-config', '--allow-all']],
    ['Bun', bunProgram(), []],
  ])('are kept as values on %s, and refused where they cannot be', async (_name, runtime, flags) => {
    expect(await said(runtime, 'platform-objects', flags)).toEqual({
      blob: ['text/x', 'h\u{e9}'],
      file: ['x.txt', 'text/x', 12_345, 'x'],
      exception: ['DataCloneError', 'oops', 25, true],
      secret: {
        type: 'secret',
        extractable: true,
        usages: ['encrypt', 'decrypt'],
        algorithm: { name: 'AES-GCM', length: 256 },
      },
      rsa: [
        { type: 'public', extractable: true, usages: ['encrypt'], algorithm },
        { type: 'private', extractable: true, usages: ['decrypt'], algorithm },
      ],
      isSigned: true,
      twice: [true, 'b'],
      refused: {
        hidden: refused('CryptoKey'),
        blobWithin: refused('Blob'),
        keyWithin: refused('CryptoKey'),
        fileWithin: refused('File'),
        blobOfQueue: refused('Blob'),
        keyOfQueue: refused('CryptoKey'),
        large: 'TypeError: Value too large (max 65536 bytes)',
      },
    });
  });
});

describe('close()', () => {
  const attempts = (kv: Deno.Kv, handler: (context: HandlerContext) => Promise<void> | void): Promise<void> =>
    (kv as HoldfastKv).listenQueue((_message, context) => handler(context));

  test('waits 5 s for handlers, then gives back what they work on, uncounted, to be delivered again', async () => {
    const clock = new ManualClock();
    const [folder, options] = [newFolder(), { clock, thread: false }];
    const kv = await opened(folder, options);
    let stuck: HandlerContext | undefined;
    const listening = attempts(kv, (context) => {
      stuck = context;
      return new Promise(() => {});
    });
    let isEnded = false;
    void listening.then(() => (isEnded = true));
    await kv.enqueue('a');
    await until(() => stuck !== undefined);
    kv.close();
    await clock.advance(4_999);
    expect([isEnded, stuck?.signal.aborted]).toEqual([false, false]);
    await clock.advance(1);
    await listening;
    expect(stuck?.signal.aborted).toBe(true);
    const again = await opened(folder, options);
    const attempt = await new Promise((resolve) => {
      void attempts(again, (context) => resolve([context.id, context.attempt]));
    });
    expect(attempt).toEqual([stuck?.id, 1]);
  });

  test('waits as long as it is told', async () => {
    const clock = new ManualClock();
    const [short, endless] = [
      await opened(':memory:', { clock, grace: 10 }),
      await opened(':memory:', { clock, grace: Infinity }),
    ];
    let running = 0;
    let end = (): void => {};
    const ended: string[] = [];
    const listen = (kv: Deno.Kv, name: string): void => {
      void attempts(kv, () => {
        running += 1;
        return new Promise<void>((resolve) => (end = resolve));
      }).then(() => ended.push(name));
    };
    listen(short, 'short');
    listen(endless, 'endless');
    await short.enqueue('a');
    await until(() => running === 1);
    await endless.enqueue('a');
    await until(() => running === 2);
    short.close();
    endless.close();
    await clock.advance(10);
    await until(() => ended.length > 0);
    await clock.advance(60_000);
    expect(ended).toEqual(['short']);
    end();
    await settled();
    expect(ended).toEqual(['short', 'endless']);
  });

  test('refuses a grace that is no duration', async () => {
    await expect(openKv(':memory:', { grace: -1 })).rejects.toThrow(RangeError);
    await expect(openKv(':memory:', { grace: 'soon' as never })).rejects.toThrow(/Cannot read "soon" as "grace"/);
  });
});

describe('the classes', () => {
  test('are those of what openKv() gives, and are not constructed', async () => {
    const kv = await opened(':memory:');
    expect(kv).toBeInstanceOf(Deno.Kv);
    expect(kv.atomic()).toBeInstanceOf(Deno.AtomicOperation);
    expect(kv.list({ prefix: [] })).toBeInstanceOf(Deno.KvListIterator);
    expect(() => new Deno.Kv()).toThrow(new TypeError('Deno.Kv can not be constructed: use Deno.openKv instead'));
  });

  test('have the errors of Deno', async () => {
    const kv = await opened(':memory:');
    kv.close();
    await expect(kv.get(['a'])).rejects.toBeInstanceOf(Deno.errors.BadResource);
    expect(() => kv.close()).toThrow(Deno.errors.BadResource);
    kv[Symbol.dispose]();
  });

  test('say what is awaited by mistake', async () => {
    const kv = await opened(':memory:');
    const mistake = async (): Promise<unknown> => await (kv.atomic().set(['a'], 1) as unknown);
    await expect(mistake()).rejects.toThrow(
      new TypeError(`'Deno.AtomicOperation' is not a promise: did you forget to call 'commit()'`),
    );
  });
});
