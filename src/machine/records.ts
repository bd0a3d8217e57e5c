/** The small records of the machine: its counters, its sessions, its dedupe keys. */
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import { readReply } from '../model/reply.ts';
import type { DedupeSlot, Session } from './memory.ts';
import { COUNTS, createSession, keepAnswer } from './session.ts';
import type { MachineState } from './state.ts';

const RECORD_VERSION = 1;

/** Version 2 names the access token; before it there were none. */
const SESSION_VERSION = 2;

/** Version 2 names the broker's process; before it there were no others. Version 3 says up to where the journal was trimmed,
 * version 4 the version of the next commit to KV. */
const META_VERSION = 4;

const scratch = new ByteWriter(1_024);

const COUNTERS = ['nextSeq', 'nextToken', 'nextChannel', 'nextPolicy', 'nextSession', 'nextCommit'] as const;

export function encodeMeta(state: MachineState): Uint8Array {
  const record = scratch;
  record.clear();
  record.u8(META_VERSION);
  record.f64(state.now);
  for (const counter of COUNTERS) record.varint(state[counter]);
  record.text(state.brokerHost ?? '');
  record.varint(state.journalTrimmed);
  record.varint(state.nextVersion);
  return record.finish();
}

/** What the record of the counters holds. */
export type Meta = Pick<
  MachineState,
  'now' | 'brokerHost' | 'journalTrimmed' | 'nextVersion' | (typeof COUNTERS)[number]
>;

export function readMeta(state: Meta, value: Uint8Array): void {
  const reader = new ByteReader(value, 1);
  state.now = reader.f64();
  for (const counter of COUNTERS) state[counter] = reader.varint();
  const [version = 0] = value;
  state.brokerHost = version >= 2 ? reader.text() : undefined;
  state.journalTrimmed = version >= 3 ? reader.varint() : 0;
  state.nextVersion = version >= 4 ? reader.varint() : 1;
}

export function encodeSession(session: Session): Uint8Array {
  const record = scratch;
  record.clear();
  record.u8(SESSION_VERSION);
  record.text(session.id);
  record.text(session.host);
  record.text(session.accessToken);
  record.varint(session.applied);
  record.varint(session.answers.length);
  for (const { request, bytes } of session.answers) {
    record.varint(request);
    record.raw(bytes);
  }
  return record.finish();
}

export function readSession(number: number, value: Uint8Array): Session {
  const reader = new ByteReader(value, 1);
  const id = reader.text();
  const host = reader.text();
  const session = createSession(number, id, host, value[0] === SESSION_VERSION ? reader.text() : '');
  const applied = reader.varint();
  for (let left = reader.varint(); left > 0; left--) {
    const request = reader.varint();
    keepAnswer(session, request, readReply(reader, COUNTS));
  }
  session.applied = applied;
  return session;
}

export function encodeSlots(slots: Iterable<DedupeSlot>): Uint8Array {
  const record = scratch;
  record.clear();
  record.u8(RECORD_VERSION);
  for (const slot of slots) {
    record.varint(slot.channel.number);
    for (const text of [slot.hash, slot.id]) for (let i = 0; i < 16; i++) record.u8(text.charCodeAt(i));
    record.varint(slot.seq);
    record.f64(slot.until);
    record.varint(slot.nextSeq);
    if (slot.nextSeq !== 0) for (let i = 0; i < 16; i++) record.u8(slot.nextId.charCodeAt(i));
  }
  return record.finish();
}

export function* readSlots(state: MachineState, commit: number, value: Uint8Array): Generator<DedupeSlot> {
  const reader = new ByteReader(value, 1);
  while (reader.left > 0) {
    const channel = state.channelNumbers.get(reader.varint());
    const hash = String.fromCharCode(...reader.raw(16));
    const id = String.fromCharCode(...reader.raw(16));
    const seq = reader.varint();
    const until = reader.f64();
    const nextSeq = reader.varint();
    const nextId = nextSeq === 0 ? '' : String.fromCharCode(...reader.raw(16));
    if (channel !== undefined) yield { channel, hash, seq, id, until, nextSeq, nextId, commit };
  }
}
