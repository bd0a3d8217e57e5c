/** Leading a folder: a broker on its store, and the socket by which other processes reach it. */
import { Broker } from '../broker/broker.ts';
import { addressesIn, askForSign, listenInFolder, type LocalSocket } from '../server/local-socket.ts';
import type { Store } from '../store/store.ts';
import { brokerLink, NETWORK_LIMITS } from '../wire/network-link.ts';
import { socketCarrier } from '../wire/socket-carrier.ts';
import type { HostOptions, HostTools } from './host-options.ts';

export interface Leading {
  readonly kind: 'leading';
  readonly broker: Broker;
  /** Resolves when the broker has loaded its store; it serves some things before. */
  readonly loaded: Promise<void>;
  close(): Promise<void>;
}

/**
 * A leader that does not answer for this long is taken for dead, in milliseconds. One that lives after all is deposed
 * and loses nothing but time.
 */
export const PATIENCE_MS = 4_000;

/** A Unix socket closes only when its client's process has died, and only who may write the folder can open it. */
const OTHER_PROCESS = { lingerMs: 0, needsToken: 'never' } as const;

/** LMDB is loaded where it is used: a process whose broker has a thread of its own never needs it in the first one. */
async function openOnDisk(folder: string, space: string): Promise<Store> {
  const { openLmdbStore } = await import('../store/lmdb.ts');
  return openLmdbStore({ path: folder, space });
}

/** Whether the broker at this address is to be left in peace: one that says nothing is deposed. */
async function isLive(folder: string, space: string, address: string, tools: StuckTools): Promise<boolean> {
  for (;;) {
    const sign = await askForSign(folder, address, tools.clock, PATIENCE_MS);
    if (sign !== 'silent') return sign === 'alive';
    if (!(await isStuck(folder, space, tools))) return false;
    await waitWhileStuck(folder, space, tools);
  }
}

type StuckTools = Pick<HostTools, 'clock' | 'log'>;

/**
 * Waits while a broker is stopped that was writing to the store. Nobody else can write before it goes on or dies, and
 * whoever opened the store would stand still as well.
 */
async function waitWhileStuck(folder: string, space: string, tools: StuckTools): Promise<void> {
  if (!(await isStuck(folder, space, tools))) return;
  const message = `A broker of "${folder}" does not answer; its process was stopped while it wrote to the store`;
  tools.log({ level: 'warn', message: `${message}, and nobody can take over before it goes on or is killed` });
  // Each look takes as long as the silence that it waits for.
  while (await isStuck(folder, space, tools));
}

async function isStuck(folder: string, space: string, { clock }: StuckTools): Promise<boolean> {
  const { isLeaderBusy } = await import('../store/lmdb.ts');
  if (!(await isLeaderBusy(folder, space))) return false;
  const addresses = await addressesIn(folder);
  const signs = await Promise.all(addresses.map((address) => askForSign(folder, address, clock, PATIENCE_MS)));
  return signs.includes('silent');
}

/**
 * Takes the lead of a folder.
 *
 * @param onLost hears that another process has it now, or that the broker has failed
 * @throws StoreInUseError when a live broker leads; HoldfastError as `Broker.start`
 */
export async function lead(
  folder: string,
  { host, space, reserveBytes, sessionTimeoutMs }: HostOptions,
  { clock, random, log }: HostTools,
  onLost: () => void,
): Promise<Leading> {
  let socket: LocalSocket | undefined;
  let onServing = (): void => {};
  const serving = new Promise<void>((resolve) => (onServing = resolve));
  const close = async (): Promise<void> => {
    await broker.close();
    await socket?.close();
  };
  const broker = new Broker({
    openStore: () => openOnDisk(folder, space),
    isLive: ({ address }) => isLive(folder, space, address, { clock, log }),
    address: async () => {
      socket ??= await listenInFolder(folder, random, (from) => {
        const carrier = socketCarrier(from, 'broker', clock, NETWORK_LIMITS.helloBytes);
        broker.accept(brokerLink(carrier, { clock, limits: NETWORK_LIMITS }), OTHER_PROCESS);
      });
      return socket.address;
    },
    onServing,
    onFailed: () => {
      void socket?.close();
      onLost();
    },
    host,
    space,
    clock,
    random,
    reserveBytes,
    sessionTimeoutMs,
    log,
  });
  await waitWhileStuck(folder, space, { clock, log });
  const loaded = broker.start();
  const ended = loaded.catch(async (error: unknown) => {
    await close();
    throw error;
  });
  // Who has it by then hears of a failure through `loaded`, and all others through the broker.
  ended.catch(() => {});
  await Promise.race([serving, ended]);
  log({ level: 'info', message: `This process leads "${folder}" now` });
  return { kind: 'leading', broker, loaded, close };
}
