/** Settle: what a consumer says of the messages that it holds, fenced by their tokens. */
import {
  type Annotate,
  type Extend,
  type Failure,
  type Holding,
  type LeaseKey,
  MAX_FAILURE_MESSAGE_CHARACTERS,
  MAX_FAILURE_STACK_CHARACTERS,
  type Outcome,
  type Reply,
  type Settle,
  type SettleSet,
  type Started,
} from '../model/command.ts';
import { backoffDelayMs } from '../model/backoff.ts';
import type { ColdView } from './cold.ts';
import { hasNotBegun, holdGroup, keepsPlace } from './groups.ts';
import { checksHold, prepare, write } from './kv.ts';
import type { ChannelRef, Message, Session } from './memory.ts';
import { amend, end, move } from './lifecycle.ts';
import { attemptNumber, extraOf, remember } from './message.ts';
import { encodeNotes, type Notes, notesKey } from './notes.ts';
import { touchPage } from './pages.ts';
import { produceBlocks, UNBOUNDED } from './produce.ts';
import { type Refused, refusalOnKv, refusalToProduce } from './rights.ts';
import { type MachineState, put } from './state.ts';

/** How much later than the client the broker ends a handler's time, in milliseconds: the client's word comes first. */
const TIMEOUT_GRACE_MS = 1_000;

/** Settles each lease for itself; a stale token changes nothing, and its position is in the answer. */
export function applySettle(
  state: MachineState,
  session: Session,
  command: SettleSet,
  random: () => number,
  view: ColdView,
): Reply {
  const lost: number[] = [];
  const conflicts: number[] = [];
  command.settles.forEach((settle, i) => {
    const message = heldMessage(session, settle);
    if (message === undefined) {
      lost.push(i);
      return;
    }
    // Before the checks: whether they hold would tell what the session may not read.
    const refusal = settle.effects && refusalOnKv(session, settle.effects);
    if (refusal !== undefined) failRefused(state, message, refusal, random);
    else if (settle.effects !== undefined && !checksHold(state, settle.effects.checks, view)) conflicts.push(i);
    else settleOne(state, session, message, settle, random, view);
  });
  return { kind: 'settled', lost, conflicts };
}

/**
 * Gives back what the session holds and its client does not know of: a delivery was lost on the way. What the client
 * believes to hold and does not, it is told of, so that its handlers can stop.
 */
export function applyHolding(state: MachineState, session: Session, command: Holding): void {
  const known = new Set(command.leases.map(({ token }) => token));
  for (const key of command.leases) {
    if (heldMessage(session, key) !== undefined) continue;
    takeBackDeath(state, session, key);
    state.changes.notices.push({ session, notice: { kind: 'revoked', ...key, reason: 'leaseLost' } });
  }
  for (const message of [...session.held.values()].reverse()) {
    const { lease } = message;
    if (lease !== undefined && !known.has(lease.token)) loseLease(state, message, false);
  }
}

/** Notes that handlers run: from now on their time counts, and so does their process's death. */
export function applyStarted(state: MachineState, session: Session, command: Started): void {
  for (const key of command.leases) {
    const message = heldMessage(session, key);
    const lease = message?.lease;
    if (message === undefined || lease === undefined || lease.started) continue;
    lease.started = true;
    const { timeoutMs } = message.policy.policy;
    if (timeoutMs !== 0) setDeadline(state, message, timeoutMs);
  }
}

export function applyExtend(state: MachineState, session: Session, command: Extend): Reply {
  const message = heldMessage(session, command);
  if (message === undefined) return { kind: 'settled', lost: [0], conflicts: [] };
  setDeadline(state, message, command.forMs);
  return { kind: 'settled', lost: [], conflicts: [] };
}

/** Keeps progress and a line of the log; `notes` is what stood before. */
export function applyAnnotate(state: MachineState, session: Session, command: Annotate, notes: Notes): Reply {
  const message = heldMessage(session, command);
  if (message === undefined) return { kind: 'settled', lost: [0], conflicts: [] };
  put(state, notesKey(state.layout, message), encodeNotes(notes, command));
  state.annotatedPacks.add(message.pack);
  if (message.extra?.annotated !== true) {
    extraOf(message).annotated = true;
    touchPage(state, message);
  }
  return { kind: 'settled', lost: [], conflicts: [] };
}

export function heldMessage(session: Session, key: LeaseKey): Message | undefined {
  const message = session.held.get(key.seq);
  return message?.lease?.token === key.token ? message : undefined;
}

