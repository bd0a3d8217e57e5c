/** The parent's book: what it was told is durable, held against what the store holds after each fault. */
import type { State } from 'holdfast';
import { JobLedger } from './job-ledger.ts';
import type { LoadEvent, StoredEntries, StoredItem } from './load.ts';
import { ACCOUNTS, isCounted, transferOf } from './work.ts';

/** What must never happen, by kind. */
export interface Violations {
  /** A message or job that was acknowledged and is not there; or ended and is not ended any more; or completed without its effect. */
  readonly missing: number;
  /** A message or job stored twice, or an effect that is there twice or without its ack. */
  readonly doubled: number;
  /** Messages, jobs or results whose content is another. */
  readonly altered: number;
  /** Messages and jobs that came to a handler after their end was durable, or were there after they were removed. */
  readonly revived: number;
  /** Entries of KV that are not what the effects, and the messages that are there, make of them. */
  readonly miscounted: number;
}

const ENDED: ReadonlySet<State> = new Set(['completed', 'dead']);

/** The book of one data folder. */
export class Ledger {
  readonly #acknowledged = new Set<string>();
  /** When the end of a message was known to be durable, and when a handler began with it at last. */
  readonly #ended = new Map<string, number>();
  readonly #started = new Map<string, number>();
  readonly #faults = {
    missing: new Set<string>(),
    doubled: new Set<string>(),
    altered: new Set<string>(),
    revived: new Set<string>(),
    miscounted: new Set<string>(),
  };
  readonly #counted = new Set<number>();
  readonly #jobs = new JobLedger((kind, subject) => this.#faults[kind].add(subject));
  #listing: StoredItem[] = [];
  #entries: StoredEntries | undefined;
  #highest = 0;

  take(event: LoadEvent): void {
    switch (event.kind) {
      case 'acknowledged':
        this.#acknowledged.add(event.id);
        this.#highest = Math.max(this.#highest, event.number);
        break;
      case 'counted':
        this.#counted.add(event.number);
        this.#highest = Math.max(this.#highest, event.number);
        break;
      case 'ended':
        if (!this.#ended.has(event.id)) this.#ended.set(event.id, event.at);
        this.#checkOrder(event.id);
        break;
      case 'started':
        this.#started.set(event.id, event.at);
        this.#checkOrder(event.id);
        break;
      case 'stored':
        this.#listing.push(event);
        break;
      case 'entries':
        this.#entries = event;
        break;
      case 'opening':
        // What a process told before it was killed in the middle of telling is not the whole.
        this.#listing = [];
        this.#entries = undefined;
        this.#jobs.forgetListing();
        break;
      case 'listed':
        this.#check(false);
        this.#jobs.check(false);
        break;
      case 'finished':
        this.#check(true);
        this.#jobs.check(true);
        break;
      case 'jobStored':
      case 'jobAdded':
      case 'jobStarted':
      case 'jobEnded':
        this.#jobs.take(event);
        break;
      case 'opened':
      case 'leads':
        break;
    }
  }

  get acknowledged(): number {
    return this.#acknowledged.size;
  }

  /** How often money was moved, and how many messages transactions produced, as far as they were counted last. */
  get moved(): number {
    return this.#entries?.moved ?? 0;
  }

  get counted(): number {
    return this.#entries?.counted ?? 0;
  }

  get ended(): number {
    return this.#ended.size;
  }

  get jobsAdded(): number {
    return this.#jobs.added;
  }

  get jobsEnded(): number {
    return this.#jobs.ended;
  }

  /** The highest number that was acknowledged. */
  get highest(): number {
    return this.#highest;
  }

  get violations(): Violations {
    const { missing, doubled, altered, revived, miscounted } = this.#faults;
    return {
      missing: missing.size,
      doubled: doubled.size,
      altered: altered.size,
      revived: revived.size,
      miscounted: miscounted.size,
    };
  }

  /** All violations in words. */
  describe(): string[] {
    return Object.entries(this.#faults).flatMap(([kind, subjects]) =>
      [...subjects].map((subject) => `${kind}: ${subject}`),
    );
  }

  /** Two processes tell it through pipes of their own, so what comes first may have been last. */
  #checkOrder(id: string): void {
    const [startedAt = -Infinity, endedAt = Infinity] = [this.#started.get(id), this.#ended.get(id)];
    if (startedAt > endedAt) this.#faults.revived.add(id);
  }

  /** @param atEnd nothing may be left to do */
  #check(atEnd: boolean): void {
    const { missing, doubled, altered } = this.#faults;
    const byId = new Map<string, StoredItem>();
    const byNumber = new Map<number, StoredItem>();
    const effects = new Set<number>();
    for (const item of this.#listing) {
      if (!item.intact) altered.add(item.id);
      if (item.channel === 'effect') {
        if (effects.has(item.number)) doubled.add(`effect of message ${item.number}`);
        effects.add(item.number);
      } else {
        if (byNumber.has(item.number)) doubled.add(`message ${item.number}`);
        byId.set(item.id, item);
        byNumber.set(item.number, item);
      }
    }
    for (const id of this.#acknowledged) if (!byId.has(id)) missing.add(id);
    for (const id of this.#ended.keys()) if (!ENDED.has(byId.get(id)?.state ?? 'ready')) missing.add(`end of ${id}`);
    for (const { number, state } of byNumber.values()) {
      if (state === 'completed' && !effects.has(number)) missing.add(`effect of message ${number}`);
      if (state !== 'completed' && effects.has(number)) doubled.add(`effect of message ${number}, which is ${state}`);
      if (atEnd && !ENDED.has(state)) missing.add(`end of message ${number}`);
    }
    for (const number of this.#counted) if (!byNumber.has(number)) missing.add(`message ${number} of a transaction`);
    this.#checkEntries(effects, [...byNumber.keys()].filter(isCounted).length);
    this.#listing = [];
  }

  #checkEntries(effects: ReadonlySet<number>, counted: number): void {
    const { miscounted, missing } = this.#faults;
    const entries = this.#entries;
    if (entries === undefined) return void missing.add('what KV holds');
    const balances = Array.from({ length: ACCOUNTS }, () => 0);
    for (const number of effects) {
      const { from, to, amount } = transferOf(number);
      balances[from] = (balances[from] as number) - amount;
      balances[to] = (balances[to] as number) + amount;
    }
    for (const [account, balance] of balances.entries()) {
      const found = entries.balances[account];
      if (found !== balance) miscounted.add(`account ${account} has ${found}, and its transfers come to ${balance}`);
    }
    if (entries.moved !== effects.size) miscounted.add(`${entries.moved} transfers for ${effects.size} effects`);
    if (entries.counted !== counted) miscounted.add(`${entries.counted} counted messages, and ${counted} are there`);
  }
}
