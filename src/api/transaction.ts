/** A transaction: effects that a handler gathers and that commit with its ack. */
import { blocksOf, type Client } from '../client/client.ts';
import type { Item } from '../client/outbox.ts';
import type { Settle } from '../model/command.ts';
import type { ProduceOptions } from './options.ts';

/** What a transaction needs of a channel that it produces to; every channel of the instance has it. */
export interface TransactionTarget<Input> {
  readonly name: string;
  /** @internal */
  prepare(client: Client, message: Input, options: ProduceOptions | undefined): Prepared | Promise<Prepared>;
}

/** A message ready to go, and the name of its channel and rules in the session. */
export interface Prepared {
  readonly ref: number;
  readonly item: Item;
}

export interface Transaction {
  /**
   * Produces a message in the same commit as the ack; it exists only if the handler succeeds and still holds its
   * message. Follow-ups are not held back by a full backlog.
   *
   * @throws TypeError, RangeError, InvalidMessageError at the call, or from the handler when the schema is asynchronous
   */
  produce<Input>(channel: TransactionTarget<Input>, message: Input, options?: ProduceOptions): void;
}

/** The most messages, and the most bytes of them, that one handler may produce with its ack. */
const MAX_PRODUCED = 10_000;
const MAX_PRODUCED_BYTES: number = 8 * 1024 * 1024;

/** What most handlers produce. */
const NOTHING: Prepared[] = [];

export class HandlerTransaction implements Transaction {
  readonly #client: Client;
  #prepared: (Prepared | Promise<Prepared>)[] = NOTHING;

  constructor(client: Client) {
    this.#client = client;
  }

  produce<Input>(channel: TransactionTarget<Input>, message: Input, options?: ProduceOptions): void {
    if (this.#prepared.length >= MAX_PRODUCED) {
      throw new RangeError(`Cannot produce more than ${MAX_PRODUCED} messages with one ack`);
    }
    const prepared = channel.prepare(this.#client, message, options);
    // A refusal is reported when the handler settles; until then nobody waits for it.
    if (prepared instanceof Promise) prepared.catch(() => {});
    if (this.#prepared === NOTHING) this.#prepared = [];
    this.#prepared.push(prepared);
  }

  /** What the settle carries. Rejects when a message does not match its channel's schema. */
  async effects(): Promise<Settle['produced']> {
    if (this.#prepared.length === 0) return undefined;
    const byRef = new Map<number, Item[]>();
    let bytes = 0;
    for (const prepared of this.#prepared) {
      const { ref, item } = await prepared;
      bytes += item.payload.length;
      if (bytes > MAX_PRODUCED_BYTES) {
        throw new RangeError(`Cannot produce more than ${MAX_PRODUCED_BYTES} bytes with one ack`);
      }
      const items = byRef.get(ref);
      if (items === undefined) byRef.set(ref, [item]);
      else items.push(item);
    }
    return [...byRef].map(([ref, items]) => ({ kind: 'produce', ref, blocks: blocksOf(items) }));
  }

  get isEmpty(): boolean {
    return this.#prepared.length === 0;
  }
}
