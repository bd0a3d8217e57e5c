/** Reading the journal: what happened to messages and channels, in the order of the commits. */
import type { EventFilter, Inspect, Reply } from '../model/command.ts';
import type { EventKind, EventPage, EventPosition, EventView } from '../model/views.ts';
import { messageIdText } from '../model/message-id.ts';
import { hasRight, rightsOn } from '../model/scopes.ts';
import type { ColdView, Need } from './cold.ts';
import { isWanted, type JournalEntry, readJournal } from './journal.ts';
import { KIND } from './layout.ts';
import type { Session } from './memory.ts';
import { idOf, openPack, type Pack } from './pack.ts';
import type { JournalRecord, MachineState } from './state.ts';

type ReadEvents = Extract<Inspect, { what: 'events' }>;

/** How many events one command may ask for, and how many entries it looks through for those of one channel. */
const MAX_EVENTS = 1_000;
const MAX_SCANNED = 10_000;

/** An entry at its place. */
interface FoundEntry extends JournalEntry {
  readonly next: EventPosition;
  readonly at: number;
  readonly name: string;
}

/** How many different filters of a session are told apart while it waits; with more it hears of everything. */
const MAX_FILTERS = 32;

const EVERYTHING: EventFilter = { channel: undefined, channels: undefined, kinds: undefined };

const decoder = new TextDecoder();

/** The entries that answer a command, and where the next one goes on. */
interface Part {
  readonly entries: readonly FoundEntry[];
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
  const named = entries.filter(({ ofChannel }) => !ofChannel);
  const packs = new Set(named.map(({ pack }) => pack).filter((pack) => view.pack(pack) === undefined));
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
  if (isEnd) awaitMore(state, session, command.filter);
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
  const since = state.journal.at(state.journal.firstWhere(({ at }) => at >= after.at));
  return { commit: Math.max(since?.commit ?? state.nextCommit, state.journalTrimmed + 1), index: 0 };
}

/** Records from this commit on, as many as one command reads. */
function recordsFrom({ journal }: MachineState, commit: number): JournalRecord[] {
  const records: JournalRecord[] = [];
  let scanned = 0;
  for (let i = journal.firstWhere((record) => record.commit >= commit); i < journal.length; i++) {
    const record = journal.at(i) as JournalRecord;
    records.push(record);
    scanned += record.entries;
    if (scanned >= MAX_SCANNED) break;
  }
  return records;
}

function read(
  state: MachineState,
  { grant }: Session,
  { filter, limit }: ReadEvents,
  start: EventPosition,
  view: ColdView,
): Part {
  const entries: FoundEntry[] = [];
  // Without a name, they are the events of all channels that the session may read; with one its right is known by now.
  const mayRead = (name: string): boolean =>
    grant.isAdmin || filter.channel !== undefined || hasRight(rightsOn(grant, name), 'read');
  const isGiven = memoized((name, what) => mayRead(name) && isWanted(filter, name, what));
  let next = start;
  for (const record of recordsFrom(state, start.commit)) {
    const value = view.get(keyOf(state, record))?.value;
    if (value === undefined) break;
    let index = 0;
    for (const entry of readJournal(value)) {
      index += 1;
      if (record.commit === start.commit && index <= start.index) continue;
      if (entries.length >= Math.min(limit, MAX_EVENTS)) return { entries, next };
      next = index < record.entries ? { commit: record.commit, index } : { commit: record.commit + 1, index: 0 };
      const name = state.channelNumbers.get(entry.channel)?.name ?? '';
      if (isGiven(name, entry.what)) entries.push({ ...entry, next, at: Math.floor(record.at), name });
    }
    next = { commit: record.commit + 1, index: 0 };
  }
  return { entries, next };
}

/** Of ten thousand entries most have the same few channels and kinds. */
function memoized(test: (name: string, what: EventKind) => boolean): (name: string, what: EventKind) => boolean {
  const known = new Map<string, Map<EventKind, boolean>>();
  return (name, what) => {
    let kinds = known.get(name);
    if (kinds === undefined) known.set(name, (kinds = new Map()));
    let answer = kinds.get(what);
    if (answer === undefined) kinds.set(what, (answer = test(name, what)));
    return answer;
  };
}

/** Lets the session hear when one of these events comes. It may read in several ways at a time. */
function awaitMore({ journalReaders }: MachineState, session: Session, filter: EventFilter): void {
  const filters = journalReaders.get(session) ?? [];
  journalReaders.set(session, filters.length < MAX_FILTERS ? [...filters, filter] : [EVERYTHING]);
}

function viewEntry(entry: FoundEntry, packs: Map<number, Pack | undefined>, view: ColdView): EventView {
  const { next, at, what, ofChannel, seq, pack: number, name, attempt, session, detail } = entry;
  const isProgress = what === 'progress';
  const rest = {
    channel: name,
    attempt,
    session: session === 0 ? undefined : session,
    progress: isProgress ? detail : undefined,
    note: isProgress || detail === undefined ? undefined : decoder.decode(detail),
  };
  if (ofChannel) return { next, at, what, ofChannel, id: undefined, ...rest };
  let pack = packs.get(number);
  if (pack === undefined && !packs.has(number)) {
    const value = view.pack(number)?.value;
    pack = value === undefined ? undefined : openPack(value);
    packs.set(number, pack);
  }
  const id = pack === undefined ? undefined : idOf(pack, seq - number);
  return { next, at, what, ofChannel, id: id && messageIdText(id), ...rest };
}

function keyOf({ layout }: MachineState, { commit }: JournalRecord): Uint8Array {
  return layout.key(KIND.journal, commit);
}
