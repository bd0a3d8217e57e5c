import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectSecurely } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Holdfast } from 'holdfast';
import { systemClock } from '#holdfast/model/clock.js';
import { FRAME } from '#holdfast/wire/frames.js';
import { PREAMBLE, recordOf } from '#holdfast/wire/stream.js';
import { openUntilEnd } from '../helpers/instances.ts';
import { untilTrue } from '../helpers/until-true.ts';
import { makeAuthority } from './certificates.ts';
import { memoryOf, LOOPBACK, type RunningServer, startLimitedServer } from './processes.ts';
import { connectRaw, declare, helloOf, newSession, UPGRADE } from './raw-client.ts';

const MB = 1024 * 1024;
const HELLO_MS = 500;
/** Less than it takes where the limit above does not count. */
const MOST_MS = 4_500;

describe('a client that does not read', () => {
  const limits = { congestedBytes: 256 * 1024 };
  const payload = new Uint8Array(64 * 1024);
  const COUNT = 256;

  /** A server with 16 MB of messages, and a witness. */
  async function start(): Promise<{ server: RunningServer; hf: Holdfast }> {
    const server = await startLimitedServer({ sessionTimeoutMs: 1_000, limits });
    const hf = await openUntilEnd(server.url);
    for (let batch = 0; batch < COUNT / 32; batch++) {
      await hf.channel<Uint8Array>('large').produceAll(Array.from({ length: 32 }, () => payload));
    }
    return { server, hf };
  }

  /** Says PING until the connection is closed, so that only its reading is in question, and it notices the end. */
  function pinging(socket: Socket): void {
    const ping = recordOf(Uint8Array.of(FRAME.ping));
    const again = (): void => {
      for (const part of ping) socket.write(part);
      cancel = systemClock.timer(100, again);
    };
    let cancel = systemClock.timer(100, again);
    onTestFinished(() => cancel());
    socket.once('close', () => cancel());
  }

  test('what a large window brings is held back, then disconnected, and others get what it held', async () => {
    const { server, hf } = await start();
    const before = await memoryOf(server);
    const slow = connectRaw(server.port);
    await slow.hello();
    await slow.request(1, declare(1, 'large'));
    slow.socket.pause();
    slow.ask({ request: 0, command: { kind: 'window', consumer: 1, ref: 1, size: 20_000 } });
    pinging(slow.socket);
    let isOver = false;
    void slow.ended.then(() => (isOver = true));
    // On a machine that stands still for a while, it has been disconnected before that is seen.
    await untilTrue(async () => isOver || (await hf.channel('large').inspect())?.leased === COUNT);
    // Beside what is buffered for the connection, the broker has its cache of packs.
    expect((await memoryOf(server)) - before).toBeLessThan(60 * MB);
    let handled = 0;
    await hf.channel<Uint8Array>('large').consume(() => void (handled += 1), { concurrency: 50 });
    await untilTrue(async () => handled === COUNT);
    expect(await slow.ended).toBe('closed');
    expect(server.said.filter(({ level }) => level === 'error')).toEqual([]);
  });

  test('the lists that it asks for is held back at the bound, and then disconnected', async () => {
    const { server, hf } = await start();
    const before = await memoryOf(server);
    const slow = connectRaw(server.port);
    await slow.hello();
    slow.socket.pause();
    const list = { kind: 'inspect', what: 'list', channel: 'large', state: 'ready', offset: 0, limit: 100 } as const;
    slow.ask(...Array.from({ length: 200 }, (_, i) => ({ request: i + 1, command: list })));
    pinging(slow.socket);
    // 200 lists have 1.3 GB; a witness is answered all the time, until the slow one is gone.
    let isOver = false;
    void slow.ended.then(() => (isOver = true));
    let most = 0;
    let answers = 0;
    await untilTrue(async () => {
      await hf.channel('witness').produce(1);
      if (answers++ % 20 === 0) most = Math.max(most, (await memoryOf(server)) - before);
      return isOver;
    });
    expect(most).toBeLessThan(100 * MB);
    expect(await slow.ended).toBe('closed');
  });
});

describe('a connection that says too little in its time is closed, byte by byte though it may come', () => {
  /** Says a byte at a time, and gives how long the connection lasted. */
  async function drip(socket: Socket, bytes: Uint8Array): Promise<number> {
    const since = performance.now();
    onTestFinished(() => void socket.destroy());
    socket.on('error', () => {});
    socket.resume();
    const closed = once(socket, 'close');
    let at = 0;
    const next = (): void => {
      if (at < bytes.length) socket.write(bytes.subarray(at, ++at));
      cancel = systemClock.timer(HELLO_MS / 20, next);
    };
    let cancel = systemClock.timer(HELLO_MS / 20, next);
    await closed;
    cancel();
    return performance.now() - since;
  }

  /** What it says would take several times as long as it may. */
  const endless = (beginning: Uint8Array | string): Uint8Array =>
    Buffer.concat([Buffer.from(beginning), Buffer.alloc(1_000, 'a')]);

  const dripped: readonly (readonly [name: string, bytes: Uint8Array])[] = [
    ['nothing', new Uint8Array()],
    ['the preamble', PREAMBLE],
    ['a HELLO', Buffer.concat([PREAMBLE, ...recordOf(helloOf(newSession(), 'x'.repeat(3_000)))])],
    ['the head of an HTTP request', endless('GET /health/live HTTP/1.1\r\nX-Slow: ')],
    ['the body of an HTTP request', endless('POST /health/live HTTP/1.1\r\nContent-Length: 100000\r\n\r\n')],
    ['requests behind each other', Buffer.from('GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(30))],
  ];

  test('before HELLO, and over HTTP', async () => {
    const server = await startLimitedServer({ limits: { helloMs: HELLO_MS } });
    const took = dripped.map(async ([name, bytes]) => {
      const tookMs = await drip(connect(server.port, '127.0.0.1'), bytes);
      expect(tookMs, name).toBeGreaterThan(HELLO_MS * 0.9);
      expect(tookMs, name).toBeLessThan(MOST_MS);
    });
    await Promise.all(took);
  });

  test('a TLS handshake, and what follows one', async () => {
    const authority = makeAuthority();
    const [tls, ca] = [authority.certificate('server'), authority.caText];
    const server = await startLimitedServer({
      addresses: [{ ...LOOPBACK, secure: true }],
      limits: { helloMs: HELLO_MS },
      tls,
    });
    // A record of a handshake that announces 16,384 bytes.
    const handshake = endless(Uint8Array.of(0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc));
    expect(await drip(connect(server.port, '127.0.0.1'), handshake)).toBeLessThan(MOST_MS);
    const secure = connectSecurely({ port: server.port, host: '127.0.0.1', ca });
    expect(await drip(secure, PREAMBLE)).toBeLessThan(MOST_MS);
  });

  test('a WebSocket without HELLO', async () => {
    const server = await startLimitedServer({ limits: { helloMs: HELLO_MS } });
    const socket = connect(server.port, '127.0.0.1');
    socket.write(UPGRADE);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toContain('101 Switching Protocols');
    const since = performance.now();
    socket.resume();
    await once(socket, 'close');
    expect(performance.now() - since).toBeLessThan(MOST_MS);
  });
});
