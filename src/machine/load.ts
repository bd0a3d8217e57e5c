/**
 * Load: rebuilds the machine's memory from its records, in the order in which they stand in the store.
 *
 * It goes in two steps. Behind the head (counters, channels, rules, sessions) the machine takes sessions up and stores new
 * messages, while the body, which grows with the backlog, is still being read; behind the body it does everything. What is
 * stored meanwhile shares no record with the body: its numbers begin behind the last page that was begun.
 */
import { ByteReader } from '../model/bytes.ts';
import { HoldfastError } from '../model/errors.ts';
import type { Entry } from '../model/records.ts';
import { addAccessToken, readAccessToken } from './access-tokens.ts';
import type { Channel, EndedMessage, Lease, Message, Session } from './memory.ts';
import { readChannelCounters, readChannelHead } from './channel-record.ts';
import { addChannel, addPolicy, readPolicyRecord } from './channels.ts';
import { finishBull, loadBull } from './bull/load.ts';
import { addBulk } from './bulks.ts';
import { readEndedRecords } from './cold.ts';
import { UNKNOWN_START } from './counts.ts';
import { dropSlot } from './dedupe.ts';
import { beginAlone } from './dispatch.ts';
import { finishFlows, loadFlow } from './flow-load.ts';
import { addGroup, joinGroup, lookAgainAt } from './groups.ts';
import { readGroup } from './group-record.ts';
import { isReadable, readJournalBounds, readJournalHead } from './journal.ts';
import { Fifo } from './fifo.ts';
import { KIND, type Kind } from './layout.ts';
import { scheduleRemoval } from './lifecycle.ts';
import { readDelayed, readMessage, type StoredMessage } from './message-record.ts';
import { forgetSession } from './consumers.ts';
import { findPage, PAGE_ORDERS, pageFor } from './pages.ts';
import { readMeta, readSession, readSlots } from './records.ts';
import { readSchedule } from './schedule-record.ts';
import { addSchedule } from './schedules.ts';
import type { EndedRecord, JournalRecord, MachineState } from './state.ts';
import { closeSession, detachSession, loseLeases } from './timers.ts';
import { addTopic } from './topics.ts';

/** Takes in the records of the head, then `begin`, then those of the body, then `finish`. */
export class Loader {
  readonly #state: MachineState;
  readonly #sessions = new Map<number, Session>();
  /** The newest end of each message, by sequence number. */
  readonly #ends = new Map<number, EndedRecord>();
  readonly #journal: JournalRecord[] = [];
  /** Sessions that ended with the process of the broker before. */
  readonly #over: Session[] = [];
  #host = '';
  /** The first commit of this machine. */
  #firstCommit = 1;

  constructor(state: MachineState) {
    this.#state = state;
  }

  /** @throws HoldfastError `STORE_CORRUPT` for a record that makes no sense */
  add({ key, value }: Entry): void {
    const kind = this.#state.layout.kindOf(key);
    try {
      this.#add(kind, key, value);
    } catch (cause) {
      throw new HoldfastError('STORE_CORRUPT', `Cannot read a record of kind ${kind}: its bytes make no sense`, {
        cause,
      });
    }
  }

  /**
   * The head has been read: from here on the machine is used. `host` is the process of the broker; without one all sessions
   * end, as none of their clients can come back.
   */
  begin(epochNumber: number, now: number, host: string | undefined): void {
    const state = this.#state;
    this.#host = host ?? '';
    this.#firstCommit = state.nextCommit;
    state.usage.since = state.nextCommit;
    state.isLoading = true;
    state.now = Math.max(state.now, now);
    // On a store that can lose its last commits, tokens of this epoch must still be above those of the one before.
    state.nextToken = Math.max(state.nextToken, epochNumber * TOKENS_PER_EPOCH);
    // One more than a whole number of pages, because orders count downwards too.
    state.nextSeq = Math.ceil(state.nextSeq / PAGE_ORDERS) * PAGE_ORDERS + 1;
    for (const session of this.#sessions.values()) {
      session.restored = true;
      if (host !== undefined && (session.host !== state.brokerHost || session.host === host)) continue;
      // A session that lived in the process of the broker before died with it, unless that process is this one.
      this.#over.push(session);
      state.sessions.delete(session.id);
    }
  }

