import { join } from 'node:path';
import { open, type OpenOptions } from 'holdfast';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DENO } from '../helpers/deno.ts';
import { makeAuthority } from './certificates.ts';
import { endsBehindFile, folderOfFile } from './conformance.ts';
import {
  countsOf,
  expectLinearizable,
  historyOf,
  isOpen,
  type MessagePlace,
  messagesIn,
  type Outcome,
  readOutcome,
  tallyOf,
  withOutcome,
  wrongMessages,
} from './kv-history.ts';
import { type RunningServer, startKvClients, startServer, type Talking } from './processes.ts';
import { startTroubledProxy, type TroubledProxy } from './troubled-proxy.ts';

const CLIENTS = 3;
/** How many more answers each link has had whenever something is killed. */
const ANSWERS = 30;

const authority = makeAuthority(afterAll);
const { cert, key } = authority.certificate('server');
const folder = folderOfFile();
const endBehind = endsBehindFile();

const own = [`unix:${join(folder, 'server.sock')}`, 'holdfast://127.0.0.1:0', 'holdfasts://127.0.0.1:0'];

let server: RunningServer;
let proxy: TroubledProxy;

const urlOf = (address: number, scheme: string): string =>
  (server.addresses[address] as string).replace(/^\w+/, scheme);

/** A way to the server, and the processes whose clients come this way, all to the same entries. */
interface Way {
  readonly name: string;
  readonly url: () => string;
  readonly options: OpenOptions;
  readonly deno: string | undefined;
  readonly processes: Talking[];
  outcome: Outcome;
}

/** Before it is read. */
const NOTHING: Outcome = {
  read: { calledAt: 0, action: { kind: 'read', keys: [] } },
  marks: new Map(),
};

function way(name: string, url: () => string, { deno, ...options }: OpenOptions & { deno?: string } = {}): Way {
  return { name, url, options, deno, processes: [], outcome: NOTHING };
}

const tls = { ca: authority.caText };
const ways: readonly Way[] = [
  way('by a Unix socket', () => server.url),
  way('by TCP', () => urlOf(1, 'holdfast')),
  way('by TLS', () => urlOf(2, 'holdfasts'), { tls }),
  way('by WebSocket', () => urlOf(1, 'ws')),
  way('through a proxy that cuts, delays and doubles', () => proxy.url),
  way('by KV Connect', () => `${urlOf(1, 'http')}/kv`, { deno: DENO }),
];

const PLACES: readonly MessagePlace[] = ['queue', 'channel'];
/** The messages at the end, by the operations that left them. */
const found: Record<MessagePlace, readonly string[]> = { queue: [], channel: [] };

async function startServerAt(listen: readonly string[]): Promise<void> {
  const more = ['--tls-cert', cert, '--tls-key', key];
  server = await startServer({ folder: join(folder, 'data'), listen, more, sessionTimeoutMs: 30_000, endBehind });
}

/** Kills the server and starts it again where it was. */
async function restart(): Promise<void> {
  await server.end();
  await startServerAt(server.addresses);
  for (const { processes } of ways) for (const one of processes) one.tell('restarted');
}

let seed = 0;

async function startClients({ name, url, options, deno, processes }: Way): Promise<void> {
  seed += 1;
  const more = { name: `${name}, seed ${seed}`, seed, deno, endBehind };
  const started = await startKvClients({ url: url(), options, space: name, clients: CLIENTS, ...more });
  processes.push(started);
  started.tell('begin');
}

/** Waits for the last process of each way to say so much more. */
async function untilMoreIsDone(): Promise<void> {
  await Promise.all(
    ways.map(async ({ processes }) => {
      const last = processes.at(-1) as Talking;
      const before = tallyOf(last).answeredAt;
      await last.says(() => tallyOf(last).answeredAt >= before + ANSWERS);
    }),
  );
}

/** Whether every client waits for the answer to an operation. */
function isHeldUp(talking: Talking): boolean {
  const { calledAt, answeredAt, open } = tallyOf(talking);
  return calledAt - answeredAt - open === CLIENTS;
}

/**
 * Kills a process of each way in the middle of changes that nobody will be told of, and starts another in its place behind
 * `then`. The server stands still: most of the changes have been sent by then.
 */
async function killClients(then: () => Promise<void>): Promise<void> {
  const victims = ways.map(({ processes }) => processes.at(-2) as Talking);
  for (const one of victims) one.tell('change');
  await Promise.all(victims.map((one) => one.says(() => tallyOf(one).changing === CLIENTS)));
  server.kill('SIGSTOP');
  await Promise.all(victims.map((one) => one.says(() => isHeldUp(one))));
  await Promise.all(victims.map((one) => one.end()));
  await then();
  await Promise.all(ways.map(startClients));
}

async function endClients({ processes }: Way): Promise<void> {
  for (const one of processes) one.tell('end');
  for (const one of processes) if (one.process.signalCode === null) await one.says((line) => 'done' in line);
}

beforeAll(async () => {
  await startServerAt(own);
  proxy = await startTroubledProxy(Number(/:(\d+)$/.exec(urlOf(1, 'holdfast'))?.[1]), 12);
  await Promise.all([...ways, ...ways].map(startClients));
});
afterAll(() => proxy.close());

test('the server is killed at work, and clients in the middle of theirs, again and again', async () => {
  await untilMoreIsDone();
  await restart();
  await untilMoreIsDone();
  // What these have sent is done, and nobody hears of it.
  await killClients(async () => server.kill('SIGCONT'));
  await untilMoreIsDone();
  await restart();
  await untilMoreIsDone();
  // What these have sent is lost with the server.
  await killClients(restart);
  await untilMoreIsDone();
  await Promise.all(ways.map(endClients));
  await restart();
  const hf = await open(server.url);
  for (const one of ways) one.outcome = await readOutcome(hf, one.name);
  for (const place of PLACES) {
    found[place] = await messagesIn(
      hf,
      place,
      ways.map(({ name }) => name),
    );
  }
  await hf.close();
});

describe('what clients hear of KV is linearizable, whoever is killed', () => {
  test.each(ways.map((one) => [one.name, one] as const))('%s', (_name, { processes, outcome }) => {
    const history = historyOf(processes);
    const known = withOutcome(history, outcome);
    expectLinearizable(known);
    // Two processes were killed.
    expect(history.filter(isOpen).length).toBeGreaterThanOrEqual(2 * CLIENTS);
    for (const count of Object.values(countsOf(known))) expect(count).toBeGreaterThan(10);
  });
});

describe('a message is there once when it was added in a commit, and else not', () => {
  test.each(PLACES)('in the %s', (place) => {
    const history = ways.flatMap(({ processes }) => historyOf(processes));
    const marks = new Map(ways.flatMap(({ outcome }) => [...outcome.marks]));
    const wrong = (messages: readonly string[]): string[] => wrongMessages(history, place, messages, { marks });
    expect(wrong(found[place])).toEqual([]);
    expect(found[place].length).toBeGreaterThan(100);
    const [first, ...others] = found[place] as [string, ...string[]];
    const conflict = history.find(({ answer, message }) => message === place && answer?.kind === 'conflict');
    expect(wrong(others)).toHaveLength(1);
    expect(wrong([first, first, ...others])).toHaveLength(1);
    expect(wrong([...found[place], conflict?.op as string])).toHaveLength(1);
    expect(wrong([...found[place], 'unheard of'])).toHaveLength(1);
  });
});

test('the proxy has done what it is for', () => {
  for (const count of Object.values(proxy.done)) expect(count).toBeGreaterThan(3);
});
