/** A worker: a client in a simulated process, with consumers, and a user who does this and that. */
import type { Consumer } from '../../api/consumer.ts';
import { createHoldfast, type Holdfast } from '../../api/holdfast.ts';
import type { ProduceOptions } from '../../api/options.ts';
import { Client } from '../../client/client.ts';
import type { Answer, Settled } from '../../client/outbox.ts';
import type { Reply, Settle } from '../../model/command.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { Link } from '../../model/link.ts';
import { messageIdText } from '../../model/message-id.ts';
import { decodeEvents } from '../../wire/events.ts';
import { decodeHello, FRAME } from '../../wire/frames.ts';
import type { Chance } from './chance.ts';
import { canonical } from './commit-content.ts';
import { handlerOf } from './handlers.ts';
import type { SimMember } from './sim-member.ts';
import type { SimProcess } from './sim-process.ts';
import type { Content, Load, OpenChannel, Workplace, World } from './world.ts';

/** How often a worker looks after its channels when the faults are over. */
const CARE_MS = 3_000;

export class Worker implements Workplace {
  readonly sim: World;
  readonly process: SimProcess;
  readonly member: SimMember;
  readonly chance: Chance;
  readonly channels: Map<string, OpenChannel> = new Map();
  client: Client | undefined;
  #holdfast: Holdfast | undefined;
  #isLeaving = false;
  #captured: Uint8Array[] | undefined;
  #connects = 0;
  #lastConnectAt = 0;

  constructor(sim: World, member: SimMember, chance: Chance) {
    this.sim = sim;
    this.member = member;
    this.process = member.process;
    this.chance = chance;
  }

  /** Lives until the process dies: a client that has failed for good is followed by another. */
  async run(): Promise<void> {
    while (!this.#isLeaving) {
      await this.process.sleep(this.chance.between(1, 200));
      try {
        await this.#live();
      } catch (error) {
        if (!(error instanceof HoldfastError)) this.sim.broken('a worker', error);
      }
    }
  }

  /** Since when the client has had its present connection. */
  get connectedAt(): number {
    return this.#lastConnectAt;
  }

  get hasReconnected(): boolean {
    return this.#connects > 1;
  }

