/** Opening an instance: the one place that sees both sides, the client and the broker. */
import { mkdir, realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { environment } from './api/environment.ts';
import { type ChannelMap, checkChannelMap } from './api/channel-map.ts';
import { type CloseOptions, createHoldfast, type Holdfast, type HoldfastWith } from './api/holdfast.ts';
import { addInstance } from './api/instances.ts';
import { type KvOptions, resolveKvOptions } from './api/kv/limits.ts';
import { refuseUnknown, wholeNumber } from './api/checks.ts';
import { Client } from './client/client.ts';
import type { Target } from './host/host-options.ts';
import { processName } from './host/process-name.ts';
import { borrowHost, type HostSettings } from './host/shared-hosts.ts';
import { type Clock, systemClock } from './model/clock.ts';
import { type Duration, parseDuration } from './model/duration.ts';
import { type Random, systemRandom } from './model/random.ts';
import { formatAddress, isAddress, parseAddress } from './wire/address.ts';
import type { TlsClientOptions } from './wire/dial.ts';

export interface OpenOptions {
  /**
   * The unit of atomicity: channels and KV of one space commit together, and no others. Letters, digits, `_` and `-`.
   * The environment variable `HOLDFAST_SPACE` counts where it is left out.
   * @default 'default'
   */
  readonly space?: string;
  /**
   * Runs the broker in a thread of its own, so that a handler that blocks holds nobody up. `false` runs it in the
   * caller's thread: for tests, and always so for `memory:`.
   * @default true
   */
  readonly thread?: boolean;
  /**
   * Free space on the disk that new messages may not take, in bytes: below it they are refused with `STORE_FULL`,
   * while consumers finish what is there.
   * @default 67108864
   */
  readonly reserveBytes?: number;
  /**
   * How long a session waits for a client whose connection is gone before its messages go to others.
   * @default '30s'
   */
  readonly sessionTimeout?: Duration;
  /** Hears what an operator should know. @default process warnings for what is wrong, silence for the rest */
  readonly log?: (line: LogLine) => void;
  /**
   * What to prove one's rights with, where the broker asks for it: always at a server that others can reach.
   * @default the environment variable `HOLDFAST_TOKEN`
   */
  readonly token?: string;
  /** How to trust the server, and to show oneself, where the URL asks for TLS. */
  readonly tls?: TlsClientOptions;
  /**
   * How long to try to reach a broker before `open` fails with `UNREACHABLE`. Once open, an instance tries for ever.
   * @default '10s'
   */
  readonly connectTimeout?: Duration;
  /** Limits of `kv` that are other than those of Deno. */
  readonly kv?: KvOptions;
  /**
   * Definitions of the application's channels, each made by `defineChannel`, under the names that the program has for them: the
   * instance then has the channels as `channels`.
   */
  readonly channels?: ChannelMap;
  /** Time, for tests; only without a thread. */
  readonly clock?: Clock;
  /** Randomness, for tests; only without a thread. */
  readonly random?: Random;
}

/** A line for the operator. */
export interface LogLine {
  readonly level: 'info' | 'warn' | 'error';
  readonly message: string;
  readonly error?: unknown;
}

const RESERVE_BYTES = 64 * 1024 * 1024;

const OPTIONS = [
  'space',
  'thread',
  'reserveBytes',
  'sessionTimeout',
  'token',
  'tls',
  'connectTimeout',
  'log',
  'kv',
  'channels',
  'clock',
  'random',
];

/** What a server decides for itself. */
const NOT_FOR_SERVERS = ['space', 'reserveBytes', 'sessionTimeout'] as const;
const ONLY_FOR_SERVERS = ['tls'] as const;

/**
 * Opens a store and everything on it.
 *
 * - `file:./data`: a folder, made if it is not there; everything is synced to the disk before it is acknowledged. Any
 *   number of processes may have it open: one of them leads it, the others reach it through that one, and when that one
 *   ends or dies, another leads
 * - `holdfast://host:port`, `holdfasts://…` (TLS), `ws://…`, `wss://…`, `unix:/path`: a server, see `holdfast serve`
 * - `memory:`: nothing outlives the process; each call opens a new one
 *
 * A store that this process has open already is shared, so whatever is given must be as it was then; only `token` and
 * `log` are everybody's own.
 *
 * @param url by default the environment variable `HOLDFAST_URL`, or `file:` and what `HOLDFAST_DATA` names
 * @throws TypeError, RangeError for a URL or option that cannot be used
 * @throws HoldfastError `UNREACHABLE`, `UNAUTHORIZED`, `STORE_CORRUPT`, `STORE_TOO_NEW`, `STORE_FULL`, `STORE_FAILED`
 */
export async function open<Definitions extends ChannelMap>(
  url: string | undefined,
  options: OpenOptions & { readonly channels: Definitions },
): Promise<HoldfastWith<Definitions>>;
export async function open(url?: string, options?: OpenOptions): Promise<Holdfast>;
export async function open(url: string | undefined = defaultUrl(), options: OpenOptions = {}): Promise<Holdfast> {
  refuseUnknown(options, OPTIONS, 'open');
  const target = targetOf(url, options);
  const settings = settingsOf(target, options);
  const kvLimits = resolveKvOptions(options.kv);
  const { channels: definitions = {} } = options;
  checkChannelMap(definitions);
  const { token = environment('HOLDFAST_TOKEN'), log = warn } = options;
  const connectMs = parseDuration(options.connectTimeout ?? '10s', 'connectTimeout');
  const borrowed = await borrowHost(await keyOf(target, settings), target, settings, log, (running) =>
    refuseOther(target, settings, running, options),
  );
  const { clock, random } = settings;
  const client = new Client({ connect: borrowed.connect, host: processName, token, clock, random });
  try {
    await client.open(target.kind === 'memory' ? 0 : connectMs);
  } catch (error) {
    client.close();
    await borrowed.release();
    throw error;
  }
  const holdfast = closeAtEnd(createHoldfast(client, borrowed.release, kvLimits, definitions));
  const forget = addInstance(client, nameOf(target), settings.space, () => holdfast.close());
  client.onFailure(() => client.failure?.code === 'CLOSED' && forget());
  return holdfast;
}

/** What the store is opened by from anywhere on this machine. */
function nameOf(target: Target): string {
  if (target.kind === 'folder') return `file:${target.folder}`;
  return target.kind === 'server' ? formatAddress(target.address) : 'memory:';
}

function defaultUrl(): string | undefined {
  const data = environment('HOLDFAST_DATA');
  return environment('HOLDFAST_URL') ?? (data === undefined ? undefined : `file:${data}`);
}

/** @throws TypeError */
function targetOf(url: string | undefined, options: OpenOptions): Target {
  if (typeof url !== 'string' || url === '') {
    throw new TypeError(
      'Cannot open: give a URL such as "file:./data", "holdfast://localhost" or "memory:", or set HOLDFAST_URL',
    );
  }
  const isServer = isAddress(url);
  for (const name of isServer ? NOT_FOR_SERVERS : ONLY_FOR_SERVERS) {
    if (options[name] === undefined) continue;
    const owner = isServer ? 'its server decides that' : 'it is for the URL of a server';
    throw new TypeError(`Cannot use "${name}" to open "${url}": ${owner}`);
  }
  if (isServer) return { kind: 'server', address: parseAddress(url), tls: tlsOf(options.tls) };
  if (url === 'memory:' || url === ':memory:') return { kind: 'memory' };
  if (!url.startsWith('file:')) {
    throw new TypeError(
      `Cannot open "${url}": this version opens "file:FOLDER", "holdfast://", "holdfasts://", "ws://", "wss://", "unix:" and "memory:"`,
    );
  }
  if (url.startsWith('file://')) return { kind: 'folder', folder: fileURLToPath(url) };
  const folder = url.slice('file:'.length);
  if (folder === '') throw new TypeError('Cannot open "file:": name a folder, such as "file:./data"');
  return { kind: 'folder', folder: resolve(folder) };
}

/** @throws TypeError */
function tlsOf(tls: OpenOptions['tls'] = {}): TlsClientOptions {
  refuseUnknown(tls, ['ca', 'cert', 'key', 'servername'], 'open');
  for (const [name, value] of Object.entries(tls)) {
    if (value !== undefined && typeof value !== 'string') {
      throw new TypeError(`Cannot use "tls.${name}": it must be a text`);
    }
  }
  return tls;
}

/** @throws TypeError, RangeError */
function settingsOf(target: Target, options: OpenOptions): HostSettings {
  const { space = environment('HOLDFAST_SPACE') ?? 'default', clock = systemClock, random = systemRandom } = options;
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(space)) {
    throw new RangeError(
      `Cannot use "${space}" as a space: its name may hold letters, digits, "_" and "-", at most 64`,
    );
  }
  const ownTools = options.clock !== undefined || options.random !== undefined;
  const thread = (options.thread ?? !ownTools) && target.kind !== 'memory';
  if (thread && ownTools) throw new TypeError('Cannot use "clock" or "random" with a thread: give thread: false');
  const reserveBytes = wholeNumber(options.reserveBytes ?? RESERVE_BYTES, 'reserveBytes', 0, 2 ** 50);
  const sessionTimeoutMs = parseDuration(options.sessionTimeout ?? '30s', 'sessionTimeout');
  return { space, thread, reserveBytes, sessionTimeoutMs, clock, random };
}

