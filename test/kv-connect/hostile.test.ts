import { describe, expect, test } from 'vitest';
import { SNAPSHOT_READ } from '#holdfast/doors/kv-connect/messages.js';
import { settled, until } from '../helpers/manual-clock.ts';
import { untilTrue } from '../helpers/until-true.ts';
import { type Dialled, dialPort } from '../server/listening.ts';
import { mutation, RawKv, startTimedServer } from './server.ts';

/** How long a body may take, and a piece of an answer. */
const PATIENCE_MS = 30_000;

type Server = Awaited<ReturnType<typeof startTimedServer>>;

/** A connection by hand, on which the head of a request to the data path is sent. */
function dial({ port }: Server, raw: RawKv, method: string, contentLength: number): Dialled {
  const dialled = dialPort(port);
  const { pathname } = new URL(raw.endpoint);
  const headers = { host: 'x', ...raw.headers, 'content-length': String(contentLength) };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  dialled.socket.write(`POST ${pathname}/${method} HTTP/1.1\r\n${lines.join('')}\r\n`);
  return dialled;
}

test('a body that comes a byte at a time is waited for half a minute', async () => {
  const server = await startTimedServer();
  const raw = await RawKv.open(server);
  const { socket, heard, isClosed } = dial(server, raw, 'atomic_write', 100);
  for (let i = 0; i < 9; i++) {
    socket.write('\0');
    await settled();
    await server.clock.advance(PATIENCE_MS / 10);
    expect(isClosed()).toBe(false);
  }
  await server.clock.advance(PATIENCE_MS / 5);
  await until(isClosed, 'the connection to close');
  expect(heard()).toContain('408');
});

test('a body that says that it is too long is not waited for', async () => {
  const server = await startTimedServer();
  const raw = await RawKv.open(server);
  const { heard, isClosed } = dial(server, raw, 'atomic_write', 1e12);
  await until(isClosed, 'the connection to close');
  expect(heard()).toContain('413');
});

describe('of an answer of 26 MB', () => {
  const VALUES = 400;
  const BYTES = 65_000;

  async function start(): Promise<{ server: Server; raw: RawKv; slow: Dialled }> {
    const server = await startTimedServer();
    const raw = await RawKv.open(server);
    for (let from = 0; from < VALUES; from += 10) {
      const mutations = Array.from({ length: 10 }, (_, i) =>
        mutation(String(from + i).padStart(4, '0'), new Uint8Array(BYTES)),
      );
      expect((await raw.write({ mutations })).status).toBe(200);
    }
    const range = { start: new Uint8Array(), end: Uint8Array.of(0xff), limit: 1_000, reverse: false };
    const body = SNAPSHOT_READ.encode({ ranges: [range] });
    const slow = dial(server, raw, 'snapshot_read', body.length);
    slow.socket.pause();
    slow.socket.write(body);
    return { server, raw, slow };
  }

  test('a slow but steady reader gets all', async () => {
    const { server, slow } = await start();
    // More than a machine keeps for a connection that is not read from.
    const STEP_BYTES = 12_000_000;
    for (let bytes = STEP_BYTES; bytes < VALUES * BYTES; bytes += STEP_BYTES) {
      slow.socket.resume();
      await untilTrue(() => slow.heard().length >= bytes);
      slow.socket.pause();
      await settled();
      await server.clock.advance(PATIENCE_MS * 0.9);
      expect(slow.isClosed()).toBe(false);
    }
    slow.socket.resume();
    await untilTrue(() => slow.heard().length > VALUES * BYTES);
  });

  test('one that takes nothing is disconnected, and others go on meanwhile', async () => {
    const { server, raw, slow } = await start();
    await untilTrue(() => slow.socket.readableLength > 0);
    expect((await raw.get('0000'))?.value).toHaveLength(BYTES);
    // A second large answer waits until the first has gone, or the one who does not take it.
    let isThere = false;
    const second = raw.list({ limit: 1_000 }).then((values) => {
      isThere = true;
      return values;
    });
    await settled();
    await server.clock.advance(PATIENCE_MS * 0.9);
    expect(isThere).toBe(false);
    await server.clock.advance(PATIENCE_MS * 0.2);
    expect(await second).toHaveLength(VALUES);
    slow.socket.resume();
    await untilTrue(slow.isClosed);
    expect(slow.heard().length).toBeLessThan(VALUES * BYTES);
  });
});
