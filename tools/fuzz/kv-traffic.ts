/** Commands to KV that a client could send, now and then with what no honest client would choose. */
import type { Command, Produce } from '#holdfast/model/command.js';
import {
  KV_ENCODING,
  type KvCheck,
  type KvEffects,
  type KvMutation,
  type KvRange,
  type KvValue,
  MAX_KV_KEY_BYTES,
  MAX_KV_LIMIT,
  MAX_KV_VALUE_BYTES,
} from '#holdfast/model/kv.js';
import { encodeKvKey, type KvKey } from '#holdfast/model/kv-key.js';
import type { Dice } from './dice.ts';

/** Entries are few, so that the store does not grow with the run, and clients meet. */
const KEYS: readonly KvKey[] = [
  ['a'],
  ['b'],
  ['a', 'b'],
  ['a', 1],
  [1, 2n, true],
  [-(2n ** 70n)],
  [Uint8Array.of(0, 255)],
  ['é', ''],
  [NaN],
];

/** As long as a key may be that is written. */
const LONGEST_KEY: Uint8Array = new Uint8Array(MAX_KV_KEY_BYTES).fill(0x61);

const ODD_VERSIONS = [0, 0, 1, 2, 2 ** 31, 2 ** 32, Number.MAX_SAFE_INTEGER];
const ODD_NUMBERS = [0n, 1n, 2n ** 32n, 2n ** 63n, 2n ** 64n - 1n];

/** Values in the form of V8: numbers, bigints, others, and what is none of it. */
const V8_VALUES = [
  'ff0f4902',
  'ff0f4e000000000000f03f',
  'ff0f5a100100000000000000',
  'ff0f5f',
  'ff0f6f7b00',
  '',
  'ff',
  '00ff',
];

const VALUE_BYTES = 200;
const LARGE_VALUE_BYTES = 20_000;

/** A limit is broken this often: whoever does so is sent away. */
const LIES = 0.002;

export class KvTraffic {
  readonly #dice: Dice;

  constructor(dice: Dice) {
    this.#dice = dice;
  }

  read(): Command {
    const { below } = this.#dice;
    return { kind: 'kvRead', keys: this.#upTo(4, () => this.key()), ranges: this.#upTo(below(3), () => this.#range()) };
  }

  watch(): Command {
    return { kind: 'kvWatch', watch: this.#dice.below(6), keys: this.#upTo(4, () => this.key()) };
  }

  commit(produced: readonly Omit<Produce, 'atomic'>[]): Command {
    return { kind: 'kvCommit', ...this.effects(), produced };
  }

  effects(): KvEffects {
    return { checks: this.#upTo(2, () => this.#check()), mutations: this.#upTo(4, () => this.#mutation()) };
  }

  key(): Uint8Array {
    const { bytes, chance, pick } = this.#dice;
    if (chance(LIES))
      return pick([new Uint8Array(), bytes(3), new Uint8Array(MAX_KV_KEY_BYTES + 2), new Uint8Array(70_000)]);
    return chance(0.02) ? LONGEST_KEY : encodeKvKey(pick(KEYS));
  }

  #check(): KvCheck {
    return { key: this.key(), version: this.#dice.pick(ODD_VERSIONS) };
  }

  #mutation(): KvMutation {
    const { below, chance, pick } = this.#dice;
    const kind = pick(['set', 'set', 'delete', 'sum', 'sum', 'min', 'max'] as const);
    const key = this.key();
    switch (kind) {
      case 'delete':
        return { kind, key };
      case 'set': {
        const isStamped = chance(0.1);
        // What gets a new key each time must go again.
        const expireInMs = isStamped || chance(0.3) ? below(1_000) : undefined;
        const isLie = expireInMs !== undefined && chance(LIES);
        return {
          kind,
          key,
          value: this.#value(),
          expireInMs: isLie ? pick([-1, NaN, Infinity, 1e300]) : expireInMs,
          isStamped,
        };
      }
      case 'sum': {
        const bound = (): Uint8Array | undefined => (chance(0.5) ? this.#value().bytes : undefined);
        const limits = chance(0.3) ? { min: bound(), max: bound(), isClamped: chance(0.5) } : undefined;
        return { kind, key, value: this.#value(), limits };
      }
      default:
        return { kind, key, value: this.#value() };
    }
  }

  #value(): KvValue {
    const { below, bytes, chance, pick } = this.#dice;
    if (chance(LIES)) {
      const encoding = pick([0, 4, 255]) as KvValue['encoding'];
      return pick([
        { encoding, bytes: bytes(8) },
        { encoding: KV_ENCODING.u64, bytes: bytes(7) },
      ]);
    }
    // The largest that there may be, and one more.
    if (chance(0.0005)) return { encoding: KV_ENCODING.bytes, bytes: new Uint8Array(MAX_KV_VALUE_BYTES + below(2)) };
    switch (pick(['u64', 'u64', 'v8', 'bytes'] as const)) {
      case 'u64': {
        const number = new Uint8Array(8);
        new DataView(number.buffer).setBigUint64(0, pick(ODD_NUMBERS), true);
        return { encoding: KV_ENCODING.u64, bytes: number };
      }
      case 'v8':
        return { encoding: KV_ENCODING.v8, bytes: Uint8Array.from(Buffer.from(pick(V8_VALUES), 'hex')) };
      case 'bytes':
        return { encoding: KV_ENCODING.bytes, bytes: bytes(below(chance(0.02) ? LARGE_VALUE_BYTES : VALUE_BYTES)) };
    }
  }

  #range(): KvRange {
    const { chance, pick } = this.#dice;
    const limit = chance(LIES) ? pick([0, MAX_KV_LIMIT + 1, 2 ** 31]) : pick([1, 2, 100, MAX_KV_LIMIT]);
    // Often it ends before it begins.
    const [from, to] = [pick([new Uint8Array(), this.key()]), pick([Uint8Array.of(0xff), this.key()])];
    return { from, to, limit, reverse: chance(0.4) };
  }

  #upTo<T>(most: number, make: () => T): T[] {
    return Array.from({ length: this.#dice.below(most + 1) }, make);
  }
}
