/**
 * A listener: takes connections at one address. Every address of TCP or TLS serves the frames of the protocol, WebSockets,
 * and the health of the server over HTTP; the first byte of a connection tells them apart.
 */
import { unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createServer as createSecureServer, type Server as SecureServer, type TlsOptions } from 'node:tls';
import type { Clock } from '../model/clock.ts';
import { HoldfastError } from '../model/errors.ts';
import type { Link } from '../model/link.ts';
import { type Address, formatAddress } from '../wire/address.ts';
import type { Carrier } from '../wire/carrier.ts';
import type { Goodbye } from '../wire/frames.ts';
import { brokerLink, type NetworkLimits } from '../wire/network-link.ts';
import { socketCarrier } from '../wire/socket-carrier.ts';
import { PREAMBLE } from '../wire/stream.ts';
import { webSocketCarrier } from '../wire/websocket-carrier.ts';
import { createHttpSide } from './http-side.ts';
import { listenPrivately } from './private-socket.ts';

export interface ListenOptions {
  readonly address: Address;
  /** Certificate and key, for a secure address. */
  readonly tls?: TlsOptions | undefined;
  readonly clock: Clock;
  readonly limits: NetworkLimits;
  /** How many connections one remote address may have. */
  readonly connectionsPerAddress: number;
  /** Whether the server serves, for those who ask over HTTP. */
  readonly isReady: () => boolean;
  readonly accept: (link: Link) => void;
  /** Hears of connections that were turned away. */
  readonly onRefused: (reason: string, remote: string) => void;
  /** Hears of clients that could not prove that they may come in. */
  readonly onUnauthorized: (reason: string, remote: string) => void;
}

export interface Listener {
  /** Where it listens, with the port that the system chose. */
  readonly address: Address;
  /** Takes new certificates for connections to come. @throws Error when they cannot be used; the old ones stay */
  secure(tls: TlsOptions): void;
  /** Takes no more connections and ends those there are. */
  close(): Promise<void>;
}

/** @throws HoldfastError `UNREACHABLE` when the address cannot be listened at */
export async function listen(options: ListenOptions): Promise<Listener> {
  const { address, tls, limits } = options;
  const isSecure = address.kind !== 'unix' && address.secure;
  const server: Server | SecureServer = isSecure
    ? createSecureServer({ ...tls, handshakeTimeout: limits.helloMs, ALPNProtocols: ['http/1.1'] })
    : createServer();
  const gate = new Gate(options);
  server.on('connection', (socket: Socket) => gate.count(socket));
  server.on(isSecure ? 'secureConnection' : 'connection', (socket: Socket) => gate.enter(socket));
  server.on('tlsClientError', (error: Error, socket: Socket) => gate.refuse(socket, error.message));
  await bind(server, address);
  return {
    address: boundAddress(server, address),
    secure: (renewed) => (server as SecureServer).setSecureContext(renewed),
    async close() {
      const closed = new Promise<void>((done) => server.close(() => done()));
      gate.close();
      await closed;
      if (address.kind === 'unix') await unlink(address.path).catch(() => {});
    },
  };
}

/** Lets connections in, up to the limits, and finds out what they speak. */
class Gate {
  readonly #options: ListenOptions;
  readonly #sockets = new Set<Socket>();
  readonly #perAddress = new Map<string, number>();
  /** When a connection came, by its other end: under TLS there is another socket for it by the time it enters. */
  readonly #cameAt = new Map<string, number>();
  readonly #http: ReturnType<typeof createHttpSide>;

  constructor(options: ListenOptions) {
    this.#options = options;
    const { clock, limits, isReady } = options;
    this.#http = createHttpSide({ clock, limits, isReady }, (webSocket, socket, deadlineAt) => {
      this.#accept(webSocketCarrier(webSocket, socket, clock, limits.helloBytes), socket, deadlineAt);
    });
  }

  /** Counts a connection as soon as it is there, before it has cost anything. */
  count(socket: Socket): void {
    const remote = socket.remoteAddress ?? '';
    const connections = (this.#perAddress.get(remote) ?? 0) + 1;
    this.#perAddress.set(remote, connections);
    this.#sockets.add(socket);
    const otherEnd = otherEndOf(socket);
    this.#cameAt.set(otherEnd, this.#options.clock.monotonicMs());
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#cameAt.delete(otherEnd);
      const left = (this.#perAddress.get(remote) ?? 1) - 1;
      if (left === 0) this.#perAddress.delete(remote);
      else this.#perAddress.set(remote, left);
    });
    socket.on('error', () => {});
    if (connections > this.#options.connectionsPerAddress) this.refuse(socket, 'too many connections');
  }

  enter(socket: Socket): void {
    const { clock, limits } = this.#options;
    if (socket.destroyed) return;
    socket.on('error', () => {});
    // Whoever says its first byte late, or takes long to secure the connection, has less time for the rest.
    const deadlineAt = (this.#cameAt.get(otherEndOf(socket)) ?? clock.monotonicMs()) + limits.helloMs;
    const leftMs = deadlineAt - clock.monotonicMs();
    const cancel = clock.timer(leftMs, () => this.refuse(socket, 'nothing was said'));
    socket.once('close', cancel);
    socket.once('data', (chunk: Buffer) => {
      cancel();
      socket.pause();
      socket.unshift(chunk);
      if (chunk[0] === PREAMBLE[0]) {
        this.#accept(socketCarrier(socket, 'broker', clock, limits.helloBytes), socket, deadlineAt);
      } else if (this.#options.address.kind === 'unix') {
        this.refuse(socket, 'it does not speak the protocol');
      } else {
        this.#http.take(socket, deadlineAt);
      }
    });
  }

  refuse(socket: Socket, reason: string): void {
    this.#options.onRefused(reason, this.#remoteOf(socket));
    socket.destroy();
  }

  #accept(carrier: Carrier, socket: Socket, deadlineAt: number): void {
    const { clock, limits, accept, onUnauthorized } = this.#options;
    // It may have closed by the time somebody wants to know.
    const remote = this.#remoteOf(socket);
    const onRefused = ({ code, message }: Goodbye): void => {
      if (code === 'UNAUTHORIZED') onUnauthorized(message, remote);
    };
    accept(brokerLink(carrier, { clock, limits, deadlineMs: deadlineAt - clock.monotonicMs(), onRefused }));
  }

  #remoteOf(socket: Socket): string {
    return socket.remoteAddress ?? formatAddress(this.#options.address);
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** Of a Unix socket, which enters as soon as it has come, there is nothing to tell it by. */
function otherEndOf({ remoteAddress = '', remotePort = 0 }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

async function bind(server: Server, address: Address): Promise<void> {
  try {
    if (address.kind === 'unix') {
      // What a dead server has left there makes way; a live one's socket cannot be told from it by its file alone.
      if (await isServed(address.path)) throw new Error('another server listens there');
      return await listenPrivately(server, address.path);
    }
    await new Promise<void>((done, fail) => {
      server.once('error', fail);
      server.listen(address.port, address.host, done);
    });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HoldfastError('UNREACHABLE', `Cannot listen at "${formatAddress(address)}": ${reason}`, { cause });
  }
}

/** Whether somebody takes connections at a Unix socket. */
function isServed(path: string): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(path);
    const finish = (served: boolean) => () => {
      socket.destroy();
      done(served);
    };
    socket.once('connect', finish(true));
    socket.once('error', finish(false));
  });
}

function boundAddress(server: Server, address: Address): Address {
  const bound = server.address();
  return address.kind === 'unix' || bound === null || typeof bound === 'string'
    ? address
    : { ...address, port: bound.port };
}
