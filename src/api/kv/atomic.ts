/** An atomic operation: checks, changes of KV and messages, gathered and then committed together. */
import { encodeKvValue, encodeKvValueLater, encodeV8 } from '../../codec/v8.ts';
import { MAX_DURATION_MS } from '../../model/duration.ts';
import { HoldfastError } from '../../model/errors.ts';
import { checkType, checkWritable, encodeKvKey, type KvKey } from '../../model/kv-key.ts';
import {
  type KvCheck,
  type KvMutation as RawMutation,
  type KvSumLimits,
  type KvValue,
  MAX_KV_COMMIT_BYTES,
  versionOf,
  versionstampOf,
} from '../../model/kv.ts';
import { KvU64 } from '../../codec/kv-u64.ts';
import type { ProduceOptions } from '../options.ts';
import { type Prepared, producedOf } from '../produced.ts';
import type { TransactionTarget } from '../transaction.ts';
import { checkOpen, COMMIT_VERSIONSTAMP, type KvCore } from './core.ts';
import { type Inspect, inspectable } from './inspect.ts';
import { inWordsOfQueues, type Queue } from './queue.ts';
import type {
  AtomicCheck,
  HoldfastAtomic,
  KvCommitError,
  KvCommitResult,
  KvEnqueueOptions,
  KvMutation,
  KvNumberSum,
} from './types.ts';

/** A change whose value is encoded, or will be in a while, and whose key is not yet. */
interface Change {
  readonly type: RawMutation['kind'];
  readonly key: KvKey;
  readonly value: KvValue | Promise<KvValue> | undefined;
  readonly expireInMs: number | undefined;
  readonly limits: KvSumLimits | undefined;
  /** As it was given, to be shown. */
  readonly given: unknown;
}

/** A message that is made ready when the operation is committed, and anew when it is committed once more. */
interface Message {
  readonly isEnqueued: boolean;
  /** Bytes besides the payload that count. */
  readonly extraBytes: number;
  prepare(): Prepared | Promise<Prepared>;
  readonly shown: (inspect: Inspect) => string;
}

/** Deno takes as many milliseconds as its clock has left. */
const MAX_EXPIRE_IN_MS = 8.6e15;

/** What an interval of a schedule counts as. */
const INTERVAL_BYTES = 4;

export class AtomicOperation implements HoldfastAtomic {
  readonly #core: KvCore;
  readonly #queue: Queue;
  readonly #checks: AtomicCheck[] = [];
  readonly #changes: Change[] = [];
  readonly #messages: Message[] = [];

  /** @internal Atomic operations come from `atomic()`. */
  constructor(core: KvCore, queue: Queue) {
    this.#core = core;
    this.#queue = queue;
  }

  check(...checks: AtomicCheck[]): this {
    for (const { key, versionstamp } of checks) this.#checks.push({ key, versionstamp });
    return this;
  }

