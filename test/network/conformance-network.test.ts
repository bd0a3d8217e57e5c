import { join } from 'node:path';
import type { OpenOptions } from 'holdfast';
import { afterAll, beforeAll, describe } from 'vitest';
import { makeAuthority } from './certificates.ts';
import { endsBehindFile, folderOfFile, runAll, sharedBy } from './conformance.ts';
import { type RunningServer, startServer } from './processes.ts';

const authority = makeAuthority(afterAll);
const { cert, key } = authority.certificate('server');
const folder = folderOfFile();
const endBehind = endsBehindFile();
let server: RunningServer;
let follower: RunningServer;

beforeAll(async () => {
  const listen = [`unix:${join(folder, 'server.sock')}`, 'holdfast://127.0.0.1:0', 'holdfasts://127.0.0.1:0'];
  const more = ['--tls-cert', cert, '--tls-key', key];
  const common = { sessionTimeoutMs: 30_000, endBehind };
  server = await startServer({ ...common, folder: join(folder, 'data'), listen, more });
  follower = await startServer({ ...common, folder: join(folder, 'data') });
});

const tls = { ca: authority.caText };
// Handlers of these cases hold up no connection.
const thread = false;
const urlOf = (address: number, scheme: string): string =>
  (server.addresses[address] as string).replace(/^\w+/, scheme);

describe.each<[string, () => string, OpenOptions]>([
  ['a Unix socket', () => server.url, {}],
  ['TCP', () => urlOf(1, 'holdfast'), {}],
  ['TLS', () => urlOf(2, 'holdfasts'), { tls }],
  ['WebSocket', () => urlOf(1, 'ws'), {}],
  ['WebSocket over TLS', () => urlOf(2, 'wss'), { tls }],
  ['TCP, at a server that follows another one', () => follower.url, {}],
])('by %s', (_name, url, options) => runAll(sharedBy(url, { thread, ...options })));
