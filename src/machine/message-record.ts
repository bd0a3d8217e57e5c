/**
 * The stored forms of a message: a live one (in a page, or alone while it is delayed) and an ended one.
 *
 * ```
 * live  = flags order(signed, relative) seq(signed, from order) pack(varint, back from seq) second policy [group]
 *         attempts deliveries [dueAt(f64) dueClock(u8)] [readySince(f64)] [lease] [extra]
 * ended = state seq(varint, from pack) endedAt(f64) channel policy priority claimedAt(f64) attempts second
 *         flags(u8) [result] [failure] [extra] [group]
 * ```
 */
import { ByteReader, ByteWriter, small31 } from '../model/bytes.ts';
import type { HistoryEntry } from '../model/views.ts';
import type { Failure } from '../model/failure.ts';
import { HAPPENINGS, type LiveState, STATES } from '../model/states.ts';
import type { Charge, DueClock, Extra, Message } from './memory.ts';
import type { EndedRecord } from './state.ts';

const FLAG = {
  leased: 1,
  waiting: 2,
  delayed: 4,
  extra: 8,
  alone: 16,
  started: 32,
  used: 64,
  moved: 128,
  group: 256,
  begun: 512,
} as const;

/**
 * Version 3 has flags as a varint, here and in what only some messages have. A page says its version; a delayed message
 * alone has it behind a zero byte, where an earlier one has its flags, of which one is always set.
 */
export const MESSAGE_VERSION = 3;
const WIDE_FLAGS = 3;

/** Version 2 of ended messages has flags as a varint too. */
export const ENDED_VERSION = 2;

/** A live message as it was read; its channel, policy and session still as numbers. */
export interface StoredMessage {
  readonly seq: number;
  readonly pack: number;
  readonly second: number;
  readonly policy: number;
  /** Empty for none. */
  readonly group: string;
  /** It has begun, and its group waits for its end. */
  readonly begun: boolean;
  readonly state: LiveState;
  readonly order: number;
  readonly attempts: number;
  readonly deliveries: number;
  readonly lease: StoredLease | undefined;
  readonly extra: Extra | undefined;
  /** Of a message that waits for another: when its own time comes; of one that is ready, since when, if not since it was
   * produced. A delayed one has it in its key. */
  readonly dueAt: number;
  readonly dueClock: DueClock;
  /** Only of delayed messages. */
  readonly channel: number;
  readonly priority: number;
}

export interface StoredLease {
  readonly token: number;
  readonly session: number;
  readonly consumer: number;
  readonly claimedAt: number;
  readonly alone: boolean;
  readonly started: boolean;
  readonly deadlineAt: number;
}

const scratch = new ByteWriter(8_192);

/** The record of a delayed message. */
export function encodeDelayed(message: Message): Uint8Array {
  scratch.clear();
  scratch.u8(0);
  scratch.u8(MESSAGE_VERSION);
  writeMessage(scratch, message, 0);
  return scratch.finish();
}

export function readDelayed(value: Uint8Array): StoredMessage {
  const [zero, version = 0] = value;
  return zero === 0 ? readMessage(new ByteReader(value, 2), 0, version) : readMessage(new ByteReader(value), 0, 2);
}

export function writeMessage(writer: ByteWriter, message: Message, baseOrder: number): void {
  const { lease, extra, seq, order } = message;
  const used = message.attempts !== 0 || message.deliveries !== 0;
  const moved = message.dueAt !== 0 && (message.state === 'ready' || message.state === 'leased');
  writer.varint(
    (lease === undefined ? 0 : FLAG.leased) |
      (message.state === 'waiting' ? FLAG.waiting : 0) |
      (message.state === 'delayed' ? FLAG.delayed : 0) |
      (extra === undefined ? 0 : FLAG.extra) |
      (lease?.alone === true ? FLAG.alone : 0) |
      (lease?.started === true ? FLAG.started : 0) |
      (used ? FLAG.used : 0) |
      (moved ? FLAG.moved : 0) |
      (message.group === undefined ? 0 : FLAG.group) |
      (message.group?.begun === message ? FLAG.begun : 0),
  );
  writer.signed(order - baseOrder);
  writer.signed(seq - order);
  writer.varint(seq - message.pack);
  writer.varint(message.second);
  writer.varint(message.policy.number);
  if (message.group !== undefined) writer.text(message.group.key);
  if (used) {
    writer.varint(message.attempts);
    writer.varint(message.deliveries);
  }
  if (message.state === 'delayed') {
    writer.varint(message.channel.number);
    writer.signed(message.priority);
  }
  if (message.state === 'waiting') {
    writer.f64(message.dueAt);
    writer.u8(message.dueClock);
  }
  if (moved) writer.f64(message.dueAt);
  if (lease !== undefined) {
    writer.varint(lease.token);
    writer.varint(lease.session.number);
    writer.varint(lease.consumer);
    writer.f64(lease.claimedAt);
    writer.f64(lease.deadlineAt);
  }
  if (extra !== undefined) writeExtra(writer, extra);
}

