/**
 * The machine: all the semantics of channels, messages and sessions, as a pure, deterministic, synchronous
 * state machine. It reads no clock, draws no random number and does no input or output: time, chance and cold
 * records come in with each command, so the same inputs give the same state and the same writes.
 *
 * The broker calls, in this order and as often as it likes: `plan` and `apply` for each command, `tick` when
 * `nextWake` has come, `dispatch` when a batch is complete, and `flush` for what to write and, once that is
 * durable, to say.
 */
import type { Command, Reply, Request, Together } from '../model/command.ts';
import type { TokenView } from '../model/views.ts';
import { type ErrorCode, HoldfastError } from '../model/errors.ts';
import { secondOf } from '../model/block.ts';
import type { Key, KeyRange } from '../model/records.ts';
import { rightsOn } from '../model/scopes.ts';
import { applyCreateToken, applyRevokeToken, expireTokens, tokenState } from './access-tokens.ts';
import { applyAwait, planAwait } from './awaiting.ts';
import { applyBull, firstBullAnswer, keptAnswer } from './bull/apply.ts';
import { applyBulk, applyStopBulk } from './bulks.ts';
import { findOrCreateChannel, internPolicy } from './channels.ts';
import { nextChore } from './chores.ts';
import { type ColdView, type Need, NOTHING_COLD, type RangePart } from './cold.ts';
import { applyWindow, openSession, type Proof } from './consumers.ts';
import { dispatch } from './dispatch.ts';
import { limitsGroups } from './group-room.ts';
import { applyFlow, planFlow, planNodes, settleFlows } from './flows.ts';
import { flush, type Flushed, isDirty, pendingBytes } from './flush.ts';
import { applyKvCommit, applyKvRead, applyKvWatch, planKvEffects, planKvRead } from './kv.ts';
import { applyRetainEvents } from './journal.ts';
import { KIND } from './layout.ts';
import { Loader } from './load.ts';
import { applyControl, applyControlGroup } from './manage.ts';
import type { AccessToken, Session } from './memory.ts';
import { notesKey, readNotes } from './notes.ts';
import { applyProduce, wantRoomAgain } from './produce.ts';
import { planReading, applyReading } from './reading.ts';
import { refuseRef, unknownChannel, unknownRef, unknownTarget } from './refs.ts';
import { type Refused, refusalOf, refusalOn, refusalToProduce } from './rights.ts';
import { applyManageSchedule, applyUpsertSchedule, planManageSchedule } from './schedules.ts';
import { confirmAnswers, keepAnswer, MAX_CONSUMERS, MAX_REFS } from './session.ts';
import { applyAnnotate, applyExtend, applyHolding, applySettle, applyStarted, heldMessage } from './settle.ts';
import { applyManage, applyUpdate, planSingle } from './single.ts';
import { checkTurn, firstAnswer, isRemembered } from './turns.ts';
import { isKnownRef } from './targets.ts';
import { applyDeclareTopic, applyPublish, applySubscribe, applyUnsubscribe } from './topics.ts';
import { type ClaimedMessage, createState, type MachineState, type SessionEnd } from './state.ts';
import { applyTick, awaitSessions, closeSession, detachSession, nextWake, type WakeTimes } from './timers.ts';
import { countDelivery } from './usage.ts';

/** What comes in with a command from the world outside. */
export interface Context {
  /** Machine time, in epoch milliseconds; never goes back. */
  readonly now: number;
  /** The wall clock, in epoch milliseconds. */
  readonly wall: number;
  /** A number from 0 (included) to 1 (excluded). */
  readonly random: () => number;
}

export class Machine {
  readonly #state: MachineState;

  constructor(space: string) {
    this.#state = createState(space);
  }

  /** What must be read at open and handed to the loader: first the head, in order, and then the body. */
  get head(): KeyRange {
    return this.#state.layout.head();
  }

  get body(): KeyRange[] {
    return this.#state.layout.body();
  }

