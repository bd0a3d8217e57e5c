/** Settle: what a consumer says of the messages that it holds, fenced by their tokens. */
import type {
  Annotate,
  Extend,
  Holding,
  LeaseKey,
  Outcome,
  Reply,
  Settle,
  SettleSet,
  Started,
  Together,
} from '../model/command.ts';
import { type Failure, MAX_FAILURE_MESSAGE_CHARACTERS, MAX_FAILURE_STACK_CHARACTERS } from '../model/failure.ts';
import { backoffDelayMs } from '../model/backoff.ts';
import type { ColdView } from './cold.ts';
import { addNodes, block, refusalOfNodes } from './flows.ts';
import { hasNotBegun, holdGroup, keepsPlace } from './groups.ts';
import { checksHold, prepare, write } from './kv.ts';
import { countEnd, countStart, totalsOf } from './counts.ts';
import type { Lease, Message, Session, Usage } from './memory.ts';
import { amend, end, move } from './lifecycle.ts';
import { attemptNumber, extraOf, remember } from './message.ts';
import { cutLine, encodeNotes, type Notes, notesKey } from './notes.ts';
import { touchPage } from './pages.ts';
import { type Refused, refusalOnKv } from './rights.ts';
import { tellCancelling } from './single.ts';
import { lastClaimedFirst } from './session.ts';
import { journal, type MachineState, put } from './state.ts';
import { refusalToSend, send } from './targets.ts';
import { countKvWrites, countWrites, usageOf } from './usage.ts';

/** How much later than the client the broker ends a handler's time, in milliseconds: the client's word comes first. */
const TIMEOUT_GRACE_MS = 1_000;

const encoder = new TextEncoder();

/** Settles each lease for itself; a stale token changes nothing, and its position is in the answer. */
export function applySettle(
  state: MachineState,
  session: Session,
  command: SettleSet,
  random: () => number,
  view: ColdView,
): Reply {
  if (command.together !== undefined) return settleTogether(state, session, command, command.together, random, view);
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
    if (refusal === undefined && settle.effects !== undefined && !checksHold(state, settle.effects.checks, view)) {
      conflicts.push(i);
      return;
    }
    countSettle(state, session, message, settle.outcome);
    if (refusal !== undefined) failRefused(state, message, refusal, random);
    else settleOne(state, session, message, settle, random, view);
  });
  return { kind: 'settled', lost, conflicts };
}

/**
 * Settles all of them with what they bring along in common, or none: it was made for these messages and no others. So when one
 * is lost the others stay leased, and their handler runs again without it.
 */
function settleTogether(
  state: MachineState,
  session: Session,
  { settles }: SettleSet,
  together: Together,
  random: () => number,
  view: ColdView,
): Reply {
  const held = new Set<Message>();
  const lost: number[] = [];
  settles.forEach((settle, i) => {
    const message = heldMessage(session, settle);
    if (message === undefined || held.has(message)) lost.push(i);
    else held.add(message);
  });
  const { produced, effects } = together;
  // Before the checks: whether they hold would tell what the session may not read.
  const unreadable = effects && refusalOnKv(session, effects);
  const isConflict =
    lost.length > 0 || (unreadable === undefined && effects !== undefined && !checksHold(state, effects.checks, view));
  if (isConflict) return { kind: 'settled', lost, conflicts: positionsBut(settles.length, lost) };
  const refusal = unreadable ?? commitEffects(state, session, produced, effects, view);
  [...held].forEach((message, i) => {
    const { outcome } = settles[i] as Settle;
    countSettle(state, session, message, outcome);
    // Without their effects no attempt of the batch has been a success.
    if (refusal !== undefined && (outcome.kind === 'ack' || outcome.kind === 'wait'))
      failRefused(state, message, refusal, random);
    else applyOutcome(state, message, outcome, random);
  });
  return { kind: 'settled', lost, conflicts: [] };
}

function positionsBut(count: number, without: readonly number[]): number[] {
  const left = new Set(without);
  return Array.from({ length: count }, (_, i) => i).filter((i) => !left.has(i));
}

/**
 * Gives back what the session holds and its client does not know of: a delivery was lost on the way. What the client
 * believes to hold and does not, it is told of, so that its handlers can stop.
 */
