/**
 * Usage: who has read and written how much, by day. A row belongs to one access token and one channel, or KV. Its record has the
 * broker's first commit in its key, so that nothing needs to be read before the counting goes on: whoever asks adds them up.
 */
import { BlockReader } from '../model/block.ts';
import { ByteWriter } from '../model/bytes.ts';
import type { KvMutation, KvRecord, KvPage } from '../model/kv.ts';
import { NO_USAGE, USAGE, USAGE_DAYS } from '../model/usage.ts';
import { KIND } from './layout.ts';
import type { Channel, Session, Usage } from './memory.ts';
import { type ClaimedMessage, type MachineState, put, writeSoon } from './state.ts';

export const DAY_MS = 86_400_000;

/** How many rows a broker begins in a day; what comes then is counted for its token as the rest. */
export const MAX_USAGE_ROWS = 10_000;

/** In the place of a channel's number. */
export const OF_KV = 0;
export const OF_REST = -1;

/** In the place of a token's number. */
export const NO_TOKEN = -1;

const RECORD_VERSION = 1;

const scratch = new ByteWriter(128);

/** Who keeps the row that it uses at hand. */
export interface Holder {
  usage?: Usage | undefined;
}

/** Where to count what a session does in a channel, or, without one, with KV. Found once a day for each holder. */
export function usageOf(state: MachineState, session: Session, channel: Channel | undefined, holder: Holder): Usage {
  const { usage } = holder;
  if (usage !== undefined && state.now < usage.endsAt) return usage;
  return (holder.usage = findRow(state, session.accessToken, channel?.number ?? OF_KV));
}

/** Has the row written with the next commit. */
function writeUsage(state: MachineState, usage: Usage): void {
  if (usage.isUnwritten) return;
  usage.isUnwritten = true;
  writeSoon(state).usage.push(usage);
}

/** Counts changes that somebody asked for and that were made. */
export function countWrites(state: MachineState, usage: Usage, writes: number, bytes: number): void {
  usage.writes += writes;
  usage.bytesWritten += bytes;
  writeUsage(state, usage);
}

/** Counts what somebody was shown. */
export function countReads(state: MachineState, usage: Usage, reads: number, bytes: number): void {
  usage.reads += reads;
  usage.bytesRead += bytes;
  writeUsage(state, usage);
}

/** A delivery was sent, with this item of a pack. */
export function countDelivery(
  state: MachineState,
  { usage }: ClaimedMessage,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  countReads(state, usage, 1, end - BlockReader.payloadStart(bytes, start));
}

export function countKvWrites(state: MachineState, session: Session, mutations: readonly KvMutation[]): void {
  if (mutations.length === 0) return;
  let bytes = 0;
  for (const mutation of mutations) {
    bytes += mutation.key.length + (mutation.kind === 'delete' ? 0 : mutation.value.bytes.length);
  }
  countWrites(state, usageOf(state, session, undefined, session), mutations.length, bytes);
}

export function countKvReads(
  state: MachineState,
  session: Session,
  entries: readonly (KvRecord | undefined)[],
  pages: readonly KvPage[],
): void {
  let reads = entries.length;
  let bytes = 0;
  for (const entry of entries) bytes += entry?.bytes.length ?? 0;
  for (const page of pages) {
    reads += page.entries.length;
    for (const { key, bytes: value } of page.entries) bytes += key.length + value.length;
  }
  if (reads > 0) countReads(state, usageOf(state, session, undefined, session), reads, bytes);
}

function findRow(state: MachineState, token: string, channel: number): Usage {
  const { usage } = state;
  const day = Math.floor(state.now / DAY_MS);
  if (usage.day !== day) {
    usage.day = day;
    usage.rows.clear();
    const { from } = state.layout.range(KIND.usage);
    state.changes.writes.push({ kind: 'clear', from, to: state.layout.key(KIND.usage, day - USAGE_DAYS) });
  }
  const name = rowName(token, channel);
  const found = usage.rows.get(name);
  if (found !== undefined) return found;
  if (usage.rows.size >= MAX_USAGE_ROWS && channel !== OF_REST) return findRow(state, token, OF_REST);
  const row: Usage = { ...NO_USAGE, day, endsAt: (day + 1) * DAY_MS, token, channel, isUnwritten: false };
  usage.rows.set(name, row);
  // Each row has its record before anybody can ask for it.
  state.changes.dirty = true;
  writeUsage(state, row);
  return row;
}

export function rowName(token: string, channel: number): string {
  return `${token} ${channel}`;
}

/** The write of what a row has counted so far. */
export function putUsage(state: MachineState, usage: Usage): void {
  const { layout } = state;
  const record = scratch;
  record.clear();
  record.u8(RECORD_VERSION);
  for (const count of USAGE) record.varint(usage[count]);
  put(
    state,
    layout.key(KIND.usage, usage.day, tokenNumber(usage.token), usage.channel, state.usage.since),
    record.finish(),
  );
}

function tokenNumber(token: string): number {
  return token === '' ? NO_TOKEN : Number.parseInt(token, 16);
}
