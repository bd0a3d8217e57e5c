/**
 * A listener: takes connections at one address. Every address of TCP or TLS serves the frames of the protocol, WebSockets,
 * and over HTTP in either version the health of the server and what its doors serve; the first bytes of a connection tell
 * them apart.
 */
import { unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createServer as createSecureServer, type Server as SecureServer, type TlsOptions, TLSSocket } from 'node:tls';
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
import { createHttpSide, type HttpDoor, type HttpSide } from './http-side.ts';
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
  /** What else is served over HTTP; nothing at a Unix socket. */
  readonly doors?: readonly HttpDoor[] | undefined;
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
    ? createSecureServer({ ...tls, handshakeTimeout: limits.helloMs, ALPNProtocols: ['h2', 'http/1.1'] })
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
  readonly #http: HttpSide;

  constructor(options: ListenOptions) {
    this.#options = options;
    const { clock, limits, isReady, doors = [] } = options;
    this.#http = createHttpSide({ clock, limits, doors, isReady }, (webSocket, socket, deadlineAt) => {
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
    // Whoever has agreed on it while the connection was secured speaks nothing else.
    if (socket instanceof TLSSocket && socket.alpnProtocol === 'h2') return this.#http.takeHttp2(socket, deadlineAt);
    const leftMs = deadlineAt - clock.monotonicMs();
    const cancel = clock.timer(leftMs, () => this.refuse(socket, 'nothing was said'));
    socket.once('close', cancel);
    let said = NOTHING;
    const hear = (chunk: Buffer): void => {
      said = said.length === 0 ? chunk : Buffer.concat([said, chunk]);
      const language = languageOf(said);
      if (language === undefined) return;
      cancel();
      socket.off('data', hear);
      socket.pause();
      socket.unshift(said);
      this.#converse(socket, language, deadlineAt);
    };
    socket.on('data', hear);
  }

  #converse(socket: Socket, language: Language, deadlineAt: number): void {
    const { address, clock, limits } = this.#options;
    if (language === 'frames') {
      this.#accept(socketCarrier(socket, 'broker', clock, limits.helloBytes), socket, deadlineAt);
    } else if (address.kind === 'unix') {
      this.refuse(socket, 'it does not speak the protocol');
    } else if (language === 'http2') {
      this.#http.takeHttp2(socket, deadlineAt);
    } else {
      this.#http.take(socket, deadlineAt);
    }
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

type Language = 'frames' | 'http1' | 'http2';

const NOTHING: Buffer = Buffer.alloc(0);

/** With these bytes a client begins that knows that it is spoken to in HTTP/2; no method of HTTP/1.1 begins so. */
const HTTP2_PREFACE: Buffer = Buffer.from('PRI');

/** What the first bytes begin; `undefined` when more of them are needed to tell. */
function languageOf(said: Buffer): Language | undefined {
  if (said[0] === PREAMBLE[0]) return 'frames';
  const compared = Math.min(said.length, HTTP2_PREFACE.length);
  if (said.compare(HTTP2_PREFACE, 0, compared, 0, compared) !== 0) return 'http1';
  return compared < HTTP2_PREFACE.length ? undefined : 'http2';
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
