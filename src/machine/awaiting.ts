/** Waiting for the end of a message. */
import type { Await, Reply } from '../model/command.ts';
import { messageIdText } from '../model/message-id.ts';
import { type ColdView, lastEnd, locate, type Need } from './cold.ts';
import { KIND } from './layout.ts';
import { lookAgain } from './lifecycle.ts';
import { keptMessage } from './manage.ts';
import type { Channel, Session } from './memory.ts';
import { awaitEnd } from './produce.ts';
import { refusalFor } from './rights.ts';
import type { MachineState } from './state.ts';

const DONE: Reply = { kind: 'done' };

/** What must be read to know whether the message has ended. */
export function planAwait(state: MachineState, { id, stop }: Await, view: ColdView): Need | undefined {
  if (stop) return undefined;
  const located = locate(state.layout, id, view);
  if (!('found' in located)) return located;
  if (located.found === undefined || state.messages.has(located.found.seq)) return undefined;
  const ends = state.layout.range(KIND.ended, located.found.pack);
  return view.range(ends) === undefined ? { keys: [], ranges: [ends] } : undefined;
}

/** Sees to it that the session hears of the end, at once if that was before; or hears no more of it. */
export function applyAwait(state: MachineState, session: Session, { id, stop }: Await, view: ColdView): Reply {
  const text = messageIdText(id);
  const waiting = state.awaited.get(text);
  if (stop) {
    if (waiting?.delete(session) === true && waiting.size === 0) stopAwaiting(state, text);
    return DONE;
  }
  const located = locate(state.layout, id, view);
  const at = 'found' in located ? located.found : undefined;
  const live = at === undefined ? undefined : state.messages.get(at.seq);
  if (live !== undefined) {
    const refusal = refusalFor(session, live.channel.name, 'wait for', 'read', 'produce');
    if (refusal === undefined) awaitEnd(state, session, text, live.seq);
    return refusal ?? DONE;
  }
  // Whose rights depend on the channel cannot wait for a message of an unknown one.
  if (at === undefined && waiting !== undefined && session.grant.isAdmin) {
    waiting.add(session);
    return DONE;
  }
  const end = at === undefined ? undefined : lastEnd(at, view.range(state.layout.range(KIND.ended, at.pack)) ?? []);
  const kept = end !== undefined && keptMessage(state, end) !== undefined ? end : undefined;
  if (kept !== undefined && end !== undefined) {
    const { name } = state.channelNumbers.get(end.channel) as Channel;
    const refusal = refusalFor(session, name, 'wait for', 'read', 'produce');
    if (refusal !== undefined) return refusal;
    awaitEnd(state, session, text, kept.seq);
  }
  const notice = { kind: 'ended', id, state: kept?.state, result: kept?.result, failure: kept?.failure } as const;
  state.changes.notices.push({ session, notice });
  return DONE;
}

function stopAwaiting(state: MachineState, id: string): void {
  state.awaited.delete(id);
  for (const [seq, awaited] of state.awaitedSeqs) if (awaited === id) state.awaitedSeqs.delete(seq);
  lookAgain(state);
}
