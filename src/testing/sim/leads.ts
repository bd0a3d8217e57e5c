/** Who has led the store, and whose clients were connected with whom, as the records say. */
import type { Claim } from './ledger.ts';
import type { Acquired, SimRecord } from './records.ts';

/** Tokens of an epoch begin with its number; see `machine/load.ts`. */
const TOKENS_PER_EPOCH = 2 ** 32;

/** Machine time may run slower than the simulation's by this share, as it follows the wall clock. */
export const SLEW = 0.001;

export class Leads {
  sessionTimeoutMs = 0;
  lingerMs = 0;
  /** The present leader's, as of the last record. */
  current: Acquired | undefined;
  /** When a process died. */
  readonly died: Map<string, number> = new Map();
  /** When, under the present epoch, a client was welcomed last, and when it was parted last, by session. */
  readonly #welcomed = new Map<string, number>();
  readonly #parted = new Map<string, number>();
  /** Who welcomed a client last, by process. */
  readonly #welcomedBy = new Map<string, string>();
  readonly #hosts = new Map<number, string>();
  /** The process whose sessions end when another one leads next, as the store has it, and had it for the present leader. */
  #brokerHost: string | undefined;
  #predecessor: string | undefined;

  add(record: SimRecord): void {
    switch (record.kind) {
      case 'began':
        ({ sessionTimeoutMs: this.sessionTimeoutMs, lingerMs: this.lingerMs } = record);
        break;
      case 'acquired':
        this.current = record;
        this.#predecessor = this.#brokerHost === record.host ? undefined : this.#brokerHost;
        this.#hosts.set(record.epoch, record.host);
        this.#welcomed.clear();
        this.#parted.clear();
        break;
      case 'welcomed':
        this.#welcomedBy.set(record.host, record.by);
        if (record.by === this.current?.host) this.#welcomed.set(record.session, record.at);
        break;
      case 'parted':
        if (record.by === this.current?.host) this.#parted.set(record.session, record.at);
        break;
      case 'died':
        this.died.set(record.host, record.at);
        break;
      case 'commit':
        this.#brokerHost = record.content.brokerHost;
        break;
      default:
        break;
    }
  }

  /** The process that the present leader found as its predecessor in the store, if it was another one. */
  get predecessor(): string | undefined {
    return this.#predecessor;
  }

  hasLed(host: string): boolean {
    return [...this.#hosts.values()].includes(host);
  }

  welcomedBy(host: string): string | undefined {
    return this.#welcomedBy.get(host);
  }

  /** Whether the client of this session was welcomed under the present epoch. */
  isWelcomed(session: string): boolean {
    return this.#welcomed.has(session);
  }

  /** The process that handed out this token. */
  grantedBy({ token }: Pick<Claim, 'token'>): string | undefined {
    return this.#hosts.get(Math.floor(token / TOKENS_PER_EPOCH));
  }

  /** Whether a lease was handed out before the present epoch. */
  isInherited({ token }: Pick<Claim, 'token'>): boolean {
    return this.current !== undefined && token < this.current.epoch * TOKENS_PER_EPOCH;
  }

  /** Since when, under the present epoch, a client has no sound connection any more. */
  partedSince(session: string): number | undefined {
    const partedAt = this.#parted.get(session);
    return partedAt !== undefined && partedAt >= (this.#welcomed.get(session) ?? -Infinity) ? partedAt : undefined;
  }

  /** How long leases of this process wait for its client when its connection has closed. */
  waitsMs(host: string): number {
    return host === this.current?.host ? this.sessionTimeoutMs : Math.min(this.lingerMs, this.sessionTimeoutMs);
  }
}
