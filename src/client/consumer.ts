/**
 * A consumer: takes deliveries of one channel, runs up to `concurrency` handlers at a time, and settles.
 *
 * It asks for a window of messages: those that run and some in advance, so that a fast handler never waits for the
 * broker. How many in advance follows from how long the handler takes, so that a slow one keeps none from others.
 */
import type { Clock } from '../model/clock.ts';
import type { Command, Delivery, LeaseKey, Reply, Settle, Together } from '../model/command.ts';
import type { HoldfastError } from '../model/errors.ts';
import { NumberMap } from '../model/number-map.ts';
import { conflictPauseMs } from './conflicts.ts';
import { type BatchRules, Gathering } from './gathering.ts';
import { type Cancellation, HeldMessage, type StopReason, type Work } from './held-message.ts';
import type { Answer, Settled } from './outbox.ts';

export interface ConsumerOptions {
  readonly concurrency: number;
  /** Messages held in advance; `auto` follows the handler's speed. */
  readonly prefetch: number | 'auto';
  /** Runs the handler and says how to settle. Never rejects. */
  readonly run: RunOne | RunBatch;
  /** A message was settled too late: it is somebody else's, or it has ended. */
  readonly onLeaseLost: (delivery: Delivery) => void;
}

export type RunOne = (delivery: Delivery, work: Work) => Settlement | Promise<Settlement>;

/** A handler of many messages at a time. `concurrency` counts batches then. */
export interface RunBatch extends BatchRules {
  readonly run: (works: readonly Work[]) => Promise<BatchSettlement>;
}

/** How the messages of a batch are to be settled, in their order, and what they bring along in common, if they are to be one. */
export interface BatchSettlement {
  readonly settlements: readonly Settlement[];
  readonly together: Together | undefined;
}

/** How a handler's message is to be settled. */
export type Settlement = Pick<Settle, 'outcome' | 'produced' | 'effects'>;

/** What the consumer needs of its client. */
export interface ConsumerClient {
  readonly clock: Clock;
  request(command: Command): Promise<Reply>;
  note(command: Command): void;
  started(work: HeldMessage, isTimed: boolean): void;
  /** The answer says whether the lease was still held. */
  settle(settle: Settle, answer: Answer<Settled>): void;
  /** Settles them all in one. */
  settleTogether(settles: readonly Settle[], together: Together): Promise<Settled[]>;
}

export interface Consumer {
  open(): void;
  /** Asks for messages again over a new link. */
  reopen(): void;
  deliver(delivery: Delivery): void;
  /** A lease was taken back by the broker. */
  revoke(token: number, reason: StopReason): void;
  /** A message is cancelled, and its handler has some time to end. */
  cancel(token: number, cancellation: Cancellation): void;
  /** All leases it has. */
  leases(): LeaseKey[];
  /** The session is gone and all leases with it. */
  loseAll(): void;
  /** The client has failed for good. */
  fail(error: HoldfastError): void;
  /** Claims no more, and gives back what has not started; resolves when nothing more will start. */
  pause(): Promise<void>;
  /** Claims again. */
  resume(): void;
  /** Claims no more, gives back what has not started, and resolves when all running handlers are settled. */
  drain(): Promise<void>;
  /** Stops at once: handlers get their signal, and everything is given back. */
  close(): Promise<void>;
  /** Resolves when it has stopped, rejects when it has failed. */
  readonly stopped: Promise<void>;
  /** How many messages it asks for at present. */
  readonly window: number;
}

/** How much handler time a window should cover in advance, in milliseconds, and how many messages at most. */
const AHEAD_MS = 10;
const MAX_AHEAD = 2_000;

/** Multiples of it, without their whole parts, lie evenly between 0 and 1. */
const GOLDEN_RATIO: number = (1 + Math.sqrt(5)) / 2;

/** The weight of the newest handler time in the running mean. */
const SMOOTHING = 0.1;

export function createConsumer(
  client: ConsumerClient,
  number: number,
  ref: number,
  options: ConsumerOptions,
  onStopped: () => void,
): Consumer {
  return new ClientConsumer(client, number, ref, options, onStopped);
}

class ClientConsumer implements Consumer {
  readonly stopped: Promise<void>;
  readonly #client: ConsumerClient;
  readonly #number: number;
  readonly #ref: number;
  readonly #options: ConsumerOptions;
  readonly #runOne: RunOne | undefined;
  readonly #batches: RunBatch | undefined;
  readonly #gathering: Gathering | undefined;
  #isPumpDue = false;
  readonly #buffer: HeldMessage[] = [];
  /** Messages that are held, by token: waiting, running, or settled without an answer yet. */
  readonly #held = new NumberMap<HeldMessage>();
  #running = 0;
  #unsettled = 0;
  #window: number;
  #meanMs = AHEAD_MS;
  #phase: 'open' | 'draining' | 'stopped' = 'open';
  #isPaused = false;
  #draining: Promise<void> | undefined;
  /** What its handlers do is given up. */
  #isClosed = false;
  #resolveStopped: () => void = () => {};
  #rejectStopped: (error: HoldfastError) => void = () => {};
  #onQuiet: () => void = () => {};
  readonly #onStopped: () => void;

