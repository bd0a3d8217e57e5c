/** A session: how it is made, and when one of its consumers can take more. */
import type { Reply } from '../model/command.ts';
import { ByteWriter } from '../model/bytes.ts';
import { type ValueCodec, writeReply } from '../model/reply.ts';
import { NOTHING } from '../model/scopes.ts';
import { NumberMap } from '../model/number-map.ts';
import { Fifo } from './fifo.ts';
import type { Answer, Consumer, Lease, Message, Session } from './memory.ts';

/** How many answers a session may leave unconfirmed; a client that asks for more breaks the protocol. */
export const MAX_UNCONFIRMED_ANSWERS = 4_096;

/** How many bytes of answers are kept; above that the oldest are forgotten, and asking again gives `UNKNOWN_OUTCOME`. */
const MAX_ANSWER_BYTES: number = 1024 * 1024;

/** How many names for channels a session may have. */
export const MAX_REFS = 100_000;

/** How many consumers a session may have; more breaks the protocol. */
export const MAX_CONSUMERS = 20_000;

/** Only control commands answer with a value that is remembered, and theirs are counts. */
export const COUNTS: ValueCodec = {
  write: (writer, value) => writer.varint(Number(value)),
  read: (reader) => reader.varint(),
};

const scratch = new ByteWriter(1_024);

/** A session that may do nothing yet. */
export function createSession(number: number, id: string, host: string, accessToken: string): Session {
  return {
    id,
    number,
    host,
    accessToken,
    grant: NOTHING,
    refs: new Map(),
    topicRefs: new Map(),
    refusedRefs: new Map(),
    consumers: new Map(),
    usage: undefined,
    held: new NumberMap(),
    reserved: undefined,
    lone: undefined,
    restsUntil: 0,
    applied: 0,
    answers: new Fifo(),
    answerBytes: 0,
    answeredUpTo: 0,
    expiresAt: 0,
    wakesAt: 0,
    kvWatches: new Map(),
    kvWatchedKeys: 0,
    roomWantedIn: new Set(),
    restored: false,
  };
}

/** Keeps the answer to a request until the client confirms it, as long as there is room for it. */
export function keepAnswer(session: Session, request: number, reply: Reply): void {
  session.applied = request;
  scratch.clear();
  writeReply(scratch, reply, COUNTS);
  const bytes = scratch.finish();
  session.answers.push({ request, reply, bytes });
  session.answerBytes += bytes.length;
  while (session.answerBytes > MAX_ANSWER_BYTES && session.answers.length > 1) forgetOldest(session);
}

/** What was answered to a request; `undefined` when that is not kept any more. */
export function answerTo({ answers }: Session, request: number): Reply | undefined {
  const answer = answers.at(answers.firstWhere((each) => each.request >= request));
  return answer?.request === request ? answer.reply : undefined;
}

/** What a session holds, in the reverse of the order in which it was claimed. */
export function lastClaimedFirst({ held }: Session): Message[] {
  return held.values().sort((a, b) => tokenOf(b) - tokenOf(a));
}

function tokenOf({ lease }: Message): number {
  return (lease as Lease).token;
}

/**
 * The client has the answers up to this request, so all of them were applied. Those without an effect that lasts are
 * not in the session's record, and a broker that was rebuilt from it hears of them here.
 */
export function confirmAnswers(session: Session, upTo: number): void {
  for (
    let oldest = session.answers.at(0);
    oldest !== undefined && oldest.request <= upTo;
    oldest = session.answers.at(0)
  ) {
    forgetOldest(session);
  }
  session.applied = Math.max(session.applied, upTo);
  session.answeredUpTo = Math.max(session.answeredUpTo, upTo);
}

function forgetOldest(session: Session): void {
  session.answerBytes -= (session.answers.at(0) as Answer).bytes.length;
  session.answers.removeFirst(1);
}

/**
 * Whether a message may be handed to the consumer now. Where the channel has limits, it is handed nothing in advance: what
 * waits in its process would count as running, and be late.
 */
export function hasRoom({ channel, size, handlers, held, session }: Consumer): boolean {
  const isLimited = channel.settings.concurrency !== 0 || channel.settings.rate !== null;
  return held < (isLimited ? Math.min(size, handlers) : size) && !isKeptFree(session);
}

/** Whether the session gets nothing new, for the sake of a suspect that it has alone, or is to have. */
export function isKeptFree({ reserved, lone }: Session): boolean {
  return reserved !== undefined || lone !== undefined;
}

/** Whether a suspect may be given to the session: it holds nothing, or only suspects that have had their time alone. */
export function isClear({ held }: Session): boolean {
  for (const { lease } of held.values()) if (lease?.alone !== true) return false;
  return true;
}
