import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { ATOMIC_WRITE } from '#holdfast/doors/kv-connect/messages.js';
import { makeAuthority } from '../network/certificates.ts';
import { askHttp2, exchange, type Metadata, mutation, RawKv, startKvServer, startSecureServer } from './server.ts';

describe('the metadata exchange', () => {
  test('agrees on the highest version, and says no more than the protocol has', async () => {
    const { url, origin } = await startKvServer();
    const before = Date.now();
    const answer = await exchange(url, 'any');
    expect(answer.headers.get('content-type')).toBe('application/json');
    const metadata = (await answer.json()) as Metadata;
    expect(metadata).toEqual({
      version: 3,
      databaseId: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/),
      endpoints: [{ url: './kv/data', consistency: 'strong' }],
      token: 'any',
      expiresAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    });
    expect(Date.parse(metadata.expiresAt) - before).toBeGreaterThan(30 * 60_000);
    const versionOf = async (body: string): Promise<Metadata> =>
      (await exchange(url, 'any', body)).json() as Promise<Metadata>;
    expect((await versionOf('{"supportedVersions":[1,2,9]}')).version).toBe(2);
    // The first version knows no relative URLs.
    const first = { version: 1, endpoints: [{ url: `${origin}/kv/data`, consistency: 'strong' }] };
    expect(await versionOf('{"supportedVersions":[1]}')).toMatchObject(first);
    expect(await versionOf('')).toMatchObject(first);
    const overHttp2 = await askHttp2(origin, '/kv', { authorization: 'Bearer any' }, '{"supportedVersions":[1]}');
    expect(JSON.parse(overHttp2.body.toString())).toMatchObject(first);
  });

  test('leads to https where it came so', async () => {
    const authority = makeAuthority();
    const { origin } = await startSecureServer(authority.certificate('server'));
    const ask = { authorization: 'Bearer any' };
    const { body } = await askHttp2(origin, '/kv', ask, '{"supportedVersions":[1]}', authority.caText);
    expect(JSON.parse(body.toString())).toMatchObject({ endpoints: [{ url: `${origin}/kv/data` }] });
  });

  test('leads to the data path from a URL with a slash behind it, and through a proxy that puts a path before', async () => {
    const { url } = await startKvServer();
    const slash = (await (await exchange(`${url}/`, 'any')).json()) as Metadata;
    expect(new URL(slash.endpoints[0]?.url ?? '', `${url}/`).href).toBe(`${url}/data`);
    const plain = (await (await exchange(url, 'any')).json()) as Metadata;
    expect(new URL(plain.endpoints[0]?.url ?? '', 'https://example.org/a/b/kv').href).toBe(
      'https://example.org/a/b/kv/data',
    );
  });

  test('refuses what says no version that it speaks', async () => {
    const { url } = await startKvServer();
    for (const [body, text] of [
      [
        '{"supportedVersions":[4]}',
        'The server could not negotiate a protocol version: it speaks versions 1, 2 and 3.',
      ],
      ['{"supportedVersions":"3"}', 'The metadata exchange request has no list of supportedVersions.'],
      ['[]', 'The metadata exchange request has no list of supportedVersions.'],
      ['3', 'The metadata exchange request has no list of supportedVersions.'],
      ['{', 'The metadata exchange request is not JSON.'],
    ] as const) {
      const answer = await exchange(url, 'any', body);
      expect([answer.status, await answer.text()]).toEqual([400, text]);
      expect(answer.headers.get('content-type')).toMatch(/^text\/plain/);
    }
  });

  test('refuses a body that is too long, and one without a token', async () => {
    const { url } = await startKvServer();
    expect((await exchange(url, 'any', ' '.repeat(5_000))).status).toBe(413);
    for (const authorization of ['', 'Bearer', 'Basic abc', 'Bearer a b']) {
      const answer = await fetch(url, { method: 'POST', headers: { authorization } });
      expect([answer.status, await answer.text()]).toEqual([401, 'Malformed authorization header.']);
    }
  });
});

