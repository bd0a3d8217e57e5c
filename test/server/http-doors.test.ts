import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect as connectSecurely } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { HttpDoor, HttpResponse } from '#holdfast/server/http-side.js';
import { NETWORK_LIMITS } from '#holdfast/wire/network-link.js';
import { ManualClock, settled, until } from '../helpers/manual-clock.ts';
import { dialPort, startListener } from './listening.ts';

const { helloMs } = NETWORK_LIMITS;
const IDLE_MS = 60_000;

interface Rig {
  readonly clock: ManualClock;
  readonly port: number;
  readonly ca: string | undefined;
  /** What the door was asked, in order. */
  readonly asked: { readonly line: string; readonly response: HttpResponse; readonly admit: () => void }[];
}

/** A listener with a door at "/door", which the test answers for. */
async function start(scheme: 'holdfast' | 'holdfasts' = 'holdfast'): Promise<Rig> {
  const clock = new ManualClock();
  const asked: Rig['asked'] = [];
  const door: HttpDoor = {
    path: '/door',
    serve: (request, response, admit) => {
      asked.push({ line: `${request.httpVersion} ${request.method} ${request.url}`, response, admit });
      request.resume();
    },
  };
  const { address, ca } = await startListener(scheme, clock, 10, [door]);
  if (address.kind === 'unix') throw new Error('It listens at a Unix socket');
  return { clock, port: address.port, ca, asked };
}

function dialHttp2(origin: string, options: object = {}): ClientHttp2Session {
  const session = connectHttp2(origin, options);
  onTestFinished(() => session.destroy());
  return session.on('error', () => {});
}

async function statusOf(session: ClientHttp2Session, path: string, method = 'GET'): Promise<number> {
  const stream = session.request({ ':path': path, ':method': method });
  stream.resume();
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
  return Number(headers[':status']);
}

const ASK = 'POST /door/a?b HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n';

