/** Flush: turns what has changed into the writes of one commit. */
import { ByteWriter } from '../model/bytes.ts';
import type { Write } from '../model/records.ts';
import { flushBull } from './bull/flush.ts';
import type { Page } from './memory.ts';
import { encodeChannelCounters, encodeChannelHead } from './channel-record.ts';
import { flushJournal } from './journal.ts';
import { encodeEntry } from './kv-records.ts';
import { encodeGroup, groupKeyBytes } from './group-record.ts';
import { isWorthKeeping } from './groups.ts';
import { COUNTERS, KIND } from './layout.ts';
import { ENDED_VERSION, MESSAGE_VERSION, writeEnded, writeMessage } from './message-record.ts';
import { dropPage, PAGE_ORDERS } from './pages.ts';
import { encodeMeta, encodeSession, encodeSlots } from './records.ts';
import { type ClaimedMessage, type MachineState, resetChanges, type SessionNotice } from './state.ts';
import { putUsage } from './usage.ts';

/** Large results go into records of their own, so that none outgrows what a store takes. */
const ENDED_PART_BYTES: number = 64 * 1024;

/** Records are gathered here and copied out at their size. */
const scratch = new ByteWriter(8_192);

/** What one commit writes, and what may be said once it is durable. */
export interface Flushed {
  readonly writes: Write[];
  /** The packs among the writes: what is delivered at once need not be read back. */
  readonly packs: readonly { readonly number: number; readonly value: Uint8Array }[];
  readonly deliveries: readonly ClaimedMessage[];
  readonly notices: readonly SessionNotice[];
}

export function flush(state: MachineState): Flushed {
  const { changes } = state;
  const { deliveries, notices, packs, writes } = changes;
  if (isDirty(state)) {
    const commit = state.nextCommit++;
    takeUnwritten(state);
    flushPages(state, writes);
    flushEnds(state, writes, commit);
    flushSlots(state, writes, commit);
    flushKv(state, writes);
    flushGroups(state, writes);
    flushBull(state, writes);
    flushJournal(state, writes, commit);
    flushChannels(state, writes);
    for (const session of changes.sessions) {
      writes.push({ kind: 'put', key: state.layout.key(KIND.session, session.number), value: encodeSession(session) });
    }
    writes.push({ kind: 'put', key: state.layout.key(KIND.meta), value: encodeMeta(state) });
  }
  resetChanges(changes);
  return { writes, packs, deliveries, notices };
}

/** Writes what was counted since the last commit. */
function takeUnwritten(state: MachineState): void {
  const { unwritten, changes } = state;
  for (const channel of unwritten.channels) changes.channels.add(channel);
  for (const usage of unwritten.usage) {
    usage.isUnwritten = false;
    putUsage(state, usage);
  }
  for (const { counts } of changes.channels) if (counts !== undefined) counts.isUnwritten = false;
  if (unwritten.writeAt === Infinity) return;
  unwritten.channels = [];
  unwritten.usage = [];
  unwritten.writeAt = Infinity;
}

export function isDirty({ changes }: MachineState): boolean {
  const { dirty, channels, channelHeads, groups, sessions, slots, freedSlotRecords } = changes;
  return (
    dirty || channels.size + channelHeads.size + groups.size + sessions.size + slots.size + freedSlotRecords.length > 0
  );
}

/** The rough number of bytes that the next flush will write. */
export function pendingBytes({ changes }: MachineState): number {
  return changes.bytes + changes.journalEntries * 16;
}

function flushChannels({ layout, changes }: MachineState, writes: Write[]): void {
  for (const channel of changes.channelHeads) {
    writes.push({ kind: 'put', key: layout.key(KIND.channel, channel.number), value: encodeChannelHead(channel) });
  }
  for (const channel of changes.channels) {
    const key = layout.key(KIND.channel, channel.number, COUNTERS);
    writes.push({ kind: 'put', key, value: encodeChannelCounters(channel) });
  }
}

function flushPages(state: MachineState, writes: Write[]): void {
  for (const page of state.changes.pages) {
    const key = state.layout.key(KIND.live, page.channel.number, page.priority, page.number);
    if (page.messages.length === 0) {
      dropPage(page);
      writes.push({ kind: 'delete', key });
    } else {
      writes.push({ kind: 'put', key, value: encodePage(page) });
    }
  }
}

function encodePage(page: Page): Uint8Array {
  const record = scratch;
  record.clear();
  record.u8(MESSAGE_VERSION);
  const base = page.number * PAGE_ORDERS;
  for (const message of page.messages) writeMessage(record, message, base);
  return record.finish();
}

function flushEnds(state: MachineState, writes: Write[], commit: number): void {
  for (const [pack, records] of state.changes.ended) {
    let part = 0;
    const close = (): void => {
      const key = state.layout.key(KIND.ended, pack, commit, part++);
      writes.push({ kind: 'put', key, value: scratch.finish() });
    };
    scratch.clear();
    scratch.u8(ENDED_VERSION);
    for (const end of records) {
      writeEnded(scratch, end);
      if (scratch.length < ENDED_PART_BYTES) continue;
      close();
      scratch.clear();
      scratch.u8(ENDED_VERSION);
    }
    if (scratch.length > 1) close();
  }
}

function flushSlots(state: MachineState, writes: Write[], commit: number): void {
  const { slots, freedSlotRecords } = state.changes;
  for (const freed of freedSlotRecords) writes.push({ kind: 'delete', key: state.layout.key(KIND.dedupe, freed) });
  if (slots.size === 0) return;
  for (const slot of slots) slot.commit = commit;
  state.slotRecords.set(commit, slots.size);
  writes.push({ kind: 'put', key: state.layout.key(KIND.dedupe, commit), value: encodeSlots(slots) });
}

function flushGroups(state: MachineState, writes: Write[]): void {
  for (const group of state.changes.groups) {
    const key = state.layout.bytesKey(KIND.group, groupKeyBytes(group), group.channel.number);
    if (isWorthKeeping(state, group)) writes.push({ kind: 'put', key, value: encodeGroup(group) });
    else if (group.isStored) writes.push({ kind: 'delete', key });
    group.isStored = isWorthKeeping(state, group);
  }
}

function flushKv({ layout, changes }: MachineState, writes: Write[]): void {
  for (const { key: bytes, record } of changes.kv.values()) {
    const key = layout.bytesKey(KIND.kv, bytes);
    writes.push(record === undefined ? { kind: 'delete', key } : { kind: 'put', key, value: encodeEntry(record) });
  }
}
