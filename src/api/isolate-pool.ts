/** The isolates of one consumer: taken for a message, given back behind it, and replaced when they die. */
import { decode, encode } from '../codec/bson.ts';
import { HoldfastError } from '../model/errors.ts';
import { failureOf } from './failure.ts';
import { CancelledError, type HandlerContext } from './handler-context.ts';
import { type Isolate, type IsolateOptions, startIsolate } from './isolate.ts';
import { createNode } from './flow-nodes.ts';
import type { CallAnswer, CallResult, ContextCall, FromIsolate, HandlerEnd, Refusal } from './isolate-messages.ts';
import { EncodedResult, HandlerOutcome, waitForChildren } from './outcomes.ts';
import type { TransactionTarget } from './transaction.ts';

export interface PoolOptions extends IsolateOptions {
  /** How many isolates are kept at most. */
  readonly size: number;
  /** The channels that a handler may produce to with its ack, by name. */
  readonly produces: ReadonlyMap<string, TransactionTarget<never>>;
}

/** How long a handler may take to stop when it is told to, in milliseconds, before its isolate is killed. */
const STOP_MS = 1_000;

/** An isolate, and what it does at present. */
interface Worker {
  readonly isolate: Isolate;
  readonly loaded: Promise<void>;
  running: Running | undefined;
}

interface Running {
  readonly run: number;
  readonly context: HandlerContext;
  readonly end: (end: HandlerEnd) => void;
}

export class IsolatePool {
  readonly #options: PoolOptions;
  readonly #all = new Set<Worker>();
  readonly #idle: Worker[] = [];
  #nextRun = 1;
  #isClosed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** Starts the first isolate. @throws Error when it cannot load the module */
  async start(): Promise<void> {
    // Until the consumer is open nothing else may keep this process alive.
    const release = this.#options.clock.keepAlive();
    try {
      const worker = this.#start();
      await worker.loaded;
      this.#idle.push(worker);
    } finally {
      release();
    }
  }

  /** The handler that runs the module's; see `Handler`. */
  async handle(message: unknown, context: HandlerContext): Promise<HandlerOutcome | EncodedResult> {
    const encoded = encode(message);
    const worker = this.#idle.pop() ?? this.#start();
    await worker.loaded;
    try {
      const end = await this.#run(worker, encoded, context);
      return this.#resultOf(end, context);
    } finally {
      worker.running = undefined;
      // More than it keeps there are while some are being stopped.
      if (this.#isClosed || this.#all.size > this.#options.size) worker.isolate.kill();
      else if (this.#all.has(worker)) this.#idle.push(worker);
    }
  }

  /** Ends the isolates that have nothing to do, and the others behind their handlers. */
  close(): void {
    this.#isClosed = true;
    for (const { isolate } of this.#idle.splice(0)) isolate.kill();
  }

  #start(): Worker {
    let answer: { readonly resolve: () => void; readonly reject: (error: Error) => void };
    const loaded = new Promise<void>((resolve, reject) => {
      answer = { resolve, reject };
    });
    // Whoever takes it hears of it.
    loaded.catch(() => {});
    const isolate = startIsolate(this.#options, (message) => {
      if (message.kind === 'loaded') answer.resolve();
      else if (message.kind === 'unloadable') {
        isolate.kill();
        answer.reject(errorOf(message.failure));
      } else this.#hear(worker, message);
    });
    const worker: Worker = { isolate, loaded, running: undefined };
    this.#all.add(worker);
    void isolate.ended.then((reason) => {
      this.#all.delete(worker);
      const at = this.#idle.indexOf(worker);
      if (at >= 0) this.#idle.splice(at, 1);
      answer.reject(new Error(`The ${this.#options.kind} of the handler ${reason} before it had loaded its module`));
    });
    return worker;
  }

  async #run(worker: Worker, message: Uint8Array, context: HandlerContext): Promise<HandlerEnd> {
    const { isolate } = worker;
    const { signal, id, channel, attempt, token, redelivered, producedAt, schedule } = context;
    const run = this.#nextRun++;
    const ended = new Promise<HandlerEnd>((end) => {
      worker.running = { run, context, end };
    });
    let cancelKill = (): void => {};
    const stop = (): void => {
      const { code, message: why } = signal.reason as HoldfastError;
      isolate.send({ kind: 'stop', run, code, message: why });
      const stopMs = signal.reason instanceof CancelledError ? signal.reason.deadlineMs : STOP_MS;
      cancelKill = this.#options.clock.timer(stopMs, () => isolate.kill());
    };
    const facts = { id, channel, attempt, token, redelivered, producedAt, schedule };
    isolate.send({ kind: 'run', run, message, facts });
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
    const died = isolate.ended.then((reason): HandlerEnd => {
      const why = `The ${this.#options.kind} of the handler ${reason}`;
      return { kind: 'outcome', outcome: { kind: 'died', delayMs: undefined, reason: why } };
    });
    try {
      return await Promise.race([ended, died]);
    } finally {
      cancelKill();
      signal.removeEventListener('abort', stop);
    }
  }

  #resultOf(end: HandlerEnd, context: HandlerContext): HandlerOutcome | EncodedResult {
    if (end.kind === 'threw') throw errorOf(end.failure);
    if (end.kind === 'outcome') return new HandlerOutcome(end.outcome.kind, end.outcome.delayMs, end.outcome.reason);
    for (const { channel, message, options } of end.produced) {
      context.tx.produce(this.#target(channel), decode(message) as never, options);
    }
    for (const mutation of end.mutations) context.tx.entries.add(mutation);
    if (end.kind === 'returned') return new EncodedResult(end.result);
    for (const { channel, message, options } of end.children) {
      context.addChild(createNode(this.#target(channel), decode(message) as never, options));
    }
    return waitForChildren();
  }

  #target(channel: string): TransactionTarget<never> {
    const target = this.#options.produces.get(channel);
    if (target !== undefined) return target;
    throw new TypeError(`Cannot produce to "${channel}" from an isolate: name its channel in "produces"`);
  }

  #hear(worker: Worker, message: Extract<FromIsolate, { kind: 'call' | 'ended' }>): void {
    const { running, isolate } = worker;
    if (message.kind === 'ended') {
      if (running?.run === message.run) running.end(message.end);
      return;
    }
    const { call, what, run } = message;
    const answer = (given: CallAnswer): void => isolate.send({ kind: 'answer', call, answer: given });
    const refuse = (error: unknown): void => answer({ refusal: refusalOf(error) });
    if (running?.run !== run) return refuse(new HoldfastError('LEASE_LOST', 'The handler has ended'));
    callContext(running.context, what).then((result) => answer({ refusal: undefined, result }), refuse);
  }
}

async function callContext(context: HandlerContext, what: ContextCall): Promise<CallResult> {
  if (what.kind === 'get') {
    const record = await context.tx.entries.read(what.key);
    // A view would take the whole frame along that it stands in.
    return { record: record && { ...record, bytes: record.bytes.slice() } };
  }
  if (what.kind === 'children') return { page: await context.childPage(what.offset) };
  if (what.kind === 'progress') await context.progress(decode(what.value));
  else if (what.kind === 'log') await context.log(what.line);
  else await context.extend(what.forMs);
  return {};
}

function refusalOf(error: unknown): Refusal {
  return { ...failureOf(error), code: error instanceof HoldfastError ? error.code : undefined };
}

function errorOf({ name, message, stack }: Refusal | Omit<Refusal, 'code'>): Error {
  return Object.assign(new Error(message), { name, stack });
}
