/**
 * How a message moves from state to state: every change goes through here, and through the one table of
 * legal transitions, so that the indexes, the counts, the stored records and the journal always agree.
 */
import type { Failure } from '../model/failure.ts';
import { HoldfastError } from '../model/errors.ts';
import { parseMessageId } from '../model/message-id.ts';
import { type EndedState, type Happening, type LiveState, nextState, type State } from '../model/states.ts';
import type { Channel, DueClock, EndedList, EndedMessage, Extra, Lease, Message, PolicyRef } from './memory.ts';
import { backlogOf } from './channel.ts';
import { findOrCreateChannel, internPolicy } from './channels.ts';
import { totalsOf } from './counts.ts';
import { queueConsumer, releaseFrom } from './consumers.ts';
import { dropSlot, rewriteSlot } from './dedupe.ts';
import {
  addReady,
  beginInGroup,
  beginWithoutGroup,
  endInGroup,
  joinGroup,
  placeGroup,
  quitGroup,
  removeReady,
} from './groups.ts';
import { KIND } from './layout.ts';
import { attemptNumber, extraOf, remember } from './message.ts';
import { endNode, forgetNode, hasFlows, returnNode } from './flow-graph.ts';
import { encodeDelayed } from './message-record.ts';
import { notesKey } from './notes.ts';
import { releasePack } from './packs.ts';
import { addToPage, removeFromPage, touchPage } from './pages.ts';
import { noteProduced } from './produce-times.ts';
import { tickEnded } from './schedule-times.ts';
import { releasePayload } from './payloads.ts';
import { isClear } from './session.ts';
import { type EndedRecord, erase, journal, type MachineState, put } from './state.ts';

/** Puts a message that was just made into its place. */
export function admit(state: MachineState, message: Message): void {
  state.messages.set(message.seq, message);
  noteProduced(state.produceTimes, message.seq, state.now);
  enter(state, message);
  journal(state, 'produced', message, 0, 0);
}

/** Hands a ready message to a consumer's session. */
export function lend(state: MachineState, message: Message, lease: Lease): void {
  const next = step(message, 'claimed');
  leaveIndex(message);
  if (message.extra !== undefined && message.extra.expiresAt !== 0) {
    state.expiries.remove(message);
    message.extra.expiresAt = 0;
  }
  message.state = next;
  message.lease = lease;
  message.deliveries += 1;
  message.channel.leased.add(message);
  if (message.group === undefined) beginWithoutGroup(message.channel, message);
  else beginInGroup(state, message.group, message);
  lease.session.held.set(message.seq, message);
  touchPage(state, message);
  journal(state, 'claimed', message, attemptNumber(message), lease.session.number);
}

/** Moves a live message to another live state; `change` sets what the new state needs. */
export function move(state: MachineState, message: Message, happening: Happening, change: MoveTo): void {
  // Its handler was to end, and has; for a cancelled message nothing follows.
  if (message.extra?.cancelled !== undefined) return end(state, message, 'cancelled', {});
  const next = step(message, happening);
  const session = message.lease?.session.number ?? 0;
  leave(state, message);
  message.state = next;
  message.order = change.order ?? message.order;
  message.priority = change.priority ?? message.priority;
  // Without a new place it goes back to where it stood, as if it had never been away.
  if (change.dueAt !== undefined || change.order !== undefined) message.dueAt = change.dueAt ?? state.now;
  message.dueClock = change.dueClock ?? 0;
  enter(state, message);
  journal(state, happening, message, attemptNumber(message), session, whyOf(happening, message.extra?.failure));
}

const encoder = new TextEncoder();

/** What the journal says of a failure, in UTF-16 units. */
const MAX_WHY_CHARACTERS = 200;

/** Why a message has failed, for those who hear of it: it may be gone when they look. */
function whyOf(happening: Happening, failure: Failure | undefined): Uint8Array | undefined {
  if (failure === undefined || (happening !== 'nacked' && happening !== 'failed')) return undefined;
  return encoder.encode(failure.message.slice(0, MAX_WHY_CHARACTERS));
}

export interface MoveTo {
  readonly priority?: number;
  readonly order?: number;
  readonly dueAt?: number;
  /** @default machine time */
  readonly dueClock?: DueClock;
}

/** Changes what is known of a live message that stays in its state and in its place in the order. */
export function amend(state: MachineState, message: Message, change: (extra: Extra) => void): void {
  // Suspects stand in an index of their own.
  if (message.state === 'ready') leaveIndex(message);
  change(extraOf(message));
  if (message.state === 'ready') enterReady(state, message);
  if (message.group !== undefined) placeGroup(state, message.group);
  if (message.state === 'delayed') put(state, dueKey(state, message), encodeDelayed(message));
  else touchPage(state, message);
}

