/** What a commit says, read from its writes: the invariants judge by what is durable and by nothing else. */
import { BlockReader, type Tick } from '../../model/block.ts';
import { ByteReader, textOf } from '../../model/bytes.ts';
import type { Reply } from '../../model/command.ts';
import type { ChannelTotals } from '../../model/views.ts';
import { countOf } from '../../model/histogram.ts';
import type { KvValue } from '../../model/kv.ts';
import { messageIdText } from '../../model/message-id.ts';
import type { ChannelSettings, Policy } from '../../model/policy.ts';
import type { Write } from '../../model/records.ts';
import type { Happening } from '../../model/states.ts';
import type { UsageCounts } from '../../model/usage.ts';
import { decode } from '../../codec/bson.ts';
import { readBulk } from '../../machine/bulks.ts';
import { readChannelCounters, readChannelHead } from '../../machine/channel-record.ts';
import { readPolicyRecord } from '../../machine/channels.ts';
import { readEndedRecords } from '../../machine/cold.ts';
import { minuteUnderWay, readMinute, timesEver } from '../../machine/counts.ts';
import { readJournal } from '../../machine/journal.ts';
import { readGroup } from '../../machine/group-record.ts';
import { readEntry } from '../../machine/kv-records.ts';
import { KIND, Layout } from '../../machine/layout.ts';
import { itemOf, openPack } from '../../machine/pack.ts';
import { readDelayed, readMessage, type StoredMessage } from '../../machine/message-record.ts';
import { readSchedule, type StoredSchedule } from '../../machine/schedule-record.ts';
import { PAGE_ORDERS } from '../../machine/pages.ts';
import { type Meta, readMeta, readSession } from '../../machine/records.ts';
import { readUsage } from '../../machine/usage-report.ts';

export interface CommitContent {
  readonly transitions: readonly Transition[];
  readonly packs: readonly PackContent[];
  /** What was published: the channels that have it, and the numbers of the messages there. */
  readonly published: readonly { readonly channels: readonly number[]; readonly seqs: readonly number[] }[];
  /** Who is subscribed to the one topic, by each writing of its record. */
  readonly topicStates: readonly (readonly number[])[];
  readonly erasedPacks: readonly number[];
  /** Packs that were written anew with only these messages. */
  readonly sparsePacks: readonly { readonly pack: number; readonly kept: readonly number[] }[];
  readonly pages: readonly PageContent[];
  readonly delayed: readonly LiveContent[];
  readonly ends: readonly EndContent[];
  /** Payloads that have taken the place of others. */
  readonly payloads: readonly { readonly seq: number; readonly content: string }[];
  readonly bulks: readonly BulkContent[];
  readonly channels: readonly ChannelContent[];
  /** Groups of which something is kept, or is no more, in the order of the writes. */
  readonly groups: readonly GroupContent[];
  readonly policies: readonly { readonly number: number; readonly policy: Policy }[];
  readonly sessions: readonly SessionContent[];
  readonly endedSessions: readonly number[];
  /** Entries of KV, the last writing of each. */
  readonly entries: readonly EntryContent[];
  /** Schedules that were written or, without a record, removed: the last state of each. */
  readonly schedules: readonly { readonly number: number; readonly stored: StoredSchedule | undefined }[];
  /** The messages of schedules, as canonical text. */
  readonly templates: readonly { readonly number: number; readonly content: string }[];
  readonly minutes: readonly MinuteContent[];
  /** Channels of which old minutes were removed. */
  readonly clearedMinutes: readonly number[];
  readonly usage: readonly UsageContent[];
  /** Machine time at the end of the commit. */
  readonly now: number;
  /** The process whose sessions end when another one leads next. */
  readonly brokerHost: string | undefined;
}

export interface EntryContent {
  readonly key: string;
  /** `undefined` when it was deleted. */
  readonly stored: StoredContent | undefined;
}

export interface StoredContent {
  readonly value: string;
  readonly version: number;
  /** 0 for never. */
  readonly expiresAt: number;
}

export interface Transition {
  readonly what: Happening;
  readonly seq: number;
  readonly attempt: number;
  readonly session: number;
}