  /**
   * Whether a request can be applied although the body is still being loaded: one that was applied before, one that names
   * a channel, messages for which no other message counts, and KV.
   */
  isServedWhileLoading(session: Session, { request, command }: Request): boolean {
    if (request !== 0 && request <= session.applied && isRemembered(command)) return true;
    switch (command.kind) {
      case 'declare':
        return command.settings === undefined;
      case 'produce':
        return isServedAlone(session, command.ref);
      case 'kvCommit':
        return command.produced.every(({ ref }) => isServedAlone(session, ref));
      case 'kvRead':
      case 'kvWatch':
      case 'declareTopic':
        return true;
      default:
        return false;
    }
  }

  /** Whether the body is still being loaded. */
  get isLoading(): boolean {
    return this.#state.isLoading;
  }

  /** All that the machine has in the store by now; what is to come has keys of its own. */
  get everythingSoFar(): KeyRange[] {
    const { layout, nextSeq, nextCommit, newestSecond, now } = this.#state;
    return layout.everythingBefore(nextSeq, nextCommit, Math.max(secondOf(now), newestSecond) + 1);
  }

  loader(): Loader {
    return new Loader(this.#state);
  }

  /** Machine time as of the last command, or as it was stored. */
  get time(): number {
    return this.#state.now;
  }

  /** Opens the session of a client, or takes it up again; `undefined` when it belongs to another access token. */
  open(id: string, host: string, proof: Proof): { session: Session; resumed: boolean } | undefined {
    return openSession(this.#state, id, host, proof);
  }

  accessToken(id: string): AccessToken | undefined {
    return this.#state.accessTokens.get(id);
  }

  /** Whether the token still lets anybody in. */
  accessTokenState(token: AccessToken): TokenView['state'] {
    return tokenState(this.#state, token);
  }

  /** Whether there is any access token, be it one that has ended. */
  get hasAccessTokens(): boolean {
    return this.#state.accessTokens.size > 0;
  }

  /** Ends the sessions of access tokens whose time is over; before anything else is done at that time. */
  expireTokens(context: Context): void {
    this.#setTime(context);
    expireTokens(this.#state);
  }

  /** The sessions that have ended with their access tokens since this was last asked: their clients must go. */
  takeEndedSessions(): readonly SessionEnd[] {
    const { endedSessions } = this.#state;
    if (endedSessions.length > 0) this.#state.endedSessions = [];
    return endedSessions;
  }

  /** The client is gone: its leases stay until `leasesUntil`, its answers until `expiresAt`. */
  detach(session: Session, leasesUntil: number, expiresAt: number, context: Context): void {
    this.#setTime(context);
    detachSession(this.#state, session, leasesUntil, expiresAt);
  }

  /** The broker was away: sessions without a client keep everything until then, though their time may have been over. */
  awaitSessions(until: number, context: Context): void {
    this.#setTime(context);
    awaitSessions(this.#state, until);
  }

  /** The client has said goodbye: everything of the session ends. */
  close(session: Session, context: Context): void {
    this.#setTime(context);
    closeSession(this.#state, session);
  }

  /** The client has the answers up to this request. */
  confirm(session: Session, upTo: number): void {
    confirmAnswers(session, upTo);
  }

  /** What the command needs from the store that `view` does not hold; `undefined` when it can be applied. */
  plan(session: Session, { request, command }: Request, view: ColdView): Need | undefined {
    if (request !== 0 && request <= session.applied && isRemembered(command)) return undefined;
    switch (command.kind) {
      case 'manage':
      case 'update':
        return planSingle(this.#state, command, view);
      case 'inspect':
        return planReading(this.#state, session, command, view);
      case 'await':
        return planAwait(this.#state, command, view);
      case 'manageSchedule':
        return planManageSchedule(this.#state, command, view);
      case 'kvRead':
        return planKvRead(this.#state, command, view);
      case 'kvWatch':
        return planKvRead(this.#state, { keys: command.keys, ranges: [] }, view);
      case 'kvCommit':
        return planKvEffects(this.#state, [command], view);
      case 'flow':
        return planFlow(this.#state, session, command, view);
      case 'settle':
        for (const { outcome, produced = [] } of command.settles) {
          if (outcome.kind !== 'wait' || outcome.edges.length === 0) continue;
          const need = planNodes(this.#state, session, { produced, edges: outcome.edges }, view);
          if (need !== undefined) return need;
        }
        return planKvEffects(
          this.#state,
          [command.together?.effects, ...command.settles.map(({ effects }) => effects)],
          view,
        );
      case 'annotate': {
        const message = heldMessage(session, command);
        if (message?.extra?.annotated !== true) return undefined;
        const key = notesKey(this.#state.layout, message);
        return view.get(key) === undefined ? { keys: [key], ranges: [] } : undefined;
      }
      default:
        return undefined;
    }
  }

  /**
   * Applies a command and gives its answer; `undefined` for a note in passing. A request that was applied
   * before gets the answer that it got then.
   *
   * @throws HoldfastError `PROTOCOL` when the client breaks the rules of requests; nothing has changed then
   */
  apply(session: Session, { request, command }: Request, context: Context, view: ColdView): Reply | undefined {
    this.#setTime(context);
    if (request === 0) {
      this.#noteRefused(session, command, this.#applyCommand(session, command, context, view));
      return undefined;
    }
    const remembered = isRemembered(command);
    if (request <= session.applied && remembered) {
      const answer = firstAnswer(session, request);
      if (command.kind === 'produce') wantRoomAgain(this.#state, session, command, answer);
      return command.kind === 'bull' ? firstBullAnswer(this.#state, command, answer) : answer;
    }
    checkTurn(session, request);
    const reply = this.#applyCommand(session, command, context, view);
    if (remembered) {
      keepAnswer(session, request, reply.kind === 'bull' ? keptAnswer(reply) : reply);
      this.#state.changes.sessions.add(session);
    } else {
      session.applied = Math.max(session.applied, request);
    }
    return reply;
  }

  /**
   * Answers a request with a refusal instead of applying it; the refusal is its answer for good. A note has none.
   *
   * @throws HoldfastError `PROTOCOL` as `apply`
   */
  refuse(session: Session, request: number, code: ErrorCode, message: string): Reply | undefined {
    if (request === 0) return undefined;
    if (request <= session.applied) return firstAnswer(session, request);
    checkTurn(session, request);
    const reply: Reply = { kind: 'refused', code, message };
    keepAnswer(session, request, reply);
    this.#state.changes.sessions.add(session);
    return reply;
  }

  /**
   * The broker answers this request itself, unless the session may not ask for it: then that is the answer.
   *
   * @throws HoldfastError `PROTOCOL` when other requests come first
   */
  pass(session: Session, { request, command }: Request): Refused | undefined {
    checkTurn(session, request);
    session.applied = Math.max(session.applied, request);
    return refusalOf(session, command);
  }

  /** What the work under way needs from the store before the next tick. */
  planTick(view: ColdView = NOTHING_COLD): Need | undefined {
    return nextChore(this.#state)?.plan(view);
  }

  /** Does what is due by time, and a step of the work under way. */
  tick(context: Context, view: ColdView): void {
    this.#setTime(context);
    expireTokens(this.#state);
    applyTick(this.#state, context.random);
    const chore = nextChore(this.#state);
    // What is due may have changed since the view was read; then this work waits for the next tick.
    if (chore?.plan(view) === undefined) chore?.apply(view, context.random);
  }

  /** Ticks of schedules wait as long as the store has no room for new messages. */
  hold(isFull: boolean): void {
    this.#state.schedules.isHeld = isFull;
  }

  nextWake(): WakeTimes {
    return nextWake(this.#state);
  }

  /** Hands ready messages to consumers with room; the deliveries are in the next flush. */
  dispatch(context: Context): void {
    this.#setTime(context);
    settleFlows(this.#state);
    dispatch(this.#state);
  }

  /** The rough size of what a flush would write, in bytes; 0 when there is nothing. */
  get pendingBytes(): number {
    return isDirty(this.#state) ? Math.max(1, pendingBytes(this.#state)) : 0;
  }

  flush(): Flushed {
    return flush(this.#state);
  }

  /** A delivery was sent, with this item of a pack. */
  delivered(claimed: ClaimedMessage, bytes: Uint8Array, itemStart: number, itemEnd: number): void {
    countDelivery(this.#state, claimed, bytes, itemStart, itemEnd);
  }

  /** Nothing follows but a last flush: what was counted without a commit belongs into it. */
  finish(): void {
    if (this.#state.unwritten.writeAt !== Infinity) this.#state.changes.dirty = true;
  }

  /** Whether the session still has this lease. */
  isHeld({ session, seq, token }: ClaimedMessage): boolean {
    return heldMessage(session, { seq, token }) !== undefined;
  }

  /** Whether a record under this key is an entry of KV. */
  isEntry(key: Key): boolean {
    return this.#state.layout.kindOf(key) === KIND.kv;
  }

  /** Where the payload of a delivered message is. */
  packKey(pack: number): Uint8Array {
    return this.#state.layout.key(KIND.pack, pack);
  }

  #setTime({ now, wall }: Context): void {
    this.#state.now = Math.max(this.#state.now, now);
    this.#state.wall = wall;
  }

  #applyCommand(session: Session, command: Command, context: Context, view: ColdView): Reply {
    const state = this.#state;
    if (command.kind === 'declare' || command.kind === 'declareTopic') {
      const { refs, topicRefs, refusedRefs } = session;
      const named = command.kind === 'declare' ? command.channel : command.topic;
      if (!isKnownRef(session, command.ref) && refs.size + topicRefs.size + refusedRefs.size >= MAX_REFS) {
        const message = `Cannot use "${named}": a session has at most ${MAX_REFS} names for channels and their rules`;
        return { kind: 'refused', code: 'TOO_MANY', message };
      }
    }
    const refusal = refusalOf(session, command);
    if (refusal !== undefined) {
      if (command.kind === 'declare') refuseRef(session, command.ref, refusal);
      return refusal;
    }
    switch (command.kind) {
      case 'declare':
        return this.#declare(session, command);
      case 'produce': {
        const topic = session.topicRefs.get(command.ref);
        if (topic !== undefined) return applyPublish(state, session, topic, command.blocks);
        const target = session.refs.get(command.ref);
        if (target === undefined) return unknownRef(session, command.ref);
        return refusalToProduce(session, target, command.blocks) ?? applyProduce(state, session, target, command);
      }
      case 'window': {
        const target = session.refs.get(command.ref);
        if (target === undefined) return unknownRef(session, command.ref);
        if (session.consumers.size >= MAX_CONSUMERS && !session.consumers.has(command.consumer)) {
          throw tooMany('consumers', MAX_CONSUMERS);
        }
        const forbidden = refusalOn(target, 'consume');
        if (forbidden === undefined) applyWindow(state, session, target, command);
        return forbidden ?? DONE;
      }
      case 'holding':
        applyHolding(state, session, command);
        return DONE;
      case 'started':
        applyStarted(state, session, command);
        return DONE;
      case 'settle': {
        const unknown = unknownTarget(
          session,
          [command.together ?? NO_EFFECTS, ...command.settles].flatMap(({ produced }) => produced ?? []),
        );
        return unknown ?? applySettle(state, session, command, context.random, view);
      }
      case 'extend':
        return applyExtend(state, session, command);
      case 'annotate': {
        const message = heldMessage(session, command);
        const key = message === undefined ? undefined : notesKey(state.layout, message);
        return applyAnnotate(state, session, command, readNotes(key && view.get(key)?.value));
      }
      case 'control':
        return applyControl(state, command);
      case 'controlGroup':
        return applyControlGroup(state, command);
      case 'manage':
        return applyManage(state, session, command, view);
      case 'update':
        return applyUpdate(state, session, command, view);
      case 'await':
        return applyAwait(state, session, command, view);
      case 'bulk':
        return applyBulk(state, session, command);
      case 'stopBulk':
        return applyStopBulk(state, session, command);
      case 'watch':
        return this.#watch(session, command.channel);
      case 'backup':
        return { kind: 'refused', code: 'PROTOCOL', message: 'A backup is not for the machine' };
      case 'kvRead':
        return applyKvRead(state, session, command, view);
      case 'kvWatch':
        return applyKvWatch(state, session, command, view);
      case 'kvCommit':
        return unknownTarget(session, command.produced) ?? applyKvCommit(state, session, command, view);
      case 'flow':
        return unknownChannel(session, command.produced) ?? applyFlow(state, session, command, view);
      case 'inspect':
        return applyReading(state, session, command, view);
      case 'upsertSchedule':
        return unknownChannel(session, [command]) ?? applyUpsertSchedule(state, session, command, context.random);
      case 'manageSchedule':
        return applyManageSchedule(state, session, command, context.random, view);
      case 'createToken':
        return applyCreateToken(state, command);
      case 'revokeToken':
        return applyRevokeToken(state, command);
      case 'declareTopic':
        session.refs.delete(command.ref);
        session.refusedRefs.delete(command.ref);
        return applyDeclareTopic(session, command);
      case 'bull':
        return applyBull(state, session, command);
      case 'subscribe':
        return this.#limited(() => applySubscribe(state, command));
      case 'unsubscribe':
        return applyUnsubscribe(state, command);
      case 'retainEvents':
        return applyRetainEvents(state, command);
    }
  }

  #declare(session: Session, command: Extract<Command, { kind: 'declare' }>): Reply {
    try {
      const channel = findOrCreateChannel(this.#state, command.channel);
      const policy = internPolicy(this.#state, command.policy);
      session.refs.set(command.ref, {
        channel,
        policy,
        rights: rightsOn(session.grant, channel.name),
        usage: undefined,
      });
      session.refusedRefs.delete(command.ref);
      session.topicRefs.delete(command.ref);
      if (command.settings !== undefined) {
        const { channel: name } = command;
        return applyControl(this.#state, {
          kind: 'control',
          channel: name,
          action: 'configure',
          settings: command.settings,
        });
      }
      return DONE;
    } catch (error) {
      return refuseRef(session, command.ref, refusedTooMany(error));
    }
  }

  #watch(session: Session, name: string): Reply {
    try {
      const channel = findOrCreateChannel(this.#state, name);
      channel.watchers.add(session);
      this.#state.dispatchable.add(channel);
      return DONE;
    } catch (error) {
      return refusedTooMany(error);
    }
  }

  #limited(apply: () => Reply): Reply {
    try {
      return apply();
    } catch (error) {
      return refusedTooMany(error);
    }
  }

  /** Nobody waits for the answer to a note, but whoever has a consumer, or waits for an end, must hear that it is in vain. */
  #noteRefused(session: Session, command: Command, reply: Reply): void {
    if (reply.kind !== 'refused') return;
    const { code, message } = reply;
    const { notices } = this.#state.changes;
    if (command.kind === 'window') {
      notices.push({ session, notice: { kind: 'consumerRefused', consumer: command.consumer, code, message } });
    } else if (command.kind === 'await') {
      notices.push({ session, notice: { kind: 'awaitRefused', id: command.id, code, message } });
    }
  }
}

export { NOTHING_COLD };
export { itemOf, openPack, type Pack } from './pack.ts';
export type { ClaimedMessage as Claimed, ColdView, Flushed, Loader, Need, Proof, RangePart, Session, SessionEnd };

const NO_EFFECTS: Together = { produced: undefined, effects: undefined };

const DONE: Reply = { kind: 'done' };

/** Whether no other message counts for those that are produced under this name. */
function isServedAlone(session: Session, ref: number): boolean {
  const target = session.refs.get(ref);
  // Who is subscribed to a topic is known behind the body, and so is what a name with settings stands for.
  if (target === undefined) return session.refusedRefs.has(ref);
  const { dedupe, maxBacklog } = target.policy.policy;
  return dedupe === undefined && maxBacklog === 0 && !limitsGroups(target.channel);
}

/** A limit that is reached is an answer; anything else is not. */
function refusedTooMany(error: unknown): Refused {
  if (!(error instanceof HoldfastError) || error.code !== 'TOO_MANY') throw error;
  return { kind: 'refused', code: error.code, message: error.message };
}

function tooMany(what: string, most: number): HoldfastError {
  return new HoldfastError('PROTOCOL', `Cannot have more than ${most} ${what} in one session`);
}