export function applyHolding(state: MachineState, session: Session, command: Holding): void {
  const known = new Set(command.leases.map(({ token }) => token));
  for (const key of command.leases) {
    const message = heldMessage(session, key);
    if (message !== undefined) {
      // The word may have gone to the link before.
      tellCancelling(state, message);
      continue;
    }
    takeBackDeath(state, session, key);
    state.changes.notices.push({ session, notice: { kind: 'revoked', ...key, reason: 'leaseLost' } });
  }
  for (const message of lastClaimedFirst(session)) {
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
    countStart(state, message, lease);
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
  const { progress, line } = command;
  const [attempt, by] = [attemptNumber(message), session.number];
  if (progress !== undefined) journal(state, 'progress', message, attempt, by, progress);
  if (line !== undefined) journal(state, 'logged', message, attempt, by, encoder.encode(cutLine(line)));
  countWrites(state, usageOfLease(state, session, message), 1, (progress?.length ?? 0) + (line?.length ?? 0));
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

/** Counts a settle that counts. A handler has ended with it, unless there was none, or nobody knows when it died. */
function countSettle(state: MachineState, session: Session, message: Message, outcome: Outcome): void {
  const { kind } = outcome;
  if (kind !== 'release' && kind !== 'undecodable' && kind !== 'died') countEnd(state, message);
  const bytes = kind === 'ack' ? (outcome.result?.length ?? 0) : 0;
  countWrites(state, usageOfLease(state, session, message), 1, bytes);
}

function usageOfLease(state: MachineState, session: Session, { channel, lease }: Message): Usage {
  return usageOf(state, session, channel, lease as Lease);
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
  totalsOf(state, message.channel).failed += 1;
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
  const refusal =
    outcome.kind === 'ack'
      ? commitEffects(state, session, produced, effects, view)
      : outcome.kind === 'wait'
        ? commitChildren(state, session, message, { produced: produced ?? [], edges: outcome.edges }, effects, view)
        : undefined;
  if (refusal !== undefined) failRefused(state, message, refusal, random);
  else applyOutcome(state, message, outcome, random);
}

/** As `commitEffects`, of a message that waits for what it adds. */
function commitChildren(
  state: MachineState,
  session: Session,
  message: Message,
  nodes: Parameters<typeof addNodes>[2],
  effects: Settle['effects'],
  view: ColdView,
): Refused | undefined {
  const refusal =
    refusalOfProduced(state, session, nodes.produced) ??
    refusalOfTopics(session, nodes.produced) ??
    (nodes.edges.length === 0 ? undefined : refusalOfNodes(state, session, nodes, message)) ??
    commitEntries(state, session, effects, view);
  if (refusal === undefined) addNodes(state, session, nodes, message, view);
  return refusal;
}

/** What is published is nobody's child: it comes with the ack, once the children have ended. */
function refusalOfTopics(session: Session, produced: NonNullable<Settle['produced']>): Refused | undefined {
  const topic = produced.map(({ ref }) => session.topicRefs.get(ref)).find((one) => one !== undefined);
  if (topic === undefined) return undefined;
  const message = `Cannot publish to "${topic.topic}" and wait for children: publish when they have ended`;
  return { kind: 'refused', code: 'WRONG_STATE', message };
}

/** Writes and produces what comes with an ack; what cannot be, all of it, refuses the ack. */
function commitEffects(
  state: MachineState,
  session: Session,
  produced: Settle['produced'],
  effects: Settle['effects'],
  view: ColdView,
): Refused | undefined {
  const refusal = refusalOfProduced(state, session, produced ?? []) ?? commitEntries(state, session, effects, view);
  if (refusal !== undefined) return refusal;
  // A follow-up is never refused for a full backlog: that would undo work that is done.
  for (const part of produced ?? []) send(state, session, part);
  return undefined;
}

function refusalOfProduced(
  state: MachineState,
  session: Session,
  produced: NonNullable<Settle['produced']>,
): Refused | undefined {
  for (const part of produced) {
    const refusal = refusalToSend(state, session, part);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** Writes entries of KV, or says why they cannot be. */
function commitEntries(
  state: MachineState,
  session: Session,
  effects: Settle['effects'],
  view: ColdView,
): Refused | undefined {
  if (effects === undefined) return undefined;
  const prepared = prepare(state, effects.mutations, view);
  if ('kind' in prepared) return prepared;
  if (prepared.length > 0) write(state, prepared);
  countKvWrites(state, session, effects.mutations);
  return undefined;
}

function applyOutcome(state: MachineState, message: Message, outcome: Outcome, random: () => number): void {
  switch (outcome.kind) {
    case 'ack':
      end(state, message, 'acked', { result: outcome.result });
      break;
    case 'wait':
      remember(message, { at: state.now, what: 'blocked', attempt: attemptNumber(message), note: undefined });
      block(state, message, false);
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
      totalsOf(state, message.channel).failed += 1;
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

function failDecoding(state: MachineState, message: Message, failure: Failure): void {
  const extra = extraOf(message);
  extra.undecodable += 1;
  totalsOf(state, message.channel).failed += 1;
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
  // One that is being cancelled has ended by now.
  if (waits || message.state !== 'delayed') return;
  move(state, message, 'due', keepsPlace(message) ? {} : { order: state.nextSeq++ });
}

function setDeadline(state: MachineState, message: Message, forMs: number): void {
  const { lease } = message;
  // A handler that was told to end has no more time than it was told.
  if (lease === undefined || message.extra?.cancelled !== undefined) return;
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