export interface PackContent {
  readonly pack: number;
  readonly channel: number;
  readonly producedAt: number;
  readonly items: readonly ItemContent[];
}

export interface ItemContent {
  readonly seq: number;
  readonly id: string;
  readonly content: string;
  readonly delayMs: number;
  readonly dueAt: number;
  readonly priority: number;
  readonly lifo: boolean;
  readonly dedupe: string;
  /** Empty for none. */
  readonly group: string;
  readonly cost: number;
  /** Keys of KV that are written when it is given up. */
  readonly undelivered: readonly string[];
  readonly schedule: Tick | undefined;
}

export interface PageContent {
  readonly page: string;
  readonly messages: readonly LiveContent[];
}

/** A live message as it stands in the store. */
export interface LiveContent {
  readonly seq: number;
  readonly channel: number;
  readonly priority: number;
  readonly order: number;
  readonly state: StoredMessage['state'];
  readonly policy: number;
  readonly attempts: number;
  readonly deaths: number;
  readonly suspect: boolean;
  /** Its handler was told to end. */
  readonly isCancelled: boolean;
  /** Only of delayed messages: when it is due, by which clock. */
  readonly dueAt: number;
  readonly dueClock: number;
  readonly token: number;
  readonly session: number;
  readonly claimedAt: number;
  readonly alone: boolean;
  /** Empty for none. */
  readonly group: string;
  /** It keeps the others of its group waiting. */
  readonly begun: boolean;
  readonly failure: string | undefined;
}

/** A bulk as far as it is, or is done. */
export interface BulkContent {
  readonly number: number;
  readonly channel: string;
  readonly action: string;
  readonly states: readonly string[];
  /** It ends before it has been everywhere, or asks for more than states. */
  readonly isLimited: boolean;
  readonly changed: number;
  readonly state: string;
}

export interface EndContent {
  readonly seq: number;
  readonly state: string | undefined;
  readonly failure: string | undefined;
}

export interface ChannelContent {
  readonly number: number;
  readonly name: string;
  readonly paused: boolean;
  readonly totals: ChannelTotals;
  /** How many dead messages it keeps; `undefined` for all of them. */
  readonly keepsDead: number | undefined;
  readonly settings: ChannelSettings;
  /** Machine time before which a handler wants nothing to be handed out. */
  readonly heldUntil: number;
  /** The minute that it is counting, with what it has counted in it; `undefined` before there was anything. */
  readonly underWay: { readonly minute: number; readonly counts: ChannelTotals } | undefined;
  /** How many handlers it has seen begin, and end. */
  readonly begun: number;
  readonly ended: number;
}

export interface GroupContent {
  readonly channel: number;
  readonly key: string;
  readonly paused: boolean;
  readonly heldUntil: number;
}

/** What a channel has counted in a minute that is over. */
export interface MinuteContent {
  readonly channel: number;
  readonly minute: number;
  readonly counts: ChannelTotals;
}

/** What one broker has counted for an access token on one day. */
export interface UsageContent extends UsageCounts {
  readonly row: string;
  /** The number of the channel, or what stands for KV. */
  readonly channel: number;
}

export interface SessionContent {
  readonly number: number;
  /** Its secret name. */
  readonly id: string;
  /** Answers that are kept, by request, as canonical text. */
  readonly answers: readonly (readonly [request: number, reply: string])[];
  /** The incarnation of the process that its client lives in. */
  readonly host: string;
}

type Growing<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer Item)[] ? Item[] : T[K] };

const NO_META: Meta = {
  now: 0,
  brokerHost: undefined,
  journalTrimmed: 0,
  nextSeq: 0,
  nextToken: 0,
  nextChannel: 0,
  nextPolicy: 0,
  nextSession: 0,
  nextCommit: 0,
  nextVersion: 0,
};

export class CommitReader {
  readonly layout: Layout;
  /** By number; what a commit has of a channel are mostly its counters alone. */
  readonly #channelHeads = new Map<number, Uint8Array>();

  constructor(space: string) {
    this.layout = new Layout(space);
  }

