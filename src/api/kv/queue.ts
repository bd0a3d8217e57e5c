/** Queues on KV: channels whose messages have the form of values of KV, and the rules of Deno's queue. */
import { encodeV8 } from '../../codec/v8.ts';
import { HoldfastError } from '../../model/errors.ts';
import { checkType, checkWritable, encodeKvKey, type KvKey } from '../../model/kv-key.ts';
import { CODEC_V8, MAX_KV_VALUE_BYTES, versionstampOf } from '../../model/kv.ts';
import { DEFAULT_SCHEDULE, QUEUE_CHANNEL, queuePolicy } from '../../model/kv-queue.ts';
import { DEFAULT_POLICY } from '../../model/policy.ts';
import { attemptRunner } from '../attempt.ts';
import { createConsumer } from '../consumer.ts';
import { checkChannelName, refuseUnknown } from '../checks.ts';
import { type ResolvedChannelOptions } from '../options.ts';
import type { Prepared } from '../produced.ts';
import { checkOpen, type KvCore } from './core.ts';
import type { KvCommitResult, KvEnqueueOptions, ListenQueueOptions, QueueHandler } from './types.ts';

const MAX_DELAY_MS = 30 * 86_400_000;
const MAX_INTERVAL_MS = 3_600_000;

/** How many handlers run at a time when nothing is said: few enough for messages to be shared among processes. */
const CONCURRENCY = 100;

/** What is to be enqueued, its value encoded. */
export interface Enqueued {
  readonly payload: Uint8Array;
  readonly delayMs: number;
  readonly schedule: readonly number[];
  readonly keysIfUndelivered: readonly KvKey[];
}

export class Queue {
  readonly #core: KvCore;
  readonly #channel: string;
  /** The names under which the session knows the channel, by schedule. */
  readonly #refs = new Map<string, number>();
  #defaultRef: number | undefined;

