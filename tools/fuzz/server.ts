/** The server under attack: `holdfast serve`, as anybody runs it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Address, parseAddress } from '#holdfast/wire/address.js';

export interface Server {
  readonly unix: Address;
  readonly tcp: Address;
  /** What the server has logged that it should not have: errors, and whatever is no log line at all. */
  readonly complaints: readonly string[];
  /** How often it has said that it turned a connection away. */
  readonly warnings: number;
  readonly hasEnded: boolean;
  memory(): Memory;
  /** Ends it as an operator does. @returns its exit code, or the signal that has ended it */
  close(): Promise<number | string>;
}

/** What a process takes at present. */
export interface Memory {
  readonly rssBytes: number;
  /** The part that is not of files, such as the store's. */
  readonly ownBytes: number;
}

const COMMAND: string = fileURLToPath(import.meta.resolve('#holdfast/cli/main.js'));

/** Levels of the log, as pino numbers them. */
const INFO = 30;
const WARN = 40;

/** A server that has not ended by then does not end. */
const END_MS = 20_000;

/**
 * What the heap may take, in MiB: about twice what its caches and the journal come to when they are full. With all of the machine's memory
 * V8 lets garbage lie for long, and what is left for good would not be seen for it; so little more than that ends the server.
 */
const HEAP_MIB = 192;

/** How long the sessions of those who have gone are kept. */
const SESSION_TIMEOUT = '2s';

export async function startServer(folder: string): Promise<Server> {
  const listen = [`unix:${join(folder, 'server.sock')}`, 'tcp://127.0.0.1:0'].flatMap((address) => [
    '--listen',
    address,
  ]);
  const args = [
    `--max-old-space-size=${HEAP_MIB}`,
    COMMAND,
    'serve',
    '--data',
    join(folder, 'data'),
    '--session-timeout',
    SESSION_TIMEOUT,
    ...listen,
  ];
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: ownEnvironment(),
    detached: true,
  });
  const complaints: string[] = [];
  let warnings = 0;
  let hasEnded = false;
  const serving = new Promise<readonly Address[]>((done, fail) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const { level, msg, addresses } = parse(line);
      if (level === WARN) warnings += 1;
      else if (level !== INFO) complaints.push(line);
      if (msg === 'Serving' && addresses !== undefined) done(addresses.map(parseAddress));
    });
    child.once('close', () => fail(new Error(`The server has ended: ${complaints.join('\n')}`)));
  });
  createInterface({ input: child.stderr }).on('line', (line) => complaints.push(line));
  const ended = once(child, 'close').then(([code, signal]: (number | string | null)[]) => {
    hasEnded = true;
    return code ?? signal ?? 'unknown';
  });
  const [unix, tcp] = (await serving) as [Address, Address];
  return {
    unix,
    tcp,
    complaints,
    get warnings() {
      return warnings;
    },
    get hasEnded() {
      return hasEnded;
    },
    memory: () => memoryOf(child.pid as number),
    async close() {
      if (!hasEnded) child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), END_MS);
      const end = await ended;
      clearTimeout(late);
      return end;
    },
  };
}

interface LogLine {
  readonly level?: number;
  readonly msg?: string;
  readonly addresses?: readonly string[];
}

function parse(line: string): LogLine {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return {};
  }
}

function memoryOf(pid: number): Memory {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const bytesOf = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? NaN) * 1_024;
  return { rssBytes: bytesOf('VmRSS'), ownBytes: bytesOf('RssAnon') };
}

/** Nothing that is set for the person who runs the tool counts in it. */
function ownEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(HOLDFAST_|PORT$)/.test(name)));
}
