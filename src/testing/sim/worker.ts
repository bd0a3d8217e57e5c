/** A worker: a client in a simulated process, with consumers, and a user who does this and that. */
import type { Consumer } from '../../api/consumer.ts';
import { createHoldfast, type Holdfast } from '../../api/holdfast.ts';
import type { ProduceOptions } from '../../api/options.ts';
import { Client } from '../../client/client.ts';
import type { Answer, Settled } from '../../client/outbox.ts';
import type { Command, Notice, Reply, Settle, Together } from '../../model/command.ts';
import { encodeKvValue } from '../../codec/v8.ts';
import { HoldfastError } from '../../model/errors.ts';
import { encodeKvKey } from '../../model/kv-key.ts';
import type { Link } from '../../model/link.ts';
import { messageIdText } from '../../model/message-id.ts';
import { decodeEvents } from '../../wire/events.ts';
import { decodeHello, FRAME } from '../../wire/frames.ts';
import type { Chance } from './chance.ts';
import { canonical } from './commit-content.ts';
import { recordAdded } from './flow-work.ts';
import { batchHandlerOf } from './batch-handlers.ts';
import { handlerOf } from './handlers.ts';
import { askedBy, heardFrom } from './kv-records.ts';
import type { KvAsked } from './records.ts';
import type { SimMember } from './sim-member.ts';
import type { SimProcess } from './sim-process.ts';
import { type Watched, Watcher } from './watcher.ts';
import type { Content, Load, OpenChannel, Running, Workplace, World } from './world.ts';

/** How often a worker looks after its channels when the faults are over. */
const CARE_MS = 3_000;

export class Worker implements Workplace {
  readonly sim: World;
  readonly process: SimProcess;
  readonly member: SimMember;
  readonly chance: Chance;
  readonly channels: Map<string, OpenChannel> = new Map();
  readonly running: Set<Running> = new Set();
  readonly #watcher = new Watcher(this);
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

  get holdfast(): Holdfast | undefined {
    return this.#holdfast;
  }