/** What is known of a message's end. */
export interface EndOutcome {
  readonly result?: Uint8Array | undefined;
  readonly failure?: Failure | undefined;
  /** The attempt that ended it, when it has been counted already. */
  readonly attempt?: number;
}

/** Ends a message for good. */
export function end(state: MachineState, message: Message, what: Happening, outcome: EndOutcome): void {
  const happening = message.extra?.cancelled === undefined || what === 'acked' ? what : 'cancelled';
  const next = nextState(message.state, happening);
  if (next !== 'completed' && next !== 'dead' && next !== 'cancelled') throw illegal(message.state, happening);
  if (next === 'dead' && message.extra?.undelivered === true && message.extra.givenUp === undefined) {
    return giveUp(state, message, happening === 'expired' ? 'expired' : 'failed', outcome.failure);
  }
  const { channel, lease } = message;
  const claimedAt = lease?.claimedAt ?? 0;
  const totals = totalsOf(state, channel);
  totals[next] += 1;
  if (happening === 'expired') totals.expired += 1;
  const attempt = outcome.attempt ?? attemptNumber(message);
  const why = whyOf(happening, outcome.failure ?? message.extra?.failure);
  journal(state, happening, message, attempt, lease?.session.number ?? 0, why);
  leave(state, message);
  quitGroup(state, message);
  if (outcome.failure !== undefined) extraOf(message).failure = outcome.failure;
  if (message.extra?.cancelled !== undefined) {
    if (next === 'cancelled') message.extra.failure = cancellation(message.extra.cancelled);
    message.extra.cancelled = undefined;
  }
  if (next === 'dead' && message.policy.policy.deadLetter !== undefined) {
    remember(message, { at: state.now, what: happening, attempt, note: message.extra?.failure?.message });
    return moveToDeadLetters(state, message, message.policy.policy.deadLetter);
  }
  state.messages.delete(message.seq);
  const record: EndedRecord = {
    seq: message.seq,
    pack: message.pack,
    second: message.second,
    endedAt: Math.floor(state.now),
    state: next,
    channel: channel.number,
    policy: message.policy.number,
    priority: message.priority,
    claimedAt,
    attempts: message.attempts,
    result: outcome.result,
    failure: message.extra?.failure,
    extra: message.extra,
    group: message.group?.key ?? '',
  };
  recordEnd(state, record);
  if (hasFlows(state))
    endNode(state, message, { state: next, commit: state.nextCommit, isMoved: false, why: record.failure?.message });
  const { seq, pack, second, endedAt } = record;
  keep(state, channel.ended[next], { seq, pack, second, endedAt });
  tellWaiters(state, message.seq, next, outcome.result, record.failure);
  afterLeavingBacklog(state, message);
}

/** Ends a message later, in the commit that writes its keys of KV: for those its payload must be read first. */
function giveUp(state: MachineState, message: Message, why: 'failed' | 'expired', failure: Failure | undefined): void {
  const extra = extraOf(message);
  if (extra.expiresAt !== 0) {
    state.expiries.remove(message);
    extra.expiresAt = 0;
  }
  extra.failure = failure ?? extra.failure;
  extra.givenUp = why;
  state.givenUp.add(message);
  move(state, message, 'givenUp', {});
}

/** Why a message was cancelled, where somebody has said so, as what became of its last attempt. */
export function cancellation(reason: string): Failure {
  return { name: 'Cancelled', message: reason, stack: undefined };
}

/**
 * Brings an ended message back; its history goes on, and its result is gone.
 *
 * @param keepsAttempts what has failed counts on, and is not counted anew
 */