/** What makes two stores the same; one in memory is never the same as another. */
async function keyOf(target: Target, { space }: HostSettings): Promise<string | undefined> {
  switch (target.kind) {
    case 'memory':
      return undefined;
    case 'folder':
      await mkdir(target.folder, { recursive: true, mode: 0o700 });
      return `${await realpath(target.folder)}\0${space}`;
    case 'server':
      return `${formatAddress(target.address)}\0${JSON.stringify(target.tls)}`;
  }
}

const SHARED_SETTINGS = {
  thread: 'thread',
  reserveBytes: 'reserveBytes',
  sessionTimeout: 'sessionTimeoutMs',
  clock: 'clock',
  random: 'random',
} as const;

/** @throws TypeError when the host that runs already has other settings than the ones asked for */
function refuseOther(target: Target, wanted: HostSettings, running: HostSettings, options: OpenOptions): void {
  for (const [name, setting] of Object.entries(SHARED_SETTINGS) as [keyof typeof SHARED_SETTINGS, never][]) {
    if (options[name] === undefined || wanted[setting] === running[setting]) continue;
    const shown =
      target.kind === 'folder' ? target.folder : target.kind === 'server' ? formatAddress(target.address) : '';
    throw new TypeError(`Cannot open "${shown}" with another "${name}": this process has it open already`);
  }
}

/** What a process closes that ends by itself. */
const unclosed = new Set<Holdfast>();

function closeAll(): void {
  for (const holdfast of unclosed) void holdfast.close();
  unclosed.clear();
}

/** A process that ends by itself drains first; one that is told to exit at once does not. */
function closeAtEnd(holdfast: Holdfast): Holdfast {
  // One listener for all of them: a process may have many open.
  if (unclosed.size === 0) process.once('beforeExit', closeAll);
  unclosed.add(holdfast);
  const close = async (options?: CloseOptions): Promise<void> => {
    unclosed.delete(holdfast);
    if (unclosed.size === 0) process.removeListener('beforeExit', closeAll);
    await holdfast.close(options);
  };
  return Object.assign(Object.create(holdfast) as Holdfast, { close, [Symbol.asyncDispose]: () => close() });
}

function warn({ level, message, error }: LogLine): void {
  if (level === 'info') return;
  const detail = error instanceof Error ? error.message : typeof error === 'string' ? error : undefined;
  process.emitWarning(
    message,
    detail === undefined ? { type: 'HoldfastWarning' } : { type: 'HoldfastWarning', detail },
  );
}
