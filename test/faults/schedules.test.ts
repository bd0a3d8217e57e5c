import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, expect, test } from 'vitest';
import { type Channel, open, type StoredMessage } from 'holdfast';
import { temporaryFolder } from './folders.ts';
import { kill, pathOfProgram } from './programs.ts';

const folder = temporaryFolder();
/** Those of the program. */
const SCHEDULES = [
  { key: 'interval', stepMs: 100 },
  { key: 'pattern', stepMs: 1_000 },
];

const KILLS = 20;
const PROCESSES = 3;
/** How many ticks of the interval come to handlers between two kills. */
const TICKS = 4;

interface Member {
  readonly child: ChildProcess;
  isReady: boolean;
  leads: boolean;
}

const running = new Set<Member>();
const seen = new Set<string>();
let look = (): void => {};

afterAll(async () => {
  for (const { child } of running) await kill(child);
});

/** Starts a process that shares the folder, and hears what it says. */
function start(data: string): Member {
  const child = spawn(process.execPath, [pathOfProgram('tick'), data], { stdio: ['ignore', 'pipe', 'inherit'] });
  const member = { child, isReady: false, leads: false };
  running.add(member);
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line === 'ready') member.isReady = true;
    else if (line === 'leads') member.leads = true;
    else seen.add(line);
    look();
  });
  return member;
}

/** Waits until it is so; whatever a process says may make it so. */
function until(isSo: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    look = () => {
      if (isSo()) resolve();
    };
    look();
  });
}

const intervalTicks = (): number => [...seen].filter((line) => line.startsWith('tick interval')).length;

test(`each tick comes exactly once under ${KILLS} kills of the process that leads`, async () => {
  const data = join(folder, 'data');
  // The first one leads, as nobody else is there.
  const first = start(data);
  await until(() => first.isReady);
  first.leads = true;
  while (running.size < PROCESSES) start(data);
  await until(() => [...running].every(({ isReady }) => isReady));
  for (let killed = 0; killed < KILLS; killed++) {
    const before = intervalTicks();
    await until(() => intervalTicks() >= before + TICKS && [...running].some(({ leads }) => leads));
    const leader = [...running].find(({ leads }) => leads) as Member;
    running.delete(leader);
    await kill(leader.child);
    start(data);
  }
  await until(() => [...running].some(({ leads }) => leads));
  for (const member of running) {
    running.delete(member);
    const gone = once(member.child, 'exit');
    member.child.kill('SIGKILL');
    await gone;
  }
  await using hf = await open(`file:${data}`);
  for (const { key } of SCHEDULES) await hf.schedules.pause(key);
  const channel = hf.channel<string>('ticks', { retain: { completed: false } });
  const stored = await all(channel);
  let ticks = 0;
  for (const { key, stepMs } of SCHEDULES) {
    const times = stored.filter(({ schedule }) => schedule?.key === key).map(({ schedule }) => schedule?.at ?? 0);
    times.sort((a, b) => a - b);
    const [start = 0] = times;
    expect(times).toEqual(times.map((_, i) => start + i * stepMs));
    const schedule = await hf.schedules.get(key);
    expect(schedule).toMatchObject({ ticks: times.length, lastAt: times.at(-1) });
    ticks += times.length;
  }
  expect(ticks).toBeGreaterThan(KILLS * TICKS);
  // A tick that came twice would have the same id.
  expect((await channel.inspect()).totals.produced).toBe(ticks);
}, 180_000);

/**
 * Every message of a channel that nobody works on. Those that dead processes held go from leased to ready meanwhile, so they are
 * looked for there first.
 */
async function all(channel: Channel<string>): Promise<StoredMessage<string>[]> {
  const found = new Map<string, StoredMessage<string>>();
  for (const state of ['leased', 'delayed', 'waiting', 'ready', 'completed', 'dead', 'cancelled'] as const) {
    for (let offset = 0; ; offset += 100) {
      const messages = await channel.list(state, { offset, limit: 100 });
      for (const message of messages) found.set(message.id, message);
      if (messages.length < 100) break;
    }
  }
  return [...found.values()];
}
