/** A transaction: effects that are gathered and commit together, those of a handler with its ack. */
import type { Client } from '../client/client.ts';
import { refusal } from '../client/outbox.ts';
import type { Settle } from '../model/command.ts';
import type { KvRecord } from '../model/kv.ts';
import type { KvKey } from '../model/kv-key.ts';
import type { ProduceOptions } from './options.ts';
import { type Prepared, producedOf } from './produced.ts';
import { type EntryOptions, TransactionEntries, type TransactionEntry } from './transaction-entries.ts';

/** What a transaction needs of a channel that it produces to; every channel of the instance has it. */
export interface TransactionTarget<Input> {
  readonly name: string;
  /** @internal */
  prepare(client: Client, message: Input, options: ProduceOptions | undefined): Prepared | Promise<Prepared>;
}

export interface Transaction {
  /**
   * Produces a message in the same commit as the ack; it exists only if the handler succeeds and still holds its
   * message. Follow-ups are not held back by a full backlog.
   *
   * @throws TypeError, RangeError, InvalidMessageError at the call, or from the handler when the schema is asynchronous
   */
  produce<Input>(channel: TransactionTarget<Input>, message: Input, options?: ProduceOptions): void;
  /**
   * Reads an entry of KV. That it is still the same is checked in the commit: if not, nothing of the transaction counts,
   * and its function runs again at once. Of a key it always gives what it gave first, or what the transaction has set.
   *
   * @throws TypeError for what is no key; HoldfastError `FORBIDDEN`
   */
  get<Value = unknown>(key: KvKey): Promise<TransactionEntry<Value>>;
  /** Sets an entry in the commit. At most 10,000 changes, and 4 MiB of them. @throws TypeError, RangeError */
  set(key: KvKey, value: unknown, options?: EntryOptions): void;
  /** Deletes an entry in the commit. @throws TypeError, RangeError */
  delete(key: KvKey): void;
  /** Adds to a `KvU64` in the commit, whatever it is by then: unlike `get` and `set` this conflicts with nobody. @throws TypeError, RangeError */
  sum(key: KvKey, n: bigint): void;
  /** @internal */
  readonly entries: TransactionEntries;
}

/** The most messages, and the most bytes of them, that one transaction may produce. */
const MAX_PRODUCED = 10_000;
const MAX_PRODUCED_BYTES: number = 8 * 1024 * 1024;

/** What most handlers produce. */
const NOTHING: Prepared[] = [];

/** A transaction that gathers what is to commit. */
export class GatheredTransaction implements Transaction {
  readonly #client: Client;
  readonly entries: TransactionEntries;
  #prepared: (Prepared | Promise<Prepared>)[] = NOTHING;

  constructor(client: Client) {
    this.#client = client;
    this.entries = new TransactionEntries((key) => readEntry(client, key));
  }

  get<Value>(key: KvKey): Promise<TransactionEntry<Value>> {
    return this.entries.get(key);
  }

  set(key: KvKey, value: unknown, options?: EntryOptions): void {
    this.entries.set(key, value, options);
  }

  delete(key: KvKey): void {
    this.entries.delete(key);
  }

  sum(key: KvKey, n: bigint): void {
    this.entries.sum(key, n);
  }

  produce<Input>(channel: TransactionTarget<Input>, message: Input, options?: ProduceOptions): void {
    if (this.#prepared.length >= MAX_PRODUCED) {
      throw new RangeError(`Cannot produce more than ${MAX_PRODUCED} messages in one transaction`);
    }
    const prepared = channel.prepare(this.#client, message, options);
    // A refusal is reported when the handler settles; until then nobody waits for it.
    if (prepared instanceof Promise) prepared.catch(() => {});
    if (this.#prepared === NOTHING) this.#prepared = [];
    this.#prepared.push(prepared);
  }

  /** The messages that commit. Rejects when one does not match its channel's schema. */
  async produced(): Promise<Settle['produced']> {
    const prepared = await this.prepared();
    return prepared.length === 0 ? undefined : producedOf(prepared);
  }

  /** The messages that commit, one by one. Rejects as `produced` does. */
  async prepared(): Promise<Prepared[]> {
    const ready: Prepared[] = [];
    let bytes = 0;
    for (const prepared of this.#prepared) {
      const one = await prepared;
      bytes += one.item.payload.length;
      if (bytes > MAX_PRODUCED_BYTES) {
        throw new RangeError(`Cannot produce more than ${MAX_PRODUCED_BYTES} bytes in one transaction`);
      }
      ready.push(one);
    }
    return ready;
  }

  get isEmpty(): boolean {
    return this.#prepared.length === 0 && this.entries.isEmpty;
  }
}

async function readEntry(client: Client, key: Uint8Array): Promise<KvRecord | undefined> {
  const reply = await client.request({ kind: 'kvRead', keys: [key], ranges: [] });
  if (reply.kind !== 'kvRead') throw refusal(reply);
  return reply.entries[0];
}
