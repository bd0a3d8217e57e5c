/** Network addresses: where a server listens, and what a client connects to. */

export type Address =
  | { readonly kind: 'unix'; readonly path: string }
  /** Frames on a socket, under TLS when `secure`. */
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number; readonly secure: boolean }
  /** A frame a WebSocket message, under TLS when `secure`. */
  | {
      readonly kind: 'websocket';
      readonly host: string;
      readonly port: number;
      readonly secure: boolean;
      readonly path: string;
    };

/** Where a server listens and a client connects when no port is named. */
export const DEFAULT_PORT = 7420;

const SCHEMES: Readonly<Record<string, { readonly kind: 'tcp' | 'websocket'; readonly secure: boolean }>> = {
  'holdfast:': { kind: 'tcp', secure: false },
  'tcp:': { kind: 'tcp', secure: false },
  'holdfasts:': { kind: 'tcp', secure: true },
  'tls:': { kind: 'tcp', secure: true },
  'ws:': { kind: 'websocket', secure: false },
  'wss:': { kind: 'websocket', secure: true },
};

/** Whether a text looks like an address of this file. */
export function isAddress(text: string): boolean {
  return text.startsWith('unix:') || Object.keys(SCHEMES).some((scheme) => text.startsWith(`${scheme}//`));
}

/**
 * Reads `unix:PATH`, or a URL with the scheme `holdfast`, `holdfasts`, `tcp`, `tls`, `ws` or `wss`. Port 0, with which a
 * server lets the system choose, is allowed.
 *
 * @throws TypeError for anything else; credentials do not belong into an address, which ends up in logs
 */
export function parseAddress(text: string): Address {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length).replace(/^\/\/(?=\/)/, '');
    if (path === '') throw new TypeError('Cannot use "unix:" as an address: name the path of the socket');
    return { kind: 'unix', path };
  }
  const url = readUrl(text);
  const scheme = SCHEMES[url.protocol];
  if (scheme === undefined) throw unreadable(text);
  if (url.username !== '' || url.password !== '') {
    throw new TypeError('Cannot use an address with credentials in it: give the token as an option');
  }
  const isPlain = (url.pathname === '' || url.pathname === '/') && url.search === '' && url.hash === '';
  if (url.hostname === '' || (scheme.kind === 'tcp' && !isPlain)) throw unreadable(text);
  // The standard ports of ws and wss are never in what the parser gives.
  const standard = url.protocol === 'ws:' ? 80 : 443;
  const named = /:\d+$/.test(url.host) || (scheme.kind === 'websocket' && text.includes(`:${standard}`));
  const port = url.port === '' ? (named ? standard : DEFAULT_PORT) : Number(url.port);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return scheme.kind === 'tcp'
    ? { kind: 'tcp', host, port, secure: scheme.secure }
    : { kind: 'websocket', host, port, secure: scheme.secure, path: `${url.pathname}${url.search}` };
}

/** The address as a client would write it. */
export function formatAddress(address: Address): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  const scheme = address.kind === 'tcp' ? 'holdfast' : 'ws';
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  const path = address.kind === 'websocket' && address.path !== '/' ? address.path : '';
  return `${scheme}${address.secure ? 's' : ''}://${host}:${address.port}${path}`;
}

/** Whether only this machine can reach it. */
export function isLoopback(address: Address): boolean {
  if (address.kind === 'unix') return true;
  const { host } = address;
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function readUrl(text: string): URL {
  try {
    return new URL(text);
  } catch {
    throw unreadable(text);
  }
}

function unreadable(text: string): TypeError {
  return new TypeError(
    `Cannot use "${text}" as an address: write unix:PATH, or a host and port behind holdfast://, holdfasts://, ws:// or wss://`,
  );
}
