/**
 * The socket in a store's folder by which the processes that share the folder find the broker, and learn whether it lives.
 *
 * Its address is the name of the socket's file, so that a folder may be seen under several paths. A live broker answers
 * a PING: a dead one's socket refuses connections, a stopped process still accepts them and says nothing.
 */
import { readdir, unlink } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Random } from '../model/random.ts';
import { listenPrivately, withSocketName } from './private-socket.ts';

export interface LocalSocket {
  /** Where the broker can be found, for those who have the same folder. */
  readonly address: string;
  close(): Promise<void>;
}

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
  await listenPrivately(server, isWindows ? address : join(folder, address));
  server.unref();
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
    isWindows ? address : join(folder, address),
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

/** Takes away the socket of a broker that is dead; it is only litter, so that it cannot be removed changes nothing. */
export async function leaveFolder(folder: string, address: string): Promise<void> {
  if (!isWindows && address.endsWith('.sock')) await unlink(join(folder, address)).catch(() => {});
}
