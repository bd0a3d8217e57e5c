/**
 * KV over a client: reads, commits and watches of bytes. What keys and values mean is known to `src/api/kv`, and to
 * the server's door for KV Connect, which both stand on this.
 */
import type { KvCommit } from '../model/command.ts';
import { HoldfastError } from '../model/errors.ts';
import type { KvPage, KvRange, KvRecord } from '../model/kv.ts';
import type { Client } from './client.ts';
import { type Answer, type Item, type ProduceOutcome, refusal } from './outbox.ts';

/** What was read, all as of one moment. */
export interface KvReading {
  readonly entries: readonly (KvRecord | undefined)[];
  readonly pages: readonly KvPage[];
}

/** Keys that are read by one command. With the largest values they still fit into one frame. */
const KEYS_A_READ = 15;

/** A message ready to go, and the name of its channel and rules in the session. */
interface Produced {
  readonly ref: number;
  readonly item: Item;
}

interface Get {
  readonly key: Uint8Array;
  readonly answer: Answer<KvRecord | undefined>;
}

export class KvClient {
  readonly #client: Client;
  /** Entries that were asked for in this tick. */
  #gets: Get[] = [];

  constructor(client: Client) {
    this.#client = client;
  }

  /** Reads one entry, together with others of the same tick. @throws HoldfastError `FORBIDDEN`, `CLOSED` */
  get(key: Uint8Array): Promise<KvRecord | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#gets.length === 0) this.#client.clock.defer(() => this.#sendGets());
      this.#gets.push({ key, answer: { resolve, reject } });
    });
  }

  /** Reads entries and ranges, all as of one moment. @throws as `get` */
  read(keys: readonly Uint8Array[], ranges: readonly KvRange[]): Promise<KvReading> {
    // What is read after something was asked for is not older than that.
    this.#sendGets();
    return this.#read({ kind: 'kvRead', keys, ranges });
  }

  /**
   * Gives the version of the commit, or `undefined` when a check did not hold and nothing has happened.
   *
   * @throws HoldfastError `WRONG_TYPE`, `BACKLOG_FULL`, `FORBIDDEN`, `STORE_FULL`, `CLOSED`, `UNKNOWN_OUTCOME`
   */
  async commit(commit: Omit<KvCommit, 'kind'>): Promise<number | undefined> {
    // What was asked for before does not see this.
    this.#sendGets();
    const reply = await this.#client.request({ kind: 'kvCommit', ...commit });
    if (reply.kind === 'kvCommitted') return reply.version;
    if (reply.kind === 'kvConflict') return undefined;
    throw refusal(reply);
  }

  /** Produces a message as a commit of its own, in one step with others of the same tick. @throws as `commit` */
  async produce({ ref, item }: Produced): Promise<number> {
    this.#sendGets();
    const outcome = await new Promise<ProduceOutcome>((resolve, reject) => {
      this.#client.produce(ref, item, { resolve, reject }, true);
    });
    if (outcome.what === 'backlogFull')
      throw new HoldfastError('BACKLOG_FULL', 'The channel holds as many messages as it may');
    return outcome.what === 'stored' ? (outcome.version ?? 0) : 0;
  }

  /** Watches these entries until it is closed. */
  watch(keys: readonly Uint8Array[]): KvWatching {
    return new KvWatching(this.#client, (watch) => this.#read({ kind: 'kvWatch', watch, keys }));
  }

  #sendGets(): void {
    const gets = this.#gets;
    if (gets.length === 0) return;
    this.#gets = [];
    for (let from = 0; from < gets.length; from += KEYS_A_READ) this.#sendSome(gets.slice(from, from + KEYS_A_READ));
  }

  #sendSome(gets: readonly Get[]): void {
    this.#read({ kind: 'kvRead', keys: gets.map(({ key }) => key), ranges: [] }).then(
      ({ entries }) => gets.forEach(({ answer }, i) => answer.resolve(entries[i])),
      (error: unknown) => gets.forEach(({ answer }) => answer.reject(error)),
    );
  }

  async #read(command: Parameters<Client['request']>[0]): Promise<KvReading> {
    for (;;) {
      try {
        const reply = await this.#client.request(command);
        if (reply.kind === 'kvRead') return reply;
        throw refusal(reply);
      } catch (error) {
        // The session has expired before the answer came. To read again changes nothing.
        if (!(error instanceof HoldfastError) || error.code !== 'UNKNOWN_OUTCOME') throw error;
      }
    }
  }
}

/** Entries that are watched. */
export class KvWatching {
  readonly #client: Client;
  readonly #read: (watch: number) => Promise<KvReading>;
  readonly #watch: number;
  readonly #stop: () => void;
  #mayHaveChanged = true;
  #isClosed = false;
  #wake: () => void = () => {};

  constructor(client: Client, read: (watch: number) => Promise<KvReading>) {
    this.#client = client;
    this.#read = read;
    const { watch, stop } = client.waits.kvChanges(() => {
      this.#mayHaveChanged = true;
      this.#wake();
    });
    this.#watch = watch;
    this.#stop = stop;
  }

  /**
   * Gives the entries: the first time as they are, then when they may have changed since. Several changes may be
   * seen as one. `undefined` when the watch was closed. One at a time.
   *
   * @throws HoldfastError `FORBIDDEN`, `TOO_MANY`, or why the client has failed
   */
  async next(): Promise<readonly (KvRecord | undefined)[] | undefined> {
    while (!this.#isClosed) {
      const { failure } = this.#client;
      if (failure !== undefined) throw failure;
      if (this.#mayHaveChanged) {
        // Before the question: the notice of a change behind the answer may come in the same frame as the answer.
        this.#mayHaveChanged = false;
        const { entries } = await this.#read(this.#watch);
        if (!this.#isClosed) return entries;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
    return undefined;
  }

  /** Ends the watch; whoever waits gets `undefined`. Safe twice. */
  close(): void {
    this.#isClosed = true;
    this.#stop();
    this.#wake();
  }
}
