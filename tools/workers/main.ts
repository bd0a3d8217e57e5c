/**
 * Measures worker processes: `npm run workers`. From the kill of a process to the handler's start in another, and from the
 * produce of a message to its handler's start where a process must be started for it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { open } from 'holdfast';
import type { Started, Task } from './consumer.ts';

const ROUNDS = Number(process.argv[2] ?? 20);
const CLI = fileURLToPath(new URL('../cli/main.js', import.meta.resolve('holdfast/testing')));
const CONSUMER = fileURLToPath(new URL('./consumer.js', import.meta.url));

type Line = Partial<Started> & { readonly msg?: string; readonly consuming?: number };

print('from SIGKILL to the handler in another process', await measureRedelivery());
print('from produce to the handler with --min 0', await measureDemand());

async function measureRedelivery(): Promise<number[]> {
  return inFolder(async (data) => {
    // This process leads, as a supervisor does, and starts the others itself: a supervisor would wait before it does.
    await using store = await open(`file:${data}`);
    const tasks = store.channel<Task>('tasks');
    const children = new Map<number, ChildProcess>();
    const { next, listen } = lines();
    const start = async (): Promise<void> => {
      const env = { ...process.env, HOLDFAST_DATA: data };
      const child = spawn(process.execPath, [CONSUMER], { env, stdio: ['ignore', 'pipe', 'inherit'] });
      children.set(child.pid as number, child);
      listen(child);
      await next(({ consuming }) => consuming === child.pid);
    };
    try {
      await Promise.all([start(), start()]);
      const times: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const name = `task ${round}`;
        const { id } = await tasks.produce({ name, holds: true });
        const first = await next((line) => line.started === name);
        const killedAt = performance.timeOrigin + performance.now();
        children.get(first.process as number)?.kill('SIGKILL');
        const second = await next((line) => line.started === name);
        times.push((second.at as number) - killedAt);
        await tasks.result(id);
        await start();
      }
      return times;
    } finally {
      for (const child of children.values()) child.kill('SIGKILL');
    }
  });
}

async function measureDemand(): Promise<number[]> {
  return withWorkers(['--processes', '1', '--min', '0', '--idle', '100ms'], async ({ next, store }) => {
    const tasks = store.channel<Task>('tasks');
    const times: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      await next(({ msg }) => msg === 'A worker process has ended');
      const name = `task ${round}`;
      const producedAt = performance.timeOrigin + performance.now();
      await tasks.produce({ name, holds: false });
      const { at } = await next((line) => line.started === name);
      times.push((at as number) - producedAt);
    }
    return times;
  });
}

interface Rig {
  /** The next line that matches, among those that were not asked for yet. */
  readonly next: (matches: (line: Line) => boolean) => Promise<Line>;
  readonly store: Awaited<ReturnType<typeof open>>;
}

async function inFolder<T>(work: (data: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-workers-'));
  try {
    return await work(join(folder, 'data'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function withWorkers(flags: readonly string[], measure: (rig: Rig) => Promise<number[]>): Promise<number[]> {
  return inFolder(async (data) => {
    const supervisor = spawn(
      process.execPath,
      [CLI, 'worker', CONSUMER, '--data', data, '--state', data, '--grace', '0', ...flags],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    try {
      const { next, listen } = lines();
      listen(supervisor);
      await next(({ msg }) => msg === 'A worker process was started');
      // Behind the supervisor, which leads the store then.
      await using store = await open(`file:${data}`);
      return await measure({ next, store });
    } finally {
      const ended = once(supervisor, 'exit');
      supervisor.kill('SIGTERM');
      await ended;
    }
  });
}

function lines(): { readonly next: Rig['next']; readonly listen: (child: ChildProcess) => void } {
  const unread: Line[] = [];
  const lookers = new Set<() => void>();
  return {
    listen({ stdout }) {
      createInterface({ input: stdout as NodeJS.ReadableStream }).on('line', (text) => {
        unread.push(JSON.parse(text) as Line);
        for (const look of lookers) look();
      });
    },
    next: (matches) =>
      new Promise((resolve) => {
        const look = (): void => {
          const at = unread.findIndex(matches);
          if (at < 0) return;
          lookers.delete(look);
          resolve(unread.splice(at, 1)[0] as Line);
        };
        lookers.add(look);
        look();
      }),
  };
}

function print(what: string, times: readonly number[]): void {
  const sorted = times.toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)] ?? NaN;
  const shown = [sorted[0], median, sorted.at(-1)].map((ms) => (ms ?? NaN).toFixed(1));
  console.log(`${what}: least ${shown[0]} ms, median ${shown[1]} ms, worst ${shown[2]} ms of ${times.length}`);
}
