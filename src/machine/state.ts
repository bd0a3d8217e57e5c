/** All that the machine knows, and what has changed since it was last written. Plain data. */
import type { Write } from '../model/records.ts';
import { ByteWriter } from '../model/bytes.ts';
import type { EventFilter, Notice } from '../model/command.ts';
import type { Failure } from '../model/failure.ts';
import type { KvRecord } from '../model/kv.ts';
import { DEFAULT_JOURNAL_BOUNDS, type JournalBounds } from '../model/policy.ts';
import type { ChannelHappening, EndedState, Happening } from '../model/states.ts';
import { CHANNEL_HAPPENINGS, HAPPENINGS } from '../model/states.ts';
import { type Bull, createBull } from './bull/memory.ts';
import { createFlows, type Flows } from './flow-memory.ts';
import { Layout } from './layout.ts';
import type {
  AccessToken,
  BulkRun,
  Channel,
  DedupeSlot,
  EndedList,
  EndedMessage,
  Extra,
  Gate,
  Group,
  KvWatcher,
  Message,
  Page,
  PolicyRef,
  Session,
  Topic,
  Usage,
} from './memory.ts';
import {
  compareDeadlines,
  compareDue,
  compareExpiries,
  compareGates,
  compareOldMinutes,
  compareRemovals,
  compareTokenExpiries,
  compareWindows,
} from './message.ts';
import { Fifo } from './fifo.ts';
import { OrderedIndex } from './ordered-index.ts';
import { createProduceTimes, type ProduceTimes } from './produce-times.ts';
import { createSchedules, type Schedules } from './schedule.ts';
import { SeqTable } from './seq-table.ts';

export interface MachineState {
  readonly layout: Layout;
  /** Only what a load has read first is known so far. */
  isLoading: boolean;
  /** Machine time and wall time of the command that is being applied, in epoch milliseconds. */
  now: number;
  wall: number;

  /** The process of the broker that led last, as the store has it, and then of this one; `undefined` in a new store. */
  brokerHost: string | undefined;
  nextSeq: number;
  /** The newest second of an id: clients' clocks, and times of ticks, may be ahead of machine time. */
  newestSecond: number;
  nextToken: number;
  nextChannel: number;
  nextPolicy: number;
  nextSession: number;
  nextCommit: number;
  /** The version of the next commit to KV. */
  nextVersion: number;
  /** When the next entry of KV may expire, in machine time; 0 while that is not known, `Infinity` for never. */
  kvExpiresAt: number;
  /** Who wants to hear of changes of an entry, by its key, one character a byte. */
  readonly kvWatchers: Map<string, Set<KvWatcher>>;

