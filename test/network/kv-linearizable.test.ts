import type { Holdfast, OpenOptions } from 'holdfast';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';
import { everyLink } from './every-link.ts';
import { countsOf, expectLinearizable, historyOf, readOutcome, tallyOf, withOutcome } from './kv-history.ts';
import { startKvClients, type Talking } from './processes.ts';
import { startTroubledProxy, type TroubledProxy } from './troubled-proxy.ts';

const links = everyLink();
const { tls } = links;
let proxy: TroubledProxy;

beforeAll(async () => {
  await links.start();
  proxy = await startTroubledProxy(Number(new URL(links.url('holdfast')).port), 11);
});
afterAll(() => proxy.close());

/** Judges what clients have said, when none of them works any more. */
async function expectHolds(processes: readonly Talking[], hf: Holdfast, space: string): Promise<void> {
  const history = withOutcome(historyOf(processes, space), await readOutcome(hf, space));
  expectLinearizable(history);
  for (const count of Object.values(countsOf(history))) expect(count).toBeGreaterThan(5);
}

/** Two processes with three clients each, all at the same entries. */
async function workAt(url: string, space: string, options: OpenOptions = {}): Promise<Talking[]> {
  const settings = { ways: [{ space, url, options }], clients: 3, operations: 30 };
  const names = ['a', 'b'];
  const processes = await Promise.all(names.map((name, seed) => startKvClients({ ...settings, name, seed })));
  for (const one of processes) one.tell('begin');
  await Promise.all(processes.map((one) => one.says((line) => 'done' in line)));
  return processes;
}

describe('what clients hear of KV is linearizable', () => {
  test.each<[string, () => string, OpenOptions]>([
    ['by a Unix socket', () => links.server.url, {}],
    ['by TCP', () => links.url('holdfast'), {}],
    ['by TLS', () => links.url('holdfasts'), { tls }],
    ['by WebSocket', () => links.url('ws'), {}],
    ['through a proxy that cuts, delays and doubles', () => proxy.url, {}],
  ])('%s', async (name, url, options) => {
    const processes = await workAt(url(), name, options);
    await expectHolds(processes, await openUntilEnd(links.server.url), name);
  });

  test('in a folder: in the process that leads, and in one that follows', async () => {
    const url = `file:${newFolder()}`;
    await expectHolds(await workAt(url, 'folder'), await openUntilEnd(url), 'folder');
  });

  test('among processes on one folder whose leader is killed, again and again', async () => {
    const way = { space: 'killed', url: `file:${newFolder()}`, options: { sessionTimeout: '2s' } } as const;
    const settings = { ways: [way], clients: 2, operations: 40 };
    const all: Talking[] = [];
    const start = async (name: string): Promise<Talking> => {
      const started = await startKvClients({ ...settings, name, seed: all.length });
      all.push(started);
      return started;
    };
    // The first leads; it is followed by whoever is faster.
    const [first, second, third] = [await start('first'), await start('second'), await start('third')];
    for (const one of all) one.tell('begin');
    const answers = (): number => all.reduce((sum, one) => sum + (tallyOf(one).answers.get(way.space) ?? 0), 0);
    const until = (count: number): Promise<unknown> => third.says(() => answers() >= count);
    await until(60);
    await first.end();
    await until(answers() + 60);
    await second.end();
    await third.says((line) => 'done' in line);
    const fourth = await start('fourth');
    fourth.tell('begin');
    await fourth.says((line) => 'done' in line);
    await expectHolds(all, await openUntilEnd(way.url), way.space);
  });
});

test('the proxy has done what it is for', () => {
  for (const count of Object.values(proxy.done)) expect(count).toBeGreaterThan(3);
});
