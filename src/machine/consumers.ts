/** The line of a channel's consumers, and the sessions they belong to. */
import type { Window } from '../model/command.ts';
import type { Grant } from '../model/scopes.ts';
import { forgetBullPart } from './bull/locks.ts';
import type { ChannelRef, Consumer, Session } from './memory.ts';
import { endWatches } from './kv-watches.ts';
import { stopWantingRoom } from './group-room.ts';
import { KIND } from './layout.ts';
import { createSession } from './session.ts';
import { erase, type MachineState } from './state.ts';

/** Lets a consumer stand in its channel's line as soon as it has room. */
export function queueConsumer(state: MachineState, consumer: Consumer): void {
  state.dispatchable.add(consumer.channel);
  if (consumer.queued) return;
  consumer.queued = true;
  consumer.channel.line.push(consumer);
}

/** Opens a consumer, or changes how much it is willing to hold. */
export function applyWindow(state: MachineState, session: Session, { channel }: ChannelRef, command: Window): void {
  let consumer = session.consumers.get(command.consumer);
  if (consumer === undefined) {
    consumer = {
      number: command.consumer,
      session,
      channel,
      usage: undefined,
      size: 0,
      handlers: 0,
      held: 0,
      queued: false,
    };
    for (const message of session.held.values()) {
      if (message.lease?.consumer === consumer.number) consumer.held += 1;
    }
    session.consumers.set(command.consumer, consumer);
    channel.consumers += 1;
  }
  consumer.size = command.size;
  consumer.handlers = command.handlers ?? command.size;
  if (consumer.size > 0) queueConsumer(state, consumer);
  else if (consumer.held === 0) closeConsumer(consumer);
}

/** Notes that a consumer holds one message less. */
export function releaseFrom(state: MachineState, consumer: Consumer): void {
  consumer.held -= 1;
  if (consumer.size > 0) queueConsumer(state, consumer);
  else if (consumer.held === 0) closeConsumer(consumer);
}

/** Takes all consumers of a session out of service; what the session holds is another matter. */
export function closeConsumers(session: Session): void {
  for (const consumer of session.consumers.values()) closeConsumer(consumer);
}

function closeConsumer(consumer: Consumer): void {
  consumer.size = 0;
  consumer.channel.consumers -= 1;
  consumer.session.consumers.delete(consumer.number);
}

/** What a client has proven of itself. */
export interface Proof {
  /** The id of its access token; empty when it needs none. */
  readonly accessToken: string;
  readonly grant: Grant;
}

/** Finds the session of a client, or opens it; `undefined` when it was opened with another access token. */
export function openSession(
  state: MachineState,
  id: string,
  host: string,
  { accessToken, grant }: Proof,
): { session: Session; resumed: boolean } | undefined {
  const found = state.sessions.get(id);
  if (found !== undefined) {
    if (found.accessToken !== accessToken) return undefined;
    found.grant = grant;
    if (found.expiresAt !== 0) state.expiringSessions.remove(found);
    found.expiresAt = 0;
    found.restored = false;
    // Over its new link the client says what it holds before it asks for more; what it was handed earlier it would not know.
    closeConsumers(found);
    return { session: found, resumed: true };
  }
  const session = createSession(state.nextSession++, id, host, accessToken);
  session.grant = grant;
  state.sessions.set(id, session);
  state.changes.sessions.add(session);
  state.changes.dirty = true;
  return { session, resumed: false };
}

/** Forgets a session that holds nothing any more. */
export function forgetSession(state: MachineState, session: Session): void {
  closeConsumers(session);
  if (session.expiresAt !== 0) state.expiringSessions.remove(session);
  if (state.sessions.get(session.id) === session) state.sessions.delete(session.id);
  state.changes.sessions.delete(session);
  state.journalReaders.delete(session);
  endWatches(state, session);
  forgetBullPart(state, session);
  stopWantingRoom(session);
  for (const { watchers } of state.runningBulks) watchers.delete(session);
  state.lone.delete(session);
  for (const channel of state.channels.values()) {
    channel.roomWanted.delete(session);
    channel.watchers.delete(session);
  }
  for (const [id, waiting] of state.awaited) {
    if (waiting.delete(session) && waiting.size === 0) state.awaited.delete(id);
  }
  for (const [seq, id] of state.awaitedSeqs) if (!state.awaited.has(id)) state.awaitedSeqs.delete(seq);
  erase(state, state.layout.key(KIND.session, session.number));
}
