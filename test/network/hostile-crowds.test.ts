import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectSecurely } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openUntilEnd } from '../helpers/instances.ts';
import { untilTrue } from '../helpers/until-true.ts';
import { makeAuthority } from './certificates.ts';
import { LOOPBACK, startLimitedServer, startServer } from './processes.ts';
import { connectRaw, declare, newSession, produce } from './raw-client.ts';

const CLIENTS = 1_000;

test(`${CLIENTS} clients come back at once to a server that was killed, and each is answered once`, async () => {
  const sessionTimeoutMs = 30_000;
  const server = await startServer({ sessionTimeoutMs });
  const all = Array.from({ length: CLIENTS }, (_, n) => ({
    session: newSession(),
    requests: [produce(1, n), produce(1, CLIENTS + n)] as const,
  }));
  const lost = await Promise.all(
    all.map(async ({ session, requests }) => {
      const client = connectRaw(server.port);
      await client.hello(session);
      client.ask({ request: 0, command: declare(1, 'crowd') });
      await client.request(1, requests[0]);
      return client;
    }),
  );
  // The server dies among the answers to these.
  const second = lost.map((client, i) => client.request(2, all[i]?.requests[1] ?? produce(1, 0)));
  const outcomes = Promise.allSettled(second);
  await second[0];
  await server.end();
  const answered = (await outcomes).filter(({ status }) => status === 'fulfilled').length;
  expect(answered).toBeGreaterThan(0);

  const again = await startServer({ folder: server.folder, listen: [server.url], sessionTimeoutMs });
  const replies = await Promise.all(
    all.map(async ({ session, requests }) => {
      const client = connectRaw(again.port);
      const { resumed, applied } = await client.hello(session);
      expect(resumed).toBe(true);
      expect([1, 2]).toContain(applied);
      client.ask({ request: 0, command: declare(1, 'crowd') });
      return client.request(2, requests[1]);
    }),
  );
  expect(replies.filter((reply) => reply.kind !== 'produced' || reply.exceptions.length > 0)).toEqual([]);
  const hf = await openUntilEnd(again.url);
  expect(await hf.channel('crowd').inspect()).toMatchObject({ ready: 2 * CLIENTS, totals: { produced: 2 * CLIENTS } });
});

describe('an address that has as many connections as it may', () => {
  async function closed(socket: Socket): Promise<void> {
    socket.on('error', () => {});
    socket.resume();
    if (!socket.destroyed) await once(socket, 'close');
  }

  test('gets no more, keeps those, and gets another for each that ends', async () => {
    const server = await startLimitedServer({ connectionsPerAddress: 3 });
    const clients = [connectRaw(server.port), connectRaw(server.port), connectRaw(server.port)] as const;
    for (const client of clients) await client.hello();
    for (let i = 0; i < 5; i++) expect(await connectRaw(server.port).ended).toBe('closed');
    await server.says(({ msg }) => String(msg).includes('too many connections'));
    await clients[0].request(1, declare(1, 'mail'));
    clients[1].socket.destroy();
    await untilTrue(() =>
      connectRaw(server.port)
        .hello()
        .then(
          () => true,
          () => false,
        ),
    );
    await clients[2].request(1, declare(1, 'mail'));
  });

  test('is counted right under TLS, also for handshakes that fail', async () => {
    const authority = makeAuthority();
    const [tls, ca] = [authority.certificate('server'), authority.caText];
    const server = await startLimitedServer({
      addresses: [{ ...LOOPBACK, secure: true }],
      connectionsPerAddress: 2,
      tls,
    });
    const held = connectSecurely({ port: server.port, host: '127.0.0.1', ca });
    onTestFinished(() => void held.destroy());
    await once(held, 'secureConnect');
    for (let i = 0; i < 6; i++) {
      // Whoever comes next comes when the one before has been forgotten.
      const plain = connect(server.port, '127.0.0.1');
      plain.write('GET /health/live HTTP/1.1\r\n\r\n');
      await closed(plain);
    }
    await untilTrue(async () => {
      const secure = connectSecurely({ port: server.port, host: '127.0.0.1', ca });
      onTestFinished(() => void secure.destroy());
      secure.on('error', () => {});
      const isIn = await Promise.race([
        once(secure, 'secureConnect').then(
          () => true,
          () => false,
        ),
        once(secure, 'close').then(() => false),
      ]);
      return isIn;
    });
  });
});
