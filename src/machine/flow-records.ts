/**
 * The records of flows, all of one kind, in the order in which they are loaded.
 *
 * ```
 * 0 parent         = version(u8) flags(u8) woken(varint) delayMs(f64)
 * 1 parent chunk   = version(u8) child*
 * 2 child          = version(u8) state(u8) flags(u8) at(f64) channel(varint) commit(varint) why(text)
 * child            = seq(varint) packBack(varint) second(varint) policy(u8) id(16) [key(text)]
 * ```
 *
 * A parent has its first record as long as it may wait, then one for each 128 children that it was given; a child has one when
 * it has ended. To change a record, raise the version, and keep reading the old one.
 */
import { ByteReader, ByteWriter, small31 } from '../model/bytes.ts';
import { CHILD_POLICIES, type ChildPolicy } from '../model/flow.ts';
import { MESSAGE_ID_BYTES } from '../model/message-id.ts';
import type { Key, Value } from '../model/records.ts';
import type { ChildEnd, FlowChild, FlowLink, FlowParent } from './flow-memory.ts';
import { KIND, type Layout } from './layout.ts';

const RECORD_VERSION = 1;

/** What a key of a flow holds first. */
export const FLOW = { parent: 0, children: 1, end: 2 } as const;

/** How many children share a record. */
export const CHUNK = 128;

const PARENT = { waits: 1, retired: 2, cancels: 4 } as const;
const CHILD = { moved: 1 } as const;

/** Set beside the number of a policy when a key follows. */
const KEYED = 0x80;

const ENDED_STATES = ['completed', 'dead', 'cancelled'] as const;

const scratch = new ByteWriter(8_192);

export function parentKey(layout: Layout, seq: number): Key {
  return layout.key(KIND.flow, FLOW.parent, seq);
}

export function chunkKey(layout: Layout, seq: number, chunk: number): Key {
  return layout.key(KIND.flow, FLOW.children, seq, chunk);
}

export function endKey(layout: Layout, seq: number): Key {
  return layout.key(KIND.flow, FLOW.end, seq);
}

export function encodeParent({ waits, isRetired, cancels, woken, delayMs }: FlowParent): Value {
  scratch.clear();
  scratch.u8(RECORD_VERSION);
  scratch.u8((waits ? PARENT.waits : 0) | (isRetired ? PARENT.retired : 0) | (cancels ? PARENT.cancels : 0));
  scratch.varint(woken);
  scratch.f64(delayMs);
  return scratch.finish();
}

export function readParent(seq: number, value: Value): FlowParent {
  const reader = new ByteReader(value, 1);
  const flags = reader.u8();
  return {
    seq,
    children: [],
    waits: (flags & PARENT.waits) !== 0,
    isRetired: (flags & PARENT.retired) !== 0,
    cancels: (flags & PARENT.cancels) !== 0,
    pending: 0,
    failing: 0,
    continuing: 0,
    woken: reader.varint(),
    delayMs: reader.f64(),
  };
}

export function encodeChunk(links: readonly FlowLink[]): Value {
  scratch.clear();
  scratch.u8(RECORD_VERSION);
  for (const { child, onFailure, key } of links) {
    scratch.varint(child.seq);
    scratch.varint(child.seq - child.pack);
    scratch.varint(child.second);
    scratch.u8(CHILD_POLICIES.indexOf(onFailure) | (key === undefined ? 0 : KEYED));
    for (let i = 0; i < MESSAGE_ID_BYTES; i++) scratch.u8(child.id.charCodeAt(i));
    if (key !== undefined) scratch.text(key);
  }
  return scratch.finish();
}

/** A child as a record of its parent has it. */
export interface StoredChild extends Pick<FlowChild, 'seq' | 'id' | 'pack' | 'second'> {
  readonly onFailure: ChildPolicy;
  readonly key: string | undefined;
}

export function* readChunk(value: Value): Generator<StoredChild> {
  const reader = new ByteReader(value, 1);
  while (reader.left > 0) {
    const seq = small31(reader.varint());
    const pack = small31(seq - reader.varint());
    const second = reader.varint();
    const policy = reader.u8();
    const id = String.fromCharCode(...reader.raw(MESSAGE_ID_BYTES));
    const key = policy & KEYED ? reader.text() : undefined;
    yield { seq, pack, second, id, key, onFailure: CHILD_POLICIES[policy & ~KEYED] as ChildPolicy };
  }
}

export function encodeEnd({ state, isMoved, at, channel, commit, why }: ChildEnd): Value {
  scratch.clear();
  scratch.u8(RECORD_VERSION);
  scratch.u8(ENDED_STATES.indexOf(state));
  scratch.u8(isMoved ? CHILD.moved : 0);
  scratch.f64(at);
  scratch.varint(channel);
  scratch.varint(commit);
  scratch.text(why);
  return scratch.finish();
}

export function readEnd(value: Value): ChildEnd {
  const reader = new ByteReader(value, 1);
  const state = ENDED_STATES[reader.u8()] as ChildEnd['state'];
  const flags = reader.u8();
  return {
    state,
    isMoved: (flags & CHILD.moved) !== 0,
    at: reader.f64(),
    channel: reader.varint(),
    commit: reader.varint(),
    why: reader.text(),
  };
}
