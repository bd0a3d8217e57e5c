/** A place: the store that its members share, and the ways between them. */
import type { LinkTraits } from '../broker/connection.ts';
import { addressesIn, dialInFolder, leaveFolder, listenInFolder } from '../server/local-socket.ts';
import type { Store } from '../store/store.ts';
import type { Carrier } from '../wire/carrier.ts';
import { askForSign, NETWORK_LIMITS, type Sign } from '../wire/network-link.ts';
import { socketCarrier } from '../wire/socket-carrier.ts';
import type { HostTools } from './host-options.ts';

export interface Place {
  /** What an operator calls it. */
  readonly name: string;
  openStore(): Promise<Store>;
  /** Lets the other members find this one, at an address that nobody has had before. */
  listen(accept: (from: Carrier) => void): Promise<Listening>;
  /** A way to the member at this address. Rejects when nobody is there. */
  dial(address: string): Promise<Carrier>;
  /** Whether the leader at this address is to be left in peace: one that says nothing for so long is deposed. */
  isLive(address: string, patienceMs: number): Promise<boolean>;
  /** Resolves when nothing keeps this member from opening the store. */
  isFree(patienceMs: number): Promise<void>;
  /** What the broker should know of ways that lead to it. */
  readonly traits: LinkTraits;
}

export interface Listening {
  readonly address: string;
  close(): Promise<void>;
}

/** A folder with a store in it, and a Unix socket by which its members find each other. */
export function folderPlace(folder: string, space: string, tools: HostTools): Place {
  const { clock, random } = tools;
  return {
    name: folder,
    openStore: () => openOnDisk(folder, space, tools),
    listen: (accept) =>
      listenInFolder(folder, random, (socket) =>
        accept(socketCarrier(socket, 'broker', clock, NETWORK_LIMITS.helloBytes)),
      ),
    dial: (address) => dial(folder, address, tools),
    isLive: (address, patienceMs) => isLive(folder, space, address, patienceMs, tools),
    isFree: (patienceMs) => waitWhileStuck(folder, space, patienceMs, tools),
    // A Unix socket closes only when its client's process has died, and only who may write the folder can open it.
    traits: { lingerMs: 0, needsToken: 'never' },
  };
}

/** LMDB is loaded where it is used: a process whose broker has a thread of its own never needs it in the first one. */
async function openOnDisk(folder: string, space: string, { gate }: HostTools): Promise<Store> {
  const { openLmdbStore } = await import('../store/lmdb.ts');
  return openLmdbStore({ path: folder, space, ...(gate !== undefined && { gate }) });
}

async function dial(folder: string, address: string, { clock }: HostTools): Promise<Carrier> {
  return socketCarrier(await dialInFolder(folder, address), 'client', clock, NETWORK_LIMITS.eventsBytes);
}

async function isLive(
  folder: string,
  space: string,
  address: string,
  patienceMs: number,
  tools: HostTools,
): Promise<boolean> {
  for (;;) {
    const sign = await signAt(folder, address, patienceMs, tools);
    if (sign !== 'silent') return sign === 'alive';
    if (!(await isStuck(folder, space, patienceMs, tools))) return false;
    await waitWhileStuck(folder, space, patienceMs, tools);
  }
}

/** Takes away what a dead broker has left at its address. */
async function signAt(folder: string, address: string, patienceMs: number, tools: HostTools): Promise<Sign> {
  const way = await dial(folder, address, tools).catch(() => undefined);
  if (way !== undefined) return askForSign(way, tools.clock, patienceMs);
  await leaveFolder(folder, address);
  return 'dead';
}

/**
 * Waits while a broker is stopped that was writing to the store. Nobody else can write before it goes on or dies, and
 * whoever opened the store would stand still as well.
 */
async function waitWhileStuck(folder: string, space: string, patienceMs: number, tools: HostTools): Promise<void> {
  if (!(await isStuck(folder, space, patienceMs, tools))) return;
  const message = `A broker of "${folder}" does not answer; its process was stopped while it wrote to the store`;
  tools.log({ level: 'warn', message: `${message}, and nobody can take over before it goes on or is killed` });
  // Each look takes as long as the silence that it waits for.
  while (await isStuck(folder, space, patienceMs, tools));
}

async function isStuck(folder: string, space: string, patienceMs: number, tools: HostTools): Promise<boolean> {
  const { isLeaderBusy } = await import('../store/lmdb.ts');
  if (!(await isLeaderBusy(folder, space))) return false;
  const addresses = await addressesIn(folder);
  const signs = await Promise.all(addresses.map((address) => signAt(folder, address, patienceMs, tools)));
  return signs.includes('silent');
}
