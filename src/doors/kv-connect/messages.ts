/**
 * The messages of the data path of KV Connect. Names and numbers are those of its schema, `datapath.proto` of
 * denoland/denokv.
 */
import { EXCESS, LIMITS } from './limits.ts';
import {
  bool,
  byteLists,
  bytes,
  embedded,
  int32,
  int64,
  message,
  messages,
  type MessageType,
  uint32s,
} from './protobuf.ts';

export const MUTATION = { set: 1, delete: 2, sum: 3, max: 4, min: 5, setSuffixVersionstampedKey: 9 } as const;

export const WRITE_STATUS = { unspecified: 0, success: 1, checkFailure: 2, writeDisabled: 5 } as const;

export const READ_STATUS = { success: 1 } as const;

export interface ReadRange {
  readonly start: Uint8Array;
  /** Is not part of the range. */
  readonly end: Uint8Array;
  readonly limit: number;
  readonly reverse: boolean;
}

export interface SnapshotRead {
  readonly ranges: ReadRange[];
}

export interface Entry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly encoding: number;
  readonly versionstamp: Uint8Array;
}

export interface SnapshotReadOutput {
  readonly ranges: { readonly values: Entry[] }[];
  readonly readIsStronglyConsistent: boolean;
  readonly status: number;
}

export interface Check {
  readonly key: Uint8Array;
  /** 10 bytes, or none where there must be no entry. */
  readonly versionstamp: Uint8Array;
}

export interface Mutation {
  readonly key: Uint8Array;
  readonly value: { readonly data: Uint8Array; readonly encoding: number } | undefined;
  readonly mutationType: number;
  /** 0 for never. */
  readonly expireAtMs: number;
  readonly sumMin: Uint8Array;
  readonly sumMax: Uint8Array;
  readonly sumClamp: boolean;
}

export interface Enqueue {
  readonly payload: Uint8Array;
  readonly deadlineMs: number;
  readonly keysIfUndelivered: Uint8Array[];
  readonly backoffSchedule: number[];
}

export interface AtomicWrite {
  readonly checks: Check[];
  readonly mutations: Mutation[];
  readonly enqueues: Enqueue[];
}

export interface AtomicWriteOutput {
  readonly status: number;
  readonly versionstamp: Uint8Array;
}

export interface Watch {
  readonly keys: { readonly key: Uint8Array }[];
}

export interface WatchOutput {
  readonly status: number;
  readonly keys: { readonly changed: boolean; readonly entryIfChanged: Entry | undefined }[];
}

const READ_RANGE: MessageType<ReadRange> = message({
  start: bytes(1),
  end: bytes(2),
  limit: int32(3),
  reverse: bool(4),
});

export const SNAPSHOT_READ: MessageType<SnapshotRead> = message({
  ranges: messages(1, READ_RANGE, LIMITS.ranges, EXCESS.ranges),
});

const ENTRY: MessageType<Entry> = message({
  key: bytes(1),
  value: bytes(2),
  encoding: int32(3),
  versionstamp: bytes(4),
});

export const SNAPSHOT_READ_OUTPUT: MessageType<SnapshotReadOutput> = message({
  ranges: messages(1, message({ values: messages(1, ENTRY) })),
  readIsStronglyConsistent: bool(4),
  status: int32(8),
});

const CHECK: MessageType<Check> = message({ key: bytes(1), versionstamp: bytes(2) });

const MUTATION_MESSAGE: MessageType<Mutation> = message({
  key: bytes(1),
  value: embedded(2, message({ data: bytes(1), encoding: int32(2) })),
  mutationType: int32(3),
  expireAtMs: int64(4),
  sumMin: bytes(5),
  sumMax: bytes(6),
  sumClamp: bool(7),
});

const ENQUEUE: MessageType<Enqueue> = message({
  payload: bytes(1),
  deadlineMs: int64(2),
  keysIfUndelivered: byteLists(3, LIMITS.undeliveredKeys, EXCESS.undeliveredKeys),
  backoffSchedule: uint32s(4, LIMITS.backoffIntervals, EXCESS.backoffIntervals),
});

export const ATOMIC_WRITE: MessageType<AtomicWrite> = message({
  checks: messages(1, CHECK, LIMITS.checks, EXCESS.checks),
  mutations: messages(2, MUTATION_MESSAGE, LIMITS.mutations, EXCESS.mutations),
  enqueues: messages(3, ENQUEUE, LIMITS.mutations, EXCESS.mutations),
});

export const ATOMIC_WRITE_OUTPUT: MessageType<AtomicWriteOutput> = message({
  status: int32(1),
  versionstamp: bytes(2),
});

export const WATCH: MessageType<Watch> = message({
  keys: messages(1, message({ key: bytes(1) }), LIMITS.watchedKeys, EXCESS.watchedKeys),
});

export const WATCH_OUTPUT: MessageType<WatchOutput> = message({
  status: int32(1),
  keys: messages(2, message({ changed: bool(1), entryIfChanged: embedded(2, ENTRY) })),
});
