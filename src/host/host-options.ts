/** What a host is told, and what it is for those who have one. */
import type { LogLine } from '../broker/broker-options.ts';
import type { LinkTraits } from '../broker/connection.ts';
import type { Clock } from '../model/clock.ts';
import type { Link } from '../model/link.ts';
import type { Random } from '../model/random.ts';
import type { ExitGate } from '../store/exit-gate.ts';
import type { Address } from '../wire/address.ts';
import type { TlsClientOptions } from '../wire/dial.ts';

/** Where the store is. */
export type Target =
  | { readonly kind: 'memory' }
  | { readonly kind: 'folder'; readonly folder: string }
  | { readonly kind: 'server'; readonly address: Address; readonly tls: TlsClientOptions };

/** What a host needs to know; plain data, since it may go to another thread. */
export interface HostOptions {
  readonly target: Target;
  readonly space: string;
  /** Names the process: 32 random hexadecimal digits. */
  readonly host: string;
  readonly reserveBytes: number;
  readonly sessionTimeoutMs: number;
  /** As in `BrokerOptions`. */
  readonly entryCacheBytes?: number | undefined;
}

export interface HostTools {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: (line: LogLine) => void;
  /** In a thread of its own: what the process waits for before it stops the thread. */
  readonly gate?: ExitGate;
}

/** Serves the clients of this process, and others that it lets in. */
export interface Host {
  /** Whether it leads, or knows who does. If it does not, it sets about it. */
  askReady(): boolean;
  /** Whether the store has an access token; `undefined` where another process leads it, which looks at each itself. */
  readonly hasAccessTokens: boolean | undefined;
  /** @param traits of a link that is not of this process */
  accept(link: Link, traits?: LinkTraits): void;
  close(): Promise<void>;
}
