import { connect } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Holdfast, open } from 'holdfast';
import { startHost } from '#holdfast/host/host.js';
import { type NetworkServer, startServer } from '#holdfast/host/server.js';
import { systemClock } from '#holdfast/model/clock.js';
import { systemRandom } from '#holdfast/model/random.js';
import { formatAddress, parseAddress } from '#holdfast/wire/address.js';
import { decodeGoodbye, encodeHello, FRAME, type Goodbye } from '#holdfast/wire/frames.js';
import { socketCarrier } from '#holdfast/wire/socket-carrier.js';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';

const tools = { clock: systemClock, random: systemRandom, log: (): void => {} };

interface Rig {
  /** In the folder itself. */
  readonly trusted: Holdfast;
  readonly url: string;
  readonly server: NetworkServer;
  /** Resolves with the first line of the server's log in which this stands. */
  readonly logged: (part: string) => Promise<string>;
}

/** A server at a loopback address, whose process leads the folder, or whose process follows another that does. */
async function serve(role: 'leads' | 'follows'): Promise<Rig> {
  const folder = newFolder();
  const host = {
    target: { kind: 'folder', folder } as const,
    space: 'default',
    reserveBytes: 0,
    sessionTimeoutMs: 30_000,
  };
  if (role === 'follows') {
    const leader = await startHost({ ...host, host: 'f'.repeat(32) }, tools);
    onTestFinished(() => leader.close());
  }
  const lines: string[] = [];
  const looks = new Set<() => void>();
  const logged = (part: string): Promise<string> =>
    new Promise((resolve) => {
      const look = (): void => {
        const line = lines.find((each) => each.includes(part));
        if (line !== undefined) resolve(line);
      };
      looks.add(look);
      look();
    });
  const server = await startServer(
    { host, addresses: [parseAddress('holdfast://127.0.0.1:0')], connectionsPerAddress: 100 },
    {
      ...tools,
      log: ({ level, message }) => {
        lines.push(`${level}: ${message}`);
        for (const look of looks) look();
      },
    },
  );
  onTestFinished(() => server.close());
  const trusted = await openUntilEnd(`file:${folder}`, { thread: false });
  return { trusted, server, logged, url: formatAddress(server.addresses[0] as NetworkServer['addresses'][0]) };
}

/** Says HELLO as no client of ours does, and gives the answer. */
function sayHello(server: NetworkServer, frame: Uint8Array): Promise<Goodbye | 'welcome'> {
  const [address] = server.addresses;
  if (address?.kind !== 'tcp') throw new Error('The server does not listen on TCP');
  const socket = connect(address.port, address.host);
  onTestFinished(() => void socket.destroy());
  return new Promise((resolve, reject) => {
    const carrier = socketCarrier(socket, 'client', systemClock, 4_096);
    carrier.start({
      frame: (bytes) => {
        if (bytes[0] === FRAME.welcome) resolve('welcome');
        if (bytes[0] === FRAME.goodbye) resolve(decodeGoodbye(bytes));
      },
      heard: () => {},
      broken: (reason) => reject(new Error(reason)),
      drained: () => {},
      closed: () => reject(new Error('The connection was closed')),
    });
    carrier.send(frame);
  });
}

describe.each(['leads', 'follows'] as const)('a server whose process %s the folder', (role) => {
  test('lets clients of this machine in without a token only as long as there is none', async () => {
    const { trusted, url } = await serve(role);
    const early = await openUntilEnd(url);
    await early.channel<number>('mail').produce(1);
    const { token, id } = await trusted.tokens.create({ label: 'a', scopes: ['channel:mail:produce'] });

    // Whoever came in before has to go, and so does whoever comes now, but for the one with the token.
    await expect(early.channel<number>('mail').produce(2)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    await expect(open(url)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    await expect(open(url, { token: token.replace(/.$/, '!') })).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    const late = await openUntilEnd(url, { token });
    await late.channel<number>('mail').produce(3);
    await expect(late.channel<number>('mail').purge()).rejects.toMatchObject({ code: 'FORBIDDEN' });

    await trusted.tokens.revoke(id);
    await expect(late.channel<number>('mail').produce(4)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    expect(await trusted.channel<number>('mail').inspect()).toMatchObject({ ready: 2 });
  });

  test('logs whom it refuses, and not what was tried', async () => {
    const { trusted, url, logged } = await serve(role);
    const { token, id } = await trusted.tokens.create({ label: 'a', scopes: ['channel:mail:produce'] });
    await expect(open(url)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    expect(await logged('refused')).toBe(
      'warn: A client from "127.0.0.1" was refused: This way in needs an access token',
    );
    const wrong = token.replace(/.$/, '!');
    await expect(open(url, { token: wrong })).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    const unknown = await logged('not known here');
    expect(unknown).toContain('from "127.0.0.1"');
    expect(unknown).not.toContain(wrong.slice(16));
    await trusted.tokens.revoke(id);
    await expect(open(url, { token })).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    expect(await logged('was revoked')).not.toContain(token.slice(16));
  });

  test('is not talked into more by a client that claims to have come another way', async () => {
    const { trusted, server } = await serve(role);
    await trusted.tokens.create({ label: 'a', scopes: ['server:admin'] });
    for (const needsToken of ['never', 'whenAny', 'always'] as const) {
      const frame = encodeHello({ session: 'c'.repeat(32), host: 'f'.repeat(32), token: '', needsToken });
      expect(await sayHello(server, frame)).toMatchObject({ code: 'UNAUTHORIZED' });
    }
  });

  test('refuses a HELLO that is none', async () => {
    const { server } = await serve(role);
    const frame = encodeHello({ session: 'c'.repeat(32), host: 'host', token: '', needsToken: 'never' });
    expect(await sayHello(server, frame.slice(0, 12))).toMatchObject({ code: 'PROTOCOL' });
    // What the way in demands; how long leases linger comes behind.
    frame[frame.length - 2] = 9;
    expect(await sayHello(server, frame)).toMatchObject({ code: 'PROTOCOL' });
    frame[1] = 77;
    expect(await sayHello(server, frame)).toMatchObject({
      code: 'PROTOCOL',
      message: expect.stringContaining('version 77'),
    });
  });
});
