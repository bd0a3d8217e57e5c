/** What a broker needs to know and to be able to do. */
import type { Clock } from '../model/clock.ts';
import type { Random } from '../model/random.ts';
import type { Leader } from '../model/records.ts';
import type { Store } from '../store/store.ts';

export interface BrokerOptions {
  /** Opens the store, at the start and again after a failure. */
  readonly openStore: () => Promise<Store>;
  /** Whether the broker that leads the store still lives; it is left in peace then. */
  readonly isLive: (leader: Leader) => Promise<boolean>;
  /** Where this broker can be reached; asked for when the lead is to be taken. */
  readonly address: () => Promise<string>;
  /** Told when the broker has the lead and serves what needs no backlog; the rest waits until all is loaded. */
  readonly onServing: () => void;
  /** Told once, when the broker has stopped by itself. */
  readonly onFailed: () => void;
  /** Names this process: sessions of clients in it end with the broker when another process leads next. */
  readonly host: string;
  readonly space: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Free space that new messages may not take, in bytes. */
  readonly reserveBytes: number;
  /** How long a session waits for its client to come back, in milliseconds. */
  readonly sessionTimeoutMs: number;
  /** What the cache of entries of KV holds at most, in bytes. @default 32 MiB */
  readonly entryCacheBytes?: number | undefined;
  /**
   * How often the lead is renewed, in milliseconds, so that a broker that has nothing to write hears that another one
   * leads by now; `Infinity` for a store that nobody else can lead.
   */
  readonly renewMs: number;
  /**
   * Others give up their links to this broker when they have heard nothing of it for this long, or for the session timeout if that
   * is shorter, in milliseconds; `Infinity` where nobody does.
   */
  readonly patienceMs: number;
  /** Says what an operator should know. */
  readonly log: (line: LogLine) => void;
}

export interface LogLine {
  readonly level: 'info' | 'warn' | 'error';
  readonly message: string;
  readonly error?: unknown;
}
