import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { OpenOptions } from 'holdfast';
import { onTestFinished } from 'vitest';
import { newFolder } from '../helpers/instances.ts';

/** What a process says: a line of JSON, or a line that is none under `text`. */
export type Said = Readonly<Record<string, unknown>>;

/** A process that says lines of JSON. */
export interface Talking {
  readonly process: ChildProcess;
  readonly pid: number;
  /** All it has said. */
  readonly said: readonly Said[];
  /** Resolves with the first line that matches, be it said already; rejects when the process ends without it. */
  says(match: (line: Said) => boolean): Promise<Said>;
  tell(line: string): void;
  /** Sends a signal. */
  kill(signal: NodeJS.Signals): void;
  /** Sends a signal and waits for the end. */
  end(signal?: NodeJS.Signals): Promise<Ended>;
  readonly ended: Promise<Ended>;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly errors: string;
}

/** Where what was started is ended: behind the test, or, with `afterAll`, behind the last one of the file. */
export type EndBehind = (end: () => Promise<void>) => void;

/** Starts a program of this folder. */
function startProgram(name: string, settings: unknown, flags: readonly string[], endBehind?: EndBehind): Talking {
  const path = fileURLToPath(new URL(`./programs/${name}.mjs`, import.meta.url));
  return talking([...flags, path, JSON.stringify(settings)], {}, endBehind);
}

const command = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** Runs the command `holdfast`, which is killed behind the test unless told otherwise. */
export function startCommand(args: readonly string[], env: NodeJS.ProcessEnv = {}, endBehind?: EndBehind): Talking {
  return talking([command, ...args], env, endBehind);
}

/** Runs Node, or another program, with these arguments, and ends it behind the test unless told otherwise. */
export function talking(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  endBehind: EndBehind = onTestFinished,
  program: string = process.execPath,
): Talking {
  const child = spawn(program, args, { stdio: 'pipe', env: { ...ownEnvironment(), ...env } });
  const said: Said[] = [];
  const listeners = new Set<() => void>();
  let errors = '';
  let isOver = false;
  createInterface({ input: child.stdout }).on('line', (line) => {
    said.push(parse(line));
    for (const look of listeners) look();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  child.stdin.on('error', () => {});
  const ended = once(child, 'close').then(([code, signal]) => {
    isOver = true;
    for (const look of listeners) look();
    return { code, signal, errors } as Ended;
  });
  const kill = (signal: NodeJS.Signals): void => {
    if (!isOver) child.kill(signal);
  };
  const end = (signal: NodeJS.Signals = 'SIGKILL'): Promise<Ended> => {
    kill(signal);
    return ended;
  };
  endBehind(async () => {
    await end();
  });
  return {
    process: child,
    pid: child.pid as number,
    said,
    says: (match) =>
      new Promise((resolve, reject) => {
        let seen = 0;
        const look = (): void => {
          const found = said.slice(seen).find(match);
          seen = said.length;
          if (found === undefined && !isOver) return;
          listeners.delete(look);
          if (found !== undefined) resolve(found);
          else reject(new Error(`The process ended without saying it: ${JSON.stringify(said.slice(-5))}\n${errors}`));
        };
        listeners.add(look);
        look();
      }),
    tell: (line) => void child.stdin.write(`${line}\n`),
    kill,
    end,
    ended,
  };
}

function parse(line: string): Said {
  try {
    return JSON.parse(line) as Said;
  } catch {
    return { text: line };
  }
}

/** Nothing that is set for the person who runs the tests counts in them. */
function ownEnvironment(): NodeJS.ProcessEnv {
  const ignored = /^(HOLDFAST_|PORT$)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !ignored.test(name)));
}

/** A server and where it is to be found. */
export interface RunningServer extends Talking {
  readonly folder: string;
  readonly addresses: readonly string[];
  /** The first address. */
  readonly url: string;
  /** The port of the first address. */
  readonly port: number;
}

const SESSION_TIMEOUT_MS = 1_000;

export interface ServerSettings {
  readonly folder?: string;
  readonly listen?: readonly string[];
  readonly sessionTimeoutMs?: number;
  readonly more?: readonly string[];
  readonly endBehind?: EndBehind;
}

