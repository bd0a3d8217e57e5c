import { open } from 'holdfast';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DENO } from '../helpers/deno.ts';
import { endsBehindFile } from './conformance.ts';
import { everyLink } from './every-link.ts';
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
import { type KvWay, startKvClients, type Talking } from './processes.ts';
import { startTroubledProxy, type TroubledProxy } from './troubled-proxy.ts';

/** How many clients each process has on each way. */
const CLIENTS = 2;
/** How many answers each way has had in a process, at least, before something is killed. */
const ANSWERS = 20;

const links = everyLink();
const endBehind = endsBehindFile();
let proxy: TroubledProxy;

/** The ways to the server. To each its own entries, which clients of several processes work on. */
const WAYS: Readonly<Record<string, () => Omit<KvWay, 'space'>>> = {
  'by a Unix socket': () => ({ url: links.server.url }),
  'by TCP': () => ({ url: links.url('holdfast') }),
  'by TLS': () => ({ url: links.url('holdfasts'), options: { tls: links.tls } }),
  'by WebSocket': () => ({ url: links.url('ws') }),
  'through a proxy that cuts, delays and doubles': () => ({ url: proxy.url }),
  'by KV Connect': () => ({ url: `${links.url('http')}/kv`, deno: DENO }),
};
const SPACES = Object.keys(WAYS);
const PLACES: readonly MessagePlace[] = ['queue', 'channel'];

const processes: Talking[] = [];
/** What is there at the end, by space; and the operations that left messages, by their place. */
const outcomes = new Map<string, Outcome>();
const messages = new Map<MessagePlace, readonly string[]>();

/** Kills the server and starts it again where it was. */
async function restart(): Promise<void> {
  const { server } = links;
  await server.end();
  await links.start(server.addresses);
  for (const one of processes) one.tell('restarted');
}

async function startClients(seed: number): Promise<void> {
  const ways = Object.entries(WAYS).map(([space, way]) => ({ space, ...way() }));
  const started = await startKvClients({ name: `seed ${seed}:`, seed, ways, clients: CLIENTS, endBehind });
  processes.push(started);
  started.tell('begin');
}

/** Waits for the youngest process to go on. */
async function untilMoreIsDone(): Promise<void> {
  const youngest = processes.at(-1) as Talking;
  const wanted = SPACES.map((space) => [space, (tallyOf(youngest).answers.get(space) ?? 0) + ANSWERS] as const);
  await youngest.says(() => wanted.every(([space, count]) => (tallyOf(youngest).answers.get(space) ?? 0) >= count));
}

/**
 * Kills the process before the youngest when each of its clients is in the middle of a change, whose answer will not be heard.
 * @param stop what is done before, when all make changes
 */
async function killClients(stop: () => void = () => {}): Promise<void> {
  const victim = processes.at(-2) as Talking;
  victim.tell('change');
  await victim.says(() => tallyOf(victim).changing === CLIENTS * SPACES.length);
  stop();
  victim.tell('die');
  expect((await victim.ended).signal).toBe('SIGKILL');
}

beforeAll(async () => {
  await links.start();
  proxy = await startTroubledProxy(Number(new URL(links.url('holdfast')).port), 12);
  await Promise.all([1, 2].map(startClients));
});
afterAll(() => proxy.close());

test('the server is killed at work, and clients in the middle of theirs, again and again', async () => {
  await untilMoreIsDone();
  await restart();
  await untilMoreIsDone();
  // What these have sent is done when they are dead.
  await killClients(() => links.server.kill('SIGSTOP'));
  links.server.kill('SIGCONT');
  await startClients(3);
  await untilMoreIsDone();
  await restart();
  await untilMoreIsDone();
  // What these have sent is lost with the server.
  await killClients(() => links.server.kill('SIGSTOP'));
  await restart();
  await startClients(4);
  await untilMoreIsDone();
  await killClients();
  await untilMoreIsDone();
  const last = processes.at(-1) as Talking;
  last.tell('end');
  await last.says((line) => 'done' in line);
  await restart();
  const hf = await open(links.server.url);
  for (const space of SPACES) outcomes.set(space, await readOutcome(hf, space));
  for (const place of PLACES) messages.set(place, await messagesIn(hf, place, SPACES));
  await hf.close();
});

describe('what clients hear of KV is linearizable, whoever is killed', () => {
  test.each(SPACES)('%s', (space) => {
    const history = historyOf(processes, space);
    const known = withOutcome(history, outcomes.get(space) as Outcome);
    expectLinearizable(known);
    // Three processes were killed.
    expect(history.filter(isOpen).length).toBeGreaterThanOrEqual(3 * CLIENTS);
    for (const count of Object.values(countsOf(known))) expect(count).toBeGreaterThan(10);
  });
});

describe('a message is there once when it was added in a commit, and else not', () => {
  test.each(PLACES)('in the %s', (place) => {
    const history = SPACES.flatMap((space) => historyOf(processes, space));
    const marks = new Map([...outcomes.values()].flatMap((outcome) => [...outcome.marks]));
    const wrong = (found: readonly string[]): string[] => wrongMessages(history, place, found, { marks });
    const found = messages.get(place) as readonly [string, ...string[]];
    expect(wrong(found)).toEqual([]);
    expect(found.length).toBeGreaterThan(100);
    const [first, ...others] = found;
    const conflict = history.find(({ answer, message }) => message === place && answer?.kind === 'conflict');
    expect(wrong(others)).toHaveLength(1);
    expect(wrong([first, ...found])).toHaveLength(1);
    expect(wrong([...found, conflict?.op as string])).toHaveLength(1);
    expect(wrong([...found, 'unheard of'])).toHaveLength(1);
  });
});

test('the proxy has done what it is for', () => {
  for (const count of Object.values(proxy.done)) expect(count).toBeGreaterThan(3);
});
