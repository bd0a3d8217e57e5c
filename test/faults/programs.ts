import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Ended, run } from '../store/children.ts';

/** The path of a program beside this file. */
export function pathOfProgram(name: string): string {
  return fileURLToPath(new URL(`./programs/${name}.mjs`, import.meta.url));
}

/** Runs a program of this folder to its end. */
export function runProgram(name: string, ...args: string[]): Promise<Ended> {
  return run(process.execPath, [pathOfProgram(name), ...args]);
}

/** Starts a program of this folder and resolves with it when it has said its first line. */
export async function startProgram(name: string, ...args: string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [pathOfProgram(name), ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  await Promise.race([
    once(createInterface({ input: child.stdout }), 'line'),
    once(child, 'exit').then(() => Promise.reject(new Error(`The program "${name}" ended before it said anything`))),
  ]);
  return child;
}

/** Kills a program and waits until it is gone. */
export async function kill(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}
