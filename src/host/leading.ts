/** Leading a place: a broker on its store, which other processes can reach. */
import { Broker } from '../broker/broker.ts';
import type { Carrier } from '../wire/carrier.ts';
import type { Goodbye } from '../wire/frames.ts';
import { brokerLink, NETWORK_LIMITS } from '../wire/network-link.ts';
import type { HostOptions, HostTools } from './host-options.ts';
import type { Listening, Place } from './place.ts';

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

/** How soon a leader that was stopped, or cut off, hears that it leads no more, in milliseconds. */
const RENEW_MS = 1_000;

/**
 * Takes the lead of a place.
 *
 * @param onLost hears that another process has it now, or why the broker has failed
 * @param isAwaited as in `Broker.start`
 * @throws StoreInUseError when a live broker leads; HoldfastError as `Broker.start`
 */
export async function lead(
  place: Place,
  { host, space, reserveBytes, sessionTimeoutMs, entryCacheBytes }: HostOptions,
  { clock, random, log }: HostTools,
  onLost: (failure: Goodbye | undefined) => void,
  isAwaited: boolean,
): Promise<Leading> {
  let listening: Listening | undefined;
  let onServing = (): void => {};
  const serving = new Promise<void>((resolve) => (onServing = resolve));
  const close = async (): Promise<void> => {
    await broker.close();
    await listening?.close();
  };
  const accept = (from: Carrier): void =>
    broker.accept(brokerLink(from, { clock, limits: NETWORK_LIMITS }), place.traits);
  const broker = new Broker({
    openStore: () => place.openStore(),
    isLive: ({ address }) => place.isLive(address, PATIENCE_MS),
    address: async () => {
      listening ??= await place.listen((from) => accept(from));
      return listening.address;
    },
    onServing,
    onFailed: () => {
      void listening?.close();
      onLost(broker.failure);
    },
    host,
    space,
    clock,
    random,
    reserveBytes,
    sessionTimeoutMs,
    entryCacheBytes,
    renewMs: RENEW_MS,
    patienceMs: PATIENCE_MS,
    log,
  });
  await place.isFree(PATIENCE_MS);
  const loaded = broker.start(isAwaited);
  const ended = loaded.catch(async (error: unknown) => {
    await close();
    throw error;
  });
  // Who has it by then hears of a failure through `loaded`, and all others through the broker.
  ended.catch(() => {});
  await Promise.race([serving, ended]);
  log({ level: 'info', message: `This process leads "${place.name}" now` });
  return { kind: 'leading', broker, loaded, close };
}
