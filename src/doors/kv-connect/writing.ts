/** What an atomic write asks for. */
import type { Item } from '../../client/outbox.ts';
import { MAX_DUE_AT } from '../../model/block.ts';
import type { Clock } from '../../model/clock.ts';
import { MAX_DURATION_MS } from '../../model/duration.ts';
import {
  CODEC_V8,
  KV_ENCODING,
  type KvCheck,
  type KvEffects,
  type KvEncoding,
  type KvMutation,
  type KvSumLimits,
  type KvValue,
  MAX_KV_KEY_BYTES,
  versionOf,
} from '../../model/kv.ts';
import { DEFAULT_SCHEDULE } from '../../model/kv-queue.ts';
import { EXCESS, LIMITS } from './limits.ts';
import { type AtomicWrite, type Check, type Enqueue, type Mutation, MUTATION } from './messages.ts';
import { Refusal } from './refusal.ts';

/** A message of the queue, its id still to come. */
export interface Enqueued {
  readonly schedule: readonly number[];
  readonly item: Omit<Item, 'id'>;
}

export interface CheckedWrite {
  readonly effects: KvEffects;
  readonly enqueued: readonly Enqueued[];
}

/** @throws Refusal for what cannot be, or is too much */
export function checkWrite({ checks, mutations, enqueues }: AtomicWrite, clock: Clock): CheckedWrite {
  if (mutations.length + enqueues.length > LIMITS.mutations) throw new Refusal(400, EXCESS.mutations);
  const wallMs = clock.wallMs();
  const checked = {
    effects: { checks: checks.map(checkOf), mutations: mutations.map((mutation) => mutationOf(mutation, wallMs)) },
    enqueued: enqueues.map((enqueue) => enqueuedOf(enqueue, wallMs)),
  };
  if (bytesOf({ checks, mutations, enqueues }) > LIMITS.atomicBytes) throw new Refusal(400, EXCESS.atomicBytes);
  return checked;
}

function checkOf({ key, versionstamp }: Check): KvCheck {
  if (key.length > MAX_KV_KEY_BYTES + 1) throw new Refusal(400, EXCESS.keyBytes);
  if (versionstamp.length === 0) return { key, version: 0 };
  const version = versionOf(Buffer.from(versionstamp).toString('hex'));
  if (version === undefined) throw new Refusal(400, 'Invalid versionstamp.');
  return { key, version };
}

function mutationOf(mutation: Mutation, wallMs: number): KvMutation {
  const { mutationType } = mutation;
  const key = writableKey(mutation.key);
  if (mutation.sumMin.length + mutation.sumMax.length > LIMITS.valueBytes) throw new Refusal(400, EXCESS.valueBytes);
  if ((mutation.value?.data.length ?? 0) > LIMITS.valueBytes) throw new Refusal(400, EXCESS.valueBytes);
  if (mutationType === MUTATION.delete) return { kind: 'delete', key };
  const value = valueOf(mutation);
  switch (mutationType) {
    case MUTATION.set:
    case MUTATION.setSuffixVersionstampedKey: {
      const isStamped = mutationType === MUTATION.setSuffixVersionstampedKey;
      return { kind: 'set', key, value, expireInMs: expiryOf(mutation, wallMs), isStamped };
    }
    case MUTATION.sum:
      return { kind: 'sum', key, value, limits: limitsOf(mutation) };
    case MUTATION.min:
      return { kind: 'min', key, value };
    case MUTATION.max:
      return { kind: 'max', key, value };
    default:
      throw invalidMutation();
  }
}

function valueOf({ value }: Mutation): KvValue {
  if (value === undefined) throw invalidMutation();
  const { encoding, data } = value;
  if (encoding < KV_ENCODING.v8 || encoding > KV_ENCODING.bytes) {
    throw new Refusal(400, `The value encoding ${encoding} is unknown.`);
  }
  if (encoding === KV_ENCODING.u64 && data.length !== 8) throw invalidMutation();
  return { encoding: encoding as KvEncoding, bytes: data };
}

/** An entry whose time is over when it is written is gone at once. */
function expiryOf({ expireAtMs }: Mutation, wallMs: number): number | undefined {
  // Deno's own client says -1 for never, too.
  if (expireAtMs === 0 || expireAtMs === -1) return undefined;
  if (expireAtMs < 0) throw new Refusal(400, 'Invalid mutation expire at.');
  return Math.min(Math.max(expireAtMs - wallMs, 0), MAX_DURATION_MS);
}

function limitsOf({ sumMin, sumMax, sumClamp }: Mutation): KvSumLimits | undefined {
  if (sumMin.length + sumMax.length === 0) return undefined;
  const given = (bytes: Uint8Array): Uint8Array | undefined => (bytes.length === 0 ? undefined : bytes);
  return { min: given(sumMin), max: given(sumMax), isClamped: sumClamp };
}

function enqueuedOf({ payload, deadlineMs, keysIfUndelivered, backoffSchedule }: Enqueue, wallMs: number): Enqueued {
  if (payload.length > LIMITS.valueBytes) throw new Refusal(400, EXCESS.valueBytes);
  if (backoffSchedule.some((interval) => interval > LIMITS.backoffMs)) throw new Refusal(400, EXCESS.backoffMs);
  if (deadlineMs < 0 || deadlineMs > Math.min(wallMs + LIMITS.delayMs, MAX_DUE_AT)) {
    throw new Refusal(400, 'Invalid mutation enqueue deadline.');
  }
  const undelivered = keysIfUndelivered.map(writableKey);
  // One that is due has no time to wait for: then it stands in its place among those without a delay.
  const dueAt = deadlineMs > wallMs ? deadlineMs : undefined;
  return {
    // As Deno's own server takes it, though the schema says that such a message is not tried again.
    schedule: backoffSchedule.length === 0 ? DEFAULT_SCHEDULE : backoffSchedule,
    item: { codec: CODEC_V8, payload, options: { dueAt, undelivered } },
  };
}

function writableKey(key: Uint8Array): Uint8Array {
  if (key.length > MAX_KV_KEY_BYTES) throw new Refusal(400, EXCESS.keyBytes);
  if (key.length === 0) throw new Refusal(400, 'key cannot be empty');
  return key;
}

/** Counted as Deno's own server does. */
function bytesOf({ checks, mutations, enqueues }: AtomicWrite): number {
  let bytes = 0;
  for (const { key } of checks) bytes += key.length;
  for (const { key, value, sumMin, sumMax } of mutations) {
    bytes += key.length + (value?.data.length ?? 0) + sumMin.length + sumMax.length;
  }
  for (const { payload, keysIfUndelivered, backoffSchedule } of enqueues) {
    bytes += payload.length + 4 * backoffSchedule.length;
    for (const key of keysIfUndelivered) bytes += key.length;
  }
  return bytes;
}

function invalidMutation(): Refusal {
  return new Refusal(400, 'Invalid mutation kind or arguments.');
}
