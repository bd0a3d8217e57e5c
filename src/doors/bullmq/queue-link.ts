/** What one of BullMQ's objects has of the broker: a connection, maybe its own, a name, and places to wait for jobs and events. */
import { EventEmitter } from 'node:events';
import type { QueueBaseOptions, WorkerOptions } from 'bullmq';
import type { BullAnswer, BullArgs, BullMethod } from '../../model/bull.ts';
import { askQueue } from './asking.ts';
import { connect, type Connection, type ConnectionOptions } from './connections.ts';
import { clientNameOf, keysOf, parseKey, qualify } from './queue-names.ts';
import { Waiting } from './waiting.ts';

/** What BullMQ gives its backends: the options of the object that has it. */
export type Given = QueueBaseOptions<ConnectionOptions> & { readonly prefix?: string };

let nextClientNumber = 1;

export class QueueLink extends EventEmitter {
  readonly minimumBlockTimeout = 0.001;
  readonly qualifiedName: string;
  readonly keys: Record<string, string>;
  closing: Promise<void> | undefined;
  readonly #name: string;
  protected readonly opts: Given;
  protected readonly connection: Connection;
  readonly #isOwner: boolean;
  readonly #number = nextClientNumber++;
  readonly #jobWaiting = new Waiting();
  readonly #eventWaiting = new Waiting();
  protected isInterrupted = false;
  #unname: () => void = () => {};
  /** Where the events of one who listens begin, and how it calls itself: known before it says that it is ready. */
  #listensFrom: string | undefined;
  readonly #ready: Promise<unknown>;

  constructor(name: string, opts: Given, kind: { blocking?: boolean; worker?: boolean } = {}, of?: Connection) {
    super();
    this.#name = name;
    this.opts = opts;
    this.#isOwner = of === undefined;
    this.connection = of ?? connect(opts.connection);
    this.qualifiedName = qualify(name, opts.prefix);
    this.keys = keysOf(this.qualifiedName);
    this.#ready = this.#begin(kind);
    this.#ready.then(
      () => this.emit('ready'),
      (error: unknown) => this.listenerCount('error') > 0 && this.emit('error', error),
    );
  }

  async #begin({ blocking = false, worker = false }: { blocking?: boolean; worker?: boolean }): Promise<void> {
    const client = await this.connection.opened;
    client.onFailure(() => {
      if (this.closing === undefined && this.listenerCount('error') > 0) this.emit('error', client.failure);
    });
    if (blocking) this.#listensFrom = (await this.ask('events', { after: '$', waiter: 0 })).last;
    const { name } = this.opts as Partial<WorkerOptions>;
    if (worker) await this.setName(this.clientName(name === undefined ? '' : `:w:${name}`));
  }

  async waitUntilReady(): Promise<void> {
    await this.#ready;
  }

  close(_force?: boolean): Promise<void> {
    this.closing ??= this.#close();
    return this.closing;
  }

  async #close(): Promise<void> {
    this.#interrupt();
    this.#unname();
    if (!this.#isOwner) return;
    // Whether it is heard does not matter: without a link there is nobody to forget the name.
    if (this.connection.client !== undefined) {
      this.ask('nameClient', { number: this.#number, name: null }).catch(() => {});
    }
    await this.connection.release();
    this.emit('close');
  }

  async disconnect(): Promise<void> {
    this.#interrupt();
  }

  #interrupt(): void {
    this.isInterrupted = true;
    this.#jobWaiting.end();
    this.#eventWaiting.end();
  }

  async setName(name: string): Promise<void> {
    const client = await this.connection.opened;
    const say = (): Promise<number> => this.ask('nameClient', { number: this.#number, name });
    this.#unname();
    // Names go with the link, and are said again over the next one.
    const { stop } = client.waits.bullWaiter(() => {
      if (client.failure === undefined) say().catch(() => {});
    });
    this.#unname = stop;
    await say();
  }

  toKey(type: string): string {
    return `${this.qualifiedName}:${type}`;
  }

  parseNodeKey(key: string): { prefix: string; queueName: string; id: string } {
    return parseKey(key);
  }

  clientName(suffix: string = ''): string {
    return `${clientNameOf(this.#name, this.opts.prefix)}${suffix}`;
  }

  // Events, and waiting

  async readEvents(id: string, blockTimeout: number): Promise<[string, [string, string[]][]][] | null> {
    await this.#ready;
    const after = id === '$' ? (this.#listensFrom ??= (await this.ask('events', { after: '$', waiter: 0 })).last) : id;
    let events = await this.#eventsBehind(after, 0);
    if (events.length === 0 && !this.isInterrupted) {
      const client = await this.connection.opened;
      await this.#eventWaiting.wait(client, blockTimeout > 0 ? blockTimeout : Infinity, {
        ask: async (waiter) => {
          events = await this.#eventsBehind(after, waiter);
          return events.length > 0 ? 0 : undefined;
        },
        takeBack: async () => {},
      });
      if (events.length === 0 && this.closing === undefined) events = await this.#eventsBehind(after, 0);
    }
    return events.length === 0 ? null : [[this.toKey('events'), events]];
  }

  async #eventsBehind(after: string, waiter: number): Promise<[string, string[]][]> {
    const { events } = await this.ask('events', { after, waiter });
    return events.map(([id, fields]) => [id, [...fields]]);
  }

  async waitForJob(blockTimeout: number): Promise<{ member: string; score: number } | null> {
    if (this.isInterrupted) return null;
    const client = await this.connection.opened;
    if (this.isInterrupted) return null;
    const at = await this.#jobWaiting.wait(client, blockTimeout * 1_000, {
      ask: async (waiter) => (await this.ask('wait', { waiter, stop: false })) ?? undefined,
      takeBack: (waiter) => this.ask('wait', { waiter, stop: true }),
    });
    return at === undefined ? null : { member: at === 0 ? '0' : '1', score: at };
  }

  async disconnectBlocking(_wait?: boolean): Promise<void> {
    this.isInterrupted = true;
    this.#jobWaiting.end();
  }

  async reconnectBlocking(): Promise<void> {
    this.isInterrupted = false;
  }

  protected ask<M extends BullMethod>(method: M, args: BullArgs<M>): Promise<BullAnswer<M>> {
    return askQueue(this.connection, this.qualifiedName, method, args);
  }

  protected get worker(): Partial<WorkerOptions> {
    return this.opts as Partial<WorkerOptions>;
  }
}