/** A failed attempt of a handler that threw or took too long. */
export function failAttempt(
  state: MachineState,
  message: Message,
  failure: Failure,
  delayMs: number | undefined,
  random: () => number,
): void {
  const cut = cutFailure(failure);
  const attempt = attemptNumber(message);
  rememberClaim(message, attempt);
  message.attempts += 1;
  extraOf(message).failure = cut;
  const { policy } = message.policy;
  if (message.attempts >= policy.maxAttempts) {
    end(state, message, 'failed', { failure: cut, attempt });
    return;
  }
  remember(message, { at: state.now, what: 'nacked', attempt, note: cut.message });
  const delay = delayMs ?? backoffDelayMs(policy.backoff, message.attempts, random());
  comeBack(state, message, 'nacked', delay);
}

const PROCESS_DIED: Failure = {
  name: 'ProcessDied',
  message: 'The process died while the handler ran',
  stack: undefined,
};

/**
 * The process that ran the handler died, or an isolate in which it ran alone, of which `failure` tells.
 *
 * @param isCertain nothing else can have been the cause
 */
export function countDeath(
  state: MachineState,
  message: Message,
  failure: Failure = PROCESS_DIED,
  isCertain: boolean = false,
): void {
  const extra = extraOf(message);
  const attempt = attemptNumber(message);
  rememberClaim(message, attempt);
  extra.deaths += 1;
  if (extra.deaths >= message.policy.policy.maxDeaths) {
    end(state, message, 'failed', { failure, attempt });
    return;
  }
  remember(message, { at: state.now, what: 'leaseLost', attempt, note: failure.message });
  // It may do so again, so it goes alone until it has ended well, and takes nobody along. In an isolate it is alone.
  if (!isCertain) {
    extra.suspect = true;
    if (message.lease !== undefined) {
      const { token, session, alone } = message.lease;
      const charge = { token, session: session.number, deliveries: message.deliveries, alone };
      extra.charges = [...extra.charges, charge].slice(-MAX_CHARGES);
    }
  }
  move(state, message, 'leaseLost', {});
}

/** How many counted deaths a message remembers, to take them back. */
const MAX_CHARGES = 8;

/**
 * The client was taken for dead, because its connection was gone, and had the message all the time: no process died of it.
 * The lease stays lost, for somebody else may have it by now.
 */
function takeBackDeath(state: MachineState, session: Session, { seq, token }: LeaseKey): void {
  const message = state.messages.get(seq);
  const charge = message?.extra?.charges.find((each) => each.token === token && each.session === session.number);
  if (message === undefined || charge === undefined) return;
  amend(state, message, (extra) => {
    extra.deaths -= 1;
    extra.charges = extra.charges.filter((each) => each !== charge);
    // It is as suspect as it was before, unless somebody has claimed it since.
    if (charge.deliveries === message.deliveries) extra.suspect = charge.alone;
    const note = 'The client came back, so its process lives: no death is counted';
    remember(message, { at: state.now, what: 'leaseLost', attempt: attemptNumber(message), note });
  });
}

/** The lease is gone and nobody knows of a fault: the message comes first again, uncharged. */
export function loseLease(state: MachineState, message: Message, suspect: boolean): void {
  rememberClaim(message, attemptNumber(message));
  const note = suspect ? 'The process died, and perhaps the handler had started' : 'The session ended';
  remember(message, { at: state.now, what: 'leaseLost', attempt: attemptNumber(message), note });
  if (suspect) extraOf(message).suspect = true;
  keepSuspicion(message);
  move(state, message, 'leaseLost', {});
}

/** A message that comes back before its handler has ended is as suspect as it was. */
export function keepSuspicion(message: Message): void {
  if (message.lease?.alone === true) extraOf(message).suspect = true;
}

