/** Hosts of this process, one for each store: who opens the same store twice shares the way to it. */
import type { LogLine } from '../broker/broker-options.ts';
import type { Clock } from '../model/clock.ts';
import type { Connect } from '../model/link.ts';
import type { Random } from '../model/random.ts';
import { localLink } from '../wire/local-link.ts';
import type { Target } from './host-options.ts';
import { processName } from './process-name.ts';
import { startThread } from './thread-host.ts';

/** What all who share a host have in common. */
export interface HostSettings {
  readonly space: string;
  readonly thread: boolean;
  readonly reserveBytes: number;
  readonly sessionTimeoutMs: number;
  readonly clock: Clock;
  readonly random: Random;
}

/** A host for as long as it is borrowed. */
export interface BorrowedHost {
  readonly connect: Connect;
  /** How it was started, by whoever was first. */
  readonly settings: HostSettings;
  /** Gives it back; the last one closes it. */
  readonly release: () => Promise<void>;
}

type Log = (line: LogLine) => void;

interface SharedHost {
  readonly connect: Connect;
  readonly close: () => Promise<void>;
  readonly settings: HostSettings;
  /** The listeners of all who have it; who started it is the first. */
  readonly logs: Log[];
  users: number;
}

const shared = new Map<string, Promise<SharedHost>>();

/**
 * Borrows the host for a store, or starts it.
 *
 * @param key what makes two stores the same; `undefined` for one that is never shared
 * @param check throws when the settings of a host that runs already will not do
 * @throws HoldfastError as `startHost`
 */
export async function borrowHost(
  key: string | undefined,
  target: Target,
  settings: HostSettings,
  log: Log,
  check: (running: HostSettings) => void,
): Promise<BorrowedHost> {
  if (key === undefined) {
    const own = await start(target, settings, log);
    return { connect: own.connect, settings, release: own.close };
  }
  // Whoever closes the last instance leaves the entry until the host is closed, so that the next one waits for it.
  let entry = shared.get(key);
  if (entry === undefined) {
    entry = start(target, settings, log);
    shared.set(key, entry);
    entry.catch(() => shared.delete(key));
  }
  const found = await entry;
  if (found.users < 0) {
    await found.close();
    return borrowHost(key, target, settings, log, check);
  }
  check(found.settings);
  if (found.users > 0) found.logs.push(log);
  found.users += 1;
  const release = async (): Promise<void> => {
    // The last one hears how it is closed.
    if (found.users > 1) found.logs.splice(found.logs.indexOf(log), 1);
    found.users -= 1;
    if (found.users > 0) return;
    found.users = -1;
    await found.close();
    shared.delete(key);
  };
  return { connect: found.connect, settings: found.settings, release };
}

async function start(target: Target, settings: HostSettings, firstLog: Log): Promise<SharedHost> {
  const { space, thread, reserveBytes, sessionTimeoutMs, clock, random } = settings;
  const logs = [firstLog];
  const log = (line: LogLine): void => {
    for (const each of new Set(logs)) each(line);
  };
  const options = { target, space, host: processName, reserveBytes, sessionTimeoutMs };
  if (thread) {
    const { connect, close } = await startThread(options, log);
    return { connect, close: once(close), settings, logs, users: 0 };
  }
  // With a thread the broker is loaded there, and need not be here as well: that is most of what opening takes.
  const { startHost } = await import('./host.ts');
  const inline = await startHost(options, { clock, random, log });
  const connect: Connect = async () => {
    const link = localLink(clock);
    inline.accept(link.broker);
    return link.client;
  };
  return { connect, close: once(() => inline.close()), settings, logs, users: 0 };
}

function once(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () => (running ??= run());
}
