/** Opening an instance: the one place that sees both sides, the client and the broker. */
import { mkdir, realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CloseOptions, createHoldfast, type Holdfast } from './api/holdfast.ts';
import { refuseUnknown, wholeNumber } from './api/options.ts';
import { Client } from './client/client.ts';
import { startHost } from './host/host.ts';
import { type Clock, systemClock } from './model/clock.ts';
import { type Duration, parseDuration } from './model/duration.ts';
import type { Connect } from './model/link.ts';
import { type Random, systemRandom } from './model/random.ts';
import { startThread } from './host/thread-host.ts';
import { localLink } from './wire/local-link.ts';

export interface OpenOptions {
  /**
   * The unit of atomicity: channels and KV of one space commit together, and no others. Letters, digits, `_` and `-`.
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

/** Brokers of this process, by folder and space: who opens the same twice gets the same broker. */
const shared = new Map<string, Promise<SharedBroker>>();

interface SharedBroker {
  readonly connect: Connect;
  readonly close: () => Promise<void>;
  readonly settings: BrokerSettings;
  /** The listeners of all who have it open; who started it is the first. */
  readonly logs: ((line: LogLine) => void)[];
  users: number;
}

/** What all who have a broker open have in common. */
interface BrokerSettings {
  readonly thread: boolean;
  readonly reserveBytes: number;
  readonly sessionTimeout: number;
  readonly clock: Clock;
  readonly random: Random;
}

const RESERVE_BYTES = 64 * 1024 * 1024;

const OPTIONS = ['space', 'thread', 'reserveBytes', 'sessionTimeout', 'log', 'clock', 'random'];

/** Names this process in the sessions of its clients. */
const host = hex(systemRandom.fill(new Uint8Array(16)));

/**
 * Opens a store and everything on it. A folder that this process has open already is shared, so whatever is given
 * must be as it was then; only `log` is everybody's own.
 *
 * - `file:./data`: a folder, made if it is not there; everything is synced to the disk before it is acknowledged
 * - `memory:`: nothing outlives the process; each call opens a new one
 *
 * @param url by default the environment variable `HOLDFAST_URL`
 * @throws TypeError, RangeError for a URL or option that cannot be used
 * @throws HoldfastError `STORE_IN_USE` when another process has the folder open, `STORE_CORRUPT`, `STORE_TOO_NEW`,
 * `STORE_FULL`, `STORE_FAILED`
 */
export async function open(
  url: string | undefined = process.env['HOLDFAST_URL'],
  options: OpenOptions = {},
): Promise<Holdfast> {
  refuseUnknown(options, OPTIONS, 'open');
  const folder = folderOf(url);
  const { space = 'default', clock = systemClock, random = systemRandom } = options;
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(space)) {
    throw new RangeError(
      `Cannot use "${space}" as a space: its name may hold letters, digits, "_" and "-", at most 64`,
    );
  }
  const settings = settingsOf(folder, options);
  const broker = await borrowBroker(folder, space, settings, options);
  const client = new Client({ connect: broker.connect, host, clock, random });
  try {
    await client.open();
  } catch (error) {
    await broker.release();
    throw error;
  }
  return closeAtEnd(createHoldfast(client, broker.release));
}

/** @throws TypeError, RangeError */
function settingsOf(folder: string | undefined, options: OpenOptions): BrokerSettings {
  const { clock = systemClock, random = systemRandom } = options;
  const ownTools = options.clock !== undefined || options.random !== undefined;
  const thread = (options.thread ?? !ownTools) && folder !== undefined;
  if (thread && ownTools) throw new TypeError('Cannot use "clock" or "random" with a thread: give thread: false');
  const reserveBytes = wholeNumber(options.reserveBytes ?? RESERVE_BYTES, 'reserveBytes', 0, 2 ** 50);
  const sessionTimeout = parseDuration(options.sessionTimeout ?? '30s', 'sessionTimeout');
  return { thread, reserveBytes, sessionTimeout, clock, random };
}