export function admitAgain(
  state: MachineState,
  channel: Channel,
  policy: PolicyRef,
  record: EndedRecord,
  happening: 'redriven' | 'retried',
  keepsAttempts: boolean,
): void {
  const { seq, pack, second, priority } = record;
  const message: Message = {
    seq,
    pack,
    second,
    channel,
    policy,
    group: record.group === '' ? undefined : joinGroup(channel, record.group),
    state: 'ready',
    priority,
    order: state.nextSeq++,
    dueAt: state.now,
    dueClock: 0,
    attempts: keepsAttempts ? record.attempts : 0,
    deliveries: 1,
    lease: undefined,
    extra: record.extra,
  };
  const extra = extraOf(message);
  const attempt = attemptOfEnd(record);
  if (record.state === 'completed' && record.claimedAt !== 0) {
    remember(message, { at: record.claimedAt, what: 'claimed', attempt, note: undefined });
  }
  if (record.state !== undefined) {
    remember(message, {
      at: record.endedAt,
      what: LAST_HAPPENING[record.state],
      attempt,
      note: record.failure?.message,
    });
  }
  Object.assign(extra, {
    ...(!keepsAttempts && { deaths: 0, undecodable: 0 }),
    givenUp: undefined,
    dedupe: '',
    suspect: false,
    returned: true,
    expiresAt: 0,
    charges: [],
  });
  remember(message, { at: state.now, what: happening, attempt: 0, note: undefined });
  state.messages.set(seq, message);
  state.changes.channels.add(channel);
  enter(state, message);
  journal(state, happening, message, 0, 0);
  returnNode(state, message);
}

/** What stands last in the history of a message that has ended so. */
export const LAST_HAPPENING: Readonly<Record<EndedState, Happening>> = {
  completed: 'acked',
  dead: 'failed',
  cancelled: 'cancelled',
};

/** The 1-based number of the attempt that ended a message. */
export function attemptOfEnd({ attempts, extra, state }: EndedRecord): number {
  return attempts + (extra?.deaths ?? 0) + (state === 'completed' ? 1 : 0);
}

/** Deletes a message that waits, without a trace but for the counters. */
export function drop(state: MachineState, message: Message, happening: 'purged' | 'removed' = 'purged'): void {
  if (message.state === 'leased') throw illegal(message.state, happening);
  journal(state, happening, message, 0, 0);
  leave(state, message);
  quitGroup(state, message);
  state.messages.delete(message.seq);
  totalsOf(state, message.channel).purged += 1;
  // Its pack may outlive it, and nothing would tell a later broker of the notes.
  if (message.extra?.annotated === true) erase(state, notesKey(state.layout, message));
  if (message.extra?.returned === true) recordRemoval(state, message, message.channel);
  tellWaiters(state, message.seq, undefined, undefined, undefined);
  endNode(state, message, { state: 'cancelled', commit: 0, isMoved: false, why: 'It was purged' });
  afterLeavingBacklog(state, message);
  releasePayload(state, message.seq);
  releasePack(state, message.pack, message.second);
}

/** Deletes a message that has ended, though its time has not come. */
export function remove(state: MachineState, list: EndedList, message: EndedMessage): void {
  const channel = state.channelNumbers.get(list.channel) as Channel;
  journal(state, 'removed', { ...message, channel }, 0, 0);
  // Its pack may outlive it, and so would the records of its end and of its notes.
  recordRemoval(state, message, channel);
  if (state.annotatedPacks.has(message.pack)) erase(state, notesKey(state.layout, message));
  forget(state, list, message);
}

/** Takes a message out of what is kept of the past. */
export function forget(state: MachineState, list: EndedList, message: EndedMessage): void {
  list.messages.remove(message);
  forgetNode(state, message.seq);
  releasePayload(state, message.seq);
  releasePack(state, message.pack, message.second);
}

/** Adds an ended message to what is kept, and removes the oldest one when that is one too many. */
function keep(state: MachineState, list: EndedList, message: EndedMessage): void {
  list.messages.add(message);
  const bounds = retentionOf(state, list);
  if (bounds.count !== undefined && list.messages.size > bounds.count) {
    const oldest = oldestUnawaited(state, list);
    if (oldest !== undefined) forget(state, list, oldest);
  }
  scheduleRemoval(state, list);
}

/** The oldest message of a list that nobody waits for; few are waited for at a time. */
export function oldestUnawaited(state: MachineState, list: EndedList): EndedMessage | undefined {
  for (let rank = 0; ; rank++) {
    const message = list.messages.at(rank);
    if (message === undefined || !state.awaitedSeqs.has(message.seq)) return message;
    state.passedOver.add(list);
  }
}

/** Looks again at what was left for those who waited, after one of them has stopped. */
export function lookAgain(state: MachineState): void {
  const lists = [...state.passedOver];
  state.passedOver.clear();
  for (const list of lists) scheduleRemoval(state, list);
}

