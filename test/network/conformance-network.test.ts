import type { OpenOptions } from 'holdfast';
import { beforeAll, describe } from 'vitest';
import { runAll, sharedBy } from './conformance.ts';
import { everyLink } from './every-link.ts';
import type { RunningServer } from './processes.ts';

const links = everyLink();
const { tls } = links;
let follower: RunningServer;

beforeAll(async () => {
  await links.start();
  follower = await links.startAnother();
});

// Handlers of these cases hold up no connection.
const thread = false;

describe.each<[string, () => string, OpenOptions]>([
  ['a Unix socket', () => links.server.url, {}],
  ['TCP', () => links.url('holdfast'), {}],
  ['TLS', () => links.url('holdfasts'), { tls }],
  ['WebSocket', () => links.url('ws'), {}],
  ['WebSocket over TLS', () => links.url('wss'), { tls }],
  ['TCP, at a server that follows another one', () => follower.url, {}],
])('by %s', (_name, url, options) => runAll(sharedBy(url, { thread, ...options })));
