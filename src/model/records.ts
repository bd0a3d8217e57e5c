/**
 * The words that the machine and every store share: keys, values, writes, epochs.
 *
 * A store is an ordered map from byte strings to byte strings. It knows nothing of queues, and the
 * machine knows nothing of disks: this file is all that they have in common.
 */

/** A byte string of at most {@link MAX_KEY_BYTES} bytes. Keys are ordered as `memcmp` orders them. */
export type Key = Uint8Array;

/** A byte string of at most {@link MAX_VALUE_BYTES} bytes. Whoever receives one must not change it. */
export type Value = Uint8Array;

/** One key with its value. */
export interface Entry {
  readonly key: Key;
  readonly value: Value;
}

/**
 * The keys from `from` (included) to `to` (excluded), in memcmp order, or backwards with `reverse`.
 * `limit` ends the reading after that many entries.
 */
export interface KeyRange {
  readonly from: Key;
  readonly to: Key;
  readonly reverse?: boolean;
  readonly limit?: number;
}

/** One change of a commit. `clear` deletes every key from `from` (included) to `to` (excluded). */
export type Write =
  | { readonly kind: 'put'; readonly key: Key; readonly value: Value }
  | { readonly kind: 'delete'; readonly key: Key }
  | { readonly kind: 'clear'; readonly from: Key; readonly to: Key };

/**
 * The fencing identity of the broker that leads a store. Two epochs are the same only when both
 * fields are: a number can come again after a failover that lost the last commits, a nonce cannot.
 */
export interface Epoch {
  readonly number: number;
  /** 128 random bits as 32 hexadecimal digits. */
  readonly nonce: string;
}

/** Who leads a store. */
export interface Leader {
  readonly epoch: Epoch;
  /** Where the leading broker can be reached; its meaning belongs to the composition root. */
  readonly address: string;
  /** Whether the lease still runs in the store's own clock; stores without leases say `true`. */
  readonly leaseRuns: boolean;
}

/** The longest key that every store takes, in bytes. */
export const MAX_KEY_BYTES = 2_304;

/** The largest value that every store takes, in bytes: 4 MiB for a payload and 64 KiB for what surrounds it. */
export const MAX_VALUE_BYTES: number = 4 * 1024 * 1024 + 64 * 1024;

/** The largest commit that every store takes, in bytes of keys and values. */
export const MAX_COMMIT_BYTES: number = 16 * 1024 * 1024;

/** Orders two keys as `memcmp` does: negative, zero or positive. */
export function compareKeys(a: Key, b: Key): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