  /** What it has seen of the entries that it watches. */
  get watched(): Watched | undefined {
    return this.#watcher.seen;
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
        for (const key of open.plan.groups) {
          const group = open.channel.group(key);
          await group.resume().catch((error: unknown) => this.sim.tolerate(error));
        }
      }
      for (const key of this.sim.schedules) {
        await this.#holdfast?.schedules.remove(key).catch((error: unknown) => this.sim.tolerate(error));
      }
      await this.process.sleep(CARE_MS);
    }
  }

  async consume(open: OpenChannel): Promise<void> {
    const { concurrency, prefetch, batch } = open.plan;
    const load: Load = { running: 0 };
    open.load = load;
    const consumer =
      batch === undefined
        ? await open.channel.consume(handlerOf(this, open, load), { concurrency, prefetch })
        : await open.channel.consumeBatch(batchHandlerOf(this, open, load), { concurrency, prefetch, ...batch });
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

  async produceWithKeys(open: OpenChannel, content: Content): Promise<void> {
    const { client } = this;
    if (client === undefined) return;
    const { channel, plan } = open;
    const { ref, item } = await channel.prepare(client, content, undefined);
    const id = messageIdText(item.id);
    const undelivered = [encodeKvKey(['undelivered', id])];
    const key = plan.keys === 'none' ? '' : canonical(content);
    const op = this.sim.called(this, channel.name, [{ id, key, content: canonical(content) }], undefined);
    client.produce(
      ref,
      { ...item, options: { ...item.options, undelivered } },
      {
        resolve: (outcome) => {
          if (outcome.what === 'backlogFull') return this.sim.answered(this, op, 'rejected', 'BACKLOG_FULL', []);
          const deduplicated = outcome.what === 'deduplicated';
          const standing = deduplicated ? messageIdText(outcome.id) : id;
          return this.sim.answered(this, op, 'acked', undefined, [{ id: standing, deduplicated }]);
        },
        reject: (error) => this.sim.answeredWith(this, op, error),
      },
    );
  }

  /** Runs `call` and gives the ids that were made meanwhile. */
  capture(call: () => void): string[] {
    return this.captureBytes(call).map((id) => messageIdText(id));
  }

  captureBytes(call: () => void): Uint8Array[] {
    const captured: Uint8Array[] = [];
    this.#captured = captured;
    call();
    this.#captured = undefined;
    return captured;
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
    if (this.sim.scenario.kvShare > 0) void this.#watcher.run(client);
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
    const request = client.request.bind(client);
    const room = client.waits.room.bind(client.waits);
    Object.assign(client, {
      nextId: (): Uint8Array => {
        const id = nextId();
        this.#captured?.push(id);
        return id;
      },
      request: (command: Command): Promise<Reply> => {
        if (command.kind === 'settle' && command.together !== undefined) {
          return this.#settledTogether(command.settles, command.together, () => request(command));
        }
        const asked = askedBy(command);
        return asked === undefined ? request(command) : this.#recorded(asked, () => request(command));
      },
      settle: (given: Settle, answer: Answer<Settled>): void => {
        const one = this.#withIdleEffects(given);
        recordAdded(this, one, this.sim.idOf(one.seq));
        this.sim.settleCalled(this, one);
        settle(one, {
          resolve: (settled) => {
            this.sim.settleAnswered(this, one.token, settled === 'conflict' ? settled : settled === 'done');
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

  /** Records a batch that is settled in one: what it brings along is said to come with its first message. */
  async #settledTogether(settles: readonly Settle[], { effects }: Together, ask: () => Promise<Reply>): Promise<Reply> {
    settles.forEach((settle, i) => this.sim.settleCalled(this, i === 0 ? { ...settle, effects } : settle));
    const answered = (held: (i: number) => boolean | 'conflict' | undefined): void =>
      settles.forEach(({ token }, i) => this.sim.settleAnswered(this, token, held(i)));
    try {
      const reply = await ask();
      if (reply.kind !== 'settled') answered(() => undefined);
      else {
        answered((i) => (reply.lost.includes(i) ? false : reply.conflicts.includes(i) ? 'conflict' : true));
        if (reply.lost.length === 0 && reply.conflicts.length === 0 && settles.length > 1)
          this.sim.reached('a batch is settled in one');
      }
      return reply;
    } catch (error) {
      answered(() => undefined);
      throw error;
    }
  }

  /** Records what is asked of KV and what is heard. */
  async #recorded(asked: KvAsked, ask: () => Promise<Reply>): Promise<Reply> {
    const op = this.sim.kvCalled(this, asked);
    try {
      const reply = await ask();
      this.sim.kvAnswered(op, heardFrom(asked, reply));
      return reply;
    } catch (error) {
      this.sim.kvAnswered(op, { what: 'unknown', code: error instanceof HoldfastError ? error.code : String(error) });
      throw error;
    }
  }

  /** Now and then a client says what an attempt would have written that failed: that must never count. */
  #withIdleEffects(settle: Settle): Settle {
    const { outcome, effects } = settle;
    if (
      outcome.kind === 'ack' ||
      outcome.kind === 'wait' ||
      effects !== undefined ||
      !this.chance.happens(this.sim.scenario.kvShare / 2)
    )
      return settle;
    const key = encodeKvKey(['op', String(this.sim.newMarker())]);
    const set = { kind: 'set', key, value: encodeKvValue(0), expireInMs: undefined, isStamped: false } as const;
    return { ...settle, effects: { checks: [], mutations: [set] } };
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
            const notice = ({ kind }: Notice): void => {
              if (kind === 'kvChanged') this.#watcher.tell();
            };
            decodeEvents(bytes, { reply, delivery: nobody, notice });
          } else if (bytes[0] === FRAME.welcome) {
            this.#watcher.renew();
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