  read(writes: readonly Write[]): CommitContent {
    const content: Growing<CommitContent> = {
      transitions: [],
      packs: [],
      published: [],
      topicStates: [],
      erasedPacks: [],
      sparsePacks: [],
      pages: [],
      delayed: [],
      ends: [],
      payloads: [],
      bulks: [],
      channels: [],
      groups: [],
      policies: [],
      sessions: [],
      endedSessions: [],
      entries: [],
      schedules: [],
      templates: [],
      minutes: [],
      clearedMinutes: [],
      usage: [],
      now: 0,
      brokerHost: undefined,
    };
    for (const write of writes) {
      if (write.kind === 'put') this.#put(content, write.key, write.value);
      else if (write.kind === 'delete') this.#delete(content, write.key);
      else if (this.layout.kindOf(write.from) === KIND.minutes) {
        content.clearedMinutes.push(this.layout.numberAt(write.from, 0));
      }
    }
    return content;
  }

  #put(content: Growing<CommitContent>, key: Uint8Array, value: Uint8Array): void {
    const { layout } = this;
    switch (layout.kindOf(key)) {
      case KIND.meta: {
        const meta: Meta = { ...NO_META };
        readMeta(meta, value);
        content.now = meta.now;
        content.brokerHost = meta.brokerHost;
        break;
      }
      case KIND.channel: {
        const at = layout.numberAt(key, 0);
        if (layout.numbersIn(key) === 1) {
          this.#channelHeads.set(at, value);
          break;
        }
        const channel = readChannelHead(at, this.#channelHeads.get(at) as Uint8Array);
        readChannelCounters(channel, value);
        const { number, name, paused, totals, settings } = channel;
        const { latency, handling } = timesEver(channel);
        content.channels.push({
          number,
          name,
          paused,
          totals,
          keepsDead: settings.dead.count,
          settings,
          heldUntil: channel.gate.heldUntil,
          underWay: minuteUnderWay(channel),
          begun: countOf(latency),
          ended: countOf(handling),
        });
        break;
      }
      case KIND.group: {
        const { key: name, paused, heldUntil } = readGroup(layout.bytesBehind(key, 1), value);
        content.groups.push({ channel: layout.numberAt(key, 0), key: name, paused, heldUntil });
        break;
      }
      case KIND.minutes: {
        const { minute, counts } = readMinute(layout.numberAt(key, 1), value);
        content.minutes.push({ channel: layout.numberAt(key, 0), minute, counts });
        break;
      }
      case KIND.usage: {
        const row = [0, 1, 2, 3].map((n) => layout.numberAt(key, n)).join('/');
        content.usage.push({ row, channel: layout.numberAt(key, 2), ...readUsage(value) });
        break;
      }
      case KIND.policy:
        content.policies.push({ number: layout.numberAt(key, 0), policy: readPolicyRecord(value).policy });
        break;
      case KIND.session: {
        const { number, id, host, answers } = readSession(layout.numberAt(key, 0), value);
        const kept = [...answers].map(({ request, reply }) => [request, canonicalReply(reply)] as const);
        content.sessions.push({ number, id, host, answers: kept });
        break;
      }
      case KIND.live:
        replacePage(content, this.#readPage(key, value));
        break;
      case KIND.due: {
        const stored = readDelayed(value);
        const live = liveContent(stored, stored.channel, stored.priority);
        content.delayed.push({ ...live, dueClock: layout.numberAt(key, 0), dueAt: layout.numberAt(key, 1) });
        break;
      }
      case KIND.ended:
        for (const { seq, state, failure } of readEndedRecords(value, layout.numberAt(key, 0))) {
          content.ends.push({ seq, state, failure: failure?.message });
        }
        break;
      case KIND.journal:
        content.transitions.push(...transitionsIn(value));
        break;
      case KIND.kv: {
        const stored = readEntry(value);
        if (stored !== undefined) {
          const { version, expiresAt } = stored;
          this.#entry(content, key, { value: valueText(stored), version, expiresAt });
        }
        break;
      }
      case KIND.schedule: {
        const number = layout.numberAt(key, 0);
        replaceSchedule(content, number, readSchedule(number, value));
        break;
      }
      case KIND.template: {
        const reader = new BlockReader(value);
        reader.next();
        content.templates.push({ number: layout.numberAt(key, 0), content: canonical(decode(reader.payload)) });
        break;
      }
      case KIND.topic:
        content.topicStates.push(subscribedIn(value));
        break;
      case KIND.pack: {
        const number = layout.numberAt(key, 0);
        // Packs of replaced payloads have numbers below zero.
        if (number < 0) readPayloads(content, number, value);
        else readPack(content, number, value);
        break;
      }
      case KIND.bulk: {
        const { number, channel, state, changed, command } = readBulk(layout.numberAt(key, 0), value);
        const { action, filter, limit } = command;
        const isLimited = limit !== undefined || Object.keys(filter).length > 1;
        content.bulks.push({ number, channel, action, states: filter.states, isLimited, changed, state });
        break;
      }
      default:
        break;
    }
  }

  #delete(content: Growing<CommitContent>, key: Uint8Array): void {
    const kind = this.layout.kindOf(key);
    if (kind === KIND.live) replacePage(content, { page: pageName(this.layout, key), messages: [] });
    else if (kind === KIND.due) {
      const gone = content.delayed.findIndex(({ seq }) => seq === this.layout.numberAt(key, 2));
      if (gone >= 0) content.delayed.splice(gone, 1);
    } else if (kind === KIND.pack) content.erasedPacks.push(this.layout.numberAt(key, 0));
    else if (kind === KIND.session) content.endedSessions.push(this.layout.numberAt(key, 0));
    else if (kind === KIND.schedule) replaceSchedule(content, this.layout.numberAt(key, 0), undefined);
    else if (kind === KIND.kv) this.#entry(content, key, undefined);
    else if (kind === KIND.group) {
      const name = new TextDecoder().decode(this.layout.bytesBehind(key, 1));
      content.groups.push({ channel: this.layout.numberAt(key, 0), key: name, paused: false, heldUntil: 0 });
    } else if (kind === KIND.topic) content.topicStates.push([]);
  }

