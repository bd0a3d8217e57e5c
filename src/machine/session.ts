/** A session: how it is made, and when one of its consumers can take more. */
import type { Consumer, Session } from './memory.ts';

/** How many answers a session may leave unconfirmed; a client that asks for more breaks the protocol. */
export const MAX_UNCONFIRMED_ANSWERS = 4_096;

export function createSession(number: number, id: string, host: string): Session {
  return {
    id,
    number,
    host,
    refs: new Map(),
    consumers: new Map(),
    held: new Map(),
    reserved: false,
    applied: 0,
    answers: new Map(),
    answeredUpTo: 0,
    expiresAt: 0,
  };
}

/** Whether a message may be handed to the consumer now. */
export function hasRoom(consumer: Consumer): boolean {
  return consumer.held < consumer.size && !consumer.session.reserved;
}
