/** Leading a folder: a broker on its store, and the socket by which other processes reach it. */
import { Broker } from '../broker/broker.ts';
import { answers, listenInFolder, type LocalSocket } from '../server/local-socket.ts';
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

/** A Unix socket closes only when its client's process has died. */
const OTHER_PROCESS = { lingerMs: 0 } as const;

/** LMDB is loaded where it is used: a process whose broker has a thread of its own never needs it in the first one. */
async function openOnDisk(folder: string, space: string): Promise<Store> {
  const { openLmdbStore } = await import('../store/lmdb.ts');
  return openLmdbStore({ path: folder, space });
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
    isLive: ({ address }) => answers(folder, address, clock, PATIENCE_MS),
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
  const loaded = broker.start();
  const ended = loaded.catch(async (error: unknown) => {
    await close();
    throw error;
  });
  // Who has it by then hears of a failure through `loaded`, and all others through the broker.
  ended.catch(() => {});
  await Promise.race([serving, ended]);
  return { kind: 'leading', broker, loaded, close };
}
