import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectSecurely } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { NETWORK_LIMITS } from '#holdfast/wire/network-link.js';
import { PREAMBLE } from '#holdfast/wire/stream.js';
import { ManualClock } from '../helpers/manual-clock.ts';
import { UPGRADE } from '../network/raw-client.ts';
import { openUntilClosed, startListener } from './listening.ts';

const { helloMs } = NETWORK_LIMITS;

interface Way {
  readonly name: string;
  readonly scheme: 'holdfast' | 'holdfasts' | 'ws';
  /** What is done at once, and what when most of the time is over. */
  readonly early: (socket: Socket) => void;
  readonly late: (socket: Socket, ca: string | undefined) => Promise<unknown> | void;
}

const ways: readonly Way[] = [
  {
    name: 'a client that says its preamble late',
    scheme: 'holdfast',
    early: () => {},
    late: (socket) => void socket.write(PREAMBLE),
  },
  {
    name: 'a client whose connection becomes a WebSocket late',
    scheme: 'ws',
    early: (socket) => void socket.write(UPGRADE.slice(0, 10)),
    async late(socket) {
      socket.write(UPGRADE.slice(10));
      await once(socket, 'data');
    },
  },
  {
    name: 'a client whose connection is secured late',
    scheme: 'holdfasts',
    early: () => {},
    async late(socket, ca) {
      const secure = connectSecurely({ socket, ca, host: '127.0.0.1' });
      secure.on('error', () => {});
      await once(secure, 'secureConnect');
      secure.write(PREAMBLE);
    },
  },
];

test.each(ways)('$name has what is left of the time for HELLO', async ({ scheme, early, late }) => {
  const clock = new ManualClock();
  const { address, ca, accepted } = await startListener(scheme, clock, 1);
  if (address.kind === 'unix') throw new Error('It listens at a Unix socket');
  const dial = (): Socket => {
    const socket = connect(address.port, address.host);
    onTestFinished(() => void socket.destroy());
    return socket.on('error', () => {});
  };
  const socket = dial();
  early(socket);
  // There is room for one: when the second is turned away, the first has come.
  await once(dial().resume(), 'close');
  await clock.advance(helloMs * 0.9);
  await late(socket, ca);
  const link = await accepted;
  const { isClosed, closed } = openUntilClosed(link);
  await clock.advance(helloMs * 0.09);
  expect(isClosed()).toBe(false);
  await clock.advance(helloMs * 0.02);
  await closed;
});
