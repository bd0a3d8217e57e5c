/**
 * The client: one session with the broker. It numbers requests, hands their answers to whoever asked, and runs consumers.
 *
 * Over each new link it repeats what was not answered under the same request numbers, says which leases it holds, and
 * opens its consumers again.
 */
import type { BullAsk } from '../model/bull.ts';
import type { CancelTimer, Clock } from '../model/clock.ts';
import type { Command, Delivery, Notice, Reply, Settle, Together } from '../model/command.ts';
import { HoldfastError } from '../model/errors.ts';
import { MessageIdSource } from '../model/message-id.ts';
import type { Policy, SettingsPatch } from '../model/policy.ts';
import type { Random } from '../model/random.ts';
import { decodeEvents } from '../wire/events.ts';
import { encodeBye, type Welcome } from '../wire/frames.ts';
import { type Consumer, createConsumer, type ConsumerOptions } from './consumer.ts';
import {
  addToBlocks,
  type Answer,
  type Item,
  Outbox,
  outcomesOf,
  type ProduceOutcome,
  refusal,
  type Running,
  type Settled,
} from './outbox.ts';
import { ReconnectingLink, type ReconnectingLinkOptions } from './reconnecting-link.ts';
import { Waits } from './waits.ts';

/** How often it is looked whether a broker can be reached, in milliseconds. */
const UNREACHABLE_LOOK_MS = 250;

type Declared = Extract<Command, { kind: 'declare' | 'declareTopic' }>;

export class Client {
  readonly clock: Clock;
  readonly random: Random;
  /** Who waits for something that the broker says in passing. */
  readonly waits: Waits;
  readonly #link: ReconnectingLink;
  readonly #ids: MessageIdSource;
  readonly #outbox = new Outbox();
  readonly #declared: Declared[] = [];
  /** What was declared, by channel and rules: an application may ask for a channel at each of its requests. */
  readonly #refs = new Map<string, { readonly ref: number; readonly done: Promise<void> }>();
  readonly #consumers = new Map<number, Consumer>();
  #durability: Welcome['durability'] = 'memory';
  #everWelcomed = false;
  /** The session is taken up: requests may be sent. */
  #ready = false;
  #flushing = false;
  #failure: HoldfastError | undefined;
  #nextConsumer = 1;
  readonly #consumed = new Set<string>();
  #onConsume: () => void = () => {};
  #deliveries = 0;
  #nextBackup = 1;
  readonly #onFailure: (() => void)[] = [];

