/** Deno and its package for Node, in processes of their own, doing the same as Holdfast. */
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Limit } from '../case.ts';
import type { Figures } from './workloads.ts';

/** Where both are installed: `npm ci` there, it is no part of the project. */
const PLACE = fileURLToPath(new URL('../../../../integrations/deno/', import.meta.url));

const program = (name: string): string => fileURLToPath(new URL(`./${name}.js`, import.meta.url));

/** A step that takes longer hangs. */
const TIMEOUT_MS = 110_000;

/** What the program of Deno makes of this, on a file of its own. */
export async function onDeno(work: string, folder: string): Promise<Limit> {
  const child = spawn(
    denoProgram(),
    ['run', '--allow-all', '--unstable-kv', program('on-deno'), work, join(folder, 'deno.sqlite3')],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: TIMEOUT_MS,
    },
  );
  return limitOf('Deno', await figuresOf(child.stdout));
}

/** What `@deno/kv` makes of it on Node. */
export async function onPackage(work: string, folder: string): Promise<Limit> {
  installed();
  const child = fork(program('on-package'), [PLACE, work, join(folder, 'package.sqlite3')], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    timeout: TIMEOUT_MS,
  });
  return limitOf('@deno/kv', await figuresOf(child.stdout as NodeJS.ReadableStream));
}

/** How long a message takes from one process of Deno to a listener in another. */
export async function wokenOnDeno(folder: string): Promise<Limit> {
  const file = join(folder, 'deno.sqlite3');
  const start = (work: string): ReturnType<typeof spawn> =>
    spawn(denoProgram(), ['run', '--allow-all', '--unstable-kv', program('on-deno'), work, file], {
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: TIMEOUT_MS,
    });
  const listener = start('listen');
  const lines = createInterface({ input: listener.stdout as NodeJS.ReadableStream });
  await once(lines, 'line');
  const sender = start('send');
  const [line] = (await once(lines, 'line')) as [string];
  listener.kill();
  sender.kill();
  return limitOf('Deno', JSON.parse(line) as Figures);
}

function denoProgram(): string {
  installed();
  return createRequire(join(PLACE, 'package.json')).resolve(
    `@deno/${process.platform}-${process.arch}${process.platform === 'linux' ? '-glibc' : ''}/deno`,
  );
}

/** @throws Error that says what to do */
function installed(): void {
  if (!existsSync(join(PLACE, 'node_modules')))
    throw new Error(`Cannot measure Deno: run "npm run integrations" first`);
}

async function figuresOf(output: NodeJS.ReadableStream): Promise<Figures> {
  const [line] = (await once(createInterface({ input: output }), 'line')) as [string];
  return JSON.parse(line) as Figures;
}

function limitOf(name: string, { perSecond, p50Ms, p99Ms }: Figures): Limit {
  return {
    name,
    ...(perSecond === undefined ? {} : { perSecond }),
    ...(p50Ms === undefined ? {} : { p50Ms }),
    ...(p99Ms === undefined ? {} : { p99Ms }),
  };
}
