/**
 * The socket in a store's folder by which the processes that share the folder find the broker, and learn whether it lives.
 *
 * Its address is the name of the socket's file, so that a folder may be seen under several paths. A live broker answers
 * a PING: a dead one's socket refuses connections, a stopped process still accepts them and says nothing.
 */
import { chmod, mkdtemp, readdir, rm, symlink, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Clock } from '../model/clock.ts';
import type { Random } from '../model/random.ts';
import { FRAME } from '../wire/frames.ts';
import { socketCarrier } from '../wire/socket-carrier.ts';

export interface LocalSocket {
  /** Where the broker can be found, for those who have the same folder. */
  readonly address: string;
  close(): Promise<void>;
}

/** Socket names are limited to 104 bytes on macOS and 108 on Linux, their end included. */
const MAX_SOCKET_NAME_BYTES = 103;

/** A PONG is one byte. */
const MAX_ANSWER_BYTES = 64;

const isWindows = process.platform === 'win32';

/** Listens in the folder, open to nobody but this user; a new name each time, so that no two brokers are taken for one. */
export async function listenInFolder(
  folder: string,
  random: Random,
  accept: (socket: Socket) => void,
): Promise<LocalSocket> {
  const id = Buffer.from(random.fill(new Uint8Array(6))).toString('hex');
  const address = isWindows ? `\\\\.\\pipe\\holdfast-${id}` : `broker-${id}.sock`;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    accept(socket);
  });
  await withSocketName(folder, address, (name) => listen(server, name));
  server.unref();
  if (!isWindows) await chmod(join(folder, address), 0o600);
  return {
    address,
    async close() {
      const closed = new Promise<void>((done) => server.close(() => done()));
      for (const socket of sockets) socket.destroy();
      await closed;
      if (!isWindows) await unlink(join(folder, address)).catch(() => {});
    },
  };
}

/** The addresses that were taken in this folder, of brokers that live or do not. Windows keeps them elsewhere. */
export async function addressesIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.startsWith('broker-') && name.endsWith('.sock'));
}

/** Connects to the broker at this address in the folder. Rejects with the system's error. */
export function dialInFolder(folder: string, address: string): Promise<Socket> {
  return withSocketName(
    folder,
    address,
    (name) =>
      new Promise((done, fail) => {
        const socket = connect(name);
        socket.once('connect', () => {
          socket.off('error', fail);
          done(socket);
        });
        socket.once('error', fail);
      }),
  );
}

/** What there is at an address: a broker that answers, a process that says nothing, or nobody. */
export type Sign = 'alive' | 'silent' | 'dead';

/** Asks for a sign of life and waits for so long; takes away what a dead broker has left there. */
export async function askForSign(folder: string, address: string, clock: Clock, withinMs: number): Promise<Sign> {
  let socket: Socket;
  try {
    socket = await dialInFolder(folder, address);
  } catch {
    // A dead process's socket is only litter; that it cannot be removed changes nothing.
    if (!isWindows && address.endsWith('.sock')) await unlink(join(folder, address)).catch(() => {});
    return 'dead';
  }
  return new Promise<Sign>((done) => {
    const carrier = socketCarrier(socket, 'client', clock, MAX_ANSWER_BYTES);
    const cancel = clock.timer(withinMs, () => finish('silent'));
    const finish = (sign: Sign): void => {
      cancel();
      carrier.destroy();
      done(sign);
    };
    carrier.start({
      frame: (bytes) => finish(bytes[0] === FRAME.pong ? 'alive' : 'silent'),
      heard: () => {},
      broken: () => finish('silent'),
      // It died, or closed, just now.
      closed: () => finish('dead'),
    });
    carrier.send(Uint8Array.of(FRAME.ping));
  });
}

/** Where a folder's path is too long for the name of a socket, a link to it with a short path stands in while it is used. */
async function withSocketName<T>(folder: string, address: string, use: (name: string) => Promise<T>): Promise<T> {
  if (isWindows) return use(address);
  const path = join(resolve(folder), address);
  if (Buffer.byteLength(path) <= MAX_SOCKET_NAME_BYTES) return use(path);
  const aside = await mkdtemp(join(tmpdir(), 'hf-'));
  try {
    await symlink(resolve(folder), join(aside, 'd'));
    return await use(join(aside, 'd', address));
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

function listen(server: Server, name: string): Promise<void> {
  return new Promise((done, fail) => {
    server.once('error', fail);
    server.listen(name, () => done());
  });
}
