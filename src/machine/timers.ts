/** What happens by time alone. The broker asks when to come back, and comes back with a tick. */
import type { Channel, EndedList, EndedMessage, Group, Message, Session } from './memory.ts';
import { forgetBullWaits, holdsLocks, loseLocks } from './bull/locks.ts';
import { closeConsumers, forgetSession } from './consumers.ts';
import { countEnd, minutesEndAt, removeOldMinutes } from './counts.ts';
import { endWindow } from './dedupe.ts';
import { renewReservations } from './dispatch.ts';
import { isFlowWork, retireSome } from './flows.ts';
import { sleepGate } from './gates.ts';
import { keepsPlace, lookAgainAt } from './groups.ts';
import { drop, end, forget, lookAgain, move, oldestUnawaited, retentionOf, scheduleRemoval } from './lifecycle.ts';
import { attemptNumber, remember } from './message.ts';
import { nextTicks } from './schedule-times.ts';
import { countDeath, failAttempt, keepSuspicion, loseLease } from './settle.ts';
import { lastClaimedFirst } from './session.ts';
import { journalChannel, type MachineState } from './state.ts';

/** How many messages one tick may concern, so that a crowd of them never holds up the others for long. */
const TICK_LIMIT = 1_000;

/** When the machine next has something to do, by each clock; `Infinity` for never. */
export interface WakeTimes {
  readonly machine: number;
  readonly wall: number;
}

export function nextWake(state: MachineState): WakeTimes {
  const { busyChannels, givenUp, regrouping, runningBulks } = state;
  if (busyChannels.size + givenUp.size + regrouping.size + runningBulks.size > 0 || isFlowWork(state))
    return { machine: state.now, wall: Infinity };
  const tokenExpiresAt = state.tokenExpiries.first()?.expiresAt ?? Infinity;
  const ticks = nextTicks(state);
  const machine = Math.min(
    state.due[0].first()?.dueAt ?? Infinity,
    state.expiries.first()?.extra?.expiresAt ?? Infinity,
    state.deadlines.first()?.lease?.deadlineAt ?? Infinity,
    state.windows.first()?.until ?? Infinity,
    state.retention.first()?.removeAt ?? Infinity,
    state.expiringSessions.first()?.wakesAt ?? Infinity,
    tokenExpiresAt,
    state.compactions[0]?.at ?? Infinity,
    state.kvExpiresAt,
    state.gates.first()?.wakesAt ?? Infinity,
    ticks.machine,
    state.unwritten.writeAt,
    state.oldMinutes.size === 0 ? Infinity : minutesEndAt(state.oldMinutes.first() as Channel),
    ...[...state.reservations].map(({ reservedUntil }) => reservedUntil),
    ...[...state.lone].map(({ lone }) => lone?.until ?? Infinity),
  );
  return { machine, wall: Math.min(state.due[1].first()?.dueAt ?? Infinity, tokenExpiresAt, ticks.wall) };
}

/** Does what is due, at most {@link TICK_LIMIT} of it; what is left is due at once again. */
export function applyTick(state: MachineState, random: () => number): void {
  const budget = { left: TICK_LIMIT };
  renewReservations(state);
  while (budget.left > 0 && wakeDelayed(state)) budget.left -= 1;
  while (budget.left > 0 && expireMessage(state)) budget.left -= 1;
  while (budget.left > 0 && timeOut(state, random)) budget.left -= 1;
  while (budget.left > 0 && endNextWindow(state)) budget.left -= 1;
  while (budget.left > 0 && openGate(state)) budget.left -= 1;
  for (const [channel, from] of state.regrouping) if (budget.left > 0) placeSomeGroups(state, channel, from, budget);
  while (budget.left > 0 && expireSession(state)) budget.left -= 1;
  while (budget.left > 0 && removeOld(state, budget));
  while (budget.left > 0 && removeOldMinutes(state)) budget.left -= 1;
  if (state.unwritten.writeAt <= state.now) state.changes.dirty = true;
  for (const channel of state.busyChannels) if (budget.left > 0) purgeSome(state, channel, budget);
  retireSome(state);
}

