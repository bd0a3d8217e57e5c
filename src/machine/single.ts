/** Acts on single messages: cancel, promote, redrive, retry, remove, update. */
import { BlockReader } from '../model/block.ts';
import type { Manage, Reply } from '../model/command.ts';
import type { CancelOptions, Change, Update } from '../model/life.ts';
import { type ColdView, lastEnd, locate, type Location, type Need } from './cold.ts';
import { freeKey } from './dedupe.ts';
import { KIND } from './layout.ts';
import { cancel as cancelNow, forgetDelay, refusalToCancelBelow, takeChildrenAlong } from './flows.ts';
import { cancellation, drop, move, remove } from './lifecycle.ts';
import { bringBack, keptMessage } from './manage.ts';
import type { Channel, DueClock, EndedList, EndedMessage, Message, Session } from './memory.ts';
import { attemptNumber, extraOf, remember } from './message.ts';
import { itemOf, openPack, type Pack } from './pack.ts';
import { touchPage } from './pages.ts';
import { replacePayload } from './payloads.ts';
import { refusalFor } from './rights.ts';
import { type EndedRecord, journal, type MachineState } from './state.ts';

const DONE: Reply = { kind: 'done' };

/** What must be read to find a message, and what is known of its end. */
export function planSingle(state: MachineState, { id }: Manage | Update, view: ColdView): Need | undefined {
  const located = locate(state.layout, id, view);
  if (!('found' in located)) return located;
  if (located.found === undefined || state.messages.has(located.found.seq)) return undefined;
  const ends = state.layout.range(KIND.ended, located.found.pack);
  return view.range(ends) === undefined ? { keys: [], ranges: [ends] } : undefined;
}

/** A message that was found: it lives, or its end is kept. */
type Found =
  | { readonly at: Location; readonly channel: Channel; readonly live: Message }
  | { readonly at: Location; readonly channel: Channel; readonly live: undefined; readonly end: KeptEnd };

interface KeptEnd {
  readonly list: EndedList;
  readonly message: EndedMessage;
  readonly record: EndedRecord;
}

export function applyManage(state: MachineState, session: Session, command: Manage, view: ColdView): Reply {
  const found = find(state, command.id, view);
  if (found === undefined) return notFound();
  const { action } = command;
  const refusal = refusalFor(session, found.channel.name, action, 'admin');
  if (refusal !== undefined) return refusal;
  if (found.live !== undefined) return manageLive(state, session, found.live, command, view);
  const { list, message, record } = found.end;
  if (action === 'remove') {
    removeEnded(state, list, message, itemIn(state, found.at, view));
    return DONE;
  }
  if (action === 'retry' || (action === 'redrive' && list.state === 'dead')) {
    const happening = action === 'retry' ? 'retried' : 'redriven';
    bringBack(state, list, message, record, happening, command.attempts === 'keep');
    return DONE;
  }
  return wrongState(action, list.state);
}

export function applyUpdate(state: MachineState, session: Session, command: Update, view: ColdView): Reply {
  const found = find(state, command.id, view);
  if (found === undefined) return notFound();
  const refusal = refusalFor(session, found.channel.name, 'update', 'admin');
  if (refusal !== undefined) return refusal;
  if (found.live === undefined) return wrongState('update', found.end.list.state);
  const { live: message } = found;
  if (!mayUpdate(message)) return wrongState('update', message.state);
  const { payload } = command;
  const pack = payload === undefined ? undefined : packOf(state, found.at, view);
  if (payload !== undefined && pack !== undefined) replacePayload(state, message, pack, payload.codec, payload.bytes);
  change(state, message, command, payload !== undefined);
  return DONE;
}

/** Whether a message waits, and will be handed to somebody. */
export function mayUpdate({ state, extra }: Message): boolean {
  return state !== 'leased' && extra?.givenUp === undefined;
}

/**
 * Stops a message that has not ended: at once, or when its handler has had the time that it is given. `reason` is what its
 * history tells.
 */
export function cancel(
  state: MachineState,
  message: Message,
  { reason, deadlineMs = 0 }: CancelOptions,
  withChildren: boolean = false,
): void {
  const { lease } = message;
  if (lease !== undefined && deadlineMs > 0) {
    const at = state.now + deadlineMs;
    if (lease.deadlineAt !== 0) state.deadlines.remove(message);
    lease.deadlineAt = lease.deadlineAt === 0 ? at : Math.min(lease.deadlineAt, at);
    state.deadlines.add(message);
    extraOf(message).cancelled ??= reason ?? 'The message was cancelled';
    touchPage(state, message);
    if (withChildren) takeChildrenAlong(state, message);
    tellCancelling(state, message);
    return;
  }
  cancelNow(state, message, withChildren, reason === undefined ? undefined : cancellation(reason));
}

/** Tells the client that holds a message that is being cancelled how long it may. */
export function tellCancelling(state: MachineState, { seq, lease, extra }: Message): void {
  if (lease === undefined || extra?.cancelled === undefined) return;
  const deadlineMs = Math.max(0, Math.ceil(lease.deadlineAt - state.now));
  const notice = { kind: 'cancelling', seq, token: lease.token, deadlineMs, reason: extra.cancelled } as const;
  state.changes.notices.push({ session: lease.session, notice });
}

export function promote(state: MachineState, message: Message): void {
  move(state, message, 'promoted', { order: state.nextSeq++ });
}

