import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { FRAME } from '#holdfast/wire/frames.js';

/** What comes before the frame in a record: its length and its checksum. */
const RECORD_HEADER_BYTES = 8;

/** From the client to the server is up, the other way is down. */
export type Direction = 'up' | 'down';

/** One connection through the proxy. */
interface Passage {
  readonly client: Socket;
  readonly server: Socket;
}

/** A proxy that does to connections what networks do. */
export interface Proxy {
  readonly port: number;
  readonly url: string;
  /** How many connections there have been. */
  readonly connections: number;
  /** Lets nothing through any more, in either direction, and tells nobody; connections to come wait likewise. */
  silence(): void;
  /** Goes on with new connections; those that were silenced stay so. */
  speak(): void;
  /** Connections to come go there. */
  target(port: number): void;
  /** Closes all connections. */
  cut(): void;
  /** Closes the connection on which so many more bytes have gone this way; those before still go through. Resolves then. */
  cutAfter(direction: Direction, bytes: number): Promise<void>;
  /** Drops what the server answers next, and closes the connection. Resolves then. */
  swallowAnswer(): Promise<void>;
}

/** What is done with a piece of data: gives what goes on, and whether the connection ends behind it. */
type Treat = (direction: Direction, chunk: Buffer) => { readonly pass: Buffer; readonly cut: boolean };

export async function startProxy(port: number): Promise<Proxy> {
  let to = port;
  let connections = 0;
  let isSilent = false;
  let treat: Treat = (_direction, chunk) => ({ pass: chunk, cut: false });
  const passages = new Set<Passage>();
  const silenced = new Set<Passage>();
  const waiting: Socket[] = [];

  const end = (passage: Passage): void => {
    passages.delete(passage);
    passage.client.destroy();
    passage.server.destroy();
  };
  const carry = (client: Socket): void => {
    const server = connect(to, '127.0.0.1');
    const passage = { client, server };
    passages.add(passage);
    for (const [from, other, direction] of [
      [client, server, 'up'],
      [server, client, 'down'],
    ] as const) {
      from.setNoDelay(true);
      from.on('data', (chunk: Buffer) => {
        if (silenced.has(passage) || !passages.has(passage)) return;
        const { pass, cut } = treat(direction, chunk);
        if (cut) passages.delete(passage);
        if (!cut) other.write(pass);
        // What goes through must arrive before the end does.
        else if (pass.length === 0) end(passage);
        else other.write(pass, () => end(passage));
      });
      from.on('error', () => {});
      from.on('close', () => {
        if (!silenced.has(passage) && passages.has(passage)) end(passage);
      });
    }
  };
  const proxy: Server = createServer((client) => {
    connections += 1;
    client.on('error', () => {});
    if (isSilent) waiting.push(client);
    else carry(client);
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  onTestFinished(() => {
    proxy.close();
    for (const passage of [...passages, ...silenced]) end(passage);
    for (const client of waiting) client.destroy();
  });
  const own = (proxy.address() as { readonly port: number }).port;

  const during = (next: (done: () => void) => Treat): Promise<void> =>
    new Promise((resolve) => {
      const before = treat;
      treat = next(() => {
        treat = before;
        resolve();
      });
    });
  return {
    port: own,
    url: `holdfast://127.0.0.1:${own}`,
    get connections() {
      return connections;
    },
    silence() {
      isSilent = true;
      for (const passage of passages) silenced.add(passage);
    },
    speak() {
      isSilent = false;
      for (const client of waiting.splice(0)) if (!client.destroyed) carry(client);
    },
    target(next) {
      to = next;
    },
    cut() {
      for (const passage of passages) end(passage);
    },
    cutAfter: (direction, bytes) =>
      during((done) => {
        let left = bytes;
        return (way, chunk) => {
          if (way !== direction || chunk.length < left) {
            if (way === direction) left -= chunk.length;
            return { pass: chunk, cut: false };
          }
          done();
          return { pass: chunk.subarray(0, left), cut: true };
        };
      }),
    swallowAnswer: () =>
      during((done) => (way, chunk) => {
        if (way === 'up' || chunk[RECORD_HEADER_BYTES] !== FRAME.events) return { pass: chunk, cut: false };
        done();
        return { pass: chunk.subarray(0, 0), cut: true };
      }),
  };
}
