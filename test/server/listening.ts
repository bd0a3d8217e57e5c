import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Clock } from '#holdfast/model/clock.js';
import type { Link } from '#holdfast/model/link.js';
import type { HttpDoor } from '#holdfast/server/http-side.js';
import { listen } from '#holdfast/server/listener.js';
import { type Address, parseAddress } from '#holdfast/wire/address.js';
import { NETWORK_LIMITS } from '#holdfast/wire/network-link.js';
import { newFolder } from '../helpers/instances.ts';
import { makeAuthority } from '../network/certificates.ts';

/** A listener with nobody behind it. */
export interface Listening {
  readonly address: Address;
  /** Whom to trust under TLS. */
  readonly ca: string | undefined;
  /** The server's end of the first connection. */
  readonly accepted: Promise<Link>;
}

/** Listens until the end of the test, under a clock. */
export async function startListener(
  scheme: 'holdfast' | 'holdfasts' | 'ws' | 'unix',
  clock: Clock,
  connectionsPerAddress: number = 10,
  doors: readonly HttpDoor[] = [],
): Promise<Listening> {
  const authority = scheme === 'holdfasts' ? makeAuthority() : undefined;
  const files = authority?.certificate('server');
  let accept: (link: Link) => void = () => {};
  const accepted = new Promise<Link>((resolve) => (accept = resolve));
  const listener = await listen({
    address: parseAddress(scheme === 'unix' ? `unix:${join(newFolder(), 'a.sock')}` : `${scheme}://127.0.0.1:0`),
    tls: files && { cert: readFileSync(files.cert), key: readFileSync(files.key) },
    clock,
    limits: NETWORK_LIMITS,
    connectionsPerAddress,
    doors,
    isReady: () => true,
    accept: (link) => accept(link),
    onRefused: () => {},
    onUnauthorized: () => {},
  });
  onTestFinished(() => listener.close());
  return { address: listener.address, ca: authority?.caText, accepted };
}

/** Opens the server's end of a connection, and sees when it closes. */
export function openUntilClosed(link: Link): { readonly isClosed: () => boolean; readonly closed: Promise<void> } {
  let isClosed = false;
  const closed = new Promise<void>((resolve) => {
    link.open({
      frame: () => {},
      closed: () => {
        isClosed = true;
        resolve();
      },
    });
  });
  return { isClosed: () => isClosed, closed };
}

/** A connection by hand. */
export interface Dialled {
  readonly socket: Socket;
  readonly heard: () => string;
  readonly isClosed: () => boolean;
}

/** Connects to a port of this machine until the end of the test. */
export function dialPort(port: number): Dialled {
  const socket = connect(port, '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  let heard = '';
  let isClosed = false;
  socket.on('error', () => {});
  socket.on('data', (chunk) => (heard += chunk.toString('latin1')));
  socket.once('close', () => (isClosed = true));
  return { socket, heard: () => heard, isClosed: () => isClosed };
}
