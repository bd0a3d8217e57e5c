import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectSecurely } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Link } from '#holdfast/model/link.js';
import type { Address } from '#holdfast/wire/address.js';
import { encodeWelcome } from '#holdfast/wire/frames.js';
import { PREAMBLE } from '#holdfast/wire/stream.js';
import { ManualClock } from '../helpers/manual-clock.ts';
import { UPGRADE } from '../network/raw-client.ts';
import { openUntilClosed, startListener } from './listening.ts';

const MB = 1024 * 1024;
const SESSION_TIMEOUT_MS = 1_000;
/** More than a machine keeps for a connection that is not read from. */
const STEP_BYTES = 12 * MB;
const FRAME_BYTES = 60 * MB;

interface Rig {
  readonly clock: ManualClock;
  /** The server's end. */
  readonly link: Link;
  readonly isClosed: () => boolean;
  /** Has the client read what comes up to here, and then no more. */
  readonly readUpTo: (bytes: number) => Promise<void>;
  readonly closed: Promise<void>;
}

/** A connection of which nothing is in question but whether the client reads. */
async function start(way: Parameters<typeof startListener>[0]): Promise<Rig> {
  const clock = new ManualClock();
  const { address, ca, accepted } = await startListener(way, clock);
  const socket = dial(address, ca);
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => {});
  socket.write(way === 'ws' ? UPGRADE : PREAMBLE);
  if (way === 'ws') await once(socket, 'data');
  const readUpTo = reader(socket);
  const link = await accepted;
  const { isClosed, closed } = openUntilClosed(link);
  // Nobody is silent who is not listened to.
  link.flow(false);
  return { clock, link, isClosed, readUpTo, closed };
}

function dial(address: Address, ca: string | undefined): Socket {
  if (address.kind === 'unix') return connect(address.path);
  if (ca === undefined) return connect(address.port, address.host);
  return connectSecurely({ port: address.port, host: address.host, ca });
}

/** Reads only when it is told to. */
function reader(socket: Socket): Rig['readUpTo'] {
  let bytes = 0;
  let looked = (): void => {};
  socket.pause();
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    looked();
  });
  return (wanted) =>
    new Promise((resolve, reject) => {
      const fail = (): void => reject(new Error(`The connection was closed behind ${bytes} bytes`));
      socket.once('close', fail);
      looked = () => {
        if (bytes < wanted) return;
        socket.pause();
        socket.off('close', fail);
        looked = () => {};
        resolve();
      };
      socket.resume();
      looked();
    });
}

const WELCOME = { resumed: false, applied: 0, durability: 'disk', sessionTimeoutMs: SESSION_TIMEOUT_MS } as const;

describe.each(['holdfast', 'holdfasts', 'ws', 'unix'] as const)('of a large frame over %s', (way) => {
  test('a slow but steady reader gets all, and one that takes nothing is disconnected', async () => {
    const { clock, link, isClosed, readUpTo, closed } = await start(way);
    link.send(encodeWelcome(WELCOME));
    link.send(new Uint8Array(FRAME_BYTES));
    expect(link.isCongested).toBe(true);
    for (let bytes = STEP_BYTES; bytes <= FRAME_BYTES; bytes += STEP_BYTES) {
      await readUpTo(bytes);
      await clock.advance(SESSION_TIMEOUT_MS * 0.9);
      expect(isClosed()).toBe(false);
    }
    link.send(new Uint8Array(FRAME_BYTES));
    await clock.advance(SESSION_TIMEOUT_MS * 2.5);
    await closed;
  });
});