async function borrowBroker(
  folder: string | undefined,
  space: string,
  settings: BrokerSettings,
  options: OpenOptions,
): Promise<{ connect: Connect; release: () => Promise<void> }> {
  const { log = warn } = options;
  if (folder === undefined) {
    const broker = await startBroker(folder, space, settings, log);
    return { connect: broker.connect, release: broker.close };
  }
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const key = `${await realpath(folder)}\0${space}`;
  // Whoever closes the last instance leaves the entry until the broker is closed, so that the next one waits for it.
  let entry = shared.get(key);
  if (entry === undefined) {
    entry = startBroker(folder, space, settings, log);
    shared.set(key, entry);
    entry.catch(() => shared.delete(key));
  }
  const broker = await entry;
  if (broker.users < 0) {
    await broker.close();
    return borrowBroker(folder, space, settings, options);
  }
  refuseOther(folder, settings, broker.settings, options);
  if (broker.users > 0) broker.logs.push(log);
  broker.users += 1;
  const release = (): Promise<void> => {
    // The last one hears how it is closed.
    if (broker.users > 1) broker.logs.splice(broker.logs.indexOf(log), 1);
    return returnBroker(key, broker);
  };
  return { connect: broker.connect, release };
}

function refuseOther(folder: string, wanted: BrokerSettings, running: BrokerSettings, options: OpenOptions): void {
  for (const name of ['thread', 'reserveBytes', 'sessionTimeout', 'clock', 'random'] as const) {
    if (options[name] === undefined || wanted[name] === running[name]) continue;
    throw new TypeError(`Cannot open "${folder}" with another "${name}": this process has it open already`);
  }
}

async function returnBroker(key: string, broker: SharedBroker): Promise<void> {
  broker.users -= 1;
  if (broker.users > 0) return;
  broker.users = -1;
  await broker.close();
  shared.delete(key);
}

async function startBroker(
  folder: string | undefined,
  space: string,
  settings: BrokerSettings,
  firstLog: (line: LogLine) => void,
): Promise<SharedBroker> {
  const { thread, reserveBytes, sessionTimeout, clock, random } = settings;
  const logs = [firstLog];
  const log = (line: LogLine): void => {
    for (const each of new Set(logs)) each(line);
  };
  const hostOptions = { folder, space, host, reserveBytes, sessionTimeoutMs: sessionTimeout };
  if (thread) {
    const { connect, close } = await startThread(hostOptions, log);
    return { connect, close: once(close), settings, logs, users: 0 };
  }
  const inline = await startHost(hostOptions, { clock, random, log });
  const connect: Connect = async () => {
    const link = localLink(clock);
    inline.accept(link.broker);
    return link.client;
  };
  return { connect, close: once(() => inline.close()), settings, logs, users: 0 };
}

/** A process that ends by itself drains first; one that is told to exit at once does not. */
function closeAtEnd(holdfast: Holdfast): Holdfast {
  const drain = (): void => void holdfast.close();
  process.once('beforeExit', drain);
  const close = async (options?: CloseOptions): Promise<void> => {
    process.removeListener('beforeExit', drain);
    await holdfast.close(options);
  };
  return Object.assign(Object.create(holdfast) as Holdfast, { close, [Symbol.asyncDispose]: () => close() });
}

function folderOf(url: string | undefined): string | undefined {
  if (typeof url !== 'string' || url === '') {
    throw new TypeError('Cannot open: give a URL such as "file:./data" or "memory:", or set HOLDFAST_URL');
  }
  if (url === 'memory:' || url === ':memory:') return undefined;
  if (!url.startsWith('file:'))
    throw new TypeError(`Cannot open "${url}": this version opens "file:FOLDER" and "memory:"`);
  if (url.startsWith('file://')) return fileURLToPath(url);
  const folder = url.slice('file:'.length);
  if (folder === '') throw new TypeError('Cannot open "file:": name a folder, such as "file:./data"');
  return resolve(folder);
}

function warn({ level, message, error }: LogLine): void {
  if (level === 'info') return;
  const detail = error instanceof Error ? error.message : typeof error === 'string' ? error : undefined;
  process.emitWarning(
    message,
    detail === undefined ? { type: 'HoldfastWarning' } : { type: 'HoldfastWarning', detail },
  );
}

function once(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () => (running ??= run());
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