  mutate(...mutations: (KvMutation | KvNumberSum)[]): this {
    for (const mutation of mutations) {
      const { key, type } = mutation;
      switch (type) {
        case 'delete':
          if ('value' in mutation && mutation.value !== undefined) {
            throw new TypeError(`Invalid mutation 'delete' with value`);
          }
          this.delete(key);
          break;
        case 'set':
          if (!('value' in mutation)) throw new TypeError(`Invalid mutation 'set' without value`);
          // Whatever else is given than a number is passed over, as Deno does it here, and not in `set`.
          this.set(key, mutation.value, typeof mutation.expireIn === 'number' ? { expireIn: mutation.expireIn } : {});
          break;
        case 'sum':
        case 'min':
        case 'max':
          if (!('value' in mutation)) throw new TypeError(`Invalid mutation '${type}' without value`);
          this.#change(type, key, mutation.value, {
            limits: type === 'sum' ? limitsOf(mutation as KvNumberSum) : undefined,
          });
          break;
        default:
          throw new TypeError('Invalid mutation type');
      }
    }
    return this;
  }

  sum(key: KvKey, n: bigint): this {
    return this.#change('sum', key, new KvU64(n), {});
  }

  min(key: KvKey, n: bigint): this {
    return this.#change('min', key, new KvU64(n), {});
  }

  max(key: KvKey, n: bigint): this {
    return this.#change('max', key, new KvU64(n), {});
  }

  set(key: KvKey, value: unknown, options?: { expireIn?: number }): this {
    const expireInMs = checkExpireIn(options?.expireIn);
    return this.#change('set', key, value, { expireInMs });
  }

  delete(key: KvKey): this {
    const given = undefined;
    this.#changes.push({ type: 'delete', key, value: undefined, expireInMs: undefined, limits: undefined, given });
    return this;
  }

  enqueue(value: unknown, options?: KvEnqueueOptions): this {
    const enqueued = this.#queue.enqueued(value, options);
    this.#messages.push({
      isEnqueued: true,
      extraBytes: options?.backoffSchedule === undefined ? 0 : enqueued.schedule.length * INTERVAL_BYTES,
      prepare: () => this.#queue.prepare(enqueued),
      shown: (inspect) => `enqueue(${[value, ...givenOptions(options)].map(inspect).join(', ')})`,
    });
    return this;
  }

  produce<Input>(channel: TransactionTarget<Input>, message: Input, options?: ProduceOptions): this {
    const prepare = (): Prepared | Promise<Prepared> => channel.prepare(this.#core.client, message, options);
    let first: ReturnType<typeof prepare> | undefined = prepare();
    // A refusal is reported by the commit; until then nobody waits for it.
    if (first instanceof Promise) first.catch(() => {});
    this.#messages.push({
      isEnqueued: false,
      extraBytes: 0,
      prepare: () => {
        const prepared = first ?? prepare();
        first = undefined;
        return prepared;
      },
      shown: (inspect) => `produce(${[channel.name, message, ...givenOptions(options)].map(inspect).join(', ')})`,
    });
    return this;
  }

  async commit(): Promise<KvCommitResult | KvCommitError> {
    checkOpen(this.#core);
    const { limits, raw } = this.#core;
    if (this.#checks.length > limits.maxChecks) throw new TypeError(`Too many checks (max ${limits.maxChecks})`);
    if (this.#changes.length + this.#messages.length > limits.maxMutations) {
      throw new TypeError(`Too many mutations (max ${limits.maxMutations})`);
    }
    const checks = this.#checks.map(encodeCheck);
    const mutations: RawMutation[] = [];
    for (const change of this.#changes) {
      const { value } = change;
      mutations.push(this.#encodeChange(change, value instanceof Promise ? await value : value));
    }
    const prepared: Prepared[] = [];
    for (const message of this.#messages) prepared.push(await message.prepare());
    this.#checkSize(checks, mutations, prepared);
    try {
      const version = await raw.commit({ checks, mutations, produced: producedOf(prepared) });
      return version === undefined ? { ok: false } : { ok: true, versionstamp: versionstampOf(version) };
    } catch (error) {
      throw this.#inWordsOfDeno(error);
    }
  }

  /** Who awaits the operation itself has forgotten to commit it. */
  // oxlint-disable-next-line unicorn/no-thenable -- to be awaited by mistake is what this is for
  then(): never {
    throw new TypeError(`'Deno.AtomicOperation' is not a promise: did you forget to call 'commit()'`);
  }

  /** @internal */
  shown(inspect: Inspect): string {
    const lines = [
      ...this.#checks.map((check) => `check(${inspect(check)})`),
      ...this.#changes.map((change) => shownChange(change, inspect)),
      ...this.#messages.map((message) => message.shown(inspect)),
    ];
    return lines.length === 0 ? 'AtomicOperation (empty)' : ['AtomicOperation', ...lines].join('\n  ');
  }

  #change(
    type: Exclude<Change['type'], 'delete'>,
    key: KvKey,
    value: unknown,
    { expireInMs, limits }: Partial<Pick<Change, 'expireInMs' | 'limits'>>,
  ): this {
    const encoded = type === 'set' ? encodeKvValueLater(value) : encodeKvValue(value);
    // A refusal is reported by the commit; until then nobody waits for it.
    if (encoded instanceof Promise) encoded.catch(() => {});
    this.#changes.push({ type, key, value: encoded, expireInMs, limits, given: value });
    return this;
  }

  /** @throws TypeError */
  #encodeChange({ type, key, expireInMs, limits }: Change, value: KvValue | undefined): RawMutation {
    const isStamped = type === 'set' && Array.isArray(key) && key.at(-1) === COMMIT_VERSIONSTAMP;
    const encoded = checkWritable(encodeKvKey(isStamped ? key.slice(0, -1) : key));
    if (value === undefined || type === 'delete') return { kind: 'delete', key: encoded };
    const { maxValueBytes } = this.#core.limits;
    if (value.bytes.length > maxValueBytes) throw new TypeError(`Value too large (max ${maxValueBytes} bytes)`);
    if (type === 'set') return { kind: type, key: encoded, value, expireInMs: expiryOf(expireInMs), isStamped };
    return type === 'sum' ? { kind: type, key: encoded, value, limits } : { kind: type, key: encoded, value };
  }

  /** Counts as Deno does: a key that gets a value twice, and keys of undelivered messages not at all. @throws TypeError */
  #checkSize(checks: readonly KvCheck[], mutations: readonly RawMutation[], prepared: readonly Prepared[]): void {
    const { maxAtomicBytes, maxKeyBytes } = this.#core.limits;
    let total = 0;
    let keys = 0;
    let undelivered = 0;
    for (const { key } of checks) total += key.length;
    for (const mutation of mutations) {
      total += mutation.key.length;
      if (mutation.kind === 'delete') continue;
      keys += mutation.key.length;
      total += mutation.key.length + mutation.value.bytes.length;
    }
    for (const { item } of prepared) {
      total += item.payload.length;
      for (const key of item.options.undelivered ?? []) undelivered += key.length;
    }
    for (const { extraBytes } of this.#messages) total += extraBytes;
    if (total > maxAtomicBytes) throw tooLarge(maxAtomicBytes);
    if (keys > maxKeyBytes) throw new TypeError(`Total key size too large (max ${maxKeyBytes} bytes)`);
    if (total + undelivered > MAX_KV_COMMIT_BYTES) throw tooLarge(MAX_KV_COMMIT_BYTES);
  }

  #inWordsOfDeno(error: unknown): unknown {
    if (error instanceof HoldfastError && error.code === 'WRONG_TYPE')
      return new TypeError(error.message, { cause: error });
    // With messages to channels it may be one of theirs that is full.
    return this.#messages.every(({ isEnqueued }) => isEnqueued) ? inWordsOfQueues(error) : error;
  }
}

