/** Dispatch: hands ready messages to consumers that have room, in claim order, consumers taking turns. */
import type { Channel, Consumer, Lease, Message, Session } from './memory.ts';
import { totalsOf } from './counts.ts';
import { queueConsumer } from './consumers.ts';
import { opensAt, pass, wakeGate } from './gates.ts';
import { isGroupOpen, nextInTurn } from './groups.ts';
import { lend } from './lifecycle.ts';
import { attemptNumber, costOf } from './message.ts';
import { payloadPackOf } from './payloads.ts';
import { hasRoom, isClear, isKeptFree } from './session.ts';
import type { MachineState } from './state.ts';
import { usageOf } from './usage.ts';

/** Serves every channel that may have something to hand out. */
export function dispatch(state: MachineState): void {
  for (const channel of state.dispatchable) {
    state.dispatchable.delete(channel);
    if (channel.paused || channel.purgeBelow !== 0) continue;
    serveSuspects(state, channel);
    serveReady(state, channel);
    if (channel.watchers.size > 0) tellWatchers(state, channel);
  }
}

/** What is left now, nobody has room for. */
function tellWatchers(state: MachineState, channel: Channel): void {
  if (nextSuspect(state, channel) === undefined && nextMessage(state, channel) === undefined) return;
  for (const session of channel.watchers) {
    state.changes.notices.push({ session, notice: { kind: 'wanted', channel: channel.name } });
  }
  channel.watchers.clear();
}

function serveReady(state: MachineState, channel: Channel): void {
  for (;;) {
    const message = nextMessage(state, channel);
    const consumer = message === undefined ? undefined : nextInLine(channel);
    if (message === undefined || consumer === undefined) return;
    claim(state, message, consumer, false);
    // Back to the end of the line, so that the next message goes to the next consumer.
    if (hasRoom(consumer)) queueConsumer(state, consumer);
  }
}

/** The message that comes next, if it may go now. */
function nextMessage(state: MachineState, channel: Channel): Message | undefined {
  const message = channel.turns.size === 0 ? channel.ready.first() : nextInTurn(state, channel);
  return message !== undefined && isOpen(state, channel, message) ? message : undefined;
}

/** Whether the channel lets the message through; if only time is in the way, the channel is looked at again then. */
function isOpen(state: MachineState, channel: Channel, message: Message): boolean {
  const { concurrency, rate } = channel.settings;
  if (concurrency !== 0 && channel.leased.size >= concurrency) return false;
  if (rate === null && channel.gate.heldUntil === 0) return true;
  const opens = opensAt(channel.gate, rate, costOf(message), state.now);
  if (opens <= state.now) return true;
  wakeGate(state, channel.gate, opens);
  return false;
}

function nextInLine(channel: Channel): Consumer | undefined {
  for (;;) {
    const consumer = channel.line.shift();
    if (consumer === undefined) return undefined;
    consumer.queued = false;
    if (hasRoom(consumer)) return consumer;
  }
}

/**
 * A suspect may have killed its process, so it goes to a process that holds nothing else: if that dies, the
 * cause is certain, and if not, the suspicion is gone. The session that holds least is emptied for it, but not for
 * long at a time: one of its handlers may run for hours, and the suspect must not keep all others waiting. Nor is it alone
 * for longer than that, for its own handler may run for hours too.
 */
function serveSuspects(state: MachineState, channel: Channel): void {
  for (let served = 0; ; served++) {
    const suspect = nextSuspect(state, channel);
    if (suspect === undefined) return served === 0 ? endReservation(state, channel) : undefined;
    const candidate = findConsumer(state, channel);
    if (candidate === undefined) return;
    const { session } = candidate;
    // One that has just had a suspect alone, and still has it, takes what waits before it is kept free for the next.
    if (!isClear(session) || (session.held.size > 0 && session.restsUntil > state.now)) {
      if (channel.reservedUntil <= state.now) reserve(state, channel, session);
      return;
    }
    const lease = claim(state, suspect, candidate, true);
    beginAlone(state, lease);
  }
}

/** The first suspect that may go now; those whose groups may not are passed over. */
function nextSuspect(state: MachineState, channel: Channel): Message | undefined {
  for (let rank = 0; ; rank++) {
    const suspect = channel.suspects.at(rank);
    if (suspect === undefined) return undefined;
    if (suspect.group !== undefined && !isGroupOpen(state, suspect.group, suspect)) continue;
    return isOpen(state, channel, suspect) ? suspect : undefined;
  }
}

