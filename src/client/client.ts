/**
 * The client: one session with the broker, over one link after the other.
 *
 * When a link closes, the client connects again with jittered pauses, takes its session up, repeats what was not
 * answered under the same request numbers, says which leases it holds, and opens its consumers again.
 */
import type { CancelTimer, Clock } from '../model/clock.ts';
import type { Command, Delivery, Failure, Notice, Reply, Settle } from '../model/command.ts';
import { type ErrorCode, HoldfastError } from '../model/errors.ts';
import type { Connect, Link } from '../model/link.ts';
import { MessageIdSource, messageIdText } from '../model/message-id.ts';
import type { ChannelSettings, Policy } from '../model/policy.ts';
import type { Random } from '../model/random.ts';
import type { EndedState } from '../model/states.ts';
import { decodeEvents } from '../wire/events.ts';
import { decodeGoodbye, decodeWelcome, encodeBye, encodeHello, FRAME, type Welcome } from '../wire/frames.ts';
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
} from './outbox.ts';

export interface ClientOptions {
  readonly connect: Connect;
  /** Names the process that the client lives in. */
  readonly host: string;
  /** What the client proves its rights with, where the broker asks for it. */
  readonly token?: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

/** How a message ended that somebody waited for; `state` is `undefined` when it is no longer known. */
export interface Ended {
  readonly state: EndedState | undefined;
  readonly result: Uint8Array | undefined;
  readonly failure: Failure | undefined;
  /** Why the broker does not tell. */
  readonly refused?: HoldfastError;
}

const UNKNOWN_END: Ended = { state: undefined, result: undefined, failure: undefined };

/** The pause before a link is tried again doubles from the first to the longest, each drawn from its upper half. */
const FIRST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 1_000;

/** How often it is looked whether a broker can be reached, in milliseconds. */
const UNREACHABLE_LOOK_MS = 250;

/** A broker that says one of these will not serve this client again. */
const FINAL: ReadonlySet<ErrorCode> = new Set([
  'CLOSED',
  'UNAUTHORIZED',
  'PROTOCOL',
  'BROKER_FAILED',
  'STORE_CORRUPT',
  'STORE_FAILED',
  'STORE_TOO_NEW',
]);

type Declared = Extract<Command, { kind: 'declare' }>;

export class Client {
  readonly clock: Clock;
  readonly random: Random;
  readonly #options: ClientOptions;
  readonly #ids: MessageIdSource;
  readonly #session: string;
  readonly #outbox = new Outbox();
  readonly #declared: Declared[] = [];
  /** What was declared, by channel and rules: an application may ask for a channel at each of its requests. */
  readonly #refs = new Map<string, { readonly ref: number; readonly done: Promise<void> }>();
  readonly #consumers = new Map<number, Consumer>();
  readonly #awaited = new Map<string, { readonly id: Uint8Array; readonly waiting: Set<(ended: Ended) => void> }>();
  /** How often there may have been events behind those that were read. */
  #eventNotices = 0;
  #eventWaiters: (() => void)[] = [];
  readonly #roomWaiters = new Map<string, (() => void)[]>();
  readonly #watchers = new Map<string, Set<() => void>>();
  #link: Link | undefined;
  #welcomed: { readonly resolve: (welcome: Welcome) => void; readonly reject: (error: unknown) => void } | undefined;
  #durability: Welcome['durability'] = 'memory';
  #everWelcomed = false;
  /** The session is taken up: requests may be sent. */
  #ready = false;
  #flushing = false;
  #holding = false;
  #keptAlive: CancelTimer | undefined;
  #failure: HoldfastError | undefined;
  /** What the broker said before it closed the link that is being opened. */
  #refusal: HoldfastError | undefined;
  #nextConsumer = 1;
  readonly #consumed = new Set<string>();
  #onConsume: () => void = () => {};
  #deliveries = 0;
  #nextBackup = 1;
  readonly #onFailure: (() => void)[] = [];

  constructor(options: ClientOptions) {
    this.#options = options;
    this.clock = options.clock;
    this.random = options.random;
    this.#ids = new MessageIdSource(options.clock, options.random);
    const secret = options.random.fill(new Uint8Array(16));
    this.#session = Array.from(secret, (byte) => byte.toString(16).padStart(2, '0')).join('');
  }

