/** What one request may hold. The numbers and the texts are those of Deno's own server for KV Connect, but for the checks. */

export const LIMITS = {
  ranges: 10,
  /** Of all ranges of a read together. */
  entries: 1_000,
  /** As many as Deno lets its programs have; its server takes 10. */
  checks: 100,
  /** Mutations and messages together. */
  mutations: 1_000,
  valueBytes: 65_536,
  atomicBytes: 819_200,
  watchedKeys: 10,
  undeliveredKeys: 10,
  backoffIntervals: 10,
  backoffMs: 3_600_000,
  delayMs: 2_592_000_000,
} as const;

/** The body of a write has at most this many bytes, of a read or a watch these: what it may hold, and the form of that. */
export const MAX_WRITE_BYTES: number = 2 * 1024 * 1024;
export const MAX_READ_BYTES: number = 64 * 1024;

export const EXCESS = {
  ranges: 'Too many read ranges requested in one read request.',
  entries: 'The total number of entries requested across read ranges in the read request is too large.',
  checks: 'Too many checks included in atomic write.',
  mutations: 'Too many mutations / enqueues included in atomic write.',
  keyBytes: 'A key exceeds the key size limit.',
  valueBytes: 'A value exceeds the value size limit.',
  atomicBytes: 'The total size of the atomic write is too large.',
  watchedKeys: 'Too many keys watched in a single watch request.',
  undeliveredKeys: 'Too many dead letter keys for a single queue message.',
  backoffIntervals: 'Too many backoff intervals for a single queue message.',
  backoffMs: 'A backoff interval exceeds the maximum allowed backoff interval.',
} as const;