  /** Closes what is open, as a process does that is told to end. */
  async leave(): Promise<void> {
    this.#isLeaving = true;
    if (this.#holdfast === undefined) return this.member.close();
    return this.#holdfast.close({ grace: this.chance.whole(0, 5_000) });
  }

  /** Takes part in bringing everything to its end, in a process whose user does nothing else any more. */
  async care(): Promise<void> {
    while (!this.sim.isAtRest) {
      for (const open of this.channels.values()) {
        const { client } = this;
        if (client === undefined || client.failure !== undefined) break;
        if (open.consumer === undefined) await this.consume(open).catch((error: unknown) => this.sim.tolerate(error));
        await open.channel.resume().catch((error: unknown) => this.sim.tolerate(error));
      }
      await this.process.sleep(CARE_MS);
    }
  }

  async consume(open: OpenChannel): Promise<void> {
    const { concurrency, prefetch } = open.plan;
    const load: Load = { running: 0 };
    open.load = load;
    const handler = handlerOf(this, open, load);
    const consumer = await open.channel.consume(handler, { concurrency, prefetch });
    open.consumer = consumer;
    consumer.stopped.catch(() => {});
    void consumer.stopped.then(
      () => this.#stopped(open, consumer),
      () => this.#stopped(open, consumer),
    );
  }

  /** Whether a consumer of this channel has room for a message, as far as this process knows. */
  isIdle(name: string): boolean {
    const open = this.channels.get(name);
    if (open?.consumer === undefined || this.process.isBlocked || !this.process.isAlive) return false;
    return open.load.running < open.plan.concurrency && this.sim.isConnected(this.process);
  }

  /** Asks for messages to be produced, and records what was asked and what became of it. */
  async produce(
    open: OpenChannel,
    contents: readonly Content[],
    options: ProduceOptions | undefined,
    request: boolean,
  ): Promise<void> {
    const { channel, plan } = open;
    const key = (content: Content): string =>
      plan.keys === 'none' ? '' : plan.keys === 'key' ? (options?.dedupeKey ?? canonical(content)) : canonical(content);
    this.#captured = [];
    let calling: Promise<unknown>;
    if (request) calling = channel.request(contents[0] as Content, options);
    else if (contents.length === 1) calling = channel.produce(contents[0] as Content, options);
    else calling = channel.produceAll(contents, options);
    const ids = this.#captured.map((id) => messageIdText(id));
    this.#captured = undefined;
    const messages = contents.map((content, i) => ({
      id: ids[i] as string,
      key: key(content),
      content: canonical(content),
    }));
    const op = this.sim.called(this, channel.name, messages, undefined);
    try {
      const answer = await calling;
      if (request) {
        this.sim.result(op, ids[0] as string, answer);
        this.sim.answered(this, op, 'unknown', undefined, []);
      } else {
        const receipts = (Array.isArray(answer) ? answer : [answer]) as { id: string; deduplicated: boolean }[];
        this.sim.answered(this, op, 'acked', undefined, receipts);
      }
    } catch (error) {
      this.sim.answeredWith(this, op, error);
    }
  }

  /** Runs `call` and gives the ids that were made meanwhile. */
  capture(call: () => void): string[] {
    const captured: Uint8Array[] = [];
    this.#captured = captured;
    call();
    this.#captured = undefined;
    return captured.map((id) => messageIdText(id));
  }

  async #live(): Promise<void> {
    const client = new Client({
      connect: async () => {
        const link = this.#overhear(this.member.connect());
        this.#connects += 1;
        this.#lastConnectAt = this.sim.time.nowMs;
        return link;
      },
      host: this.process.host,
      clock: this.process.clock,
      random: this.process.random,
    });
    this.#listen(client);
    await client.open();
    this.client = client;
    const holdfast = createHoldfast(client, () => this.member.close());
    this.#holdfast = holdfast;
    this.channels.clear();
    for (const plan of this.sim.scenario.channels) {
      const channel = holdfast.channel<Content>(plan.name, plan.options);
      this.channels.set(plan.name, { plan, channel, consumer: undefined, load: { running: 0 } });
    }
    for (const open of this.channels.values()) {
      if (!this.sim.isHealed && this.chance.happens(0.3)) continue;
      await this.consume(open).catch((error: unknown) => this.sim.tolerate(error));
    }
    await new Promise<void>((resolve) => client.onFailure(resolve));
    this.client = undefined;
    if (!this.#isLeaving) this.#holdfast = undefined;
    this.channels.clear();
  }

  /** Learns the ids that the client makes, and how its settles end. */
  #listen(client: Client): void {
    const nextId = client.nextId.bind(client);
    const settle = client.settle.bind(client);
    const room = client.waits.room.bind(client.waits);
    Object.assign(client, {
      nextId: (): Uint8Array => {
        const id = nextId();
        this.#captured?.push(id);
        return id;
      },
      settle: (one: Settle, answer: Answer<Settled>): void => {
        this.sim.settleCalled(this, one);
        settle(one, {
          resolve: (settled) => {
            this.sim.settleAnswered(this, one.token, settled === 'done');
            answer.resolve(settled);
          },
          reject: (error) => {
            this.sim.settleAnswered(this, one.token, undefined);
            answer.reject(error);
          },
        });
      },
    });
    Object.assign(client.waits, {
      room: (channel: string): Promise<void> => {
        this.sim.reached('a produce waits for room');
        return room(channel);
      },
    });
  }

  /** Learns which answers come over a link, and to which session. */
  #overhear(link: Link): Link {
    let session = '';
    const nobody = (): void => {};
    return {
      ...link,
      send: (frame) => {
        if (frame[0] === FRAME.hello) ({ session } = decodeHello(frame));
        link.send(frame);
      },
      open: ({ frame, closed }) => {
        const hear = (bytes: Uint8Array): void => {
          if (bytes[0] === FRAME.events) {
            const reply = (request: number, answer: Reply): void => this.sim.replied(session, request, answer);
            decodeEvents(bytes, { reply, delivery: nobody, notice: nobody });
          }
          frame(bytes);
        };
        link.open({ frame: hear, closed });
      },
    };
  }

  #stopped(open: OpenChannel, consumer: Consumer): void {
    if (open.consumer === consumer) open.consumer = undefined;
  }
}