  /**
   * Connects, and tries again for `withinMs` where nobody answers.
   *
   * @throws HoldfastError with the reason of the last try
   */
  async open(withinMs: number = 0): Promise<void> {
    const givesUpAt = this.clock.monotonicMs() + withinMs;
    const release = this.clock.keepAlive();
    try {
      for (let attempt = 0; ; attempt++) {
        try {
          return await this.#connect();
        } catch (error) {
          if (this.#failure !== undefined || this.clock.monotonicMs() >= givesUpAt) throw error;
          await this.#pauseBefore(attempt);
        }
      }
    } finally {
      release();
    }
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
  declare(
    channel: string,
    policy: Policy,
    settings: ChannelSettings | undefined,
  ): { ref: number; done: Promise<void> } {
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

  /** Sends a command and gives its answer. */
  request(command: Command): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      this.#outbox.command(command, { resolve, reject });
      this.#flushSoon();
    });
  }

  /** Produces one message, together with others of the same tick. */
  produce(ref: number, item: Item, answer: Answer<ProduceOutcome>): void {
    if (this.#failure !== undefined) return answer.reject(this.#failure);
    this.#outbox.produce(ref, item, answer);
    if (this.#outbox.isAmple) this.#flush();
    else this.#flushSoon();
  }

  /** Produces all messages in one commit, or none. */
  async produceAll(ref: number, items: readonly Item[]): Promise<ProduceOutcome[]> {
    const reply = await this.request({ kind: 'produce', ref, atomic: true, blocks: blocksOf(items) });
    return outcomesOf(reply, items.length);
  }

  /** Settles a message; the answer says whether its lease was still held. */
  settle(settle: Settle, answer: Answer<boolean>): void {
    if (this.#failure !== undefined) return answer.reject(this.#failure);
    this.#outbox.settle(settle, answer);
    if (this.#outbox.isAmple) this.#flush();
    else this.#flushSoon();
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
    this.#consumed.add((this.#declared[ref - 1] as Declared).channel);
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

  /** Waits for the end of a message. `registered` says that the broker was told together with the produce. */
  awaitEnd(id: Uint8Array, registered: boolean): { ended: Promise<Ended>; stop: () => void } {
    if (this.#failure !== undefined) return { ended: Promise.resolve(UNKNOWN_END), stop: () => {} };
    const key = messageIdText(id);
    let entry = this.#awaited.get(key);
    if (entry === undefined) {
      entry = { id, waiting: new Set() };
      this.#awaited.set(key, entry);
    }
    const { waiting } = entry;
    let stop = (): void => {};
    const ended = new Promise<Ended>((resolve) => {
      waiting.add(resolve);
      stop = () => {
        waiting.delete(resolve);
        // Somebody may have begun to wait for it anew, after an answer that was not the last word.
        if (waiting.size > 0 || this.#awaited.get(key)?.waiting !== waiting) return;
        this.#awaited.delete(key);
        this.#awaitNoMore(id);
      };
    });
    if (!registered) this.note({ kind: 'await', id, stop: false });
    return { ended, stop };
  }

  /** Resolves when the broker says that the channel has room again, or when the link was renewed. */
  roomIn(channel: string): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#roomWaiters.get(channel);
      if (waiting === undefined) this.#roomWaiters.set(channel, [resolve]);
      else waiting.push(resolve);
    });
  }

  /** Resolves when the channel has messages to hand out and nobody to take them, or when the client has failed. */
  wanted(channel: string): { wanted: Promise<void>; stop: () => void } {
    if (this.#failure !== undefined) return { wanted: Promise.resolve(), stop: () => {} };
    const known = this.#watchers.get(channel);
    const waiting = known ?? new Set();
    this.#watchers.set(channel, waiting);
    let stop = (): void => {};
    let refuse = (_error: Error): void => {};
    const wanted = new Promise<void>((resolve, reject) => {
      waiting.add(resolve);
      refuse = reject;
      stop = () => {
        waiting.delete(resolve);
        // The broker goes on watching, and says once what nobody hears.
        if (waiting.size === 0 && this.#watchers.get(channel) === waiting) this.#watchers.delete(channel);
        this.#updateHold();
      };
    });
    this.request({ kind: 'watch', channel }).then(
      (reply) => {
        if (reply.kind !== 'refused') return;
        stop();
        refuse(refusal(reply));
      },
      // Whatever becomes of the link, the next one is told again.
      () => {},
    );
    this.#updateHold();
    return { wanted, stop };
  }

  /** How many messages it was handed so far, and how many of them it holds. */
  get work(): { readonly deliveries: number; readonly held: number } {
    let held = 0;
    for (const consumer of this.#consumers.values()) held += consumer.leases().length;
    return { deliveries: this.#deliveries, held };
  }

  /** To be taken before events are read, and given to {@link moreEvents} when that reached their end. */
  get eventNotices(): number {
    return this.#eventNotices;
  }

  /** Resolves when there may be more events than when `eventNotices` was this, or when the client has failed. */
  moreEvents(noticesBefore: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#eventNotices !== noticesBefore || this.#failure !== undefined || signal?.aborted === true) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const done = (): void => {
        signal?.removeEventListener('abort', done);
        this.#eventWaiters = this.#eventWaiters.filter((waiter) => waiter !== done);
        this.#updateHold();
        resolve();
      };
      signal?.addEventListener('abort', done);
      this.#eventWaiters.push(done);
      this.#updateHold();
    });
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
    this.#link?.send(encodeBye());
    this.#fail(new HoldfastError('CLOSED', 'Cannot go on: the connection was closed'));
  }

  async #connect(): Promise<void> {
    const link = await this.#options.connect();
    const welcome = await new Promise<Welcome>((resolve, reject) => {
      this.#welcomed = { resolve, reject };
      link.open({ frame: (bytes) => this.#frame(link, bytes), closed: () => this.#closed(link) });
      this.#link = link;
      this.#holdWithoutLink();
      link.hold(true);
      const { host, token = '' } = this.#options;
      link.send(encodeHello({ session: this.#session, host, token, needsToken: 'never' }));
    });
    this.#durability = welcome.durability;
    this.#takeUp(link, welcome);
  }

  /** Brings a new link to where the last one was. */
  #takeUp(link: Link, welcome: Welcome): void {
    const again = this.#everWelcomed;
    this.#everWelcomed = true;
    if (again && !welcome.resumed) {
      this.#outbox.restart(new HoldfastError('UNKNOWN_OUTCOME', 'The session expired before the answer came'));
      for (const consumer of this.#consumers.values()) consumer.loseAll();
    }
    if (again) {
      const leases = [...this.#consumers.values()].flatMap((consumer) => consumer.leases());
      for (const consumer of this.#consumers.values()) consumer.reopen();
      for (const { id } of this.#awaited.values()) this.#outbox.note({ kind: 'await', id, stop: false });
      for (const channel of this.#watchers.keys()) this.#outbox.note({ kind: 'watch', channel });
      for (const frame of this.#outbox.first([...this.#declared, { kind: 'holding', leases }])) link.send(frame);
      for (const unanswered of this.#outbox.again()) link.send(unanswered);
      for (const channel of this.#roomWaiters.keys()) this.#announceRoom(channel);
      this.#announceEvents();
    }
    this.#ready = true;
    this.#holding = true;
    this.#flush();
    this.#updateHold();
  }

  #frame(link: Link, bytes: Uint8Array): void {
    if (link !== this.#link) return;
    switch (bytes[0]) {
      case FRAME.welcome:
        this.#welcomed?.resolve(decodeWelcome(bytes));
        this.#welcomed = undefined;
        break;
      case FRAME.events:
        decodeEvents(bytes, this.#receiver);
        if (!this.#flushing) this.#flushSoon();
        this.#updateHold();
        break;
      case FRAME.goodbye: {
        const { code, message, cause } = decodeGoodbye(bytes);
        const refusal = new HoldfastError(code, message, cause === undefined ? {} : { cause: new Error(cause) });
        if (FINAL.has(code)) this.#fail(refusal);
        else if (this.#welcomed !== undefined) this.#refusal = refusal;
        break;
      }
      default:
        this.#fail(new HoldfastError('PROTOCOL', `Cannot read a frame of kind ${bytes[0]}`));
    }
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
      case 'room':
        // The refusal may have come in the same frame, and whoever got it is about to wait.
        this.clock.afterInput(() => this.#announceRoom(notice.channel));
        break;
      case 'ended':
        this.#tellEnd(notice.id, notice);
        break;
      case 'consumerRefused':
        this.#consumers.get(notice.consumer)?.fail(new HoldfastError(notice.code, notice.message));
        break;
      case 'awaitRefused':
        this.#tellEnd(notice.id, { ...UNKNOWN_END, refused: new HoldfastError(notice.code, notice.message) });
        break;
      case 'wanted':
        this.#announceWanted(notice.channel);
        break;
      case 'events':
        this.#announceEvents();
        break;
    }
  }

  #tellEnd(id: Uint8Array, ended: Ended): void {
    const key = messageIdText(id);
    const entry = this.#awaited.get(key);
    if (entry === undefined) return;
    this.#awaited.delete(key);
    for (const resolve of entry.waiting) resolve(ended);
    this.#awaitNoMore(entry.id);
  }

  /** Not a note: one that is lost with its link would keep the message's result for as long as the session lasts. */
  #awaitNoMore(id: Uint8Array): void {
    this.request({ kind: 'await', id, stop: true }).catch(() => {});
  }

  #announceEvents(): void {
    this.#eventNotices += 1;
    for (const resolve of this.#eventWaiters) resolve();
  }

  #announceRoom(channel: string): void {
    const waiting = this.#roomWaiters.get(channel) ?? [];
    this.#roomWaiters.delete(channel);
    for (const resolve of waiting) resolve();
  }

  #announceWanted(channel: string): void {
    const waiting = this.#watchers.get(channel) ?? [];
    this.#watchers.delete(channel);
    for (const resolve of waiting) resolve();
    this.#updateHold();
  }

  #closed(link: Link): void {
    if (link !== this.#link) return;
    this.#link = undefined;
    this.#ready = false;
    if (this.#welcomed !== undefined) {
      this.#welcomed.reject(
        this.#refusal ?? new HoldfastError('UNREACHABLE', 'The link closed before the broker answered'),
      );
      this.#welcomed = undefined;
      this.#refusal = undefined;
      this.#holdWithoutLink();
      return;
    }
    if (this.#failure !== undefined) return;
    this.#holdWithoutLink();
    void this.#reconnect();
  }

  async #reconnect(): Promise<void> {
    for (let attempt = 0; this.#failure === undefined; attempt++) {
      await this.#pauseBefore(attempt);
      try {
        if (this.#failure === undefined) await this.#connect();
        return;
      } catch (error) {
        if (error instanceof HoldfastError && FINAL.has(error.code) && error.code !== 'CLOSED') this.#fail(error);
      }
    }
  }

  #pauseBefore(attempt: number): Promise<void> {
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** attempt, LONGEST_PAUSE_MS);
    return new Promise((resolve) => this.clock.timer(pauseMs * (0.5 + this.#options.random.fraction() / 2), resolve));
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
    if (this.#link === undefined || !this.#ready) return;
    for (let frame = this.#outbox.next(); frame !== undefined; frame = this.#outbox.next()) this.#link?.send(frame);
    this.#updateHold();
  }

  /** Somebody waits as long as a request is unanswered or a consumer is open; else the process may end. */
  #updateHold(): void {
    const holding =
      this.#consumers.size > 0 ||
      !this.#outbox.isIdle ||
      this.#awaited.size > 0 ||
      this.#watchers.size > 0 ||
      this.#eventWaiters.length > 0;
    if (holding === this.#holding) return;
    this.#holding = holding;
    this.#link?.hold(holding);
    this.#holdWithoutLink();
  }

  /** While there is no link, something else has to keep the process alive for whoever waits. */
  #holdWithoutLink(): void {
    const wanted = this.#holding && this.#link === undefined && this.#failure === undefined;
    if (wanted === (this.#keptAlive !== undefined)) return;
    this.#keptAlive?.();
    this.#keptAlive = wanted ? this.clock.keepAlive() : undefined;
  }

  #fail(error: HoldfastError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    const link = this.#link;
    this.#link = undefined;
    this.#holdWithoutLink();
    this.#welcomed?.reject(error);
    this.#welcomed = undefined;
    link?.hold(false);
    link?.close();
    this.#outbox.fail(error);
    for (const consumer of this.#consumers.values()) consumer.fail(error);
    for (const channel of this.#roomWaiters.keys()) this.#announceRoom(channel);
    for (const channel of this.#watchers.keys()) this.#announceWanted(channel);
    this.#announceEvents();
    for (const { waiting } of this.#awaited.values()) {
      for (const resolve of waiting) resolve(UNKNOWN_END);
    }
    this.#awaited.clear();
    for (const listener of this.#onFailure) listener();
  }
}

/** Blocks that hold these messages in their order. */
export function blocksOf(items: readonly Item[]): Uint8Array[] {
  const blocks: Parameters<typeof addToBlocks>[0] = [];
  for (const item of items) addToBlocks(blocks, item);
  return blocks.map((block) => block.finish());
}