/** `holdfast serve` on a folder of its own, at a free port unless told otherwise. */
export async function startServer(settings: ServerSettings = {}): Promise<RunningServer> {
  const { folder = newFolder(), listen = ['holdfast://127.0.0.1:0'], more = [] } = settings;
  const timeout = String(settings.sessionTimeoutMs ?? SESSION_TIMEOUT_MS);
  const server = startCommand(
    [
      'serve',
      '--data',
      folder,
      '--session-timeout',
      timeout,
      ...listen.flatMap((address) => ['--listen', address]),
      ...more,
    ],
    {},
    settings.endBehind,
  );
  const { addresses } = await server.says(({ msg }) => msg === 'Serving');
  return running(server, folder, addresses as string[]);
}

/** What `startServer` of the code takes, with parts left out. */
export interface LimitedSettings {
  readonly folder?: string;
  readonly addresses?: readonly unknown[];
  readonly sessionTimeoutMs?: number;
  readonly connectionsPerAddress?: number;
  readonly limits?: Readonly<Record<string, number>>;
  readonly tls?: unknown;
  readonly endBehind?: EndBehind;
}

/** A server with limits of its own; it says what memory it takes when it is asked. */
export async function startLimitedServer(settings: LimitedSettings = {}): Promise<RunningServer> {
  const { folder = newFolder(), addresses = [LOOPBACK], connectionsPerAddress = 4_096, limits = {}, tls } = settings;
  const { sessionTimeoutMs = SESSION_TIMEOUT_MS } = settings;
  const host = { target: { kind: 'folder', folder }, space: 'default', reserveBytes: 0, sessionTimeoutMs };
  const program = { host, addresses, connectionsPerAddress, limits, tls };
  const server = startProgram('server', program, ['--expose-gc'], settings.endBehind);
  const { addresses: bound } = await server.says((line) => 'addresses' in line);
  return running(server, folder, bound as string[]);
}

export const LOOPBACK = { kind: 'tcp', host: '127.0.0.1', port: 0, secure: false } as const;

/** What memory a limited server takes at present, in bytes. */
export async function memoryOf(server: Talking): Promise<number> {
  const before = server.said.length;
  server.kill('SIGUSR2');
  const line = await server.says((said) => 'rssBytes' in said && server.said.indexOf(said) >= before);
  return line['rssBytes'] as number;
}

function running(server: Talking, folder: string, addresses: readonly string[]): RunningServer {
  const url = addresses[0] as string;
  return { ...server, folder, addresses, url, port: Number(/:(\d+)$/.exec(url)?.[1]) };
}

export interface WorkerSettings {
  readonly url: string;
  readonly name?: string;
  readonly concurrency?: number;
  readonly consume?: boolean;
  readonly options?: Readonly<Record<string, unknown>>;
  readonly endBehind?: EndBehind;
}

/** A process that works on the channel "work", see `programs/worker.mjs`. */
export async function startWorker({ endBehind, ...settings }: WorkerSettings): Promise<Talking> {
  const worker = startProgram('worker', { name: 'worker', ...settings }, [], endBehind);
  await worker.says((line) => 'ready' in line);
  return worker;
}

/** A way to the entries of KV under the first part `space`. */
export interface KvWay {
  readonly space: string;
  readonly url: string;
  readonly options?: OpenOptions;
  /** The folder in which `@deno/kv` is installed, where this is the client. */
  readonly deno?: string | undefined;
}

export interface KvClientsSettings {
  readonly name: string;
  /** What the clients choose follows from it. */
  readonly seed: number;
  readonly ways: readonly KvWay[];
  /** Of each way. */
  readonly clients: number;
  /** Of each client; without a number they go on until they are told to end. */
  readonly operations?: number;
  readonly endBehind?: EndBehind;
}

/** A process whose clients work on the same entries of KV, see `programs/kv-clients.mjs`. */
export async function startKvClients({ endBehind, ...settings }: KvClientsSettings): Promise<Talking> {
  const clients = startProgram('kv-clients', settings, [], endBehind);
  await clients.says((line) => 'ready' in line);
  return clients;
}