  /**
   * Completes the machine. Sessions whose client has not come back meanwhile have one session timeout to do so with
   * their leases, from `now` on.
   */
  finish(now: number, sessionTimeoutMs: number): void {
    const state = this.#state;
    state.isLoading = false;
    // The next broker must know whose sessions end with this one, be it that this one has nothing else to write.
    if (state.brokerHost !== this.#host) state.changes.dirty = true;
    state.brokerHost = this.#host;
    state.now = Math.max(state.now, now);
    state.journal = new Fifo([...this.#journal, ...state.journal]);
    this.#keepEnded();
    finishFlows(state);
    finishBull(state);
    for (const [seq, count] of state.packs) if (count === 1) state.packs.delete(seq);
    const over = new Set([...this.#over, ...state.endedWhileLoading.splice(0)]);
    for (const session of over) {
      // One that has come back and was ended then lives, and nothing is wrong with its messages.
      if (!session.restored) {
        closeSession(state, session, 'The access token came to its end');
        continue;
      }
      loseLeases(state, session);
      forgetSession(state, session);
    }
    const expiresAt = state.now + sessionTimeoutMs;
    for (const session of this.#sessions.values()) {
      if (session.restored && !over.has(session)) detachSession(state, session, expiresAt, expiresAt);
    }
    for (const channel of state.channels.values()) {
      if (channel.purgeBelow !== 0 || channel.redriveLeft !== 0) state.busyChannels.add(channel);
      for (const group of channel.groups.values()) lookAgainAt(state, group);
    }
  }

  #add(kind: Kind, key: Uint8Array, value: Uint8Array): void {
    const state = this.#state;
    const { layout } = state;
    switch (kind) {
      case KIND.accessToken:
        return addAccessToken(state, readAccessToken(layout.numberAt(key, 0), value));
      case KIND.meta:
        return readMeta(state, value);
      case KIND.channel:
        return this.#addChannel(layout.numberAt(key, 0), layout.numbersIn(key) === 1, value);
      case KIND.policy: {
        const { policy, content } = readPolicyRecord(value);
        return addPolicy(state, { number: layout.numberAt(key, 0), policy }, content);
      }
      case KIND.session: {
        const session = readSession(layout.numberAt(key, 0), value);
        state.sessions.set(session.id, session);
        this.#sessions.set(session.number, session);
        return;
      }
      case KIND.live:
        return this.#addPage(key, value);
      case KIND.due:
        return this.#addDelayed(key, value);
      case KIND.ended:
        for (const record of readEndedRecords(value, layout.numberAt(key, 0))) this.#ends.set(record.seq, record);
        return;
      case KIND.dedupe:
        return this.#addSlots(layout.numberAt(key, 0), value);
      case KIND.journal: {
        const commit = layout.numberAt(key, 0);
        if (commit >= this.#firstCommit) return;
        const { at, entries } = readJournalHead(value);
        this.#journal.push({ commit, at, entries });
        // Events cannot be told from a record of an earlier version.
        if (!isReadable(value)) state.journalTrimmed = commit;
        state.journalEntries += entries;
        return;
      }
      case KIND.group: {
        const channel = known(state.channelNumbers.get(layout.numberAt(key, 0)), 'channel');
        return addGroup(state, channel, readGroup(layout.bytesBehind(key, 1), value));
      }
      case KIND.schedule:
        return addSchedule(state, readSchedule(layout.numberAt(key, 0), value));
      case KIND.flow:
        return loadFlow(state, key, value);
      case KIND.bull:
        return loadBull(state, this.#sessions, key, value);
      case KIND.topic:
        return addTopic(state, layout.numberAt(key, 0), value);
      case KIND.journalBounds:
        state.journalBounds = readJournalBounds(value);
        return;
      case KIND.bulk:
        return addBulk(state, layout.numberAt(key, 0), value);
      default:
        throw new HoldfastError('STORE_CORRUPT', `Cannot load a record of kind ${kind}`);
    }
  }

  #addPage(key: Uint8Array, value: Uint8Array): void {
    const { layout, channelNumbers } = this.#state;
    const channel = known(channelNumbers.get(layout.numberAt(key, 0)), 'channel');
    const priority = layout.numberAt(key, 1);
    const number = layout.numberAt(key, 2);
    // It was written since the load began, and what it holds is known.
    if (findPage(channel, priority, number) !== undefined) return;
    const page = pageFor(channel, priority, number);
    const reader = new ByteReader(value, 1);
    while (reader.left > 0) {
      const stored = readMessage(reader, number * PAGE_ORDERS, value[0] ?? 0);
      const message = this.#restore(stored, channel, priority, stored.dueAt, stored.dueClock);
      page.messages.push(message);
      if (message.extra?.givenUp !== undefined) this.#state.givenUp.add(message);
      if (stored.state === 'waiting') channel.waiting.add(message);
      else if (stored.state === 'leased') this.#restoreLease(message, stored);
      else if (message.extra?.suspect === true) channel.suspects.add(message);
      else if (message.group === undefined) channel.ready.add(message);
      else {
        message.group.ready.add(message);
        channel.grouped.add(message);
      }
    }
  }

  #addDelayed(key: Uint8Array, value: Uint8Array): void {
    const { layout, channelNumbers, due } = this.#state;
    const stored = readDelayed(value);
    if (this.#state.messages.has(stored.seq)) return;
    const channel = known(channelNumbers.get(stored.channel), 'channel');
    const dueClock = layout.numberAt(key, 0) === 0 ? 0 : 1;
    const message = this.#restore(stored, channel, stored.priority, layout.numberAt(key, 1), dueClock);
    channel.delayed.add(message);
    due[dueClock].add(message);
  }

  #addChannel(number: number, isHead: boolean, value: Uint8Array): void {
    if (isHead) addChannel(this.#state, readChannelHead(number, value));
    else readChannelCounters(this.#state.channelNumbers.get(number) as Channel, value);
  }

  #restore(stored: StoredMessage, channel: Channel, priority: number, dueAt: number, dueClock: 0 | 1): Message {
    const { policyNumbers, messages, packs, expiries, annotatedPacks, payloadPacks } = this.#state;
    const message: Message = {
      seq: stored.seq,
      pack: stored.pack,
      second: stored.second,
      channel,
      policy: known(policyNumbers.get(stored.policy), 'policy'),
      group: stored.group === '' ? undefined : joinGroup(channel, stored.group),
      state: stored.state,
      priority,
      order: stored.order,
      dueAt,
      dueClock,
      attempts: stored.attempts,
      deliveries: stored.deliveries,
      lease: undefined,
      extra: stored.extra,
    };
    this.#state.newestSecond = Math.max(this.#state.newestSecond, message.second);
    messages.set(message.seq, message);
    if (message.group !== undefined && stored.begun) message.group.begun = message;
    packs.set(message.pack, (packs.get(message.pack) ?? 0) + 1);
    if (message.extra !== undefined) {
      if (message.extra.expiresAt !== 0) expiries.add(message);
      if (message.extra.annotated) annotatedPacks.add(message.pack);
      if (message.extra.payloadPack !== 0) payloadPacks.set(message.seq, message.extra.payloadPack);
    }
    return message;
  }

  #restoreLease(message: Message, { lease: stored }: StoredMessage): void {
    if (stored === undefined) throw new HoldfastError('STORE_CORRUPT', 'Cannot read a lease: it is missing');
    const { session: number, ...rest } = stored;
    const session = known(this.#sessions.get(number), 'session');
    const lease: Lease = { ...rest, session, startedAt: UNKNOWN_START, usage: undefined };
    message.lease = lease;
    message.channel.leased.add(message);
    if (message.group !== undefined) message.group.running += 1;
    session.held.set(message.seq, message);
    if (lease.alone) beginAlone(this.#state, lease);
    if (lease.deadlineAt !== 0) this.#state.deadlines.add(message);
  }

  #addSlots(commit: number, value: Uint8Array): void {
    const state = this.#state;
    let count = 0;
    for (const slot of readSlots(state, commit, value)) {
      // A slot that was written again stands in a later record, which replaces it here.
      const older = slot.channel.dedupe.get(slot.hash);
      if (older !== undefined) {
        if (older.until !== 0) state.windows.remove(older);
        this.#countSlot(older.commit, -1);
      }
      slot.channel.dedupe.set(slot.hash, slot);
      if (slot.until !== 0) state.windows.add(slot);
      count += 1;
    }
    this.#countSlot(commit, count);
    if (count === 0) state.changes.freedSlotRecords.push(commit);
  }

  #countSlot(commit: number, by: number): void {
    const { slotRecords, changes } = this.#state;
    const left = (slotRecords.get(commit) ?? 0) + by;
    if (left > 0) slotRecords.set(commit, left);
    else if (slotRecords.delete(commit)) changes.freedSlotRecords.push(commit);
  }

  #keepEnded(): void {
    const state = this.#state;
    for (const record of this.#ends.values()) {
      if (record.state === undefined || state.messages.has(record.seq)) continue;
      const { seq, pack, second, endedAt } = record;
      const ended: EndedMessage = { seq, pack, second, endedAt };
      state.newestSecond = Math.max(state.newestSecond, second);
      known(state.channelNumbers.get(record.channel), 'channel').ended[record.state].messages.add(ended);
      state.packs.set(pack, (state.packs.get(pack) ?? 0) + 1);
      if (record.extra?.annotated === true) state.annotatedPacks.add(pack);
      const payloadPack = record.extra?.payloadPack ?? 0;
      if (payloadPack !== 0) state.payloadPacks.set(seq, payloadPack);
    }
    this.#ends.clear();
    for (const channel of state.channels.values()) {
      for (const list of Object.values(channel.ended)) scheduleRemoval(state, list);
      for (const slot of channel.dedupe.values()) {
        // The record of a key that came free stays until all keys in it are free, and so do the ones before it.
        const isFree = slot.until === 0 && state.messages.get(slot.seq)?.extra?.dedupe !== slot.hash;
        const isOld = slot.nextSeq !== 0 && state.messages.get(slot.nextSeq)?.state !== 'waiting';
        if (isFree || isOld) dropSlot(state, slot);
      }
    }
  }
}

/** More tokens than one epoch can hand out before the numbers of the next begin. */
const TOKENS_PER_EPOCH = 2 ** 32;

function known<T>(found: T | undefined, what: string): T {
  if (found === undefined) throw new HoldfastError('STORE_CORRUPT', `Cannot find the ${what} that a record names`);
  return found;
}