/** Sees to it that the timer looks at a list no later than it has something to remove. */
export function scheduleRemoval(state: MachineState, list: EndedList): void {
  const bounds = retentionOf(state, list);
  const oldest = oldestUnawaited(state, list);
  let removeAt = 0;
  if (oldest !== undefined) {
    if (bounds.count !== undefined && list.messages.size > bounds.count) removeAt = state.now;
    else if (bounds.ageMs !== undefined) removeAt = oldest.endedAt + bounds.ageMs;
  }
  // A time that is too early costs one look; moving the list at each removal would cost one at each message.
  if (list.removeAt !== 0 && removeAt !== 0 && list.removeAt <= removeAt) return;
  if (list.removeAt !== 0) state.retention.remove(list);
  list.removeAt = removeAt;
  if (removeAt !== 0) state.retention.add(list);
}

export function retentionOf(
  state: MachineState,
  list: EndedList,
): { count: number | undefined; ageMs: number | undefined } {
  const { settings } = state.channelNumbers.get(list.channel) as Channel;
  return list.state === 'dead' ? settings.dead : settings.completed;
}

/** Tells whoever waits for a message how it ended. */
function tellWaiters(
  state: MachineState,
  seq: number,
  ended: EndedState | undefined,
  result: Uint8Array | undefined,
  failure: Failure | undefined,
): void {
  const id = state.awaitedSeqs.get(seq);
  if (id === undefined) return;
  // A client that gives one id to several messages has heard of the first, and waits no more for the others.
  for (const session of state.awaited.get(id) ?? []) {
    const notice = { kind: 'ended', id: parseMessageId(id), state: ended, result, failure } as const;
    state.changes.notices.push({ session, notice });
  }
  if (ended === undefined) stopWaiters(state, seq);
}

function stopWaiters(state: MachineState, seq: number): void {
  state.awaited.delete(state.awaitedSeqs.get(seq) ?? '');
  state.awaitedSeqs.delete(seq);
}

function recordEnd(state: MachineState, record: EndedRecord): void {
  const records = state.changes.ended.get(record.pack);
  if (records === undefined) state.changes.ended.set(record.pack, [record]);
  else records.push(record);
  state.changes.bytes += 32 + (record.result?.length ?? 0);
}

/** Says that what older records tell of a message does not hold any more. */
function recordRemoval(
  state: MachineState,
  { seq, pack, second }: Omit<EndedMessage, 'endedAt'>,
  channel: Channel,
): void {
  recordEnd(state, {
    seq,
    pack,
    second,
    endedAt: state.now,
    state: undefined,
    channel: channel.number,
    policy: 0,
    priority: 0,
    claimedAt: 0,
    attempts: 0,
    result: undefined,
    failure: undefined,
    extra: undefined,
    group: '',
  });
}

/** The message goes on in another channel, under the same id, with its attempts counted anew. */
function moveToDeadLetters(state: MachineState, message: Message, name: string): void {
  const extra = extraOf(message);
  // Whoever waits for a result waits in vain: what the dead-letter channel makes of the message is another matter.
  tellWaiters(state, message.seq, 'dead', undefined, extra.failure);
  stopWaiters(state, message.seq);
  endNode(state, message, { state: 'dead', commit: 0, isMoved: true, why: extra.failure?.message });
  remember(message, { at: state.now, what: 'moved', attempt: 0, note: `from ${message.channel.name}` });
  afterLeavingBacklog(state, message);
  const origin = message.channel;
  message.channel = findOrCreateChannel(state, name);
  if (message.group !== undefined) message.group = joinGroup(message.channel, message.group.key);
  message.policy = internPolicy(state, { ...message.policy.policy, deadLetter: undefined, dedupe: undefined });
  message.state = 'ready';
  message.attempts = 0;
  message.dueAt = state.now;
  message.order = state.nextSeq++;
  extra.deaths = 0;
  extra.undecodable = 0;
  extra.dedupe = '';
  extra.suspect = false;
  extra.expiresAt = 0;
  extra.givenUp = undefined;
  extra.charges = [];
  totalsOf(state, message.channel).produced += 1;
  state.changes.channels.add(origin);
  enter(state, message);
  journal(state, 'moved', message, 0, 0);
}

/** What follows when a message no longer counts as backlog: its key comes free, its schedule goes on, and there is room. */
function afterLeavingBacklog(state: MachineState, message: Message): void {
  if (state.schedules.running.size > 0) tickEnded(state, message.seq);
  const { channel } = message;
  const hash = message.extra?.dedupe ?? '';
  if (hash !== '') handOverKey(state, message, hash);
  if (backlogOf(channel) === 0) state.emptied.add(channel);
  for (const [session, limit] of channel.roomWanted) {
    if (backlogOf(channel) >= limit) continue;
    channel.roomWanted.delete(session);
    state.changes.notices.push({ session, notice: { kind: 'room', channel: channel.name } });
  }
}