  readonly channels: Map<string, Channel>;
  readonly channelNumbers: Map<number, Channel>;
  /** Topics that a channel is subscribed to. */
  readonly topics: Map<string, Topic>;
  nextTopic: number;
  readonly policies: Map<string, PolicyRef>;
  readonly policyNumbers: Map<number, PolicyRef>;
  readonly sessions: Map<string, Session>;
  /** By id. */
  readonly accessTokens: Map<string, AccessToken>;
  /** Those that end by time and have not ended, the first to end first. */
  readonly tokenExpiries: OrderedIndex<AccessToken>;
  /** Sessions that have ended although their clients may be there, for the broker to tell them. */
  endedSessions: SessionEnd[];
  /** Those among them of which the body, which is still being loaded, may hold leases. */
  readonly endedWhileLoading: Session[];
  /** Messages that have not ended, by sequence number. */
  readonly messages: SeqTable<Message>;
  /** How many messages of a pack are still there; a pack that is not listed has one. */
  readonly packs: Map<number, number>;
  /** Delayed messages by machine time and by wall time. */
  readonly due: readonly [OrderedIndex<Message>, OrderedIndex<Message>];
  readonly expiries: OrderedIndex<Message>;
  readonly deadlines: OrderedIndex<Message>;
  readonly windows: OrderedIndex<DedupeSlot>;
  readonly retention: OrderedIndex<EndedList>;
  readonly schedules: Schedules;
  /** How many slots each dedupe record still holds, by commit. */
  readonly slotRecords: Map<number, number>;
  /** Who waits for the end of which message, by the id's text. */
  readonly awaited: Map<string, Set<Session>>;
  readonly awaitedSeqs: Map<number, string>;
  /** Lists of which a message was left beyond its time because somebody waits for it. */
  readonly passedOver: Set<EndedList>;
  /** The journal's records, the oldest first. */
  journal: Fifo<JournalRecord>;
  journalEntries: number;
  /** The newest commit whose record of the journal was trimmed; 0 for none. */
  journalTrimmed: number;
  /** How much of the past the journal keeps. */
  journalBounds: JournalBounds;
  /** Sessions that have read the journal to its end and want to hear when it goes on, each with what it looks for. */
  readonly journalReaders: Map<Session, EventFilter[]>;
  /** Packs of which few messages are left, and when to write them smaller; the soonest first. */
  readonly compactions: { readonly pack: number; readonly at: number }[];
  /** Packs with records of progress and log. */
  readonly annotatedPacks: Set<number>;
  /** The packs of their own that messages have since their payloads were replaced, by their sequence numbers. */
  readonly payloadPacks: Map<number, number>;
  /** Sessions whose client is gone, by the time at which something of them ends. */
  readonly expiringSessions: OrderedIndex<Session>;
  /** When messages of late were produced. */
  readonly produceTimes: ProduceTimes;
  /** Channels of which minutes have records, those first whose newest is the oldest. */
  readonly oldMinutes: OrderedIndex<Channel>;
  /** The rows of a day that this broker has begun, by token and channel; it began with the commit `since`. */
  readonly usage: { day: number; since: number; readonly rows: Map<string, Usage> };
  readonly unwritten: Unwritten;

  /** Channels that may have something to hand out. */
  readonly dispatchable: Set<Channel>;
  /** Channels for whose suspects a session is being emptied, or was a short while ago. */
  readonly reservations: Set<Channel>;
  /** Messages that were given up and wait for the commit that writes their keys of KV. */
  readonly givenUp: Set<Message>;
  readonly flows: Flows;
  /** Queues of BullMQ's. */
  readonly bull: Bull;
  /** Sessions that have a suspect alone. */
  readonly lone: Set<Session>;
  /** Gates that open at a time, or that are to be forgotten then. */
  readonly gates: OrderedIndex<Gate>;
  /** How many groups have rules of their own, or are paused. */
  ruledGroups: number;
  /** Channels whose groups are to be looked at again, and from which number of a group on. */
  readonly regrouping: Map<Channel, number>;
  /** Channels of which the last message has left since the last commit. */
  readonly emptied: Set<Channel>;
  /** Bulks by their numbers, the oldest first, and those among them that run, in the order of their turns. */
  readonly bulks: Map<number, BulkRun>;
  readonly runningBulks: Set<BulkRun>;
  /** Channels with a purge or redrive under way. */
  readonly busyChannels: Set<Channel>;
  readonly changes: Changes;
}

/**
 * What was counted without a commit: starts of handlers, and what was read. It is written with the next commit, and where none
 * comes, a minute later; so a crash takes away no more than that.
 */
export interface Unwritten {
  channels: Channel[];
  usage: Usage[];
  /** When it is written, be it alone, in machine time; `Infinity` while there is nothing. */
  writeAt: number;
}

const WRITE_AFTER_MS = 60_000;

export interface JournalRecord {
  readonly commit: number;
  readonly at: number;
  readonly entries: number;
}