  constructor(client: ConsumerClient, number: number, ref: number, options: ConsumerOptions, onStopped: () => void) {
    this.#client = client;
    this.#number = number;
    this.#ref = ref;
    this.#options = options;
    this.#onStopped = onStopped;
    const { run } = options;
    if (typeof run === 'function') {
      this.#runOne = run;
    } else {
      this.#batches = run;
      this.#gathering = new Gathering(client.clock, run, () => this.#pump());
    }
    this.#window = this.#atOnce + (options.prefetch === 'auto' ? 0 : options.prefetch);
    this.stopped = new Promise((resolve, reject) => {
      this.#resolveStopped = resolve;
      this.#rejectStopped = reject;
    });
    // Whoever does not look at `stopped` has not asked to hear of a failure this way.
    this.stopped.catch(() => {});
  }

  /** How many messages its handlers have at a time, at most. */
  get #atOnce(): number {
    return this.#options.concurrency * (this.#batches?.size ?? 1);
  }

  get window(): number {
    return this.#phase === 'open' && !this.#isPaused ? this.#window : 0;
  }

  open(): void {
    this.#ask();
  }

  reopen(): void {
    this.#ask();
    const waiting = new Set(this.#buffer);
    for (const work of this.#held.values()) {
      if (!waiting.has(work)) this.#client.started(work, false);
    }
  }

  deliver(delivery: Delivery): void {
    if (this.#phase === 'stopped' || this.#held.has(delivery.token)) return;
    const work = new HeldMessage(this, delivery);
    this.#held.set(delivery.token, work);
    this.#buffer.push(work);
    // It was on its way when the consumer was paused: somebody else may have it.
    if (this.#isPaused) return this.#giveBack();
    if (this.#phase !== 'open') return;
    if (this.#gathering === undefined) return this.#pump();
    work.cameAt = this.#client.clock.monotonicMs();
    this.#pumpSoon();
  }

  revoke(token: number, reason: StopReason): void {
    const work = this.#held.get(token);
    // One that is being settled hears from the answer whether its lease was held.
    if (work === undefined || (reason === 'leaseLost' && work.settling)) return;
    const waiting = this.#buffer.indexOf(work);
    if (waiting >= 0) {
      this.#buffer.splice(waiting, 1);
      this.#letGo(work);
    }
    work.stop(reason);
  }

  cancel(token: number, cancellation: Cancellation): void {
    const work = this.#held.get(token);
    if (work === undefined || work.settling) return;
    work.cancel(cancellation);
    const waiting = this.#buffer.indexOf(work);
    if (waiting < 0) return;
    // No handler has begun, and none will: given back, the message is cancelled.
    this.#buffer.splice(waiting, 1);
    this.#release(work);
  }

  leases(): LeaseKey[] {
    return this.#held.values().map(({ delivery: { seq, token } }) => ({ seq, token }));
  }

  loseAll(): void {
    this.#buffer.length = 0;
    for (const work of this.#held.values()) {
      work.isHeld = false;
      work.stop('leaseLost');
    }
    this.#held.clear();
  }

  fail(error: HoldfastError): void {
    if (this.#phase === 'stopped') return;
    this.loseAll();
    this.#gathering?.stop();
    this.#phase = 'stopped';
    this.#onQuiet();
    if (error.code === 'CLOSED') this.#resolveStopped();
    else this.#rejectStopped(error);
    this.#onStopped();
  }

  async pause(): Promise<void> {
    if (this.#isPaused || this.#phase !== 'open') return;
    this.#isPaused = true;
    this.#giveBack();
    // With the answer, every delivery that was on its way has arrived.
    await this.#client
      .request({ kind: 'window', consumer: this.#number, ref: this.#ref, size: 0 })
      .catch(ignoreFailure);
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (this.#phase === 'open') this.#ask();
  }

  drain(): Promise<void> {
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  async close(): Promise<void> {
    const drained = this.drain();
    this.#isClosed = true;
    this.#buffer.length = 0;
    for (const work of this.#held.values()) {
      if (work.settling) continue;
      work.stop('closed');
      this.#release(work);
    }
    this.#running = 0;
    this.#quietNow();
    await drained;
  }

  async #drain(): Promise<void> {
    if (this.#phase === 'stopped') return;
    this.#phase = 'draining';
    this.#gathering?.stop();
    // With the answer, every delivery that was on its way has arrived, and none will follow.
    await this.#client
      .request({ kind: 'window', consumer: this.#number, ref: this.#ref, size: 0 })
      .catch(ignoreFailure);
    this.#giveBack();
    await this.#quiet();
    // `fail` may have come in between.
    if ((this.#phase as string) === 'stopped') return;
    this.#phase = 'stopped';
    this.#resolveStopped();
    this.#onStopped();
  }

  /** Gives back what waits for a handler. */
  #giveBack(): void {
    for (const work of this.#buffer.splice(0)) this.#release(work);
  }

  #quiet(): Promise<void> {
    return new Promise((resolve) => {
      this.#onQuiet = resolve;
      this.#quietNow();
    });
  }

  #quietNow(): void {
    if (this.#running === 0 && this.#unsettled === 0) this.#onQuiet();
  }

  #ask(): void {
    const handlers = this.#atOnce;
    this.#client.note({ kind: 'window', consumer: this.#number, ref: this.#ref, size: this.window, handlers });
  }

  #pump(): void {
    const runOne = this.#runOne;
    if (runOne === undefined) return this.#pumpBatches();
    while (this.#running < this.#options.concurrency && this.#phase === 'open' && !this.#isPaused) {
      const work = this.#buffer.shift();
      if (work === undefined) return;
      this.#run(work, runOne);
    }
  }

  /** When all deliveries of a frame are here: the first of them alone would make a batch of one. */
  #pumpSoon(): void {
    if (this.#isPumpDue) return;
    this.#isPumpDue = true;
    this.#client.clock.defer(() => {
      this.#isPumpDue = false;
      this.#pump();
    });
  }

  #pumpBatches(): void {
    while (this.#running < this.#options.concurrency && this.#phase === 'open') {
      const count = this.#gathering?.enough(this.#buffer.length, this.#buffer[0]?.cameAt ?? 0) ?? 0;
      if (count === 0) return;
      this.#runBatch(this.#buffer.splice(0, count));
    }
  }

  /** Runs the handler of many; `works` has at least one. */
  #runBatch(works: readonly HeldMessage[]): void {
    this.#running += 1;
    const isTimed = works.some(({ delivery }) => delivery.timeoutMs !== 0);
    works.forEach((work, i) => this.#client.started(work, isTimed && i === works.length - 1));
    const startedAt = this.#client.clock.monotonicMs();
    void (this.#batches as RunBatch).run(works).then((settled) => {
      this.#batchEnded(works, settled);
      this.#handlerEnded(startedAt);
      this.#pump();
    });
  }

  #batchEnded(works: readonly HeldMessage[], { settlements, together }: BatchSettlement): void {
    const held: HeldMessage[] = [];
    works.forEach((work, i) => {
      // A consumer that was closed meanwhile has given the message back already.
      if (!work.isHeld || work.settling) return;
      if (work.stopped !== undefined) this.#giveUp(work);
      else if (together === undefined) this.#settle(work, settlements[i] as Settlement);
      else held.push(work);
    });
    if (together === undefined || held.length === 0) return;
    // What they bring along was made for all of them.
    if (held.length < works.length) return this.#batchAgain(held);
    void this.#settleTogether(held, settlements, together);
  }

  async #settleTogether(
    works: readonly HeldMessage[],
    settlements: readonly Settlement[],
    together: Together,
  ): Promise<void> {
    for (const work of works) work.settling = true;
    this.#unsettled += works.length;
    const settles = works.map(({ delivery: { seq, token } }, i) => {
      return { seq, token, ...(settlements[i] as Settlement), produced: undefined, effects: undefined };
    });
    const settled = await this.#client
      .settleTogether(settles, together)
      // Whether it had its effect is unknown; if not, the messages come again.
      .catch(() => works.map((): Settled => 'lost'));
    // As long as it is not known whether some run again, nothing is quiet.
    this.#running += 1;
    const again = works.filter((work, i) => this.#endSettling(work, settled[i] as Settled));
    if (this.#running > 0) this.#running -= 1;
    if (again.length > 0) this.#batchAgain(again);
    else this.#quietNow();
  }

  /** Runs the handler of many once more, with those that are left. */
  #batchAgain(works: readonly HeldMessage[]): void {
    for (const work of works) work.conflicts += 1;
    const [first] = works as [HeldMessage];
    const pauseMs = conflictPauseMs(first.conflicts, (first.delivery.token * GOLDEN_RATIO) % 1);
    if (pauseMs === 0) return this.#runBatch(works);
    this.#running += 1;
    this.#client.clock.timer(pauseMs, () => {
      if (this.#running > 0) this.#running -= 1;
      const left = works.filter((work) => this.#mayRun(work));
      for (const work of works) if (!left.includes(work)) this.#giveUp(work);
      if (left.length > 0) this.#runBatch(left);
      else this.#pump();
    });
  }

  /** Whether a message is still there for its handler. */
  #mayRun(work: HeldMessage): boolean {
    return work.isHeld && !work.settling && work.stopped === undefined;
  }

  #run(work: HeldMessage, run: RunOne = this.#runOne as RunOne): void {
    const { delivery } = work;
    this.#running += 1;
    this.#client.started(work, delivery.timeoutMs !== 0);
    const startedAt = this.#client.clock.monotonicMs();
    const settlement = run(delivery, work);
    if (settlement instanceof Promise) {
      void settlement.then((settled) => {
        this.#ended(work, settled, startedAt);
        this.#pump();
      });
    } else {
      this.#ended(work, settlement, startedAt);
    }
  }

  #ended(work: HeldMessage, settlement: Settlement, startedAt: number): void {
    // A consumer that was closed meanwhile has given the message back already.
    if (work.isHeld && !work.settling) {
      if (work.stopped === undefined) {
        this.#settle(work, settlement);
      } else {
        this.#letGo(work);
        this.#options.onLeaseLost(work.delivery);
      }
    }
    this.#handlerEnded(startedAt);
  }

  #handlerEnded(startedAt: number): void {
    if (this.#running > 0) this.#running -= 1;
    this.#meanMs += (this.#client.clock.monotonicMs() - startedAt - this.#meanMs) * SMOOTHING;
    if (this.#phase === 'open') this.#adapt();
    this.#quietNow();
  }

  #settle(work: HeldMessage, { outcome, produced, effects }: Settlement): void {
    const { seq, token } = work.delivery;
    work.settling = true;
    this.#unsettled += 1;
    this.#client.settle({ seq, token, outcome, produced, effects }, work);
  }

  settled(work: HeldMessage, settled: Settled): void {
    if (!this.#endSettling(work, settled)) return;
    if (this.#batches === undefined) this.#again(work);
    else this.#batchAgain([work]);
  }

  /** Takes in what became of a settle. @returns whether its handler is to run again */
  #endSettling(work: HeldMessage, settled: Settled): boolean {
    const { delivery } = work;
    this.#unsettled -= 1;
    if (settled === 'conflict' && work.stopped === undefined && work.isHeld) {
      work.settling = false;
      if (!this.#isClosed && work.cancelling === undefined) return true;
      this.#release(work);
      return false;
    }
    this.#letGo(work);
    this.#quietNow();
    if (settled !== 'done') this.#options.onLeaseLost(delivery);
    return false;
  }

  /** Runs the handler once more: what it read does not hold any more, and nothing of it has counted. */
  #again(work: HeldMessage): void {
    const { token } = work.delivery;
    work.conflicts += 1;
    // Tokens spread as well as random numbers would.
    const pauseMs = conflictPauseMs(work.conflicts, (token * GOLDEN_RATIO) % 1);
    if (pauseMs === 0) return this.#run(work);
    this.#running += 1;
    this.#client.clock.timer(pauseMs, () => {
      if (this.#running > 0) this.#running -= 1;
      if (this.#mayRun(work)) this.#run(work);
      else this.#giveUp(work);
    });
  }

  /** A handler that was not to run again, since its message is somebody else's. */
  #giveUp(work: HeldMessage): void {
    if (!work.settling && work.isHeld) {
      this.#letGo(work);
      this.#options.onLeaseLost(work.delivery);
    }
    this.#quietNow();
  }

  /** It is not among those that are held any more. */
  #letGo(work: HeldMessage): void {
    if (!work.isHeld) return;
    work.isHeld = false;
    this.#held.delete(work.delivery.token);
  }

  #release(work: HeldMessage): void {
    this.#settle(work, { outcome: { kind: 'release' }, produced: undefined, effects: undefined });
  }

  /** Follows the handler's speed in steps, so that the broker hears of it rarely. */
  #adapt(): void {
    const { prefetch } = this.#options;
    if (prefetch !== 'auto' || this.#isPaused) return;
    const atOnce = this.#atOnce;
    const ahead = Math.min(Math.floor((atOnce * AHEAD_MS) / Math.max(this.#meanMs, 0.001)), MAX_AHEAD);
    const wanted = atOnce + ahead;
    if (wanted > this.#window * 1.5 || wanted < this.#window / 2 || (ahead === 0 && this.#window > wanted)) {
      this.#window = wanted;
      this.#ask();
    }
  }
}

/** A request that fails while a consumer stops fails because the client does, which the consumer hears of anyway. */
function ignoreFailure(): void {}
