/**
 * Sessions: for each access token that comes in a client of the broker, which checks the token and what it allows, as it
 * does for every other client. One that nobody uses for a while is closed; one whose token has ended is by the broker.
 */
import { createHash } from 'node:crypto';
import { producedOf } from '../../api/produced.ts';
import { Client } from '../../client/client.ts';
import { KvClient, type KvWatching } from '../../client/kv.ts';
import { QUEUE_CHANNEL, queuePolicy } from '../../model/kv-queue.ts';
import { accessTokenId } from '../../model/access-token.ts';
import type { CancelTimer, Clock } from '../../model/clock.ts';
import type { KvCommit } from '../../model/command.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { KvEffects, KvPage, KvRange, KvRecord } from '../../model/kv.ts';
import type { Connect } from '../../model/link.ts';
import type { Random } from '../../model/random.ts';
import { type Budget, createBudget } from './budget.ts';
import { Refusal } from './refusal.ts';
import type { Enqueued } from './writing.ts';

export interface SessionsOptions {
  /** The way to the broker, with what it demands of those who come this way. */
  readonly connect: Connect;
  /** Names this process. */
  readonly host: string;
  readonly clock: Clock;
  readonly random: Random;
}

/** What is done for one access token. */
export interface KvBackend {
  /** All as of one moment. */
  read(
    keys: readonly Uint8Array[],
    ranges: readonly KvRange[],
  ): Promise<{ readonly entries: readonly (KvRecord | undefined)[]; readonly pages: readonly KvPage[] }>;
  /** Gives the version of the commit, or `undefined` when a check did not hold. */
  write(effects: KvEffects, enqueued: readonly Enqueued[]): Promise<number | undefined>;
  watch(keys: readonly Uint8Array[]): Pick<KvWatching, 'next' | 'close'>;
  /** For what requests hold in memory. */
  readonly budget: Budget;
  /** For answers that are larger than what one read gives: one at a time. */
  readonly large: Budget;
}

export interface SessionLease {
  readonly backend: KvBackend;
  readonly release: () => void;
}

/** As many as a space has access tokens, and those without. */
const MAX_SESSIONS = 1_024;

/** How many may be asking the broker whether it takes their token. */
const MAX_OPENING = 64;

const IDLE_MS = 60_000;

/** How long the broker may be away before a request is told to come again. */
const OPEN_MS = 4_000;

/** The broker keeps each schedule that messages of a session have had; a session with this many makes way for another. */
const MAX_SCHEDULES = 256;

const BUDGET_BYTES: number = 64 * 1024 * 1024;

interface Entry {
  readonly key: string;
  readonly opening: Promise<Session>;
  /** Requests that use it. */
  users: number;
  cancelIdle: CancelTimer;
}

export class Sessions {
  readonly #options: SessionsOptions;
  /** By the hash of the token. */
  readonly #entries = new Map<string, Entry>();
  /** All that are to be closed, also those that others have taken the place of. */
  readonly #open = new Set<Session>();
  #opening = 0;
  #isClosed = false;

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /** @throws HoldfastError `UNAUTHORIZED`, and as `Client.open`; Refusal when there are too many */
  async take(token: string): Promise<SessionLease> {
    if (accessTokenId(token) === undefined) return this.#take('');
    try {
      return await this.#take(token);
    } catch (error) {
      if (!isUnauthorized(error)) throw error;
      // Clients of KV Connect always have a text to show: where the broker asks for none, any is as good.
      return await this.#take('').catch(() => {
        throw error;
      });
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const session of this.#open) session.close();
    for (const entry of this.#entries.values()) entry.cancelIdle();
    this.#entries.clear();
  }