  #entry(content: Growing<CommitContent>, key: Uint8Array, stored: StoredContent | undefined): void {
    const entry = { key: keyText(this.layout.bytesBehind(key, 0)), stored };
    const before = content.entries.findIndex((one) => one.key === entry.key);
    if (before >= 0) content.entries.splice(before, 1);
    content.entries.push(entry);
  }

  #readPage(key: Uint8Array, value: Uint8Array): PageContent {
    const { layout } = this;
    const messages: LiveContent[] = [];
    const reader = new ByteReader(value, 1);
    while (reader.left > 0) {
      const stored = readMessage(reader, layout.numberAt(key, 2) * PAGE_ORDERS, value[0] ?? 0);
      messages.push(liveContent(stored, layout.numberAt(key, 0), layout.numberAt(key, 1)));
    }
    return { page: pageName(layout, key), messages };
  }
}

/** Content as text in which equal content is equal. */
export function canonical(content: unknown): string {
  return JSON.stringify(content);
}

/** A key of KV as text, in which equal keys are equal. */
export function keyText(key: Uint8Array): string {
  return textOf(key).replaceAll('\u0002', '').replaceAll('\0', '/');
}

/** A value of KV as text, likewise. */
export function valueText({ encoding, bytes }: KvValue): string {
  return `${encoding}:${Buffer.from(bytes).toString('hex')}`;
}

/** A reply as text in which equal replies are equal. */
export function canonicalReply(reply: Reply): string {
  return JSON.stringify(reply, (_, value: unknown) => (value instanceof Uint8Array ? [...value] : value));
}

/** A commit may hold several states of a page, the last of which stands. */
function replacePage({ pages }: Growing<CommitContent>, page: PageContent): void {
  const before = pages.findIndex((one) => one.page === page.page);
  if (before >= 0) pages.splice(before, 1);
  pages.push(page);
}

function replaceSchedule(
  { schedules }: Growing<CommitContent>,
  number: number,
  stored: StoredSchedule | undefined,
): void {
  const before = schedules.findIndex((one) => one.number === number);
  if (before >= 0) schedules.splice(before, 1);
  schedules.push({ number, stored });
}

