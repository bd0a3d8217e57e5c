/** A server: a member of a folder that also serves clients over the network. */
import { readFile } from 'node:fs/promises';
import type { TlsOptions } from 'node:tls';
import { listen, type Listener } from '../server/listener.ts';
import { type Address, formatAddress, isLoopback } from '../wire/address.ts';
import { NETWORK_LIMITS, type NetworkLimits } from '../wire/network-link.ts';
import { startHost } from './host.ts';
import type { Host, HostOptions, HostTools } from './host-options.ts';
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

/** @throws TypeError for addresses that must not be served; HoldfastError as `startHost` and `listen` */
export async function startServer(options: ServerOptions, tools: HostTools): Promise<NetworkServer> {
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
  const refusals = createRefusalLog(tools.clock, tools.log);
  const close = async (): Promise<void> => {
    await Promise.all(listeners.map((listener) => listener.close()));
    refusals.close();
    await host.close();
  };
  try {
    for (const address of addresses) {
      listeners.push(
        await listen({
          address,
          tls: secrets,
          clock: tools.clock,
          limits,
          connectionsPerAddress,
          isReady: () => host.askReady(),
          accept: (link) => host.accept(link, traitsOf(address)),
          onRefused: (reason, remote) =>
            tools.log({ level: 'warn', message: `A connection from "${remote}" was refused: ${reason}` }),
          onUnauthorized: (reason, remote) => refusals.add(reason, remote),
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

function traitsOf(address: Address): Parameters<Host['accept']>[1] {
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