  async #take(token: string): Promise<SessionLease> {
    const key = createHash('sha256').update(token).digest('base64');
    const entry = this.#entries.get(key) ?? this.#add(key, token);
    entry.users += 1;
    entry.cancelIdle();
    try {
      const session = await entry.opening;
      if (session.isWorn) this.#forget(entry);
      return { backend: session, release: once(() => this.#release(entry, session)) };
    } catch (error) {
      this.#forget(entry);
      throw error;
    }
  }

  #add(key: string, token: string): Entry {
    if (this.#isClosed) throw new HoldfastError('CLOSED', 'The server is closed');
    if (this.#opening >= MAX_OPENING || !this.#hasRoom()) {
      throw new Refusal(503, 'The server has too many clients at present, try again later.');
    }
    const entry: Entry = { key, opening: this.#openSession(token, () => this.#forget(entry)), users: 0, cancelIdle };
    this.#entries.set(key, entry);
    return entry;
  }

  async #openSession(token: string, onFailure: () => void): Promise<Session> {
    this.#opening += 1;
    const client = new Client({ ...this.#options, token: token === '' ? undefined : token });
    const session = new Session(client);
    this.#open.add(session);
    client.onFailure(() => {
      this.#open.delete(session);
      onFailure();
    });
    try {
      await client.open(OPEN_MS);
      return session;
    } catch (error) {
      session.close();
      throw error;
    } finally {
      this.#opening -= 1;
    }
  }

  #release(entry: Entry, session: Session): void {
    entry.users -= 1;
    if (entry.users > 0) return;
    if (this.#entries.get(entry.key) !== entry) return session.close();
    entry.cancelIdle = this.#options.clock.timer(IDLE_MS, () => {
      this.#forget(entry);
      session.close();
    });
  }

  /** Whoever comes next with the token begins anew; those who use the session go on. */
  #forget(entry: Entry): void {
    entry.cancelIdle();
    if (this.#entries.get(entry.key) === entry) this.#entries.delete(entry.key);
  }

  /** Whether there is room for one more, once one that is not in use has made way. */
  #hasRoom(): boolean {
    if (this.#entries.size < MAX_SESSIONS) return true;
    for (const entry of this.#entries.values()) {
      if (entry.users > 0) continue;
      this.#forget(entry);
      void entry.opening.then((session) => session.close());
      return true;
    }
    return false;
  }
}

class Session implements KvBackend {
  readonly budget: Budget = createBudget(BUDGET_BYTES);
  readonly large: Budget = createBudget(1);
  readonly #client: Client;
  readonly #kv: KvClient;
  readonly #refs = new Map<string, number>();

  constructor(client: Client) {
    this.#client = client;
    this.#kv = new KvClient(client);
  }

  /** Whether another one should take its place. */
  get isWorn(): boolean {
    return this.#refs.size >= MAX_SCHEDULES;
  }

  read(keys: readonly Uint8Array[], ranges: readonly KvRange[]): ReturnType<KvBackend['read']> {
    return this.#kv.read(keys, ranges);
  }

  write(effects: KvEffects, enqueued: readonly Enqueued[]): Promise<number | undefined> {
    return this.#kv.commit({ ...effects, produced: this.#producedOf(enqueued) });
  }

  watch(keys: readonly Uint8Array[]): KvWatching {
    return this.#kv.watch(keys);
  }

  close(): void {
    this.#client.close();
  }

  #producedOf(enqueued: readonly Enqueued[]): KvCommit['produced'] {
    const prepared = enqueued.map(({ schedule, item }) => ({
      ref: this.#refOf(schedule),
      item: { ...item, id: this.#client.nextId() },
    }));
    return producedOf(prepared);
  }

  #refOf(schedule: readonly number[]): number {
    const content = schedule.join();
    const known = this.#refs.get(content);
    if (known !== undefined) return known;
    const { ref, done } = this.#client.declare(QUEUE_CHANNEL, queuePolicy(schedule), undefined);
    // A refusal shows in the commit, too.
    done.catch(() => this.#refs.delete(content));
    this.#refs.set(content, ref);
    return ref;
  }
}

const cancelIdle: CancelTimer = () => {};

function once(run: () => void): () => void {
  let isDone = false;
  return () => {
    if (isDone) return;
    isDone = true;
    run();
  };
}

function isUnauthorized(error: unknown): boolean {
  return error instanceof HoldfastError && error.code === 'UNAUTHORIZED';
}
