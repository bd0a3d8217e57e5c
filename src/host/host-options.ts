/** What a host is told, and what it is for those who have one. */
import type { LogLine } from '../broker/broker-options.ts';
import type { Clock } from '../model/clock.ts';
import type { Link } from '../model/link.ts';
import type { Random } from '../model/random.ts';

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

/** Serves the clients of this process. */
export interface Host {
  accept(link: Link): void;
  close(): Promise<void>;
}
