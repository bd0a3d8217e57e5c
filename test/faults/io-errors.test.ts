import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { open, type State, type StoredMessage } from 'holdfast';
import { beforeAll, expect, test } from 'vitest';
import { type Ended, inParallel, must, need, run } from '../store/children.ts';
import { temporaryFolder } from './folders.ts';
import { pathOfProgram } from './programs.ts';

const folder = temporaryFolder();
const program = pathOfProgram('fifty-operations');

const CALLS = ['pwrite64', 'pwritev', 'writev', 'fdatasync', 'fsync', 'msync', 'ftruncate'];
const AT_ONCE = 6;
const STATES: readonly State[] = ['ready', 'delayed', 'leased', 'completed', 'dead', 'cancelled'];

/** Every call of an unbroken run. */
const places: { readonly call: string; readonly number: number }[] = [];

beforeAll(async () => {
  need('strace');
  const trace = join(folder, 'trace');
  const data = join(folder, 'whole');
  must('strace', '-f', '-o', trace, '-e', `trace=${CALLS.join()}`, process.execPath, program, data);
  const counts = new Map<string, number>();
  for (const [, call] of readFileSync(trace, 'utf8').matchAll(/^\d+ +(\w+)\(/gm)) {
    if (call === undefined) continue;
    const number = (counts.get(call) ?? 0) + 1;
    counts.set(call, number);
    places.push({ call, number });
  }
  expect(places.length).toBeGreaterThan(20);
});

test('nothing acknowledged is lost when the n-th write or sync fails, for every n', async () => {
  let wentOn = 0;
  await inParallel(places, AT_ONCE, async ({ call, number }) => {
    const data = join(folder, `${call} ${number}`);
    const trace = `${data} trace`;
    const fault = ['-e', `trace=${call}`, '-e', `inject=${call}:error=EIO:when=${number}`];
    const ended = await run('strace', ['-f', '--seccomp-bpf', '-o', trace, ...fault, process.execPath, program, data]);
    // How the calls of two threads fall varies a little, so the last of an unbroken run may not come.
    if (!readFileSync(trace, 'utf8').includes('(INJECTED)')) return;
    if (ended.signal === null && !ended.output.includes('failed')) wentOn += 1;
    await check(data, ended, `${call} ${number}`);
  });
  // The broker opens the store anew, and clients get their answers late.
  expect(wentOn).toBeGreaterThan(places.length / 4);
}, 150_000);

async function check(data: string, { output }: Ended, fault: string): Promise<void> {
  const said = (what: string): string[] =>
    [...output.matchAll(new RegExp(`^${what} (\\S+)$`, 'gm'))].map(([, id]) => id as string);
  await using holdfast = await open(`file:${data}`);
  const jobs = holdfast.channel<{ readonly number: number }>('jobs', { retain: { completed: false } });
  const effects = await holdfast.channel<{ readonly number: number }>('effects').list('ready', { limit: 100 });
  const stored: StoredMessage<{ readonly number: number }>[] = [];
  for (const state of STATES) stored.push(...(await jobs.list(state, { limit: 100 })));
  const states = new Map(stored.map(({ id, state }) => [id, state]));

  for (const id of said('stored')) expect(states.has(id), `${fault}: stored ${id}`).toBe(true);
  for (const id of said('completed')) expect(states.get(id), `${fault}: completed ${id}`).toBe('completed');
  for (const id of said('cancelled')) expect(states.get(id), `${fault}: cancelled ${id}`).toBe('cancelled');
  const numbers = stored.map(({ message }) => message.number);
  expect(new Set(numbers).size, `${fault}: stored twice`).toBe(numbers.length);
  const completed = stored.filter(({ state }) => state === 'completed').map(({ message }) => message.number);
  const effected = effects.map(({ message }) => message.number);
  expect(
    effected.sort((a, b) => a - b),
    `${fault}: effects`,
  ).toEqual(completed.sort((a, b) => a - b));
  await jobs.produce({ number: -1 });
}