/** Changes since the last `takeWrites`. */
export interface Changes {
  /** Whether anything at all is to be written. */
  dirty: boolean;
  /** Writes that are ready as they are, in order. */
  writes: Write[];
  /** The packs among them. */
  packs: { readonly number: number; readonly value: Uint8Array }[];
  /** Their bytes, roughly. */
  bytes: number;
  pages: Set<Page>;
  ended: Map<number, EndedRecord[]>;
  /** What has changed of their counters, and of all else. */
  channels: Set<Channel>;
  channelHeads: Set<Channel>;
  groups: Set<Group>;
  sessions: Set<Session>;
  /** Entries of KV, by key. */
  kv: Map<string, KvChange>;
  slots: Set<DedupeSlot>;
  freedSlotRecords: number[];
  journal: ByteWriter;
  journalEntries: number;
  /** What is to be handed to consumers, and told to sessions, once the commit is durable. */
  deliveries: ClaimedMessage[];
  notices: SessionNotice[];
}

/** An entry of KV that was written or, without a record, deleted. */
export interface KvChange {
  readonly key: Uint8Array;
  readonly record: StoredKv | undefined;
}

export interface StoredKv extends KvRecord {
  /** In machine time; 0 for never. */
  readonly expiresAt: number;
}

/** A delivery without its payload. */
export interface ClaimedMessage {
  readonly session: Session;
  readonly consumer: number;
  readonly seq: number;
  readonly pack: number;
  readonly token: number;
  readonly attempt: number;
  readonly redelivered: boolean;
  readonly timeoutMs: number;
  /** Where it is counted when it is sent. */
  readonly usage: Usage;
}

export interface SessionEnd {
  readonly session: Session;
  /** Why. */
  readonly message: string;
}

export interface SessionNotice {
  readonly session: Session;
  readonly notice: Notice;
}

/** The last word on a message; `state` is `undefined` for one that was deleted. */
export interface EndedRecord extends EndedMessage {
  readonly state: EndedState | undefined;
  readonly channel: number;
  readonly policy: number;
  readonly priority: number;
  readonly claimedAt: number;
  readonly attempts: number;
  readonly result: Uint8Array | undefined;
  readonly failure: Failure | undefined;
  readonly extra: Extra | undefined;
  /** The key of its group; empty for none. */
  readonly group: string;
}

export function createState(space: string): MachineState {
  return {
    layout: new Layout(space),
    isLoading: false,
    now: 0,
    wall: 0,
    brokerHost: undefined,
    nextSeq: 1,
    newestSecond: 0,
    nextToken: 1,
    nextChannel: 1,
    nextPolicy: 1,
    nextSession: 1,
    nextCommit: 1,
    nextVersion: 1,
    kvExpiresAt: 0,
    kvWatchers: new Map(),
    channels: new Map(),
    channelNumbers: new Map(),
    topics: new Map(),
    nextTopic: 1,
    policies: new Map(),
    policyNumbers: new Map(),
    sessions: new Map(),
    accessTokens: new Map(),
    tokenExpiries: new OrderedIndex(compareTokenExpiries),
    endedSessions: [],
    endedWhileLoading: [],
    messages: new SeqTable(),
    packs: new Map(),
    due: [new OrderedIndex(compareDue), new OrderedIndex(compareDue)],
    expiries: new OrderedIndex(compareExpiries),
    deadlines: new OrderedIndex(compareDeadlines),
    windows: new OrderedIndex(compareWindows),
    retention: new OrderedIndex(compareRemovals),
    schedules: createSchedules(),
    slotRecords: new Map(),
    awaited: new Map(),
    awaitedSeqs: new Map(),
    passedOver: new Set(),
    journal: new Fifo(),
    journalEntries: 0,
    journalTrimmed: 0,
    journalBounds: DEFAULT_JOURNAL_BOUNDS,
    journalReaders: new Map(),
    compactions: [],
    annotatedPacks: new Set(),
    payloadPacks: new Map(),
    expiringSessions: new OrderedIndex((a, b) => a.wakesAt - b.wakesAt || a.number - b.number),
    produceTimes: createProduceTimes(),
    oldMinutes: new OrderedIndex(compareOldMinutes),
    usage: { day: 0, since: 0, rows: new Map() },
    unwritten: { channels: [], usage: [], writeAt: Infinity },
    dispatchable: new Set(),
    reservations: new Set(),
    givenUp: new Set(),
    flows: createFlows(),
    bull: createBull(),
    lone: new Set(),
    gates: new OrderedIndex(compareGates),
    ruledGroups: 0,
    regrouping: new Map(),
    emptied: new Set(),
    bulks: new Map(),
    runningBulks: new Set(),
    busyChannels: new Set(),
    changes: createChanges(),
  };
}

