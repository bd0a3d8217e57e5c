/** What a session's number of a channel or topic stands for, for messages that commit with something else. */
import type { Produce } from '../model/command.ts';
import type { Session } from './memory.ts';
import { fullChannel, produceBlocks } from './produce.ts';
import { type Refused, refusalToProduce } from './rights.ts';
import type { MachineState } from './state.ts';
import { publishBlocks, refusalForRoom, refusalToPublish } from './topics.ts';

type Part = Omit<Produce, 'atomic'>;

/** Whether the session has given this number to a channel or a topic, be it in vain. */
export function isKnownRef({ refs, topicRefs, refusedRefs }: Session, ref: number): boolean {
  return refs.has(ref) || topicRefs.has(ref) || refusedRefs.has(ref);
}

/** Why the session may not produce or publish this; `undefined` when it may. */
export function refusalToSend(state: MachineState, session: Session, { ref, blocks }: Part): Refused | undefined {
  const topic = session.topicRefs.get(ref);
  if (topic !== undefined) return refusalToPublish(state, session, topic, blocks);
  const target = session.refs.get(ref);
  return target === undefined ? session.refusedRefs.get(ref) : refusalToProduce(session, target, blocks);
}

/** Why there is no room for all of this; `undefined` when there is. */
export function refusalForWantOfRoom(
  state: MachineState,
  session: Session,
  parts: readonly Part[],
): Refused | undefined {
  for (const { ref, blocks } of parts) {
    const topic = session.topicRefs.get(ref);
    const refusal = topic && refusalForRoom(state, topic, blocks);
    if (refusal !== undefined) return refusal;
  }
  const full = fullChannel(session, parts);
  if (full === undefined) return undefined;
  const message = `Cannot produce to "${full}": it holds as many messages as it may`;
  return { kind: 'refused', code: 'BACKLOG_FULL', message };
}

/** Produces or publishes it, and is held back by no limit any more. */
export function send(state: MachineState, session: Session, { ref, blocks }: Part): void {
  const topic = session.topicRefs.get(ref);
  const target = session.refs.get(ref);
  if (topic !== undefined) publishBlocks(state, session, topic, blocks);
  else if (target !== undefined) produceBlocks(state, session, target, blocks, Infinity, { isUnbounded: true });
}