export function readMessage(reader: ByteReader, baseOrder: number, version: number): StoredMessage {
  const isWide = version >= WIDE_FLAGS;
  const flags = isWide ? reader.varint() : reader.u8();
  const order = small31(baseOrder + reader.signed());
  const seq = small31(order + reader.signed());
  const pack = small31(seq - reader.varint());
  const second = reader.varint();
  const policy = reader.varint();
  const group = flags & FLAG.group ? reader.text() : '';
  const used = (flags & FLAG.used) !== 0;
  const attempts = used ? reader.varint() : 0;
  const deliveries = used ? reader.varint() : 0;
  const delayed = (flags & FLAG.delayed) !== 0;
  const channel = delayed ? reader.varint() : 0;
  const priority = delayed ? reader.signed() : 0;
  const waiting = (flags & FLAG.waiting) !== 0;
  const dueAt = waiting || (flags & FLAG.moved) !== 0 ? reader.f64() : 0;
  const dueClock = waiting && reader.u8() === 1 ? 1 : 0;
  const leased = (flags & FLAG.leased) !== 0;
  const lease = leased ? readLease(reader, flags) : undefined;
  const extra = flags & FLAG.extra ? readExtra(reader, isWide) : undefined;
  const state = leased ? 'leased' : waiting ? 'waiting' : delayed ? 'delayed' : 'ready';
  return {
    seq,
    pack,
    second,
    policy,
    group,
    begun: (flags & FLAG.begun) !== 0,
    state,
    order,
    attempts,
    deliveries,
    lease,
    extra,
    dueAt,
    dueClock,
    channel,
    priority,
  };
}

export function writeEnded(writer: ByteWriter, record: EndedRecord): void {
  const { result, failure, extra } = record;
  writer.u8(record.state === undefined ? STATES.length : STATES.indexOf(record.state));
  writer.varint(record.seq - record.pack);
  writer.f64(record.endedAt);
  writer.varint(record.channel);
  writer.varint(record.policy);
  writer.signed(record.priority);
  writer.f64(record.claimedAt);
  writer.varint(record.attempts);
  writer.varint(record.second);
  writer.u8(
    (result === undefined ? 0 : 1) |
      (failure === undefined ? 0 : 2) |
      (extra === undefined ? 0 : 4) |
      (record.group === '' ? 0 : 8),
  );
  if (result !== undefined) writer.bytes(result);
  if (failure !== undefined) writeFailure(writer, failure);
  if (extra !== undefined) writeExtra(writer, extra);
  if (record.group !== '') writer.text(record.group);
}

export function readEnded(reader: ByteReader, pack: number, version: number): EndedRecord {
  const state = STATES[reader.u8()];
  const seq = pack + reader.varint();
  const endedAt = reader.f64();
  const channel = reader.varint();
  const policy = reader.varint();
  const priority = reader.signed();
  const claimedAt = reader.f64();
  const attempts = reader.varint();
  const second = reader.varint();
  const flags = reader.u8();
  return {
    seq,
    pack,
    second,
    endedAt,
    state: state === 'completed' || state === 'dead' || state === 'cancelled' ? state : undefined,
    channel,
    policy,
    priority,
    claimedAt,
    attempts,
    result: flags & 1 ? reader.bytes() : undefined,
    failure: flags & 2 ? readFailure(reader) : undefined,
    extra: flags & 4 ? readExtra(reader, version >= ENDED_VERSION) : undefined,
    group: flags & 8 ? reader.text() : '',
  };
}

