/**
 * Unix sockets that only this user can open, from the first moment: a socket is made in a folder that nobody else may enter,
 * and gets its name when it is closed to others. The mask of the process cannot be relied on, and a thread cannot set it.
 */
import { chmod, mkdtemp, rename, rm, symlink } from 'node:fs/promises';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';

/** Socket names are limited to 104 bytes on macOS and 108 on Linux, their end included. */
const MAX_SOCKET_NAME_BYTES = 103;

/** Listens at this path, over whatever there was. On Windows the path is that of a named pipe, which is its user's anyway. */
export async function listenPrivately(server: Server, path: string): Promise<void> {
  if (process.platform === 'win32') return listen(server, path);
  const aside = await mkdtemp(join(dirname(resolve(path)), '.socket-'));
  try {
    const made = join(aside, 's');
    await withSocketName(made, (name) => listen(server, name));
    await chmod(made, 0o600);
    await rename(made, path);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

/** Where a path is too long for the name of a socket, a link to its folder with a short path stands in while it is used. */
export async function withSocketName<T>(path: string, use: (name: string) => Promise<T>): Promise<T> {
  const whole = resolve(path);
  if (process.platform === 'win32') return use(path);
  if (Buffer.byteLength(whole) <= MAX_SOCKET_NAME_BYTES) return use(whole);
  const aside = await mkdtemp(join(tmpdir(), 'hf-'));
  try {
    await symlink(dirname(whole), join(aside, 'd'));
    return await use(join(aside, 'd', basename(whole)));
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

function listen(server: Server, name: string): Promise<void> {
  return new Promise((done, fail) => {
    server.once('error', fail);
    server.listen(name, () => {
      server.off('error', fail);
      done();
    });
  });
}
