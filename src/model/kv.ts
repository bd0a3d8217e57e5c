/**
 * The words of KV: entries under ordered keys, each with the version of the commit that wrote it, and commits that
 * check versions, change entries and produce messages, all of it or nothing. Keys and values are bytes here: how keys
 * are made from parts is in `kv-key.ts`, and what values mean is known to clients alone.
 */

/** The number by which messages name the codec whose payloads are values in the form of V8. */
export const CODEC_V8 = 2;

/** How the bytes of a value are to be read; the numbers are those of KV Connect. */
export const KV_ENCODING = {
  /** The structured-clone form of V8. */
  v8: 1,
  /** An unsigned 64-bit integer, little endian. */
  u64: 2,
  /** The value is the bytes. */
  bytes: 3,
} as const;

export type KvEncoding = (typeof KV_ENCODING)[keyof typeof KV_ENCODING];

export interface KvValue {
  readonly encoding: KvEncoding;
  readonly bytes: Uint8Array;
}

/** A value as it is stored. */
export interface KvRecord extends KvValue {
  /** Of the commit that wrote it: every commit of a space has a higher one than those before it. */
  readonly version: number;
}

export interface KvEntry extends KvRecord {
  readonly key: Uint8Array;
}

/** The keys from `from` (included) to `to` (excluded), in memcmp order, or backwards with `reverse`. */
export interface KvRange {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  readonly limit: number;
  readonly reverse: boolean;
}

/** What was read of a range. */
export interface KvPage {
  readonly entries: readonly KvEntry[];
  /** The range has no more. Otherwise there may be more, although there are fewer entries than the limit, or none. */
  readonly isEnd: boolean;
  /** The last key that was looked at, behind which to go on; that entry may have expired. `undefined` when it was none. */
  readonly last: Uint8Array | undefined;
}

/** Holds when the entry has this version; with 0, when there is none. */
export interface KvCheck {
  readonly key: Uint8Array;
  readonly version: number;
}

export type KvMutation =
  | {
      readonly kind: 'set';
      readonly key: Uint8Array;
      readonly value: KvValue;
      /** How long it stays, in milliseconds by machine time; `undefined` for ever. */
      readonly expireInMs: number | undefined;
      /** The versionstamp of the commit becomes the last part of the key. */
      readonly isStamped: boolean;
    }
  | { readonly kind: 'delete'; readonly key: Uint8Array }
  /** Numbers that are absent count as the operand alone. Any expiry ends. */
  | {
      readonly kind: 'sum';
      readonly key: Uint8Array;
      readonly value: KvValue;
      readonly limits: KvSumLimits | undefined;
    }
  | { readonly kind: 'min' | 'max'; readonly key: Uint8Array; readonly value: KvValue };

/** The bounds of a sum in V8 form: one that is passed refuses the commit, or with `isClamped` becomes the sum. */
export interface KvSumLimits {
  readonly min: Uint8Array | undefined;
  readonly max: Uint8Array | undefined;
  readonly isClamped: boolean;
}

/** What a handler read, and what it wrote: all of it is settled with its message. */
export interface KvEffects {
  readonly checks: readonly KvCheck[];
  readonly mutations: readonly KvMutation[];
}

/** A key that is written has at most this many bytes, one that is read one more, for the end of a range. */
export const MAX_KV_KEY_BYTES = 2_048;

/** A value has at most this many bytes, whatever the limits of the client. */
export const MAX_KV_VALUE_BYTES: number = 4 * 1024 * 1024;

/** A commit has at most this many checks, and this many mutations. */
export const MAX_KV_CHECKS = 1_000;
export const MAX_KV_MUTATIONS = 10_000;

/** A read or a watch has at most this many keys, a read this many ranges, a range this many entries. */
export const MAX_KV_KEYS = 100;
export const MAX_KV_RANGES = 10;
export const MAX_KV_LIMIT = 10_000;

/** An answer that has reached this many bytes has no further entries of ranges: the rest is for a further read. */
export const KV_ANSWER_BYTES: number = 4 * 1024 * 1024;

/** Entries that are read by their keys take at most this many bytes together: they are one answer. */
export const MAX_KV_READ_BYTES: number = 64 * 1024 * 1024;

/** The keys and values of a commit have at most this many bytes together. */
export const MAX_KV_COMMIT_BYTES: number = 8 * 1024 * 1024;

/** A version that no commit ever has. */
export const NO_VERSION: number = Number.MAX_SAFE_INTEGER;

/** A version is 8 bytes, big endian, and 2 more that are zero, as 20 hexadecimal digits. */
export function versionstampOf(version: number): string {
  return `${version.toString(16).padStart(16, '0')}0000`;
}

/** The version of a versionstamp, {@link NO_VERSION} for one that was never given; `undefined` for what is none. */
export function versionOf(versionstamp: string): number | undefined {
  if (!/^[0-9a-f]{20}$/i.test(versionstamp)) return undefined;
  const version = Number.parseInt(versionstamp.slice(0, 16), 16);
  return versionstamp.endsWith('0000') && version > 0 && version < NO_VERSION ? version : NO_VERSION;
}
