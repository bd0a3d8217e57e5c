import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';
import { untilTrue } from '../helpers/until-true.ts';
import { makeAuthority } from './certificates.ts';
import { type Ended, startCommand, startServer, type Talking } from './processes.ts';
import { connectRaw } from './raw-client.ts';
import { effectsOf, expectEachOnce, workOf } from './work.ts';

async function makeToken(folder: string): Promise<string> {
  const hf = await openUntilEnd(`file:${folder}`);
  const { token } = await hf.tokens.create({ label: 'test', scopes: ['channel:*:produce'] });
  await hf.close();
  return token;
}

/** Runs `holdfast serve` with these in its environment alone. */
function serveBy(env: NodeJS.ProcessEnv, ...args: string[]): Talking {
  return startCommand(['serve', ...args], env);
}

async function addressesOf(server: Talking): Promise<string[]> {
  const { addresses } = await server.says(({ msg }) => msg === 'Serving');
  return addresses as string[];
}

function expectRefusal({ code, errors }: Ended, exitCode: number, message: string | RegExp): void {
  expect(errors).toMatch(message);
  expect(code).toBe(exitCode);
}

describe('serve at an address that others can reach', () => {
  test('is refused without TLS, unless it is asked for by name', async () => {
    const folder = newFolder();
    const refused = [
      serveBy({}, '--data', folder, '--listen', 'holdfast://0.0.0.0:0'),
      serveBy({}, '--data', folder, '--listen', 'ws://[::]:0'),
      serveBy({ HOLDFAST_DATA: folder, PORT: '0' }),
      serveBy({ HOLDFAST_DATA: folder, PORT: '0', HOLDFAST_INSECURE_NO_TLS: '0' }),
      serveBy({ HOLDFAST_DATA: folder, PORT: '0', HOLDFAST_INSECURE_NO_TLS: 'false' }),
      serveBy({ HOLDFAST_DATA: folder, PORT: '0', HOLDFAST_INSECURE_NO_TLS: '' }),
    ];
    const odd = serveBy({ HOLDFAST_DATA: folder, PORT: '0', HOLDFAST_INSECURE_NO_TLS: 'perhaps' });
    for (const server of refused) expectRefusal(await server.ended, 2, 'without TLS, because others can reach it');
    expectRefusal(await odd.ended, 2, 'HOLDFAST_INSECURE_NO_TLS');
  });

  test('is refused without a token, and serves those who have one', async () => {
    const folder = newFolder();
    const authority = makeAuthority();
    const [pair, ca] = [authority.certificate('server'), authority.caText];
    const tls = ['--tls-cert', pair.cert, '--tls-key', pair.key];
    const address = ['--listen', 'holdfasts://0.0.0.0:0'];
    expectRefusal(await serveBy({}, '--data', folder, ...address, ...tls).ended, 2, 'without a token');
    expectRefusal(await serveBy({ HOLDFAST_DATA: folder, PORT: '0' }, '--insecure-no-tls').ended, 2, 'without a token');

    const token = await makeToken(folder);
    const secure = await startServer({ folder, listen: ['holdfasts://0.0.0.0:0'], more: tls });
    const url = `holdfasts://127.0.0.1:${secure.port}`;
    await (await openUntilEnd(url, { tls: { ca }, token })).channel<number>('mail').produce(1);
    await expect(openUntilEnd(url, { tls: { ca } })).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    const plain = serveBy({ HOLDFAST_DATA: folder, PORT: '0', HOLDFAST_INSECURE_NO_TLS: 'true' });
    const [shown] = await addressesOf(plain);
    const open = `holdfast://127.0.0.1:${/\d+$/.exec(shown as string)?.[0]}`;
    await (await openUntilEnd(open, { token })).channel<number>('mail').produce(2);
    await expect(openUntilEnd(open)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });
});

test('serve takes from the environment what flags do not say', async () => {
  const [folder, other] = [newFolder(), newFolder()];
  const authority = makeAuthority();
  const [pair, ca] = [authority.certificate('server'), authority.caText];
  const env = {
    HOLDFAST_DATA: folder,
    HOLDFAST_LISTEN: `holdfast://127.0.0.1:0, ws://127.0.0.1:0 unix:${join(folder, 'a.sock')}`,
    HOLDFAST_SPACE: 'mine',
    HOLDFAST_SESSION_TIMEOUT: '3s',
    HOLDFAST_RESERVE_BYTES: '0',
    HOLDFAST_MAX_CONNECTIONS_PER_ADDRESS: '50',
    HOLDFAST_LOG_LEVEL: 'debug',
    HOLDFAST_TLS_CERT: pair.cert,
    HOLDFAST_TLS_KEY: pair.key,
    HOLDFAST_TLS_CLIENT_CA: authority.ca,
  };
  const server = serveBy(env);
  const addresses = await addressesOf(server);
  expect(addresses.map((address) => address.replace(/\d+$/, 'N'))).toEqual([
    'holdfast://127.0.0.1:N',
    'ws://127.0.0.1:N',
    `unix:${join(folder, 'a.sock')}`,
  ]);
  for (const address of addresses) await (await openUntilEnd(address)).channel<number>('mail').produce(1);
  expect(await (await openUntilEnd(`file:${folder}`, { space: 'mine' })).channel('mail').inspect()).toMatchObject({
    ready: 3,
  });

  const flags = ['--data', other, '--listen', 'holdfasts://127.0.0.1:0', '--space', 'default', '--log-level', 'info'];
  const [secure] = await addressesOf(serveBy(env, ...flags));
  expect(secure).toMatch(/^holdfasts:/);
  await expect(openUntilEnd(secure as string, { tls: { ca }, connectTimeout: '200ms' })).rejects.toMatchObject({
    code: 'UNREACHABLE',
  });
});

test('serve refuses what makes no sense, and names it', async () => {
  const folder = newFolder();
  const serve = (...args: string[]): Promise<Ended> => serveBy({}, '--data', folder, ...args).ended;
  const [address, port, timeout, half, secure, wrong] = await Promise.all([
    serve('--listen', 'http://127.0.0.1:0'),
    serve('--port', '65536'),
    serve('--session-timeout', 'soon'),
    serve('--tls-cert', 'a.pem'),
    serve('--listen', 'wss://127.0.0.1:0'),
    serve('--listen', 'wss://127.0.0.1:0', '--tls-cert', join(folder, 'a'), '--tls-key', join(folder, 'b')),
  ]);
  expectRefusal(address, 2, 'Cannot use "http://127.0.0.1:0" as an address');
  expectRefusal(port, 2, 'It must be a port');
  expectRefusal(timeout, 2, 'session-timeout');
  expectRefusal(half, 2, 'without --tls-key');
  expectRefusal(secure, 2, 'without a certificate');
  expectRefusal(wrong, 1, 'ENOENT');
});

describe('serve at an address', () => {
  test('that is taken fails, and leaves the other alone', async () => {
    const first = await startServer({ listen: ['holdfast://127.0.0.1:0', `unix:${join(newFolder(), 'a.sock')}`] });
    for (const address of first.addresses) {
      const second = serveBy({}, '--data', newFolder(), '--listen', address);
      expectRefusal(await second.ended, 1, `Cannot listen at "${address}": `);
    }
    for (const address of first.addresses) await (await openUntilEnd(address)).channel<number>('mail').produce(1);
  });

  test('of a Unix socket takes the place of one that a dead server has left, or of a file', async () => {
    const folder = newFolder();
    const path = join(folder, 'a.sock');
    const listen = [`unix:${path}`];
    const first = await startServer({ folder, listen });
    await first.end();
    const second = await startServer({ folder, listen });
    await (await openUntilEnd(second.url)).channel<number>('mail').produce(1);
    expect((await second.end('SIGTERM')).code).toBe(0);
    writeFileSync(path, '');
    const third = await startServer({ folder, listen });
    expect(await (await openUntilEnd(third.url)).channel('mail').inspect()).toMatchObject({ ready: 1 });
  });

  test('that is taken by what is no server fails', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    onTestFinished(() => void other.close());
    await once(other, 'listening');
    const { port } = other.address() as { readonly port: number };
    const server = serveBy({}, '--data', newFolder(), '--listen', `holdfast://127.0.0.1:${port}`);
    expectRefusal(await server.ended, 1, 'EADDRINUSE');
  });
});

