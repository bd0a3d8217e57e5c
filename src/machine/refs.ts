/** What commands of a session call a channel or a topic by, where that stands for nothing. */
import type { Reply } from '../model/command.ts';
import type { Session } from './memory.ts';
import type { Refused } from './rights.ts';
import { isKnownRef } from './targets.ts';

/** What to answer where messages are produced to a name that was never declared. */
export function unknownTarget(session: Session, produced: readonly { readonly ref: number }[]): Reply | undefined {
  const unknown = produced.find(({ ref }) => !isKnownRef(session, ref));
  return unknown === undefined ? undefined : unknownRef(session, unknown.ref);
}

/** As {@link unknownTarget}, where a topic will not do. */
export function unknownChannel(session: Session, produced: readonly { readonly ref: number }[]): Reply | undefined {
  const unknown = produced.find(({ ref }) => !session.refs.has(ref) && !session.refusedRefs.has(ref));
  return unknown === undefined ? undefined : unknownRef(session, unknown.ref);
}

export function unknownRef({ refusedRefs }: Session, ref: number): Reply {
  const refusal = refusedRefs.get(ref);
  if (refusal !== undefined) return refusal;
  return { kind: 'refused', code: 'PROTOCOL', message: `No channel was declared as ${ref} in this session` };
}

/** What the ref stood for before, it does not stand for now. */
export function refuseRef(session: Session, ref: number, refusal: Refused): Refused {
  session.refs.delete(ref);
  session.refusedRefs.set(ref, refusal);
  return refusal;
}
