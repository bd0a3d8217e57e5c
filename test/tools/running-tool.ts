import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

/** A compiled tool that runs. */
export interface RunningTool {
  readonly process: ChildProcess;
  /** The folder in which it makes its temporary ones. */
  readonly temporary: string;
  /** Resolves when it has written this to its standard output. Rejects when it ends before. */
  said(text: string): Promise<void>;
  readonly ended: Promise<EndedTool>;
}

export interface EndedTool {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Starts a tool in a process group of its own, as a shell does.
 *
 * @param under a program with its arguments that runs the tool's command
 */
export function startTool(name: string, args: readonly string[], under: readonly string[] = []): RunningTool {
  const main = fileURLToPath(new URL(`../../.build/tools/${name}/main.js`, import.meta.url));
  const temporary = mkdtempSync(join(tmpdir(), `holdfast-${name}-test-`));
  const [program, ...rest] = [...under, process.execPath, main, ...args] as [string, ...string[]];
  const child = spawn(program, rest, {
    detached: true,
    env: { ...process.env, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  const listeners = new Set<() => void>();
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    for (const look of listeners) look();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = new Promise<EndedTool>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  onTestFinished(async () => {
    // A test that failed: the tool may have mounted something, and knows best how to end.
    child.kill('SIGTERM');
    await ended;
    rmSync(temporary, { recursive: true, force: true });
  });
  return {
    process: child,
    temporary,
    said: (text) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (stdout.includes(text)) resolve();
        };
        listeners.add(look);
        look();
        void ended.then(() => reject(new Error(`The tool ended before it said "${text}"\n${stdout}${stderr}`)), reject);
      }),
    ended,
  };
}

/** Runs a tool to its end. */
export function runTool(name: string, args: readonly string[], under?: readonly string[]): Promise<EndedTool> {
  return startTool(name, args, under).ended;
}

/**
 * Sends the signal as a Ctrl+C in a terminal does: the whole group gets it, and the tool again from npm. How soon the
 * second comes is chance, so it comes all the time.
 */
export async function interrupt({ process: child, ended }: RunningTool, signal: NodeJS.Signals): Promise<EndedTool> {
  process.kill(-(child.pid as number), signal);
  const again = setInterval(() => child.kill(signal), 1);
  try {
    return await ended;
  } finally {
    clearInterval(again);
  }
}

/** What a tool has left behind: temporary folders, mounts and loop devices of them, and processes that work in them. */
export function leftBehind(tool: RunningTool): string[] {
  const { temporary } = tool;
  const loops = readdirSync('/sys/block').filter((name) => name.startsWith('loop'));
  return [
    ...readdirSync(temporary),
    ...named('/proc/mounts', temporary),
    ...loops.flatMap((name) => named(`/sys/block/${name}/loop/backing_file`, temporary)),
    ...processesOf(tool),
  ];
}

/** The processes that work in the tool's temporary folders. */
export function processesOf({ temporary }: RunningTool): string[] {
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return processes.flatMap((name) => named(`/proc/${name}/cmdline`, temporary));
}

/** The path, if the file there names the folder. */
function named(path: string, folder: string): string[] {
  try {
    return readFileSync(path, 'utf8').includes(folder) ? [path] : [];
  } catch {
    // A process ends between two looks, and most loop devices have no file behind them.
    return [];
  }
}