/** Keeps for a client that comes back what its session holds until `leasesUntil`, and its answers until `expiresAt`. */
export function detachSession(state: MachineState, session: Session, leasesUntil: number, expiresAt: number): void {
  closeConsumers(session);
  forgetBullWaits(state, session);
  if (leasesUntil <= state.now) loseLeases(state, session);
  if (session.expiresAt !== 0) state.expiringSessions.remove(session);
  session.expiresAt = expiresAt;
  session.wakesAt = session.held.size > 0 || holdsLocks(state, session) ? Math.min(leasesUntil, expiresAt) : expiresAt;
  state.expiringSessions.add(session);
}

/** Lets every session whose client is gone wait for it until then at least. */
export function awaitSessions(state: MachineState, until: number): void {
  const { expiringSessions } = state;
  for (const session of expiringSessions.slice(0, expiringSessions.size)) {
    expiringSessions.remove(session);
    session.expiresAt = Math.max(session.expiresAt, until);
    session.wakesAt = Math.max(session.wakesAt, until);
    expiringSessions.add(session);
  }
}

/** Ends a session whose client has said goodbye, or may not stay: what it holds goes back uncharged. */
export function closeSession(state: MachineState, session: Session, note: string = 'The client closed'): void {
  for (const message of lastClaimedFirst(session)) {
    remember(message, { at: state.now, what: 'released', attempt: attemptNumber(message), note });
    keepSuspicion(message);
    move(state, message, 'released', {});
  }
  loseLocks(state, session);
  forgetSession(state, session);
  lookAgain(state);
}

/** Ends a session for good. */
export function endSession(state: MachineState, session: Session): void {
  loseLeases(state, session);
  forgetSession(state, session);
  lookAgain(state);
}

/**
 * What a session holds goes to others. A handler that kills its process at once takes along the word that it had started,
 * and where a broker died the marks of all died with it. So without a mark nobody knows whether a message was the cause of
 * a death, and it is a suspect, uncharged; but for one that was alone in its process.
 */
export function loseLeases(state: MachineState, session: Session): void {
  loseLocks(state, session);
  const { lone, restored } = session;
  const isOnly = session.held.size === 1;
  // The last one claimed goes back first, so that each stands before what was claimed after it.
  for (const message of lastClaimedFirst(session)) {
    const { lease } = message;
    const isAlone = lease?.alone === true && (isOnly || lease === lone?.lease);
    const isCause = isAlone || (lease?.started === true && !restored);
    if (isCause) countDeath(state, message);
    else loseLease(state, message, true);
  }
}

function wakeDelayed(state: MachineState): boolean {
  const relative = state.due[0].first();
  const absolute = state.due[1].first();
  let message: Message;
  if (relative !== undefined && relative.dueAt <= state.now) message = relative;
  else if (absolute !== undefined && absolute.dueAt <= state.wall) message = absolute;
  else return false;
  move(state, message, 'due', keepsPlace(message) ? {} : { order: state.nextSeq++ });
  return true;
}

function expireMessage(state: MachineState): boolean {
  const message = state.expiries.first();
  if (message?.extra === undefined || message.extra.expiresAt > state.now) return false;
  const failure = { name: 'Expired', message: 'Nobody claimed it within its time to live', stack: undefined };
  end(state, message, 'expired', { failure });
  return true;
}