describe('the data path', () => {
  test('is served in each version of the protocol, to those who name its database', async () => {
    const raw = await RawKv.open(await startKvServer());
    const { databaseId } = raw.metadata;
    const authorization = 'Bearer any';
    const ask = async (headers: Record<string, string>): Promise<number | string> => {
      raw.headers = { authorization, ...headers };
      const { status, text } = await raw.read([{}]);
      return status === 200 ? status : text;
    };
    expect(await ask({ 'x-transaction-domain-id': databaseId })).toBe(200);
    expect(await ask({ 'x-denokv-version': '2', 'x-denokv-database-id': databaseId })).toBe(200);
    expect(await ask({ 'x-denokv-version': '3', 'x-denokv-database-id': databaseId })).toBe(200);
    expect(await ask({ 'x-denokv-version': '4', 'x-denokv-database-id': databaseId })).toMatch(
      /^Expected protocol version/,
    );
    expect(await ask({ 'x-denokv-version': '3', 'x-transaction-domain-id': databaseId })).toBe('Invalid database id.');
    expect(await ask({})).toBe('Invalid database id.');
  });

  test('has three methods, and each takes POST alone', async () => {
    const { url, origin } = await startKvServer();
    const ask = async (path: string, method: string): Promise<readonly [number, string]> => {
      const answer = await fetch(path, { method, headers: { authorization: 'Bearer any' } });
      return [answer.status, await answer.text()];
    };
    for (const path of ['/data', '/data/', '/data/x', '/x', '/data/watch/x']) {
      expect(await ask(`${url}${path}`, 'POST')).toEqual([404, 'Resource not found.']);
    }
    expect(await ask(`${origin}/kvx`, 'POST')).toEqual([404, 'not found\n']);
    for (const path of ['', '/data/watch', '/data/snapshot_read']) {
      expect(await ask(`${url}${path}`, 'GET')).toEqual([405, 'Only POST is served here.']);
    }
  });
});

test('a page in a browser is refused, whatever its origin', async () => {
  const server = await startKvServer();
  const raw = await RawKv.open(server);
  const { pathname } = new URL(`${raw.endpoint}/snapshot_read`);
  for (const origin of ['https://example.com', 'null', server.origin]) {
    for (const path of ['/kv', pathname]) {
      const answer = await askHttp2(server.origin, path, { ...raw.headers, origin }, '');
      expect([answer.status, answer.body.toString()]).toEqual([403, 'Pages in browsers are not served.']);
    }
  }
});

describe('a request that is broken off has no effect', () => {
  // What there is of it is a message by itself.
  const whole = ATOMIC_WRITE.encode({ checks: [], mutations: [mutation('a', 'x')], enqueues: [] });

  test('over HTTP/1.1', async () => {
    const server = await startKvServer();
    const raw = await RawKv.open(server);
    const { pathname } = new URL(`${raw.endpoint}/atomic_write`);
    const headers = { ...raw.headers, 'content-length': String(whole.length + 10) };
    const broken = request({ port: server.port, path: pathname, method: 'POST', headers });
    const failed = once(broken, 'error').catch(() => {});
    broken.write(whole, () => broken.destroy());
    await failed;
    expect(await raw.get('a')).toBe(undefined);
  });

  test.each([
    ['with its connection', (socket: Socket) => void socket.destroy()],
    // Its frame is written past Node, which would end the request before.
    ['by a frame that resets its stream', (socket: Socket) => void socket.write(RST_STREAM)],
  ])('over HTTP/2, %s', async (_how, breakOff) => {
    const server = await startKvServer();
    const raw = await RawKv.open(server);
    const socket = connectTcp(server.port, '127.0.0.1');
    const session = connect(server.origin, { createConnection: () => socket });
    session.on('error', () => {});
    const { pathname } = new URL(`${raw.endpoint}/atomic_write`);
    const stream = session.request({ ':method': 'POST', ':path': pathname, ...raw.headers });
    stream.on('error', () => {});
    stream.write(whole);
    const alive = (): Promise<unknown> => new Promise((resolve) => session.ping(resolve));
    await alive();
    breakOff(socket);
    if (!socket.destroyed) await alive();
    expect(await raw.get('a')).toBe(undefined);
    socket.destroy();
  });
});

/** Stream 1, CANCEL. */
const RST_STREAM = Uint8Array.of(0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8);