  constructor(options: ReconnectingLinkOptions) {
    this.clock = options.clock;
    this.random = options.random;
    this.waits = new Waits(this, () => this.#updateHold());
    this.#ids = new MessageIdSource(options.clock, options.random);
    this.#link = new ReconnectingLink(options, {
      welcomed: (welcome) => this.#takeUp(welcome),
      events: (bytes) => this.#events(bytes),
      closed: () => {
        this.#ready = false;
      },
      refused: (error) => this.#fail(error),
    });
  }

  /**
   * Connects, and tries again for `withinMs` where nobody answers.
   *
   * @throws HoldfastError with the reason of the last try
   */
  open(withinMs: number = 0): Promise<void> {
    return this.#link.open(withinMs);
  }

  /** What an acknowledged write of this broker survives. */
  get durability(): Welcome['durability'] {
    return this.#durability;
  }

  /** A number that tells the backups of this client apart. */
  nextBackup(): number {
    return this.#nextBackup++;
  }

  nextId(): Uint8Array {
    return this.#ids.next();
  }

  /** Names a channel with its rules for the commands that follow. */
  declare(channel: string, policy: Policy, settings: SettingsPatch | undefined): { ref: number; done: Promise<void> } {
    const content = `${channel}\0${JSON.stringify(policy)}`;
    const known = this.#refs.get(content);
    if (known !== undefined && settings === undefined) return known;
    const ref = known?.ref ?? this.#declared.length + 1;
    const command = { kind: 'declare', ref, channel, policy, settings } as const;
    this.#declared[ref - 1] = command;
    const done = this.request(command).then((reply) => {
      if (reply.kind !== 'done') {
        this.#refs.delete(content);
        throw refusal(reply);
      }
      // They were applied; over the next link they would undo what was set since.
      this.#declared[ref - 1] = { ...command, settings: undefined };
    });
    const declared = { ref, done };
    this.#refs.set(content, declared);
    return declared;
  }

  /** Names a topic for the commands that follow. */
  declareTopic(topic: string): number {
    // No channel is named like this, for what follows its name is never empty.
    const content = `topic\0\0${topic}`;
    const known = this.#refs.get(content);
    if (known !== undefined) return known.ref;
    const ref = this.#declared.length + 1;
    const command = { kind: 'declareTopic', ref, topic } as const;
    this.#declared.push(command);
    const done = this.request(command).then(() => {});
    // A refusal (too many names) shows at the first command that uses it.
    done.catch(() => {});
    this.#refs.set(content, { ref, done });
    return ref;
  }

  /** Sends a command and gives its answer. */
  request(command: Command): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      this.#outbox.command(command, { resolve, reject });
      this.#flushSoon();
    });
  }

  /** Asks a queue of BullMQ's, together with others of the same tick; `bytes` is about what that takes. */
  askBull(ask: BullAsk, bytes: number, answer: Answer<unknown>): void {
    if (this.#failure !== undefined) return answer.reject(this.#failure);
    this.#outbox.bull(ask, bytes, answer);
    if (this.#outbox.isAmple) this.#flush();
    else this.#flushSoon();
  }

  /** Produces one message, together with others of the same tick. */
  produce(ref: number, item: Item, answer: Answer<ProduceOutcome>, versioned: boolean = false): void {
    if (this.#failure !== undefined) return answer.reject(this.#failure);
    this.#outbox.produce(ref, item, answer, versioned);
    if (this.#outbox.isAmple) this.#flush();
    else this.#flushSoon();
  }

  /** Produces all messages in one commit, or none. */
  async produceAll(ref: number, items: readonly Item[]): Promise<ProduceOutcome[]> {
    const reply = await this.request({ kind: 'produce', ref, atomic: true, blocks: blocksOf(items) });
    return outcomesOf(reply, items.length);
  }

  /** Settles a message; the answer says whether its lease was still held. */
  settle(settle: Settle, answer: Answer<Settled>): void {
    if (this.#failure !== undefined) return answer.reject(this.#failure);
    this.#outbox.settle(settle, answer);
    if (this.#outbox.isAmple) this.#flush();
    else this.#flushSoon();
  }

  /** Settles messages of a batch in one, with what they bring along in common. */
  async settleTogether(settles: readonly Settle[], together: Together): Promise<Settled[]> {
    const reply = await this.request({ kind: 'settle', settles, together });
    if (reply.kind !== 'settled') throw refusal(reply);
    const [lost, conflicts] = [new Set(reply.lost), new Set(reply.conflicts)];
    return settles.map((_, i) => (lost.has(i) ? 'lost' : conflicts.has(i) ? 'conflict' : 'done'));
  }

  /** Sends a note in passing. */
  note(command: Command): void {
    if (this.#failure !== undefined) return;
    this.#outbox.note(command);
    this.#flushSoon();
  }

  /** @param isTimed the broker must hear it now: the handler may block this thread for longer than it may take */
  started(running: Running, isTimed: boolean): void {
    if (this.#failure !== undefined) return;
    this.#outbox.started(running);
    if (isTimed) this.#flush();
    else this.#flushSoon();
  }

  /** Opens a consumer of a declared channel. */
  consume(ref: number, options: ConsumerOptions): Consumer {
    const number = this.#nextConsumer++;
    const consumer = createConsumer(this, number, ref, options, () => {
      this.#consumers.delete(number);
      this.#updateHold();
    });
    this.#consumers.set(number, consumer);
    consumer.open();
    this.#updateHold();
    const declared = this.#declared[ref - 1];
    if (declared?.kind === 'declare') this.#consumed.add(declared.channel);
    this.#onConsume();
    return consumer;
  }

  /** The channels that it has had consumers of. */
  get consumedChannels(): readonly string[] {
    return [...this.#consumed];
  }

  /** Calls back when a consumer was opened. */
  onConsume(listener: () => void): void {
    this.#onConsume = listener;
  }

  /** How many messages it was handed so far, and how many of them it holds. */
  get work(): { readonly deliveries: number; readonly held: number } {
    let held = 0;
    for (const consumer of this.#consumers.values()) held += consumer.leases().length;
    return { deliveries: this.#deliveries, held };
  }

  /** Calls back when the client has failed for good. */
  onFailure(listener: () => void): void {
    if (this.#failure === undefined) this.#onFailure.push(listener);
    else listener();
  }

  /** Why the client has failed for good, if it has. */
  get failure(): HoldfastError | undefined {
    return this.#failure;
  }

  /** Lets every consumer finish what its handlers have begun. */
  async drainConsumers(): Promise<void> {
    await Promise.all([...this.#consumers.values()].map((consumer) => consumer.drain()));
  }

  /** Takes what handlers work on away from them and gives it back. */
  closeConsumers(): void {
    for (const consumer of this.#consumers.values()) void consumer.close();
  }

  /** Resolves when no broker could be reached for this long. */
  whenUnreachable(ms: number): { reached: Promise<void>; stop: () => void } {
    let cancel: CancelTimer = () => {};
    const reached = new Promise<void>((resolve) => {
      let since = Infinity;
      const look = (): void => {
        const now = this.clock.monotonicMs();
        since = this.#ready ? Infinity : Math.min(since, now);
        if (now - since >= ms) resolve();
        else cancel = this.clock.timer(Math.min(UNREACHABLE_LOOK_MS, Math.max(1, since + ms - now)), look);
      };
      look();
    });
    return { reached, stop: () => cancel() };
  }

  /** Waits until everything asked for so far is answered. */
  async idle(): Promise<void> {
    if (this.#failure !== undefined || this.#outbox.isIdle) return;
    // Requests are answered in their order, so the answer to this one comes last.
    await this.request({ kind: 'inspect', what: 'channels' }).catch(() => {});
  }

  /** Says goodbye and rejects what is not answered. Consumers must be closed before. */
  close(): void {
    if (this.#failure !== undefined) return;
    this.#flush();
    this.#link.send(encodeBye());
    this.#fail(new HoldfastError('CLOSED', 'Cannot go on: the connection was closed'));
  }

  /** Brings a new link to where the last one was. */
  #takeUp(welcome: Welcome): void {
    const again = this.#everWelcomed;
    this.#everWelcomed = true;
    this.#durability = welcome.durability;
    if (again && !welcome.resumed) {
      this.#outbox.restart(new HoldfastError('UNKNOWN_OUTCOME', 'The session expired before the answer came'));
      for (const consumer of this.#consumers.values()) consumer.loseAll();
    }
    if (again) {
      const leases = [...this.#consumers.values()].flatMap((consumer) => consumer.leases());
      for (const consumer of this.#consumers.values()) consumer.reopen();
      for (const command of this.waits.again) this.#outbox.note(command);
      for (const frame of this.#outbox.first([...this.#declared, { kind: 'holding', leases }])) this.#link.send(frame);
      for (const unanswered of this.#outbox.again()) this.#link.send(unanswered);
      this.waits.renew();
    }
    this.#ready = true;
    this.#flush();
    this.#updateHold();
  }

  #events(bytes: Uint8Array): void {
    decodeEvents(bytes, this.#receiver);
    if (!this.#flushing) this.#flushSoon();
    this.#updateHold();
  }

  readonly #receiver = {
    reply: (request: number, reply: Reply): void => this.#outbox.answer(request, reply),
    delivery: (delivery: Delivery): void => {
      this.#deliveries += 1;
      this.#consumers.get(delivery.consumer)?.deliver(delivery);
    },
    notice: (notice: Notice): void => this.#notice(notice),
  };

  #notice(notice: Notice): void {
    switch (notice.kind) {
      case 'revoked':
        for (const consumer of this.#consumers.values()) consumer.revoke(notice.token, notice.reason);
        break;
      case 'cancelling': {
        const { token, deadlineMs, reason } = notice;
        for (const consumer of this.#consumers.values()) consumer.cancel(token, { deadlineMs, reason });
        break;
      }
      case 'consumerRefused':
        this.#consumers.get(notice.consumer)?.fail(new HoldfastError(notice.code, notice.message));
        break;
      default:
        this.waits.notice(notice);
    }
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.clock.defer(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    // Before the session is taken up nothing may be sent: what is repeated comes first.
    if (!this.#ready) return;
    for (let frame = this.#outbox.next(); frame !== undefined; frame = this.#outbox.next()) this.#link.send(frame);
    this.#updateHold();
  }

  /** Somebody waits as long as a request is unanswered or a consumer is open; else the process may end. */
  #updateHold(): void {
    this.#link.hold(this.#consumers.size > 0 || !this.#outbox.isIdle || !this.waits.isEmpty);
  }

  #fail(error: HoldfastError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#ready = false;
    this.#link.end(error);
    this.#outbox.fail(error);
    for (const consumer of this.#consumers.values()) consumer.fail(error);
    this.waits.endAll();
    for (const listener of this.#onFailure) listener();
  }
}

/** Blocks that hold these messages in their order. */
export function blocksOf(items: readonly Item[]): Uint8Array[] {
  const blocks: Parameters<typeof addToBlocks>[0] = [];
  for (const item of items) addToBlocks(blocks, item);
  return blocks.map((block) => block.finish());
}