function settleOne(
  state: MachineState,
  session: Session,
  message: Message,
  { outcome, produced, effects }: Settle,
  random: () => number,
  view: ColdView,
): void {
  switch (outcome.kind) {
    case 'ack':
      for (const { ref, blocks } of produced ?? []) {
        const refusal = produceRefusal(session, ref, blocks);
        if (refusal !== undefined) return failRefused(state, message, refusal, random);
      }
      if (effects !== undefined) {
        const prepared = prepare(state, effects.mutations, view);
        if ('kind' in prepared) return failRefused(state, message, prepared, random);
        if (prepared.length > 0) write(state, prepared);
      }
      for (const part of produced ?? []) {
        const target = session.refs.get(part.ref) as ChannelRef;
        // A follow-up is never refused for a full backlog: that would undo work that is done.
        produceBlocks(state, session, target, part.blocks, UNBOUNDED);
      }
      end(state, message, 'acked', { result: outcome.result });
      break;
    case 'nack':
      failAttempt(state, message, outcome.failure, outcome.delayMs, random);
      break;
    case 'undecodable':
      failDecoding(state, message, cutFailure(outcome.failure));
      break;
    case 'release':
      // What no handler has seen is not handed out again later, but for the first time.
      if (message.lease?.started === false) message.deliveries -= 1;
      if (message.deliveries === 0) hasNotBegun(message);
      remember(message, { at: state.now, what: 'released', attempt: attemptNumber(message), note: undefined });
      keepSuspicion(message);
      move(state, message, 'released', {});
      break;
    case 'hold':
      remember(message, { at: state.now, what: 'released', attempt: attemptNumber(message), note: RATE_LIMITED });
      keepSuspicion(message);
      hold(state, message, outcome);
      move(state, message, 'released', {});
      break;
    case 'snooze':
      remember(message, { at: state.now, what: 'snoozed', attempt: attemptNumber(message), note: undefined });
      comeBack(state, message, 'snoozed', outcome.delayMs);
      break;
    case 'fail': {
      const attempt = attemptNumber(message);
      rememberClaim(message, attempt);
      message.attempts += 1;
      end(state, message, 'failed', { failure: cutFailure(outcome.failure), attempt });
      break;
    }
    case 'died':
      countDeath(state, message, cutFailure(outcome.failure), true);
      break;
  }
}

const RATE_LIMITED = 'The handler was told to wait';

/** Nothing of the channel, or of the group, is handed out for a while. */
function hold(state: MachineState, { channel, group }: Message, outcome: Extract<Outcome, { kind: 'hold' }>): void {
  const until = state.now + outcome.delayMs;
  if (outcome.what === 'group' && group !== undefined) return holdGroup(state, group, until);
  channel.gate.heldUntil = Math.max(channel.gate.heldUntil, until);
  state.changes.channels.add(channel);
}

/** All of it or none: without its effects the attempt has not been a success, and its failure says why. */
function failRefused(state: MachineState, message: Message, refusal: Refused, random: () => number): void {
  failAttempt(state, message, { name: refusal.code, message: refusal.message, stack: undefined }, undefined, random);
}

/** Why the session may not produce this to what it calls `ref`, which it has declared. */
function produceRefusal(session: Session, ref: number, blocks: readonly Uint8Array[]): Refused | undefined {
  const target = session.refs.get(ref);
  return target === undefined ? session.refusedRefs.get(ref) : refusalToProduce(session, target, blocks);
}

function failDecoding(state: MachineState, message: Message, failure: Failure): void {
  const extra = extraOf(message);
  extra.undecodable += 1;
  extra.failure = failure;
  const attempt = attemptNumber(message);
  rememberClaim(message, attempt);
  if (extra.undecodable >= message.policy.policy.maxUndecodable) {
    end(state, message, 'failed', { failure });
    return;
  }
  remember(message, { at: state.now, what: 'nacked', attempt, note: failure.message });
  comeBack(state, message, 'nacked', backoffDelayMs(message.policy.policy.backoff, extra.undecodable, 0));
}

/** Delayed until then, and behind what waits by then; without a delay it joins the end at once. */
function comeBack(state: MachineState, message: Message, happening: 'nacked' | 'snoozed', delayMs: number): void {
  const waits = delayMs > 0;
  move(state, message, happening, { dueAt: Math.ceil(state.now + delayMs) });
  if (!waits) move(state, message, 'due', keepsPlace(message) ? {} : { order: state.nextSeq++ });
}

function setDeadline(state: MachineState, message: Message, forMs: number): void {
  const { lease } = message;
  if (lease === undefined) return;
  if (lease.deadlineAt !== 0) state.deadlines.remove(message);
  lease.deadlineAt = state.now + forMs + TIMEOUT_GRACE_MS;
  state.deadlines.add(message);
  touchPage(state, message);
}

/** The history gets the claim only when the attempt did not end well: a good end's record holds it anyway. */
function rememberClaim(message: Message, attempt: number): void {
  if (message.lease === undefined) return;
  remember(message, { at: message.lease.claimedAt, what: 'claimed', attempt, note: undefined });
}

function cutFailure({ name, message, stack }: Failure): Failure {
  return {
    name: name.slice(0, 128),
    message: message.slice(0, MAX_FAILURE_MESSAGE_CHARACTERS),
    stack: stack?.slice(0, MAX_FAILURE_STACK_CHARACTERS),
  };
}