function readLease(reader: ByteReader, flags: number): StoredLease {
  return {
    token: reader.varint(),
    session: reader.varint(),
    consumer: reader.varint(),
    claimedAt: reader.f64(),
    deadlineAt: reader.f64(),
    alone: (flags & FLAG.alone) !== 0,
    started: (flags & FLAG.started) !== 0,
  };
}

/** Why a message was given up. */
const GIVEN_UP = ['failed', 'expired'] as const;

function writeExtra(writer: ByteWriter, extra: Extra): void {
  writer.varint(
    (extra.suspect ? 1 : 0) |
      (extra.annotated ? 2 : 0) |
      (extra.returned ? 4 : 0) |
      (extra.failure === undefined ? 0 : 8) |
      (extra.dedupe === '' ? 0 : 16) |
      (extra.charges.length === 0 ? 0 : 32) |
      (extra.undelivered ? 64 : 0) |
      (extra.givenUp === undefined ? 0 : 128) |
      (extra.cost === 1 ? 0 : 256) |
      (extra.cancelled === undefined ? 0 : 512) |
      (extra.payloadPack === 0 ? 0 : 1_024),
  );
  writer.varint(extra.deaths);
  writer.varint(extra.undecodable);
  writer.f64(extra.expiresAt);
  if (extra.dedupe !== '') for (let i = 0; i < extra.dedupe.length; i++) writer.u8(extra.dedupe.charCodeAt(i));
  if (extra.failure !== undefined) writeFailure(writer, extra.failure);
  writer.varint(extra.history.length);
  for (const entry of extra.history) {
    writer.f64(entry.at);
    writer.u8(HAPPENINGS.indexOf(entry.what));
    writer.varint(entry.attempt);
    writer.text(entry.note ?? '');
  }
  if (extra.givenUp !== undefined) writer.u8(GIVEN_UP.indexOf(extra.givenUp));
  if (extra.cost !== 1) writer.varint(extra.cost);
  if (extra.cancelled !== undefined) writer.text(extra.cancelled);
  if (extra.payloadPack !== 0) writer.varint(-extra.payloadPack);
  if (extra.charges.length === 0) return;
  writer.varint(extra.charges.length);
  for (const { token, session, deliveries, alone } of extra.charges) {
    writer.varint(token);
    writer.varint(session);
    writer.varint(deliveries);
    writer.u8(alone ? 1 : 0);
  }
}

function readExtra(reader: ByteReader, isWide: boolean): Extra {
  const flags = isWide ? reader.varint() : reader.u8();
  const deaths = reader.varint();
  const undecodable = reader.varint();
  const expiresAt = reader.f64();
  const dedupe = flags & 16 ? String.fromCharCode(...reader.raw(16)) : '';
  const failure = flags & 8 ? readFailure(reader) : undefined;
  const history: HistoryEntry[] = [];
  for (let left = reader.varint(); left > 0; left--) {
    const at = reader.f64();
    const what = HAPPENINGS[reader.u8()] ?? 'produced';
    const attempt = reader.varint();
    const note = reader.text();
    history.push({ at, what, attempt, note: note === '' ? undefined : note });
  }
  const givenUp = flags & 128 ? GIVEN_UP[reader.u8()] : undefined;
  const cost = flags & 256 ? reader.varint() : 1;
  const cancelled = flags & 512 ? reader.text() : undefined;
  const payloadPack = flags & 1_024 ? -reader.varint() : 0;
  const charges: Charge[] = [];
  for (let left = flags & 32 ? reader.varint() : 0; left > 0; left--) {
    const [token, session, deliveries] = [reader.varint(), reader.varint(), reader.varint()];
    charges.push({ token, session, deliveries, alone: reader.u8() === 1 });
  }
  return {
    deaths,
    undecodable,
    failure,
    history,
    expiresAt,
    dedupe,
    suspect: (flags & 1) !== 0,
    annotated: (flags & 2) !== 0,
    returned: (flags & 4) !== 0,
    undelivered: (flags & 64) !== 0,
    givenUp,
    cost,
    cancelled,
    payloadPack,
    charges,
  };
}

function writeFailure(writer: ByteWriter, failure: Failure): void {
  writer.text(failure.name);
  writer.text(failure.message);
  writer.text(failure.stack ?? '');
}

function readFailure(reader: ByteReader): Failure {
  const name = reader.text();
  const message = reader.text();
  const stack = reader.text();
  return { name, message, stack: stack === '' ? undefined : stack };
}