inspectable(AtomicOperation.prototype);

/** @throws TypeError */
function encodeCheck({ key, versionstamp }: AtomicCheck): KvCheck {
  const encoded = checkWritable(encodeKvKey(key));
  if ((versionstamp ?? null) === null) return { key: encoded, version: 0 };
  checkType('string', versionstamp);
  const version = versionOf(versionstamp as string);
  if (version === undefined) throw new TypeError('Invalid check');
  return { key: encoded, version };
}

/** @throws TypeError */
function checkExpireIn(expireIn: number | undefined): number | undefined {
  if (expireIn === undefined || (Number.isInteger(expireIn) && expireIn >= 0)) return expireIn;
  throw new TypeError(`expireIn must be a non-negative integer: received ${String(expireIn)}`);
}

/** @throws TypeError */
function expiryOf(expireInMs: number | undefined): number | undefined {
  if (expireInMs === undefined) return undefined;
  if (expireInMs > MAX_EXPIRE_IN_MS) throw new TypeError(`Invalid mutation: expireIn is too large: ${expireInMs}`);
  // What Deno takes beyond a hundred years is kept for a hundred years.
  return Math.min(expireInMs, MAX_DURATION_MS);
}

function limitsOf({ min, max, clamp }: Pick<KvNumberSum, 'min' | 'max' | 'clamp'>): KvSumLimits | undefined {
  if (min === undefined && max === undefined) return undefined;
  return {
    min: min === undefined ? undefined : encodeV8(min),
    max: max === undefined ? undefined : encodeV8(max),
    isClamped: clamp === true,
  };
}

function tooLarge(max: number): TypeError {
  return new TypeError(`Total mutation size too large (max ${max} bytes)`);
}

function givenOptions(options: object | undefined): object[] {
  if (options === undefined) return [];
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  return Object.keys(given).length === 0 ? [] : [given];
}

function shownChange({ type, key, value, expireInMs, given }: Change, inspect: Inspect): string {
  const parts = [key, ...(value === undefined ? [] : [given]), ...givenOptions({ expireIn: expireInMs })];
  return `${type}(${parts.map(inspect).join(', ')})`;
}
