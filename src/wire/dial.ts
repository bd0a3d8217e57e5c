/** Connecting to a server. */
import { connect, type Socket } from 'node:net';
import { connect as connectSecurely } from 'node:tls';
import type { Clock } from '../model/clock.ts';
import { HoldfastError } from '../model/errors.ts';
import type { Link } from '../model/link.ts';
import { type Address, formatAddress } from './address.ts';
import type { Carrier } from './carrier.ts';
import { clientLink, NETWORK_LIMITS } from './network-link.ts';
import { socketCarrier } from './socket-carrier.ts';
import { webSocketCarrier } from './websocket-carrier.ts';

/** How a client trusts a server, and shows itself, under TLS; each a PEM text. */
export interface TlsClientOptions {
  /** Whom to trust in place of the well-known authorities. */
  readonly ca?: string;
  /** The client's own certificate, where the server asks for one, and its key. */
  readonly cert?: string;
  readonly key?: string;
  /** The name that the server's certificate must have. @default the host of the address */
  readonly servername?: string;
}

/** @throws HoldfastError `UNREACHABLE` with the reason */
export async function dial(address: Address, tls: TlsClientOptions, clock: Clock): Promise<Link> {
  try {
    const carrier = await open(address, tls, clock);
    return clientLink(carrier, { clock, limits: NETWORK_LIMITS });
  } catch (cause) {
    throw unreachable(address, tls, cause);
  }
}

/**
 * Says why a server cannot be reached, or has closed the connection before it has welcomed the client, and what to do.
 *
 * @param cause by default, that it closed the connection without a word
 */
export function unreachable(address: Address, tls: TlsClientOptions, cause?: unknown): HoldfastError {
  const known = cause ?? new Error('the connection was closed');
  const advice = address.kind !== 'unix' && address.secure ? adviceUnderTls(tls, cause) : '';
  const message = `Cannot reach "${formatAddress(address)}": ${reasonOf(known)}${advice}`;
  return new HoldfastError('UNREACHABLE', message, { cause: known });
}

/** The short form where OpenSSL has one: its message names lines of its source. */
function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  if ('reason' in cause && typeof cause.reason === 'string') return cause.reason;
  return cause.message === '' ? String(cause) : cause.message;
}

/**
 * What to do about a server that may not accept the client's certificate. In TLS 1.3 the client takes the connection for
 * open by then, and hears of it by an alert, by a reset that overtakes the alert, or by nothing but the end.
 */
function adviceUnderTls({ cert }: TlsClientOptions, cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const isAlert = /^ERR_SSL_.*_ALERT_/.test(code);
  if (!isAlert && cause !== undefined && code !== 'ECONNRESET' && code !== 'EPIPE') return '';
  const remedy =
    cert === undefined
      ? 'show it a client certificate with "tls.cert" and "tls.key"'
      : 'see that the client certificate in "tls.cert" is valid and of an authority that the server knows';
  return isAlert ? `; ${remedy}` : `; if the server wants to know its clients (--tls-client-ca), ${remedy}`;
}

async function open(address: Address, tls: TlsClientOptions, clock: Clock): Promise<Carrier> {
  if (address.kind === 'websocket') return openWebSocket(address, tls, clock);
  const socket =
    address.kind === 'unix'
      ? connect(address.path)
      : address.secure
        ? connectSecurely({ host: address.host, port: address.port, ...servername(address.host), ...tls })
        : connect(address.port, address.host);
  const event = address.kind === 'tcp' && address.secure ? 'secureConnect' : 'connect';
  await new Promise<void>((done, fail) => {
    const cancel = clock.timer(NETWORK_LIMITS.helloMs, () => socket.destroy(new Error('it does not answer')));
    socket.once('close', () => {
      cancel();
      fail(new Error('the connection was closed'));
    });
    socket.once('error', fail);
    socket.once(event, () => {
      cancel();
      done();
    });
  });
  return socketCarrier(socket, 'client', clock, NETWORK_LIMITS.eventsBytes);
}

async function openWebSocket(
  address: Extract<Address, { kind: 'websocket' }>,
  tls: TlsClientOptions,
  clock: Clock,
): Promise<Carrier> {
  const { WebSocket } = await import('ws');
  const webSocket = new WebSocket(formatAddress(address), {
    perMessageDeflate: false,
    autoPong: false,
    maxPayload: NETWORK_LIMITS.eventsBytes,
    handshakeTimeout: NETWORK_LIMITS.helloMs,
    ...(address.secure && { ...servername(address.host), ...tls }),
  });
  const socket = await new Promise<Socket>((done, fail) => {
    let upgraded: Socket | undefined;
    webSocket.once('upgrade', (response) => (upgraded = response.socket));
    webSocket.once('open', () => done(upgraded as Socket));
    webSocket.once('error', fail);
  });
  return webSocketCarrier(webSocket, socket, clock, NETWORK_LIMITS.eventsBytes);
}

/** A certificate may name an IP address, but a client must not ask for one by name: RFC 6066, section 3. */
function servername(host: string): { servername?: string } {
  return /^[\d.]+$|:/.test(host) ? {} : { servername: host };
}
