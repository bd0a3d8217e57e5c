/**
 * The journal: one record a commit, with what happened in it, in order. It is written at the end of a commit, and trimmed
 * when there are too many entries or they are too old.
 *
 * ```
 * journal = version(u8) at(f64) count(varint) entry*
 * entry   = what(u8) seq(varint) packBack(varint) channel(varint) attempt(varint) session(varint) [detail]
 *         | what(u8) channel(varint)                       from 128 on: it happened to the channel as a whole
 * detail  = length(varint) bytes                           with flag 64 of `what`
 * ```
 *
 * An entry has no message id, which memory does not have either: it is read from the message's pack, as long as that is
 * kept or remembered.
 */
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import type { EventFilter, Reply, RetainEvents } from '../model/command.ts';
import type { EventKind } from '../model/views.ts';
import type { JournalBounds } from '../model/policy.ts';
import type { Value, Write } from '../model/records.ts';
import { matchesGlob } from '../model/scopes.ts';
import { CHANNEL_HAPPENINGS, type ChannelHappening, type Happening, HAPPENINGS } from '../model/states.ts';
import { backlogOf } from './channel.ts';
import { KIND } from './layout.ts';
import { CHANNEL_HAPPENING, journalChannel, type MachineState, put, WITH_DETAIL } from './state.ts';

/** Version 2 names the pack and the channel of each message, version 3 has details, and what happens to channels. */
const JOURNAL_VERSION = 3;
const OLDEST_VERSION = 2;

const BOUNDS_VERSION = 1;

const scratch = new ByteWriter(8_192);

/** An entry of the journal as it is stored. */
export interface JournalEntry {
  readonly ofChannel: boolean;
  readonly what: EventKind;
  readonly seq: number;
  readonly pack: number;
  /** The channel's number. */
  readonly channel: number;
  readonly attempt: number;
  readonly session: number;
  readonly detail: Uint8Array | undefined;
}

/** The head of a record: when it was, and how many entries it has. */
export function readJournalHead(value: Value): { readonly at: number; readonly entries: number } {
  const reader = new ByteReader(value, 1);
  return { at: reader.f64(), entries: reader.varint() };
}

/** Whether entries can be told from a record of this version. */
export function isReadable(value: Value): boolean {
  return (value[0] as number) >= OLDEST_VERSION;
}

export function* readJournal(value: Value): Generator<JournalEntry> {
  const reader = new ByteReader(value, 1);
  reader.f64();
  yield* readEntries(reader, reader.varint());
}

/** Writes what happened in the commit, and takes away what is too old or too much. */
export function flushJournal(state: MachineState, writes: Write[], commit: number): void {
  noteDrained(state);
  const { journal, journalEntries } = state.changes;
  if (journalEntries > 0) {
    tellReaders(state);
    scratch.clear();
    scratch.u8(JOURNAL_VERSION);
    scratch.f64(state.now);
    scratch.varint(journalEntries);
    scratch.raw(journal.take());
    writes.push({ kind: 'put', key: state.layout.key(KIND.journal, commit), value: scratch.finish() });
    state.journal.push({ commit, at: state.now, entries: journalEntries });
    state.journalEntries += journalEntries;
  }
  // What is being loaded is older than what is here by now.
  if (!state.isLoading) trim(state, writes);
}

/** Changes how much is kept; what is too much by that goes with the commits that follow. */
export function applyRetainEvents(state: MachineState, { count, ageMs }: RetainEvents): Reply {
  state.journalBounds = { count, ageMs };
  const record = new ByteWriter();
  record.u8(BOUNDS_VERSION);
  record.varint(count);
  record.f64(ageMs);
  put(state, state.layout.key(KIND.journalBounds), record.finish());
  return { kind: 'done' };
}

export function readJournalBounds(value: Value): JournalBounds {
  const reader = new ByteReader(value, 1);
  return { count: reader.varint(), ageMs: reader.f64() };
}

/** Whether what happened is among what somebody looks for. */
export function isWanted({ channel, channels, kinds }: EventFilter, name: string, what: EventKind): boolean {
  if (kinds !== undefined && !kinds.includes(what)) return false;
  if (channel !== undefined && channel !== name) return false;
  return channels === undefined || matchesGlob(channels, name);
}

/** A channel that has been emptied and filled again within one commit has not been empty for anybody. */
function noteDrained(state: MachineState): void {
  for (const channel of state.emptied) if (backlogOf(channel) === 0) journalChannel(state, 'drained', channel);
  state.emptied.clear();
}

/** Says that there are events to those who wait for one of them; the others wait on. */
function tellReaders(state: MachineState): void {
  const { journalReaders, changes, channelNumbers } = state;
  if (journalReaders.size === 0) return;
  const happened = distinct(readEntries(new ByteReader(changes.journal.view()), changes.journalEntries));
  const isAmong = (filter: EventFilter): boolean =>
    happened.some(({ channel, what }) => isWanted(filter, channelNumbers.get(channel)?.name ?? '', what));
  for (const [session, filters] of journalReaders) {
    if (!filters.some(isAmong)) continue;
    changes.notices.push({ session, notice: { kind: 'events' } });
    journalReaders.delete(session);
  }
}

function distinct(entries: Iterable<JournalEntry>): { readonly channel: number; readonly what: EventKind }[] {
  const known = new Map<number, Set<EventKind>>();
  for (const { channel, what } of entries) {
    const kinds = known.get(channel);
    if (kinds === undefined) known.set(channel, new Set([what]));
    else kinds.add(what);
  }
  return [...known].flatMap(([channel, kinds]) => [...kinds].map((what) => ({ channel, what })));
}

function trim(state: MachineState, writes: Write[]): void {
  const { count, ageMs } = state.journalBounds;
  let trimmed = 0;
  for (const oldest of state.journal) {
    if (state.journalEntries <= count && oldest.at + ageMs > state.now) break;
    writes.push({ kind: 'delete', key: state.layout.key(KIND.journal, oldest.commit) });
    state.journalEntries -= oldest.entries;
    state.journalTrimmed = oldest.commit;
    trimmed += 1;
    if (trimmed === MAX_TRIMMED) break;
  }
  state.journal.removeFirst(trimmed);
}

/** How many records one commit takes away: more than it adds, and never so many that it takes long. */
const MAX_TRIMMED = 10_000;

function* readEntries(reader: ByteReader, count: number): Generator<JournalEntry> {
  for (let left = count; left > 0; left--) {
    const what = reader.u8();
    yield what < CHANNEL_HAPPENING ? readMessageEntry(reader, what) : readChannelEntry(reader, what);
  }
}

function readMessageEntry(reader: ByteReader, what: number): JournalEntry {
  const seq = reader.varint();
  return {
    ofChannel: false,
    what: HAPPENINGS[what & ~WITH_DETAIL] as Happening,
    seq,
    pack: seq - reader.varint(),
    channel: reader.varint(),
    attempt: reader.varint(),
    session: reader.varint(),
    detail: (what & WITH_DETAIL) === 0 ? undefined : reader.bytes(),
  };
}

function readChannelEntry(reader: ByteReader, what: number): JournalEntry {
  return {
    ofChannel: true,
    what: CHANNEL_HAPPENINGS[what - CHANNEL_HAPPENING] as ChannelHappening,
    seq: 0,
    pack: 0,
    channel: reader.varint(),
    attempt: 0,
    session: 0,
    detail: undefined,
  };
}
