/** A server: a member of a folder that also serves clients over the network. */
import { readFile } from 'node:fs/promises';
import type { TlsOptions } from 'node:tls';
import type { LinkTraits } from '../broker/connection.ts';
import type { Clock } from '../model/clock.ts';
import type { Connect } from '../model/link.ts';
import type { Random } from '../model/random.ts';
import type { HttpDoor } from '../server/http-side.ts';
import { listen, type Listener } from '../server/listener.ts';
import { type Address, formatAddress, isLoopback } from '../wire/address.ts';
import { localLink } from '../wire/local-link.ts';
import { NETWORK_LIMITS, type NetworkLimits } from '../wire/network-link.ts';
import { startHost } from './host.ts';
import type { HostOptions, HostTools } from './host-options.ts';
import { processName } from './process-name.ts';
import { createRefusalLog } from './refusal-log.ts';

/** Files of PEM texts, read at the start and at each `reload`. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  /** Clients must show a certificate that one of these authorities has signed. */
  readonly clientCa?: string | undefined;
}

export interface ServerOptions {
  readonly host: Omit<HostOptions, 'host'>;
  readonly addresses: readonly Address[];
  readonly tls?: TlsFiles | undefined;
  /** Serves addresses that others can reach without TLS too. */
  readonly insecure?: boolean | undefined;
  readonly limits?: Partial<NetworkLimits> | undefined;
  readonly connectionsPerAddress: number;
}

/** What a door that is served over HTTP stands on. */
export interface DoorTools {
  readonly space: string;
  /** Whether its clients come over TLS. */
  readonly isSecure: boolean;
  /** The way to the broker, which demands of those behind the door what it demands at this address. */
  readonly connect: Connect;
  /** Names this process. */
  readonly host: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Hears of clients that were turned away for their token. */
  readonly onUnauthorized: (reason: string, remote: string) => void;
}

/** Opens a door at one address. */
export type OpenDoor = (tools: DoorTools) => HttpDoor & { close(): void };

export interface NetworkServer {
  /** Where it listens, with the ports that the system chose. */
  readonly addresses: readonly Address[];
  /**
   * Reads the certificates anew; connections that are there keep theirs. Says whether there are any.
   *
   * @throws Error when they cannot be used
   */
  reload(): Promise<boolean>;
  /** Takes no more connections, ends those there are, and lets the store go. */
  close(): Promise<void>;
}

/**
 * How long leases wait for a client whose connection has closed, in milliseconds. A process that died does not come back;
 * one that lives connects again at once, because no handler holds up its connection.
 */
const LINGER_MS = 10;

/**
 * @param openDoors what it serves over HTTP besides its health
 * @throws TypeError for addresses that must not be served; HoldfastError as `startHost` and `listen`
 */
export async function startServer(
  options: ServerOptions,
  tools: HostTools,
  openDoors: readonly OpenDoor[] = [],
): Promise<NetworkServer> {
  const { addresses, tls, insecure = false, connectionsPerAddress } = options;
  const limits = { ...NETWORK_LIMITS, ...options.limits };
  for (const address of addresses) refuseUnsafe(address, tls, insecure);
  const secrets = tls === undefined ? undefined : await readTls(tls);
  const host = await startHost({ ...options.host, host: processName }, tools);
  const exposed = addresses.find((address) => !isLoopback(address));
  if (exposed !== undefined && host.hasAccessTokens === false) {
    await host.close();
    throw new TypeError(
      `Cannot listen at "${formatAddress(exposed)}" without a token, because others can reach it: make one with "holdfast token create"`,
    );
  }
  const listeners: Listener[] = [];
  const doors: ReturnType<OpenDoor>[] = [];
  const { clock, random } = tools;
  const refusals = createRefusalLog(clock, tools.log);
  const close = async (): Promise<void> => {
    await Promise.all(listeners.map((listener) => listener.close()));
    for (const door of doors) door.close();
    refusals.close();
    await host.close();
  };
  const onUnauthorized = (reason: string, remote: string): void => refusals.add(reason, remote);
  const doorTools = (address: Address): DoorTools => ({
    space: options.host.space,
    isSecure: isSecure(address),
    connect: async () => {
      const { client, broker } = localLink(clock);
      host.accept(broker, { ...traitsOf(address), lingerMs: 0 });
      return client;
    },
    host: processName,
    clock,
    random,
    onUnauthorized,
  });
  try {
    for (const address of addresses) {
      const ownDoors = address.kind === 'unix' ? [] : openDoors.map((openDoor) => openDoor(doorTools(address)));
      doors.push(...ownDoors);
      listeners.push(
        await listen({
          address,
          tls: secrets,
          clock,
          limits,
          connectionsPerAddress,
          isReady: () => host.askReady(),
          accept: (link) => host.accept(link, traitsOf(address)),
          doors: ownDoors,
          onRefused: (reason, remote) =>
            tools.log({ level: 'warn', message: `A connection from "${remote}" was refused: ${reason}` }),
          onUnauthorized,
        }),
      );
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    addresses: listeners.map(({ address }) => address),
    async reload() {
      if (tls === undefined) return false;
      const renewed = await readTls(tls);
      for (const listener of listeners) if (isSecure(listener.address)) listener.secure(renewed);
      return true;
    },
    close,
  };
}

function traitsOf(address: Address): LinkTraits {
  if (address.kind === 'unix') return { lingerMs: 0, needsToken: 'never' };
  return { lingerMs: LINGER_MS, needsToken: isLoopback(address) ? 'whenAny' : 'always' };
}

function refuseUnsafe(address: Address, tls: TlsFiles | undefined, insecure: boolean): void {
  const shown = formatAddress(address);
  if (isSecure(address) && tls === undefined) {
    throw new TypeError(`Cannot listen at "${shown}" without a certificate: give --tls-cert and --tls-key`);
  }
  if (isLoopback(address) || isSecure(address) || insecure) return;
  throw new TypeError(
    `Cannot listen at "${shown}" without TLS, because others can reach it: use holdfasts:// or wss://, or, where something in front of it does TLS, --insecure-no-tls`,
  );
}

function isSecure(address: Address): boolean {
  return address.kind !== 'unix' && address.secure;
}

async function readTls({ cert, key, clientCa }: TlsFiles): Promise<TlsOptions> {
  const [certText, keyText] = await Promise.all([readFile(cert, 'utf8'), readFile(key, 'utf8')]);
  const caText = clientCa === undefined ? undefined : await readFile(clientCa, 'utf8');
  return {
    cert: certText,
    key: keyText,
    minVersion: 'TLSv1.2',
    ...(caText !== undefined && { ca: caText, requestCert: true, rejectUnauthorized: true }),
  };
}
