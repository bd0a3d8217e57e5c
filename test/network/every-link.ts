import { join } from 'node:path';
import { afterAll } from 'vitest';
import { makeAuthority } from './certificates.ts';
import { endsBehindFile, folderOfFile } from './conformance.ts';
import { type RunningServer, startServer } from './processes.ts';

/** Servers on one folder, which end behind the last test of the file. */
export interface EveryLink {
  /** The one that was started last at all addresses. */
  readonly server: RunningServer;
  /** For clients over TLS. */
  readonly tls: { readonly ca: string };
  /** Starts one that listens for every kind of link: again at these addresses, where some are given. */
  start(addresses?: readonly string[]): Promise<RunningServer>;
  /** Starts one more, which listens for TCP. */
  startAnother(): Promise<RunningServer>;
  /** Where to find the server over its TCP, or its TLS, with this scheme. */
  url(scheme: 'holdfast' | 'holdfasts' | 'ws' | 'wss' | 'http'): string;
}

const SECURE: ReadonlySet<string> = new Set(['holdfasts', 'wss']);

/** Not for hooks, but for the beginning of a file. */
export function everyLink(): EveryLink {
  const authority = makeAuthority(afterAll);
  const { cert, key } = authority.certificate('server');
  const folder = folderOfFile();
  const endBehind = endsBehindFile();
  const everywhere = [`unix:${join(folder, 'server.sock')}`, 'holdfast://127.0.0.1:0', 'holdfasts://127.0.0.1:0'];
  const common = { folder: join(folder, 'data'), sessionTimeoutMs: 30_000, endBehind };
  let server: RunningServer | undefined;
  const running = (): RunningServer => {
    if (server === undefined) throw new Error('The server has not been started');
    return server;
  };
  return {
    get server() {
      return running();
    },
    tls: { ca: authority.caText },
    async start(addresses = everywhere) {
      server = await startServer({ ...common, listen: addresses, more: ['--tls-cert', cert, '--tls-key', key] });
      return server;
    },
    startAnother: () => startServer(common),
    url: (scheme) => (running().addresses[SECURE.has(scheme) ? 2 : 1] as string).replace(/^\w+/, scheme),
  };
}