/**
 * How long a session is kept from new messages to empty it for a suspect, how long a suspect is alone, and how long a
 * session then is kept from nothing, in milliseconds.
 */
const RESERVATION_MS = 5_000;

/** Keeps everything else from the session of a suspect's lease, as long as that is young. */
export function beginAlone(state: MachineState, lease: Lease): void {
  const { session } = lease;
  const until = lease.claimedAt + RESERVATION_MS;
  if (until <= state.now || lease.token < (session.lone?.lease.token ?? 0)) return;
  session.lone = { lease, until };
  state.lone.add(session);
}

function reserve(state: MachineState, channel: Channel, session: Session): void {
  state.reservations.add(channel);
  // Another channel has just had it emptied: all others have their turn before this one has.
  channel.reservedUntil = session.restsUntil;
  if (session.restsUntil > state.now) return;
  session.reserved = channel;
  channel.reserved = session;
  channel.reservedUntil = state.now + RESERVATION_MS;
}

/** Ends reservations, and the time of suspects alone, that have lasted long enough, and tries again where one has rested. */
export function renewReservations(state: MachineState): void {
  for (const session of state.lone) {
    if (session.lone !== undefined && session.lone.until > state.now) continue;
    state.lone.delete(session);
    session.lone = undefined;
    letIn(state, session);
  }
  for (const channel of state.reservations) {
    if (channel.reservedUntil > state.now) continue;
    state.dispatchable.add(channel);
    if (channel.reserved === undefined) {
      state.reservations.delete(channel);
      continue;
    }
    endReservation(state, channel);
    channel.reservedUntil = state.now + RESERVATION_MS;
  }
}

/** Lets the session that was being emptied have messages again. */
function endReservation(state: MachineState, channel: Channel): void {
  const session = channel.reserved;
  channel.reserved = undefined;
  // By now it may have a suspect alone, or be emptied for another channel.
  if (session?.reserved !== channel) return;
  session.reserved = undefined;
  letIn(state, session);
}

/** Lets a session take what waits, for a while. */
function letIn(state: MachineState, session: Session): void {
  session.restsUntil = state.now + RESERVATION_MS;
  for (const consumer of session.consumers.values()) queueConsumer(state, consumer);
}

/** A consumer of the channel whose session is not kept free yet, an empty one or else the one with the least in hand. */
function findConsumer(state: MachineState, channel: Channel): Consumer | undefined {
  let best: Consumer | undefined;
  for (const session of state.sessions.values()) {
    if (isKeptFree(session)) {
      for (const consumer of session.consumers.values()) if (consumer.channel === channel) return undefined;
      continue;
    }
    for (const consumer of session.consumers.values()) {
      if (consumer.channel !== channel || consumer.size === 0) continue;
      if (best === undefined || distance(session) < distance(best.session)) best = consumer;
    }
  }
  return best;
}

/** How far a session is from being empty: one that is clear need not be waited for. */
function distance(session: Session): number {
  return isClear(session) ? Math.min(session.held.size, 1) : session.held.size + 1;
}

function claim(state: MachineState, message: Message, consumer: Consumer, alone: boolean): Lease {
  const { session } = consumer;
  const usage = usageOf(state, session, consumer.channel, consumer);
  const lease: Lease = {
    token: state.nextToken++,
    session,
    consumer: consumer.number,
    claimedAt: Math.floor(state.now),
    alone,
    started: false,
    startedAt: 0,
    usage,
    deadlineAt: 0,
  };
  const redelivered = message.deliveries > 0;
  lend(state, message, lease);
  // The suspicion ends here: the lease itself now says that the message is alone.
  if (message.extra?.suspect === true) message.extra.suspect = false;
  consumer.held += 1;
  const { channel } = message;
  if (channel.settings.rate !== null) {
    pass(channel.gate, channel.settings.rate, costOf(message), state.now);
    state.changes.channels.add(channel);
  }
  if (redelivered) totalsOf(state, message.channel).redelivered += 1;
  state.changes.deliveries.push({
    session,
    consumer: consumer.number,
    seq: message.seq,
    pack: payloadPackOf(state, message),
    token: lease.token,
    attempt: attemptNumber(message),
    redelivered,
    timeoutMs: message.policy.policy.timeoutMs,
    usage,
  });
  return lease;
}