test('of two servers of a folder both serve, and when the first is killed the second leads', async () => {
  const folder = newFolder();
  const [first, second] = [await startServer({ folder }), await startServer({ folder })];
  const leads = ({ msg }: Readonly<Record<string, unknown>>): boolean => String(msg).includes('leads');
  expect(first.said.some(leads)).toBe(true);
  expect(second.said.some(leads)).toBe(false);
  const [one, two] = [await openUntilEnd(first.url), await openUntilEnd(second.url)];
  await two.channel<number>('mail').produce(2);
  await one.channel<number>('mail').produce(1);
  const health = (): Promise<Response> => fetch(`http://127.0.0.1:${second.port}/health/ready`);
  expect((await health()).status).toBe(200);
  await first.end();
  await two.channel<number>('mail').produce(3);
  await second.says(leads);
  expect((await health()).status).toBe(200);
  expect(await two.channel('mail').inspect()).toMatchObject({ ready: 3 });
});

test('a server is not ready while it knows no leader, and being asked has it find one', async () => {
  const folder = newFolder();
  const [leader, follower] = [await startServer({ folder }), await startServer({ folder })];
  const health = async (what: 'live' | 'ready'): Promise<number | undefined> => {
    const asked = get({ port: follower.port, path: `/health/${what}`, agent: false });
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    response.resume();
    return response.statusCode;
  };
  // It does not come back, as one of ours would, and so nobody but the health check asks.
  const client = connectRaw(follower.port);
  await client.hello();
  expect(await health('ready')).toBe(200);
  await leader.end();
  expect(await client.ended).toBe('closed');
  expect(await health('ready')).toBe(503);
  expect(await health('live')).toBe(200);
  await untilTrue(async () => (await health('ready')) === 200);
  await follower.says(({ msg }) => String(msg).includes('leads'));
  await (await openUntilEnd(follower.url)).channel<number>('mail').produce(1);
});

test('SIGTERM ends a server with exit code 0 under load, and its clients go on at the next', async () => {
  let server = await startServer();
  const hf = await openUntilEnd(server.url);
  await workOf(hf).consume(({ n }, { tx }) => tx.produce(effectsOf(hf), { n, by: 'client' }), { concurrency: 5 });
  let produced = 0;
  let isOver = false;
  const producing = (async () => {
    while (!isOver) await workOf(hf).produce({ n: produced++ });
  })();
  for (let times = 0; times < 2; times++) {
    const before = produced;
    await untilTrue(async () => produced >= before + 20);
    const { code, signal } = await server.end('SIGTERM');
    expect({ code, signal }).toEqual({ code: 0, signal: null });
    expect(server.said.at(-1)).toMatchObject({ msg: 'Closed' });
    server = await startServer({ folder: server.folder, listen: [server.url] });
  }
  isOver = true;
  await producing;
  await untilTrue(async () => (await workOf(hf).inspect())?.totals.completed === produced);
  await expectEachOnce(hf, produced);
});
