/**
 * Reading the journal: what happened to messages, in the order of the commits.
 *
 * ```
 * journal = version(u8) at(f64) count(varint) entry*
 * entry   = what(u8) seq(varint) packBack(varint) channel(varint) attempt(varint) session(varint)
 * ```
 *
 * An entry has no message id, which memory does not have either: it is read from the message's pack, as long as that is
 * kept or remembered.
 */
import { ByteReader } from '../model/bytes.ts';
import type { EventPage, EventPosition, EventView, Inspect, Reply } from '../model/command.ts';
import { messageIdText } from '../model/message-id.ts';
import { hasRight, rightsOn } from '../model/scopes.ts';
import { type Happening, HAPPENINGS } from '../model/states.ts';
import type { ColdView, Need } from './cold.ts';
import { KIND } from './layout.ts';
import type { Session } from './memory.ts';
import { itemOf, openPack, type Pack } from './pack.ts';
import type { JournalRecord, MachineState } from './state.ts';

type ReadEvents = Extract<Inspect, { what: 'events' }>;

/** How many events one command may ask for, and how many entries it looks through for those of one channel. */
const MAX_EVENTS = 1_000;
const MAX_SCANNED = 10_000;

interface JournalEntry {
  readonly index: number;
  readonly next: EventPosition;
  readonly at: number;
  readonly what: Happening;
  readonly seq: number;
  readonly pack: number;
  readonly channel: string;
  readonly attempt: number;
  readonly session: number;
}

/** The entries that answer a command, and where the next one goes on. */
interface Part {
  readonly entries: readonly JournalEntry[];
  readonly next: EventPosition;
}

export function planEvents(
  state: MachineState,
  session: Session,
  command: ReadEvents,
  view: ColdView,
): Need | undefined {
  const start = startOf(state, command.after);
  const { entries } = read(state, session, command, start, view);
  const keys = lackingRecords(state, command, start, view, entries.length);
  if (keys.length > 0) return { keys, ranges: [] };
  const packs = new Set(entries.map(({ pack }) => pack).filter((pack) => view.pack(pack) === undefined));
  return packs.size === 0 ? undefined : { keys: [], ranges: [], packs: [...packs] };
}

export function applyEvents(state: MachineState, session: Session, command: ReadEvents, view: ColdView): Reply {
  const { after } = command;
  if (after !== undefined && 'commit' in after && after.commit > state.nextCommit) {
    return { kind: 'refused', code: 'NOT_FOUND', message: 'No event of this store has had this position yet' };
  }
  const start = startOf(state, after);
  const { entries, next } = read(state, session, command, start, view);
  const isEnd = recordsFrom(state, next.commit).length === 0;
  if (isEnd) state.journalReaders.add(session);
  const packs = new Map<number, Pack | undefined>();
  const page: EventPage = {
    events: entries.map((entry) => viewEntry(entry, packs, view)),
    from: start,
    next: isEnd ? { commit: state.nextCommit, index: 0 } : next,
    isTrimmed: after !== undefined && 'commit' in after && after.commit <= state.journalTrimmed,
    isEnd,
  };
  return { kind: 'value', value: page };
}

/**
 * The records to read next, about twice as many each time: most commands are content with the first ones, and one that asks
 * for the few events of a channel among many is not.
 */
function lackingRecords(
  state: MachineState,
  { limit }: ReadEvents,
  start: EventPosition,
  view: ColdView,
  found: number,
): Uint8Array[] {
  const most = Math.min(limit, MAX_EVENTS);
  if (found >= most) return [];
  const records = recordsFrom(state, start.commit);
  const known = records.findIndex((record) => view.get(keyOf(state, record)) === undefined);
  if (known < 0) return [];
  const wanted = Math.max(most + start.index, entriesOf(records.slice(0, known)));
  const keys: Uint8Array[] = [];
  let entries = 0;
  for (const record of records.slice(known)) {
    keys.push(keyOf(state, record));
    entries += record.entries;
    if (entries >= wanted) return keys;
  }
  // There may be more of them each time; those that were asked for first are enough to go on.
  return known === 0 ? keys : [];
}

