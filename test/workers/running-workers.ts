import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Holdfast, open } from 'holdfast';
import { onTestFinished } from 'vitest';

/** A line of the log, or one that a FILE has written. */
export interface Line {
  readonly msg?: string;
  readonly worker?: number;
  readonly said?: string;
  readonly process?: number;
  readonly at?: number;
  readonly [field: string]: unknown;
}

export interface RunningWorkers {
  readonly supervisor: ChildProcess;
  readonly lines: readonly Line[];
  readonly errors: () => string;
  /** Resolves with the lines that match as soon as there are so many of them. Rejects when the supervisor ends before. */
  until(match: Partial<Line>, count?: number): Promise<Line[]>;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

export interface WorkerOptions {
  /** @default a new one */
  readonly folder?: string;
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** In a process group of its own, as a container or a shell starts it. */
  readonly isGroup?: boolean;
}

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export function fileOf(name: string): string {
  return fileURLToPath(new URL(`./files/${name}.mjs`, import.meta.url));
}

/** A folder that is deleted behind the test. */
export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-workers-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }));
  return folder;
}

function dataIn(folder: string): string {
  return join(folder, 'data');
}

/** Opens the store that the workers of this folder work on, until the end of the test. */
export async function openIn(folder: string): Promise<Holdfast> {
  const hf = await open(`file:${dataIn(folder)}`);
  onTestFinished(() => hf.close({ grace: 0 }));
  return hf;
}

/** Starts `holdfast worker` with FILEs of this folder. */
export function startWorkers(files: readonly string[], options: WorkerOptions = {}): RunningWorkers {
  const { folder = newFolder(), args = [], env = {}, isGroup = false } = options;
  const paths = files.map((name) => (name.includes('/') ? name : fileOf(name)));
  const target = args.includes('--url') ? [] : ['--data', dataIn(folder)];
  const child = spawn(
    process.execPath,
    [MAIN, 'worker', ...paths, ...target, '--state', join(folder, 'state'), ...args],
    { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'], detached: isGroup },
  );
  const lines: Line[] = [];
  const listeners = new Set<() => void>();
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  createInterface({ input: child.stdout }).on('line', (text) => {
    lines.push(JSON.parse(text) as Line);
    for (const look of listeners) look();
  });
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    for (const { worker } of lines) if (worker !== undefined && isAlive(worker)) process.kill(worker, 'SIGKILL');
    await ended;
  });
  const matching = (match: Partial<Line>): Line[] =>
    lines.filter((line) => Object.entries(match).every(([name, value]) => line[name] === value));
  return {
    supervisor: child,
    lines,
    errors: () => errors,
    ended,
    until: (match, count = 1) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = matching(match);
          if (found.length < count) return;
          listeners.delete(look);
          resolve(found);
        };
        listeners.add(look);
        look();
        void ended.then(() => {
          reject(
            new Error(`The supervisor ended before ${JSON.stringify(match)}\n${JSON.stringify(lines)}\n${errors}`),
          );
        });
      }),
  };
}

/** The processes that work, or did. */
export function workersIn({ lines }: RunningWorkers): number[] {
  return [...new Set(lines.flatMap(({ worker }) => worker ?? []))];
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
