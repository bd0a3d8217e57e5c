import { join } from 'node:path';
import type { OpenOptions } from 'holdfast';
import { checkLinearizable, type KvAction, type KvAnswer, type KvOperation } from 'holdfast/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newFolder } from '../helpers/instances.ts';
import { makeAuthority } from './certificates.ts';
import { endsBehindFile, folderOfFile } from './conformance.ts';
import { type RunningServer, startKvClients, startServer, type Talking } from './processes.ts';
import { startTroubledProxy, type TroubledProxy } from './troubled-proxy.ts';

const authority = makeAuthority(afterAll);
const { cert, key } = authority.certificate('server');
const folder = folderOfFile();
const endBehind = endsBehindFile();
let server: RunningServer;
let proxy: TroubledProxy;

beforeAll(async () => {
  const listen = [`unix:${join(folder, 'server.sock')}`, 'holdfast://127.0.0.1:0', 'holdfasts://127.0.0.1:0'];
  const more = ['--tls-cert', cert, '--tls-key', key];
  server = await startServer({ folder: join(folder, 'data'), listen, more, sessionTimeoutMs: 30_000, endBehind });
  proxy = await startTroubledProxy(Number(/:(\d+)$/.exec(server.addresses[1] as string)?.[1]), 11);
});
afterAll(() => proxy.close());

/** What clients have said of their operations. */
function historyOf(processes: readonly Talking[]): KvOperation[] {
  const lines = processes.flatMap(({ said }) => said);
  const answers = new Map(lines.filter((line) => 'answeredAt' in line).map((line) => [line['op'], line]));
  return lines
    .filter((line) => 'calledAt' in line)
    .map((line) => {
      const answer = answers.get(line['op']);
      return {
        calledAt: line['calledAt'] as number,
        answeredAt: answer?.['answeredAt'] as number | undefined,
        action: actionOf(line['action'] as KvAction),
        answer: answer && answerOf(answer['answer'] as KvAnswer),
      };
    });
}

/** JSON knows neither bigints nor `undefined`. */
function actionOf(action: KvAction): KvAction {
  if (action.kind === 'read') return action;
  const changes = action.changes.map((change) =>
    change.kind === 'sum' ? { ...change, by: BigInt(change.by) } : change,
  );
  return { ...action, changes };
}

function answerOf(answer: KvAnswer): KvAnswer {
  return answer.kind === 'read' ? { ...answer, entries: answer.entries.map((entry) => entry ?? undefined) } : answer;
}

function expectLinearizable(history: readonly KvOperation[]): void {
  const found = checkLinearizable(history);
  expect(found).toEqual({ verdict: 'linearizable' });
  const count = (of: (operation: KvOperation) => boolean): number => history.filter(of).length;
  expect(count(({ answer }) => answer?.kind === 'committed')).toBeGreaterThan(50);
  expect(count(({ action, answer }) => action.kind === 'read' && answer !== undefined)).toBeGreaterThan(20);
  expect(checkLinearizable(withOneChanged(history)).verdict).toBe('not');
}

/** The history as it would be if somebody had read what was never there. */
function withOneChanged(history: readonly KvOperation[]): KvOperation[] {
  const at = history.findLastIndex(({ answer }) => answer?.kind === 'read' && answer.entries[0] !== undefined);
  const read = history[at] as KvOperation;
  return history.with(at, { ...read, answer: { kind: 'read', entries: [{ value: '-1' }] } });
}

/** Two processes with three clients each, all at the same entries. */
async function workAt(url: string, space: string, options: OpenOptions = {}): Promise<KvOperation[]> {
  const settings = { url, space, options, clients: 3, operations: 30 };
  const processes = await Promise.all(['a', 'b'].map((name) => startKvClients({ ...settings, name })));
  for (const one of processes) one.tell('begin');
  await Promise.all(processes.map((one) => one.says((line) => 'done' in line)));
  return historyOf(processes);
}

describe('what clients hear of KV is linearizable', () => {
  const tls = { ca: authority.caText };
  const urlOf = (address: number, scheme: string): string =>
    (server.addresses[address] as string).replace(/^\w+/, scheme);

  test.each<[string, () => string, OpenOptions]>([
    ['by a Unix socket', () => server.url, {}],
    ['by TCP', () => urlOf(1, 'holdfast'), {}],
    ['by TLS', () => urlOf(2, 'holdfasts'), { tls }],
    ['by WebSocket', () => urlOf(1, 'ws'), {}],
    ['through a proxy that cuts, delays and doubles', () => proxy.url, {}],
  ])('%s', async (name, url, options) => {
    expectLinearizable(await workAt(url(), name, options));
  });

  test('in a folder: in the process that leads, and in one that follows', async () => {
    expectLinearizable(await workAt(`file:${newFolder()}`, 'folder'));
  });

  test('among processes on one folder whose leader is killed, again and again', async () => {
    const settings = { url: `file:${newFolder()}`, space: 'killed', clients: 2, operations: 40 };
    const options = { sessionTimeout: '2s' } as const;
    const start = (name: string): Promise<Talking> => startKvClients({ ...settings, name, options });
    const all: Talking[] = [];
    // The first leads; it is followed by whoever is faster.
    for (const name of ['first', 'second', 'third']) all.push(await start(name));
    for (const one of all) one.tell('begin');
    const [first, second, third] = all as [Talking, Talking, Talking];
    const answers = (): number => all.flatMap(({ said }) => said).filter((line) => 'answeredAt' in line).length;
    const until = (count: number): Promise<unknown> => third.says(() => answers() >= count);
    await until(60);
    await first.end();
    await until(answers() + 60);
    await second.end();
    await third.says((line) => 'done' in line);
    const fourth = await start('fourth');
    all.push(fourth);
    fourth.tell('begin');
    await fourth.says((line) => 'done' in line);
    expectLinearizable(historyOf(all));
  });
});

test('the proxy has done what it is for', () => {
  for (const count of Object.values(proxy.done)) expect(count).toBeGreaterThan(3);
});