  /**
   * @param name of a queue besides the first one
   * @throws TypeError, RangeError for one that is none
   */
  constructor(core: KvCore, name: string | undefined) {
    this.#core = core;
    this.#channel = name === undefined ? QUEUE_CHANNEL : `${QUEUE_CHANNEL}/${name}`;
    checkChannelName(name ?? QUEUE_CHANNEL);
    checkChannelName(this.#channel);
  }

  /** Checks and encodes what can be before the commit. @throws TypeError */
  enqueued(value: unknown, options: KvEnqueueOptions = {}): Enqueued {
    const { delay, keysIfUndelivered, backoffSchedule } = options;
    return {
      payload: encodeV8(value),
      delayMs: checkDelay(delay ?? 0),
      schedule: backoffSchedule === undefined ? DEFAULT_SCHEDULE : this.#checkSchedule(backoffSchedule),
      keysIfUndelivered: keysIfUndelivered ?? [],
    };
  }

  /** The message, ready to go. @throws TypeError */
  prepare({ payload, delayMs, schedule, keysIfUndelivered }: Enqueued): Prepared {
    const { client, limits } = this.#core;
    if (payload.length > limits.maxValueBytes) {
      throw new TypeError(`enqueue payload too large (max ${limits.maxValueBytes} bytes)`);
    }
    if (keysIfUndelivered.length > limits.maxKeysIfUndelivered) {
      throw new TypeError(`Too many keys in keysIfUndelivered (max ${limits.maxKeysIfUndelivered})`);
    }
    checkType('array', keysIfUndelivered);
    const undelivered = keysIfUndelivered.map((key) => checkWritable(encodeKvKey(key)));
    // They travel and are stored as one.
    const bytes = undelivered.reduce((sum, key) => sum + key.length, payload.length);
    if (bytes > MAX_KV_VALUE_BYTES) {
      throw new TypeError(`Total mutation size too large (max ${MAX_KV_VALUE_BYTES} bytes)`);
    }
    const item = { id: client.nextId(), codec: CODEC_V8, payload, options: { delayMs, undelivered } };
    return { ref: this.#refOf(schedule), item };
  }

  /** Stores one message as a commit of its own; those of one tick go together. @throws TypeError, BadResource */
  async enqueue(value: unknown, options?: KvEnqueueOptions): Promise<KvCommitResult> {
    const enqueued = this.enqueued(value, options);
    checkOpen(this.#core);
    try {
      const version = await this.#core.raw.produce(this.prepare(enqueued));
      return { ok: true, versionstamp: versionstampOf(version) };
    } catch (error) {
      throw inWordsOfQueues(error);
    }
  }

  /** Runs the handler until the KV is closed, and resolves when what it has begun by then is settled. */
  async listen(handler: QueueHandler, options: ListenQueueOptions = {}): Promise<void> {
    if (this.#core.isClosed) throw new Error('Queue already closed');
    if (typeof handler !== 'function') throw new TypeError('Cannot listen: the handler must be a function');
    refuseUnknown(options, ['concurrency', 'onError'], 'listenQueue');
    const { client, limits } = this.#core;
    const { concurrency = CONCURRENCY, onError = warn } = options;
    const rules = { ...RULES, policy: queuePolicy(DEFAULT_SCHEDULE, backlogOf(limits)) };
    const run = attemptRunner(client, this.#channel, rules, async (message, context) => {
      try {
        await handler(message, context);
      } catch (error) {
        // Not from within the attempt: whatever the listener throws is its owner's.
        client.clock.defer(() => onError(error));
        throw error;
      }
    });
    const consumer = createConsumer(client, this.#channel, this.#refOf(DEFAULT_SCHEDULE), run, {
      concurrency,
      onError,
    });
    const forget = this.#core.onClose(() => void consumer.drain());
    try {
      await consumer.stopped;
    } finally {
      forget();
    }
  }

  #refOf(schedule: readonly number[]): number {
    if (schedule !== DEFAULT_SCHEDULE) return this.#declared(schedule);
    this.#defaultRef ??= this.#declared(schedule);
    return this.#defaultRef;
  }

  #declared(schedule: readonly number[]): number {
    const content = schedule.join();
    const known = this.#refs.get(content);
    if (known !== undefined) return known;
    const { client, limits } = this.#core;
    const { ref, done } = client.declare(this.#channel, queuePolicy(schedule, backlogOf(limits)), undefined);
    // A refusal shows at the first command that uses the name.
    done.catch(() => {});
    this.#refs.set(content, ref);
    return ref;
  }

  #checkSchedule(schedule: readonly number[]): readonly number[] {
    const { maxBackoffIntervals } = this.#core.limits;
    checkType('array', schedule);
    if (schedule.length > maxBackoffIntervals) {
      throw new TypeError(`Invalid backoffSchedule, max ${maxBackoffIntervals} intervals allowed`);
    }
    const invalid = schedule.findIndex((interval) => !(interval >= 0 && interval <= MAX_INTERVAL_MS));
    if (invalid >= 0) throw new TypeError(`Invalid backoffSchedule, interval at index ${invalid} is invalid`);
    return schedule.map(Math.ceil);
  }
}

/** What a full queue says. */
export function inWordsOfQueues(error: unknown): unknown {
  if (!(error instanceof HoldfastError) || error.code !== 'BACKLOG_FULL') return error;
  return new TypeError('Queue backlog limit exceeded', { cause: error });
}

function backlogOf({ maxBacklog }: KvCore['limits']): number {
  return maxBacklog === Infinity ? 0 : maxBacklog;
}

/** How messages of a queue are handled. */
const RULES: ResolvedChannelOptions = {
  policy: DEFAULT_POLICY,
  settings: undefined,
  schema: undefined,
  backoffFunction: undefined,
  onFull: 'reject',
  limits: {},
};

function checkDelay(delay: number): number {
  checkType('integer', delay);
  if (delay < 0) throw new TypeError(`Delay must be >= 0: received ${delay}`);
  if (delay > MAX_DELAY_MS) throw new TypeError(`Delay cannot be greater than 30 days: received ${delay}`);
  if (Number.isNaN(delay)) throw new TypeError('Delay cannot be NaN');
  return Math.ceil(delay);
}

function warn(error: unknown): void {
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.emitWarning('Exception in queue handler', { type: 'HoldfastWarning', detail });
}