/** Deletes a message that waits, and gives its dedupe key free, which stands in its item. */
export function removeLive(state: MachineState, message: Message, item: Uint8Array | undefined): void {
  const { channel, seq } = message;
  drop(state, message, 'removed');
  if (item !== undefined) freeKey(state, channel, BlockReader.dedupeOf(item), seq);
}

/** Deletes a message that has ended, likewise. */
export function removeEnded(
  state: MachineState,
  list: EndedList,
  message: EndedMessage,
  item: Uint8Array | undefined,
): void {
  const channel = state.channelNumbers.get(list.channel) as Channel;
  remove(state, list, message);
  if (item !== undefined) freeKey(state, channel, BlockReader.dedupeOf(item), message.seq);
}

/** Changes when a message that waits is handed out. */
export function change(state: MachineState, message: Message, changes: Change, hasNewPayload: boolean): void {
  const { priority = message.priority, lifo = false, delayMs, dueAt } = changes;
  const isPut = delayMs !== undefined || dueAt !== undefined;
  const clock: DueClock = dueAt === undefined ? 0 : 1;
  // Never early; but without a delay there is nothing to wait for, not even the rest of a millisecond.
  const at = Math.ceil(dueAt ?? (delayMs === 0 ? 0 : state.now + (delayMs ?? 0)));
  const isLater = isPut && at > (clock === 0 ? state.now : state.wall);
  remember(message, {
    at: state.now,
    what: 'updated',
    attempt: attemptNumber(message),
    note: noteOf(changes, hasNewPayload),
  });
  const isElsewhere = message.state === 'delayed' ? isPut : message.state === 'ready' && isLater;
  if (isElsewhere) journal(state, 'updated', message, 0, 0);
  if (isElsewhere && isLater) return move(state, message, 'postponed', { dueAt: at, dueClock: clock, priority });
  if (isElsewhere) return move(state, message, 'promoted', { order: nextOrder(state, lifo), priority });
  const isWaiting = message.state === 'waiting' && isPut;
  if (isWaiting) forgetDelay(state, message);
  const stays = message.state !== 'ready' || (priority === message.priority && !lifo);
  move(state, message, 'updated', {
    priority,
    order: stays ? message.order : nextOrder(state, lifo),
    dueAt: isWaiting ? (isLater ? at : 0) : message.dueAt,
    dueClock: isWaiting && isLater ? clock : message.dueClock,
  });
}

function nextOrder(state: MachineState, lifo: boolean): number {
  const next = state.nextSeq++;
  return lifo ? -next : next;
}

function noteOf({ delayMs, dueAt, priority, lifo }: Change, hasNewPayload: boolean): string {
  const notes = hasNewPayload ? ['message'] : [];
  if (dueAt !== undefined) notes.push(`due ${new Date(dueAt).toISOString()}`);
  else if (delayMs !== undefined) notes.push(`delay ${delayMs} ms`);
  if (priority !== undefined) notes.push(`priority ${priority}`);
  if (lifo === true) notes.push('to the front');
  return notes.join(', ');
}

/** Who cancels, as far as an access token tells, and why, if they say so. */
export function reasonOf(state: MachineState, session: Session, reason: string | undefined): string | undefined {
  const token = state.accessTokens.get(session.accessToken);
  if (token === undefined) return reason;
  const by = `by "${token.label === '' ? token.id : token.label}"`;
  return reason === undefined ? `Cancelled ${by}` : `${reason} (${by})`;
}

function find(state: MachineState, id: Uint8Array, view: ColdView): Found | undefined {
  const located = locate(state.layout, id, view);
  const at = 'found' in located ? located.found : undefined;
  if (at === undefined) return undefined;
  const live = state.messages.get(at.seq);
  if (live !== undefined) return { at, channel: live.channel, live };
  const record = lastEnd(at, view.range(state.layout.range(KIND.ended, at.pack)) ?? []);
  const message = record === undefined ? undefined : keptMessage(state, record);
  if (record?.state === undefined || message === undefined) return undefined;
  const channel = state.channelNumbers.get(record.channel) as Channel;
  return { at, channel, live: undefined, end: { list: channel.ended[record.state], message, record } };
}

/** The pack that a message was produced in, which has been read to find it. */
function packOf(state: MachineState, { pack }: Location, view: ColdView): Pack | undefined {
  const value = view.get(state.layout.key(KIND.pack, pack))?.value;
  return value === undefined ? undefined : openPack(value);
}

function itemIn(state: MachineState, at: Location, view: ColdView): Uint8Array | undefined {
  const pack = packOf(state, at, view);
  return pack === undefined ? undefined : itemOf(pack, at.seq - at.pack);
}

function manageLive(state: MachineState, session: Session, message: Message, command: Manage, view: ColdView): Reply {
  const { action } = command;
  if (action === 'cancel') {
    const refusal = command.children === true ? refusalToCancelBelow(state, session, message) : undefined;
    if (refusal !== undefined) return refusal;
    const reason = reasonOf(state, session, command.reason);
    cancel(state, message, { ...command, reason }, command.children);
  } else if (action === 'promote' && message.state === 'delayed') promote(state, message);
  else if (action === 'remove' && mayUpdate(message)) removeLive(state, message, itemIn(state, message, view));
  else return wrongState(action, message.state);
  return DONE;
}

function notFound(): Reply {
  return { kind: 'refused', code: 'NOT_FOUND', message: 'No message has this id any more' };
}

function wrongState(action: string, is: string): Reply {
  return { kind: 'refused', code: 'WRONG_STATE', message: `Cannot ${action} a message that is ${is}` };
}
