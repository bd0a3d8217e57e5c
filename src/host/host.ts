/** The broker's side of the composition: a store, the sign of life beside it, and the broker that leads it. */
import { mkdir } from 'node:fs/promises';
import { Broker } from '../broker/broker.ts';
import type { LogLine } from '../broker/broker-options.ts';
import type { Clock } from '../model/clock.ts';
import type { Link } from '../model/link.ts';
import type { Random } from '../model/random.ts';
import { announcePresence, isPresent } from '../server/presence.ts';
import { createMemoryDisk, openMemoryStore } from '../store/memory.ts';
import type { Store } from '../store/store.ts';

/** What a host needs to know; plain data, since it may go to another thread. */
export interface HostOptions {
  /** The folder of the store; `undefined` keeps everything in memory. */
  readonly folder: string | undefined;
  readonly space: string;
  /** Names the process: 32 random hexadecimal digits. */
  readonly host: string;
  readonly reserveBytes: number;
  readonly sessionTimeoutMs: number;
}

export interface HostTools {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: (line: LogLine) => void;
}

/** A broker that runs in this thread. */
export interface Host {
  accept(link: Link): void;
  close(): Promise<void>;
}

/** Clients of the broker's own process end with it, so their leases need not be kept for them. */
const OWN_PROCESS = { keepsLeases: true } as const;

/** LMDB is loaded where it is used: a process whose broker has a thread of its own never needs it in the first one. */
async function openOnDisk(folder: string, space: string): Promise<Store> {
  const { openLmdbStore } = await import('../store/lmdb.ts');
  return openLmdbStore({ path: folder, space });
}

/** @throws HoldfastError as `Broker.start` */
export async function startHost(options: HostOptions, { clock, random, log }: HostTools): Promise<Host> {
  const { folder, space, host, reserveBytes, sessionTimeoutMs } = options;
  if (folder !== undefined) await mkdir(folder, { recursive: true, mode: 0o700 });
  const presence = folder === undefined ? undefined : await announcePresence(folder, random);
  const disk = createMemoryDisk();
  const broker = new Broker({
    openStore: async () => (folder === undefined ? openMemoryStore({ disk, random }) : openOnDisk(folder, space)),
    isLive: ({ address }) => isPresent(address),
    address: presence?.address ?? 'memory',
    host,
    space,
    clock,
    random,
    reserveBytes,
    sessionTimeoutMs,
    log,
  });
  try {
    await broker.start();
  } catch (error) {
    await presence?.close();
    throw error;
  }
  return {
    accept: (link) => broker.accept(link, OWN_PROCESS),
    close: async () => {
      await broker.close();
      await presence?.close();
    },
  };
}