describe('a listener', () => {
  test('hands its door what is below its path, in either version, and nothing else', async () => {
    const rig = await start();
    const { socket, heard } = dialPort(rig.port);
    socket.write('GET /doors HTTP/1.1\r\nhost: x\r\n\r\nGET /health/live HTTP/1.1\r\nhost: x\r\n\r\n');
    await until(() => heard().includes('live\n'));
    expect(heard()).toContain('404');
    socket.write(ASK);
    const session = dialHttp2(`http://127.0.0.1:${rig.port}`);
    expect(await statusOf(session, '/health/live')).toBe(200);
    expect(await statusOf(session, '/health/ready')).toBe(200);
    expect(await statusOf(session, '/doors')).toBe(404);
    expect(await statusOf(session, '/health/live', 'POST')).toBe(405);
    session.request({ ':path': '/door', ':method': 'PUT' }).end();
    await until(() => rig.asked.length === 2);
    expect(rig.asked.map(({ line }) => line)).toEqual(['1.1 POST /door/a?b', '2.0 PUT /door']);
  });

  test('tells HTTP/2 from HTTP/1.1 however few bytes come at a time', async () => {
    const rig = await start();
    for (const [said, expected] of [
      ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', '\0\0'],
      ['PUT /health/live HTTP/1.1\r\nhost: x\r\n\r\n', 'HTTP/1.1 405'],
      ['PROPFIND /health/live HTTP/1.1\r\nhost: x\r\n\r\n', 'HTTP/1.1 405'],
    ] as const) {
      const { socket, heard } = dialPort(rig.port);
      socket.setNoDelay(true);
      await once(socket, 'connect');
      for (const byte of said) {
        socket.write(byte);
        await settled(3);
      }
      await until(() => heard().startsWith(expected), said);
    }
  });

  test('agrees on HTTP/2 under TLS with clients that want it, and still takes those that do not', async () => {
    const rig = await start('holdfasts');
    const ca = rig.ca as string;
    const session = dialHttp2(`https://127.0.0.1:${rig.port}`, { ca });
    expect(await statusOf(session, '/health/live')).toBe(200);
    for (const ALPNProtocols of [undefined, ['http/1.1']]) {
      const socket = connectSecurely({
        port: rig.port,
        host: '127.0.0.1',
        ca,
        ...(ALPNProtocols && { ALPNProtocols }),
      });
      onTestFinished(() => void socket.destroy());
      socket.write('GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
      const [answer] = (await once(socket, 'data')) as [Buffer];
      expect(answer.toString()).toContain('HTTP/1.1 200');
    }
  });
});

describe.each(['1.1', '2'] as const)('a connection of HTTP/%s', (version) => {
  interface Asking {
    readonly ask: () => void;
    readonly isClosed: () => boolean;
  }

  async function asking(rig: Rig): Promise<Asking> {
    if (version === '1.1') {
      const { socket, isClosed } = dialPort(rig.port);
      await once(socket, 'connect');
      return { ask: () => void socket.write(ASK), isClosed };
    }
    const session = dialHttp2(`http://127.0.0.1:${rig.port}`);
    await once(session, 'connect');
    return {
      ask: () =>
        session
          .request({ ':path': '/door', ':method': 'POST' })
          .on('error', () => {})
          .resume()
          .end(),
      isClosed: () => session.destroyed,
    };
  }

  test('ends at the deadline of HELLO where nothing is admitted, whatever is under way', async () => {
    const rig = await start();
    const { ask, isClosed } = await asking(rig);
    ask();
    await until(() => rig.asked.length === 1);
    await rig.clock.advance(helloMs * 0.9);
    expect(isClosed()).toBe(false);
    await rig.clock.advance(helloMs * 0.2);
    await until(isClosed, 'the connection to close');
  });

  test('stays once it was admitted, for as long as something is under way, and a minute behind that', async () => {
    const rig = await start();
    const { ask, isClosed } = await asking(rig);
    ask();
    await until(() => rig.asked.length === 1);
    rig.asked[0]?.admit();
    await rig.clock.advance(IDLE_MS * 3);
    expect(isClosed()).toBe(false);
    rig.asked[0]?.response.end();
    await settled();
    await rig.clock.advance(IDLE_MS * 0.9);
    // The next request need not be admitted again.
    ask();
    await until(() => rig.asked.length === 2);
    await rig.clock.advance(IDLE_MS * 3);
    expect(isClosed()).toBe(false);
    rig.asked[1]?.response.end();
    await settled();
    await rig.clock.advance(IDLE_MS * 0.9);
    expect(isClosed()).toBe(false);
    await rig.clock.advance(IDLE_MS * 0.2);
    await until(isClosed, 'the connection to close');
  });
});

test.each([
  ['one that says a part of a head', 'POST /door HTTP/1.1\r\nhost: x\r\nx-long: '],
  ['one that begins as HTTP/2 and says no more', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['one of whom it cannot be told yet what he speaks', 'PR'],
])('a slow client, %s, ends at the deadline of HELLO', async (_name, said) => {
  const rig = await start();
  const { socket, isClosed } = dialPort(rig.port);
  socket.write(said);
  await settled();
  await rig.clock.advance(helloMs * 0.9);
  expect(isClosed()).toBe(false);
  await rig.clock.advance(helloMs * 0.2);
  await until(isClosed, 'the connection to close');
});

test('a head of more than 8 KiB is refused over HTTP/2, too', async () => {
  const rig = await start();
  const session = dialHttp2(`http://127.0.0.1:${rig.port}`);
  await once(session, 'remoteSettings');
  const stream = session.request({ ':path': '/door', ':method': 'POST', 'x-long': 'x'.repeat(20_000) });
  const ended = new Promise<void>((resolve) => stream.once('close', () => resolve()));
  stream.on('error', () => {});
  await ended;
  expect(rig.asked).toEqual([]);
});

test('a client has at most 128 requests under way over HTTP/2', async () => {
  const rig = await start();
  const session = dialHttp2(`http://127.0.0.1:${rig.port}`);
  await once(session, 'remoteSettings');
  for (let i = 0; i < 200; i++) {
    session
      .request({ ':path': '/door', ':method': 'POST' })
      .on('error', () => {})
      .end();
  }
  await until(() => rig.asked.length >= 128);
  await settled();
  expect(rig.asked).toHaveLength(128);
});