function pageName(layout: Layout, key: Uint8Array): string {
  return [0, 1, 2].map((n) => layout.numberAt(key, n)).join('/');
}

function liveContent(stored: StoredMessage, channel: number, priority: number): LiveContent {
  const { seq, order, state, policy, attempts, extra, lease, group, begun } = stored;
  return {
    seq,
    channel,
    priority,
    order,
    state,
    policy,
    attempts,
    deaths: extra?.deaths ?? 0,
    suspect: extra?.suspect ?? false,
    isCancelled: extra?.cancelled !== undefined,
    dueAt: 0,
    dueClock: 0,
    token: lease?.token ?? 0,
    session: lease?.session ?? 0,
    claimedAt: lease?.claimedAt ?? 0,
    alone: lease?.alone ?? false,
    group,
    begun,
    failure: extra?.failure?.message,
  };
}

/** What has changed the state of a message: notes of a handler do not, and what happens to channels is told elsewhere. */
function transitionsIn(value: Uint8Array): Transition[] {
  const transitions: Transition[] = [];
  for (const { ofChannel, what, seq, attempt, session } of readJournal(value)) {
    if (ofChannel || what === 'progress' || what === 'logged') continue;
    transitions.push({ what: what as Happening, seq, attempt, session });
  }
  return transitions;
}

function readPayloads(content: Growing<CommitContent>, pack: number, value: Uint8Array): void {
  const opened = openPack(value);
  for (const index of opened.indexes) {
    const payload = BlockReader.payloadOf(itemOf(opened, index) as Uint8Array);
    content.payloads.push({ seq: pack + index, content: canonical(decode(payload)) });
  }
}

/** The versions of a pack that holds a whole block, of one channel or of several; see `machine/pack.ts`. */
const WHOLE_PACK = 1;
const FANNED_PACK = 3;

function readPack(content: Growing<CommitContent>, pack: number, value: Uint8Array): void {
  const header = new ByteReader(value);
  const version = header.u8();
  if (version !== WHOLE_PACK && version !== FANNED_PACK) {
    content.sparsePacks.push({ pack, kept: openPack(value).indexes.map((index) => pack + index) });
    return;
  }
  const producedAt = header.f64();
  const channel = header.varint();
  const copies = version === FANNED_PACK ? Array.from({ length: header.varint() }, () => header.varint()) : [channel];
  const { count } = new BlockReader(value, header.at);
  if (version === FANNED_PACK) {
    const seqs = Array.from({ length: count * copies.length }, (_, i) => pack + i);
    content.published.push({ channels: copies, seqs });
  }
  copies.forEach((each, copy) => {
    const reader = new BlockReader(value, header.at);
    const items: ItemContent[] = [];
    for (let i = 0; reader.next(); i++) {
      const { delayMs, dueAt, priority, lifo, dedupe, group, cost, schedule } = reader;
      const text = canonical(decode(reader.payload));
      const id = messageIdText(nthId(reader.id, copy));
      const undelivered = reader.undelivered ? BlockReader.undeliveredOf(reader.item).map(keyText) : [];
      const seq = pack + copy * count + i;
      const options = { delayMs, dueAt, priority, lifo, dedupe, group, cost, undelivered, schedule };
      items.push({ seq, id, content: text, ...options });
    }
    content.packs.push({ pack, channel: each, producedAt, items });
  });
}

/** The id of a copy: its last four bytes count on. */
function nthId(id: Uint8Array, copy: number): Uint8Array {
  const bytes = Buffer.from(id);
  bytes.writeUInt32BE((bytes.readUInt32BE(12) + copy) % 2 ** 32, 12);
  return bytes;
}

/** The channels in the record of a topic. */
function subscribedIn(value: Uint8Array): number[] {
  const reader = new ByteReader(value, 1);
  reader.text();
  return Array.from({ length: reader.varint() }, () => {
    const channel = reader.varint();
    // Its policy, and since when.
    reader.varint();
    reader.f64();
    return channel;
  });
}
