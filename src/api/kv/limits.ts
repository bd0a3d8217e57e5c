/** The limits of KV: those of Deno where nothing else is asked for. */
import { MAX_UNDELIVERED_KEYS } from '../../model/block.ts';
import {
  MAX_KV_CHECKS,
  MAX_KV_COMMIT_BYTES,
  MAX_KV_LIMIT,
  MAX_KV_MUTATIONS,
  MAX_KV_KEYS,
  MAX_KV_VALUE_BYTES,
} from '../../model/kv.ts';
import { refuseUnknown, wholeNumber } from '../checks.ts';

/** Limits of KV that can be lifted, or lowered. What is beyond one is refused with a TypeError. */
export interface KvOptions {
  /** Bytes of a value, and of a message of the queue, up to 4194304. @default 65536 */
  readonly maxValueBytes?: number;
  /** Bytes of an atomic operation, up to 8388608. @default 819200, or 8388608 where values may be larger */
  readonly maxAtomicBytes?: number;
  /** Checks of an atomic operation, up to 1000. @default 100 */
  readonly maxChecks?: number;
  /** Mutations and messages of an atomic operation, up to 10000. @default 1000 */
  readonly maxMutations?: number;
  /** Keys of a `getMany` and of a `watch`, up to 100. @default 10 */
  readonly maxKeys?: number;
  /** Entries that a list reads at a time, up to 10000. @default 1000 */
  readonly maxBatchSize?: number;
  /** Delays in a `backoffSchedule`, up to 1000. @default 5 */
  readonly maxBackoffIntervals?: number;
  /** Keys of a message in `keysIfUndelivered`, up to 10000. @default 10 */
  readonly maxKeysIfUndelivered?: number;
  /** Messages of a queue that have not ended; `Infinity` for any number. @default Infinity */
  readonly maxBacklog?: number;
}

export interface KvLimits extends Required<KvOptions> {
  /** Bytes of the keys of an atomic operation that get values. */
  readonly maxKeyBytes: number;
}

const DEFAULTS = {
  maxValueBytes: 65_536,
  maxAtomicBytes: 819_200,
  maxChecks: 100,
  maxMutations: 1_000,
  maxKeys: 10,
  maxBatchSize: 1_000,
  maxBackoffIntervals: 5,
  maxKeysIfUndelivered: 10,
  maxBacklog: Infinity,
} satisfies Required<KvOptions>;

const MOST = {
  maxValueBytes: MAX_KV_VALUE_BYTES,
  maxAtomicBytes: MAX_KV_COMMIT_BYTES,
  maxChecks: MAX_KV_CHECKS,
  maxMutations: MAX_KV_MUTATIONS,
  maxKeys: MAX_KV_KEYS,
  maxBatchSize: MAX_KV_LIMIT,
  maxBackoffIntervals: 1_000,
  maxKeysIfUndelivered: MAX_UNDELIVERED_KEYS,
  maxBacklog: 2 ** 40,
} satisfies Required<KvOptions>;

type Name = keyof typeof MOST;

const NAMES = Object.keys(MOST) as Name[];

/** Deno takes a tenth of the bytes of an atomic operation for its keys. */
const KEY_SHARE = 10;

/** @throws TypeError, RangeError */
export function resolveKvOptions(options: KvOptions = {}): KvLimits {
  refuseUnknown(options, NAMES, 'kv');
  const limitOf = (name: Name, fallback: number): number => {
    const { [name]: given = fallback } = options;
    return given === fallback ? given : wholeNumber(given, `kv.${name}`, 1, MOST[name]);
  };
  const resolved = Object.fromEntries(
    NAMES.map((name) => [name, limitOf(name, DEFAULTS[name])]),
  ) as Required<KvOptions>;
  const isRoomy = resolved.maxValueBytes > DEFAULTS.maxValueBytes;
  const maxAtomicBytes = limitOf('maxAtomicBytes', isRoomy ? MOST.maxAtomicBytes : DEFAULTS.maxAtomicBytes);
  return Object.freeze({ ...resolved, maxAtomicBytes, maxKeyBytes: Math.floor(maxAtomicBytes / KEY_SHARE) });
}