function createChanges(): Changes {
  return {
    dirty: false,
    writes: [],
    packs: [],
    bytes: 0,
    pages: new Set(),
    ended: new Map(),
    channels: new Set(),
    channelHeads: new Set(),
    groups: new Set(),
    sessions: new Set(),
    kv: new Map(),
    slots: new Set(),
    freedSlotRecords: [],
    journal: new ByteWriter(512),
    journalEntries: 0,
    deliveries: [],
    notices: [],
  };
}

/**
 * Starts the next batch: what was handed out with the last one is not touched again. Sets and maps are new ones, as a cleared one
 * is linked to those that it was before, and keeps from the garbage collector what was in them.
 */
export function resetChanges(changes: Changes): void {
  changes.dirty = false;
  changes.writes = [];
  changes.packs = [];
  changes.bytes = 0;
  changes.pages = new Set();
  changes.ended = new Map();
  changes.channels = new Set();
  changes.channelHeads = new Set();
  changes.groups = new Set();
  changes.sessions = new Set();
  changes.kv = new Map();
  changes.slots = new Set();
  changes.freedSlotRecords = [];
  changes.journal.clear();
  changes.journalEntries = 0;
  changes.deliveries = [];
  changes.notices = [];
}

export function put(state: MachineState, key: Uint8Array, value: Uint8Array): void {
  state.changes.writes.push({ kind: 'put', key, value });
  state.changes.bytes += key.length + value.length;
  state.changes.dirty = true;
}

/** Where to note what is to be written without haste. */
export function writeSoon({ unwritten, now }: MachineState): Unwritten {
  if (unwritten.writeAt === Infinity) unwritten.writeAt = now + WRITE_AFTER_MS;
  return unwritten;
}

export function erase(state: MachineState, key: Uint8Array): void {
  state.changes.writes.push({ kind: 'delete', key });
  state.changes.dirty = true;
}

const HAPPENING_NUMBERS = Object.fromEntries(HAPPENINGS.map((what, i) => [what, i])) as Record<Happening, number>;

/** What happens to channels has the numbers from here on. */
export const CHANNEL_HAPPENING = 0x80;

/** An entry of the journal with a detail has this flag. */
export const WITH_DETAIL = 0x40;

/** A longer detail is left out: the journal is read as a whole, and kept for long. */
const MAX_DETAIL_BYTES = 1_024;

/**
 * Notes what happened to a message in the journal of the commit; read by `events.ts`.
 *
 * @param detail the progress, the line, or why; left out where it is longer than {@link MAX_DETAIL_BYTES}
 */
export function journal(
  state: MachineState,
  what: Happening,
  { seq, pack, channel }: Pick<Message, 'seq' | 'pack' | 'channel'>,
  attempt: number,
  session: number,
  detail?: Uint8Array,
): void {
  const { changes } = state;
  const isDetailed = detail !== undefined && detail.length <= MAX_DETAIL_BYTES;
  changes.journal.u8(HAPPENING_NUMBERS[what] | (isDetailed ? WITH_DETAIL : 0));
  changes.journal.varint(seq);
  changes.journal.varint(seq - pack);
  changes.journal.varint(channel.number);
  changes.journal.varint(attempt);
  changes.journal.varint(session);
  if (isDetailed) {
    changes.journal.bytes(detail);
    changes.bytes += detail.length;
  }
  changes.journalEntries += 1;
  changes.dirty = true;
}

/** Notes what happened to a channel as a whole. */
export function journalChannel({ changes }: MachineState, what: ChannelHappening, { number }: Channel): void {
  changes.journal.u8(CHANNEL_HAPPENING | CHANNEL_HAPPENINGS.indexOf(what));
  changes.journal.varint(number);
  changes.journalEntries += 1;
  changes.dirty = true;
}
