/** Applications like those of Deepkit's users, compiled by Deepkit's toolchain, and what they run on. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Holdfast, open } from 'holdfast';
import { BrokerQueue } from 'holdfast/deepkit';
import { onTestFinished } from 'vitest';
import {
  type EndBehind,
  type Ended,
  type RunningServer,
  type Said,
  startServer,
  talking,
  type Talking,
} from '../network/processes.ts';

export const root: string = fileURLToPath(new URL('../../', import.meta.url));

/** Where Deepkit is installed. `npm run integrations` does it. */
const INSTALLED: string = join(root, 'integrations', 'deepkit', 'node_modules');

export interface DeepkitApp {
  readonly folder: string;
  /** Compiles all of it, once. @returns what the compiler has against it, a line each */
  compile(): Promise<string[]>;
  /** Starts a compiled file, which is killed behind the test. */
  start(file: string, settings?: StartSettings): Talking;
}

export interface StartSettings {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly endBehind?: EndBehind;
}

export interface AppSettings {
  readonly type: 'module' | 'commonjs';
  /** The packages of Deepkit that it has; all that are installed by default. */
  readonly packages?: readonly string[];
  /** Of the compiler, beside {@link OPTIONS}. */
  readonly options?: Readonly<Record<string, unknown>>;
  readonly endBehind: EndBehind;
}

/** Makes an application, of the text of each file by its path; it is deleted as told. */
export function newDeepkitApp(files: Readonly<Record<string, string>>, settings: AppSettings): DeepkitApp {
  mkdirSync(join(root, '.build'), { recursive: true });
  const folder = mkdtempSync(join(root, '.build', 'deepkit-'));
  settings.endBehind(async () => rmSync(folder, { recursive: true, force: true }));
  install(join(folder, 'node_modules'), settings.packages);
  const own = {
    'package.json': JSON.stringify({ type: settings.type }),
    'tsconfig.json': JSON.stringify({
      compilerOptions: { ...OPTIONS, ...settings.options },
      reflection: true,
      include: ['*.ts', '*.mts'],
    }),
  };
  for (const [path, text] of Object.entries({ ...own, ...files })) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return {
    folder,
    compile: () => complaintsOf(folder),
    start: (file, { args = [], env = {}, endBehind } = {}) => talking([join(folder, file), ...args], env, endBehind),
  };
}

/** As strict as Deepkit's own declarations are. */
const OPTIONS = {
  target: 'es2022',
  module: 'nodenext',
  strict: true,
  experimentalDecorators: true,
  types: ['node'],
  skipLibCheck: true,
};

/**
 * Holdfast as a copy, since a link would lead away from where the application has Deepkit. What it needs itself is found in the
 * repository, which the application lies in; there is no Deepkit.
 */
function install(modules: string, packages: readonly string[] | undefined): void {
  const holdfast = join(modules, 'holdfast');
  mkdirSync(holdfast, { recursive: true });
  cpSync(join(root, 'package.json'), join(holdfast, 'package.json'));
  cpSync(join(root, 'dist'), join(holdfast, 'dist'), {
    recursive: true,
    filter: (path) => !path.endsWith('.map') && !path.endsWith('.tsbuildinfo'),
  });
  mkdirSync(join(modules, '@deepkit'));
  for (const name of packages ?? readdirSync(join(INSTALLED, '@deepkit'))) {
    symlinkSync(join(INSTALLED, '@deepkit', name), join(modules, '@deepkit', name));
  }
  // Without TypeScript in reach, Deepkit's compiler knows no Set and no Map.
  for (const name of ['@types', 'typescript']) symlinkSync(join(INSTALLED, name), join(modules, name));
}

async function complaintsOf(folder: string): Promise<string[]> {
  const compiler = join(INSTALLED, 'typescript', 'bin', 'tsc');
  const { stdout } = await promisify(execFile)(process.execPath, [compiler, '-p', folder, '--pretty', 'false']).catch(
    (error: unknown) => {
      const { stdout = '' } = error as { stdout?: string };
      if (stdout === '') throw error;
      return { stdout };
    },
  );
  return stdout.split('\n').filter((line) => line !== '');
}

/** The text of a file of this folder. */
export function read(path: string): string {
  return readFileSync(new URL(path, import.meta.url), 'utf8');
}

/** A server, an instance on it, and queues whose application is the test, which was not compiled by Deepkit. */
export interface Place {
  server: RunningServer;
  readonly url: string;
  readonly hf: Holdfast;
  readonly queue: BrokerQueue;
}

export async function startPlace(endBehind: EndBehind = onTestFinished): Promise<Place> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-deepkit-'));
  endBehind(async () => rmSync(folder, { recursive: true, force: true }));
  const server = await startServer({ folder, endBehind });
  const hf = await open(server.url);
  endBehind(() => hf.close());
  return { server, url: server.url, hf, queue: new BrokerQueue(hf) };
}

/** Kills the server, and starts another one on what it has left, at the same address. */
export async function killAndRestart(place: Place, endBehind: EndBehind = onTestFinished): Promise<void> {
  const { folder, url } = place.server;
  await place.server.end('SIGKILL');
  place.server = await startServer({ folder, listen: [url], endBehind });
}

/** How a program has ended; of its errors without what Deepkit says of how slow its own types are. */
export async function endOf(running: Talking, signal?: NodeJS.Signals): Promise<Ended> {
  const { errors, ...rest } = await (signal === undefined ? running.ended : running.end(signal));
  return { ...rest, errors: errors.replaceAll(/^Type computation took very long .*\n/gm, '') };
}

/** The numbers of what was handled, or began to be. */
export function handledBy(...workers: readonly Talking[]): unknown[] {
  return workers.flatMap(({ said }) => said.filter((line) => 'handling' in line).map((line) => line['handling']));
}

export const handling =
  (n: number) =>
  (line: Said): boolean =>
    line['handling'] === n;
