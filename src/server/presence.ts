/**
 * Presence: a socket in the store's folder by which other processes learn whether the broker that leads the store
 * still lives. A stopped process still accepts connections and counts as alive; a dead one's socket refuses them.
 */
import { createHash } from 'node:crypto';
import { unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Random } from '../model/random.ts';

export interface Presence {
  /** Where the broker shows that it lives. */
  readonly address: string;
  close(): Promise<void>;
}

/** Socket names are limited to 104 bytes on macOS and 108 on Linux, their end included. */
const MAX_SOCKET_NAME_BYTES = 103;

/** How long a process that answers nothing is waited for, in milliseconds; one that accepts has answered. */
const ANSWER_MS = 5_000;

/** Shows that this process lives, until it is closed or the process ends. */
export async function announcePresence(folder: string, random: Random): Promise<Presence> {
  // Each one has a name of its own, so that a broker never takes its own sign of life for that of the one before.
  const address = socketName(folder, Buffer.from(random.fill(new Uint8Array(8))).toString('hex'));
  const server = createServer((socket) => socket.destroy());
  await listen(server, address);
  server.unref();
  return {
    address,
    close: () => new Promise((done) => server.close(() => done())),
  };
}

/** Whether a process shows itself at this address; takes away what a dead one has left there. */
export async function isPresent(address: string): Promise<boolean> {
  const present = await new Promise<boolean>((done) => {
    const socket = connect(address);
    const finish = (answer: boolean): void => {
      socket.destroy();
      done(answer);
    };
    socket.setTimeout(ANSWER_MS, () => finish(true));
    socket.once('connect', () => finish(true));
    socket.once('error', () => finish(false));
  });
  // A dead process's socket is only litter; that it cannot be removed changes nothing.
  if (!present && process.platform !== 'win32') await unlink(address).catch(() => {});
  return present;
}

function socketName(folder: string, name: string): string {
  if (process.platform === 'win32') return `\\\\.\\pipe\\holdfast-${name}`;
  const inFolder = join(resolve(folder), `broker-${name}.sock`);
  if (Buffer.byteLength(inFolder) <= MAX_SOCKET_NAME_BYTES) return inFolder;
  const folderHash = createHash('sha256').update(resolve(folder)).digest('hex').slice(0, 16);
  return join(tmpdir(), `holdfast-${folderHash}-${name}.sock`);
}

function listen(server: Server, address: string): Promise<void> {
  return new Promise((done, fail) => {
    server.once('error', fail);
    server.listen(address, () => done());
  });
}