function entriesOf(records: readonly JournalRecord[]): number {
  return records.reduce((sum, { entries }) => sum + entries, 0);
}

/** Where reading begins: at a position, at a time, or with what happens from now on. */
function startOf(state: MachineState, after: ReadEvents['after']): EventPosition {
  if (after === undefined) return { commit: state.nextCommit, index: 0 };
  if ('commit' in after) {
    return after.commit > state.journalTrimmed ? after : { commit: state.journalTrimmed + 1, index: 0 };
  }
  const since = state.journal[firstWhere(state.journal, ({ at }) => at >= after.at)];
  return { commit: Math.max(since?.commit ?? state.nextCommit, state.journalTrimmed + 1), index: 0 };
}

/** Records from this commit on, as many as one command reads. */
function recordsFrom({ journal }: MachineState, commit: number): JournalRecord[] {
  const records: JournalRecord[] = [];
  let scanned = 0;
  for (let i = firstWhere(journal, (record) => record.commit >= commit); i < journal.length; i++) {
    const record = journal[i] as JournalRecord;
    records.push(record);
    scanned += record.entries;
    if (scanned >= MAX_SCANNED) break;
  }
  return records;
}

function read(
  state: MachineState,
  { grant }: Session,
  { channel, limit }: ReadEvents,
  start: EventPosition,
  view: ColdView,
): Part {
  const entries: JournalEntry[] = [];
  const mayRead = (name: string): boolean => grant.isAdmin || hasRight(rightsOn(grant, name), 'read');
  let next = start;
  for (const record of recordsFrom(state, start.commit)) {
    const value = view.get(keyOf(state, record))?.value;
    if (value === undefined) break;
    for (const entry of readRecord(state, record, value)) {
      if (record.commit === start.commit && entry.index < start.index) continue;
      if (entries.length >= Math.min(limit, MAX_EVENTS)) return { entries, next };
      next = entry.next;
      if (channel === undefined ? mayRead(entry.channel) : entry.channel === channel) entries.push(entry);
    }
    next = { commit: record.commit + 1, index: 0 };
  }
  return { entries, next };
}

function* readRecord(state: MachineState, { commit }: JournalRecord, value: Uint8Array): Generator<JournalEntry> {
  const reader = new ByteReader(value, 1);
  const at = Math.floor(reader.f64());
  const count = reader.varint();
  for (let index = 0; index < count; index++) {
    const what = HAPPENINGS[reader.u8()] as Happening;
    const seq = reader.varint();
    const pack = seq - reader.varint();
    const channel = state.channelNumbers.get(reader.varint())?.name ?? '';
    const next = index + 1 < count ? { commit, index: index + 1 } : { commit: commit + 1, index: 0 };
    yield { index, next, at, what, seq, pack, channel, attempt: reader.varint(), session: reader.varint() };
  }
}

function viewEntry(
  { next, at, what, seq, pack: number, channel, attempt, session }: JournalEntry,
  packs: Map<number, Pack | undefined>,
  view: ColdView,
): EventView {
  let pack = packs.get(number);
  if (pack === undefined && !packs.has(number)) {
    const value = view.pack(number)?.value;
    pack = value === undefined ? undefined : openPack(value);
    packs.set(number, pack);
  }
  const item = pack === undefined ? undefined : itemOf(pack, seq - number);
  const id = item === undefined ? undefined : messageIdText(item, 1);
  return { next, at, what, id, channel, attempt, session: session === 0 ? undefined : session };
}

function keyOf({ layout }: MachineState, { commit }: JournalRecord): Uint8Array {
  return layout.key(KIND.journal, commit);
}

/** The index of the first record for which this holds; it then holds for all behind it. */
function firstWhere(records: readonly JournalRecord[], holds: (record: JournalRecord) => boolean): number {
  let low = 0;
  let high = records.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(records[middle] as JournalRecord)) high = middle;
    else low = middle + 1;
  }
  return low;
}
