import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { type Holdfast, open } from 'holdfast';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';

export const main: string = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export interface Ran {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

/** The environment without what would change the commands. */
export function cleanEnvironment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^HOLDFAST_|^(NO|FORCE)_COLOR$|^NODE_DISABLE_COLORS$|^CI$/.test(name),
  );
  return { ...Object.fromEntries(kept), ...extra };
}

/** Runs a program to its end, without a terminal. */
export function runProgram(program: string, args: readonly string[], env: Record<string, string> = {}): Promise<Ran> {
  return endOf(spawn(program, args, { env: cleanEnvironment(env), stdio: ['ignore', 'pipe', 'pipe'] }));
}

/** Runs `holdfast` to its end. */
export function holdfast(...args: readonly string[]): Promise<Ran> {
  return runProgram(process.execPath, [main, ...args]);
}

/** A command that runs until it is told to end. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ran>;
  /** Resolves when its output has this in it. */
  readonly said: (text: string) => Promise<void>;
}

/** Starts `holdfast`; it is killed behind the test if it still runs then. */
export function startHoldfast(...args: readonly string[]): Running {
  const child = spawn(process.execPath, [main, ...args], {
    env: cleanEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let output = '';
  let look = (): void => {};
  child.stdout.on('data', (piece: Buffer) => {
    output += piece.toString();
    look();
  });
  const ended = endOf(child);
  const said = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      look = () => {
        if (output.includes(text)) resolve();
      };
      look();
      void ended.then(({ errors }) => reject(new Error(`It never said "${text}", but "${output}" and "${errors}"`)));
    });
  return { child, ended, said };
}

/** The value that `holdfast … --json` writes. @throws Error when it fails */
export async function json<T>(...args: readonly string[]): Promise<T> {
  const { code, output, errors } = await holdfast(...args, '--json');
  if (code !== 0) throw new Error(`It ended with ${code}: ${errors}`);
  return JSON.parse(output) as T;
}

function endOf(child: ChildProcess): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const [output, errors]: [Buffer[], Buffer[]] = [[], []];
    child.stdout?.on('data', (piece: Buffer) => output.push(piece));
    child.stderr?.on('data', (piece: Buffer) => errors.push(piece));
    child.on('error', reject);
    child.on('close', (code) => {
      resolve({ code, output: Buffer.concat(output).toString(), errors: Buffer.concat(errors).toString() });
    });
  });
}

/** A folder with something in it, and who has it open while commands look at it. */
export interface Filled {
  readonly folder: string;
  readonly ready: string;
  readonly dead: string;
  readonly delayed: string;
}

export interface Situation {
  readonly name: string;
  readonly fill: () => Promise<Filled>;
}

export const situations: readonly Situation[] = [
  {
    name: 'a folder that nobody has open',
    fill: () => fillFolder(newFolder()),
  },
  {
    name: 'a folder that another process has open',
    async fill() {
      const folder = newFolder();
      return fillStore(await openUntilEnd(`file:${folder}`), folder);
    },
  },
];

/** Makes a store with something in it, and closes it. */
export async function fillFolder(folder: string): Promise<Filled> {
  const hf = await open(`file:${folder}`);
  try {
    return await fillStore(hf, folder);
  } finally {
    await hf.close();
  }
}

/** One message that is dead, one ready, one delayed, in "mail", and a ready one in "other". */
async function fillStore(hf: Holdfast, folder: string): Promise<Filled> {
  const mail = hf.channel<unknown>('mail', { attempts: 1 });
  const dead = await mail.produce({ to: 'nobody' });
  const consumer = await mail.consume(async (_message, context) => {
    await context.log('about to fail');
    throw new Error('no such address');
  });
  await mail.result(dead.id).catch(() => {});
  await consumer.drain();
  const ready = await mail.produce({ to: 'peter', size: 12n });
  const delayed = await mail.produce('later', { delay: '1h' });
  await hf.channel<number>('other').produce(5);
  return { folder, ready: ready.id, dead: dead.id, delayed: delayed.id };
}