function timeOut(state: MachineState, random: () => number): boolean {
  const message = state.deadlines.first();
  const lease = message?.lease;
  if (message === undefined || lease === undefined || lease.deadlineAt > state.now) return false;
  countEnd(state, message);
  const isCancelled = message.extra?.cancelled !== undefined;
  const reason = isCancelled ? ('cancelled' as const) : ('timeout' as const);
  const notice = { kind: 'revoked', seq: message.seq, token: lease.token, reason } as const;
  state.changes.notices.push({ session: lease.session, notice });
  if (isCancelled) {
    end(state, message, 'cancelled', {});
    return true;
  }
  const { timeoutMs } = message.policy.policy;
  const failure = { name: 'TimeoutError', message: `The handler ran longer than ${timeoutMs} ms`, stack: undefined };
  failAttempt(state, message, failure, undefined, random);
  return true;
}

function endNextWindow(state: MachineState): boolean {
  const slot = state.windows.first();
  if (slot === undefined || slot.until > state.now) return false;
  endWindow(state, slot);
  return true;
}

/** Looks at a channel, or at a group, whose time has come. */
function openGate(state: MachineState): boolean {
  const gate = state.gates.first();
  if (gate === undefined || gate.wakesAt > state.now) return false;
  sleepGate(state, gate);
  state.dispatchable.add(gate.channel);
  if (gate.group !== undefined) lookAgainAt(state, gate.group);
  return true;
}

/** Looks again at groups whose rules have changed. */
function placeSomeGroups(state: MachineState, channel: Channel, from: number, budget: { left: number }): void {
  const { groupList } = channel;
  const rank = groupList.rank({ number: from } as Group);
  const groups = groupList.slice(rank, budget.left);
  for (const group of groups) lookAgainAt(state, group);
  budget.left -= groups.length;
  const next = groupList.at(rank + groups.length);
  if (next === undefined) state.regrouping.delete(channel);
  else state.regrouping.set(channel, next.number);
}

function expireSession(state: MachineState): boolean {
  const session = state.expiringSessions.first();
  if (session === undefined || session.wakesAt > state.now) return false;
  if (session.expiresAt <= state.now) {
    endSession(state, session);
    return true;
  }
  loseLeases(state, session);
  state.expiringSessions.remove(session);
  session.wakesAt = session.expiresAt;
  state.expiringSessions.add(session);
  return true;
}

/** Removes what one list keeps too long, or puts the list off until then. */
function removeOld(state: MachineState, budget: { left: number }): boolean {
  const list = state.retention.first();
  if (list === undefined || list.removeAt > state.now) return false;
  for (let oldest = tooOld(state, list); oldest !== undefined && budget.left > 0; oldest = tooOld(state, list)) {
    forget(state, list, oldest);
    budget.left -= 1;
  }
  state.retention.remove(list);
  list.removeAt = 0;
  scheduleRemoval(state, list);
  return true;
}

/** The oldest message of a list, if it is to be removed. */
function tooOld(state: MachineState, list: EndedList): EndedMessage | undefined {
  const oldest = oldestUnawaited(state, list);
  const { count, ageMs } = retentionOf(state, list);
  if (oldest === undefined || (count !== undefined && list.messages.size > count)) return oldest;
  return ageMs !== undefined && oldest.endedAt + ageMs <= state.now ? oldest : undefined;
}

/** Deletes messages that wait and were produced before the purge was asked for. */
function purgeSome(state: MachineState, channel: Channel, budget: { left: number }): void {
  if (channel.purgeBelow === 0) return;
  // Those that wait for another message go first: they would become ready when it goes.
  for (const index of [channel.waiting, channel.suspects, channel.ready, channel.grouped, channel.delayed]) {
    // Younger messages may stand before older ones, by priority or lifo; they are passed over.
    let passed = 0;
    for (let message = index.at(0); message !== undefined; message = index.at(passed)) {
      if (message.seq >= channel.purgeBelow) {
        passed += 1;
        continue;
      }
      if (budget.left === 0) return;
      budget.left -= 1;
      drop(state, message);
    }
  }
  channel.purgeBelow = 0;
  journalChannel(state, 'cleared', channel);
  state.changes.channels.add(channel);
  state.dispatchable.add(channel);
  if (channel.redriveLeft === 0) state.busyChannels.delete(channel);
}