function handOverKey(state: MachineState, message: Message, hash: string): void {
  const slot = message.channel.dedupe.get(hash);
  if (slot === undefined) return;
  if (slot.nextSeq === message.seq) {
    slot.nextSeq = 0;
    rewriteSlot(state, slot);
    return;
  }
  if (slot.seq !== message.seq) return;
  const follower = state.messages.get(slot.nextSeq);
  if (follower !== undefined) {
    slot.seq = follower.seq;
    slot.id = slot.nextId;
    slot.nextSeq = 0;
    followOn(state, follower);
    rewriteSlot(state, slot);
  } else if (slot.until === 0) {
    dropSlot(state, slot);
  }
}

/** The message that waited behind another one goes on, but not before its own time. */
function followOn(state: MachineState, message: Message): void {
  const { dueAt, dueClock } = message;
  if (dueAt > (dueClock === 0 ? state.now : state.wall)) move(state, message, 'postponed', { dueAt, dueClock });
  else move(state, message, 'unblocked', { order: state.nextSeq++ });
}

function step(message: Message, happening: Happening): LiveState {
  const next = nextState(message.state, happening);
  if (next === 'ready' || next === 'delayed' || next === 'leased' || next === 'waiting') return next;
  throw illegal(message.state, happening);
}

function illegal(state: State, happening: Happening): HoldfastError {
  return new HoldfastError('BROKER_FAILED', `Cannot apply "${happening}" to a message that is ${state}`);
}

/** Puts a message into the index and the record of its state. */
function enter(state: MachineState, message: Message): void {
  const { channel } = message;
  switch (message.state) {
    case 'ready':
      enterReady(state, message);
      addToPage(state, message);
      break;
    case 'waiting':
      channel.waiting.add(message);
      addToPage(state, message);
      break;
    case 'leased':
      channel.leased.add(message);
      addToPage(state, message);
      break;
    case 'delayed':
      channel.delayed.add(message);
      state.due[message.dueClock].add(message);
      put(state, dueKey(state, message), encodeDelayed(message));
      break;
  }
  if (message.extra !== undefined && message.extra.expiresAt !== 0) state.expiries.add(message);
}

function enterReady(state: MachineState, message: Message): void {
  const { channel, group } = message;
  if (message.extra?.suspect === true) channel.suspects.add(message);
  else if (group === undefined) channel.ready.add(message);
  else addReady(state, group, message);
  state.dispatchable.add(channel);
}

/** Takes a message out of the index and the record of its state. */
function leave(state: MachineState, message: Message): void {
  leaveIndex(message);
  if (message.extra !== undefined && message.extra.expiresAt !== 0) state.expiries.remove(message);
  if (message.state === 'delayed') {
    state.due[message.dueClock].remove(message);
    erase(state, dueKey(state, message));
    return;
  }
  removeFromPage(state, message);
  const { lease, group } = message;
  if (lease === undefined) {
    if (group !== undefined) placeGroup(state, group);
    return;
  }
  if (group !== undefined) endInGroup(state, group);
  if (message.channel.settings.concurrency !== 0) state.dispatchable.add(message.channel);
  if (lease.deadlineAt !== 0) state.deadlines.remove(message);
  message.lease = undefined;
  const { session } = lease;
  session.held.delete(message.seq);
  const consumer = session.consumers.get(lease.consumer);
  if (consumer !== undefined) releaseFrom(state, consumer);
  if (session.lone?.lease === lease) {
    session.lone = undefined;
    state.lone.delete(session);
  } else if (session.reserved !== undefined && isClear(session)) session.reserved = undefined;
  else return;
  for (const other of session.consumers.values()) queueConsumer(state, other);
}

function leaveIndex(message: Message): void {
  const { channel, group } = message;
  switch (message.state) {
    case 'ready':
      if (message.extra?.suspect === true) channel.suspects.remove(message);
      else if (group === undefined) channel.ready.remove(message);
      else removeReady(group, message);
      break;
    case 'delayed':
      channel.delayed.remove(message);
      break;
    case 'waiting':
      channel.waiting.remove(message);
      break;
    case 'leased':
      channel.leased.remove(message);
      break;
  }
}

function dueKey(state: MachineState, message: Message): Uint8Array {
  return state.layout.key(KIND.due, message.dueClock, message.dueAt, message.seq);
}
