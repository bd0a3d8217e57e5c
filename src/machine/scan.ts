/**
 * Looking messages through by a filter, a bounded part of them at a time: first those that have not ended, in the order of their
 * numbers, then the ended ones of each channel and state, in the order in which they ended; or all of it backwards. A message
 * keeps its number as long as it lives, so in one pass none is met twice or missed, whatever state it goes to.
 */
import { secondOf } from '../model/block.ts';
import type { MessageFilter, ScanPosition } from '../model/filter.ts';
import type { EndedState } from '../model/states.ts';
import { backlogOf } from './channel.ts';
import type { ColdView, Need } from './cold.ts';
import { type Candidate, Evidence, type Question } from './evidence.ts';
import type { Channel, EndedList, Message } from './memory.ts';
import type { MachineState } from './state.ts';

/** What is looked for, and where. */
export interface Query extends Question {
  /** Those that are looked through, by their numbers; `undefined` for all. */
  readonly channel: Channel | undefined;
  /** Whether messages of a channel may be found; asked where all are looked through. */
  readonly mayFind?: (channel: Channel) => boolean;
  readonly backwards: boolean;
  readonly after: ScanPosition | undefined;
  /** Only what was produced below this number, and ended no later than this. */
  readonly until?: { readonly seq: number; readonly endedAt: number };
}

/** How far one step goes, at most. */
export interface Bounds {
  readonly found: number;
  /** Messages, places of others, and lists that are passed. */
  readonly passed: number;
  /** Packs that records are read for, and bytes of payloads. */
  readonly packs: number;
  readonly bytes: number;
}

/** What one step has come to. */
export interface Look {
  readonly found: readonly Candidate[];
  /** Where the next one goes on; `undefined` when there is no more. */
  readonly next: ScanPosition | undefined;
  /** What the view lacks; then the rest is of no use. */
  readonly need: Need | undefined;
  readonly evidence: Evidence;
  readonly passed: number;
}

/** Records that are asked for first; it may turn out that these are enough. */
const FIRST_PACKS = 8;

const ENDED_STATES = ['completed', 'dead', 'cancelled'] as const satisfies readonly EndedState[];

/** A channel with no more messages than this is looked through by its own pages, and not among all others. */
const SMALL_BACKLOG = 2_000;

export function look(state: MachineState, query: Query, bounds: Bounds, view: ColdView): Look {
  const evidence = new Evidence(state, query, view);
  const found: Candidate[] = [];
  let passed = 0;
  let unread = 0;
  let next = query.after;
  const done = (end: boolean): Look => {
    const need = evidence.need();
    return { found, next: end ? undefined : next, need, evidence, passed };
  };
  for (const { position, candidate } of walk(state, query)) {
    // What is yet to be read may be all that this step finds.
    if (passed >= bounds.passed || found.length + unread >= bounds.found) return done(false);
    if (evidence.packs >= bounds.packs || evidence.bytes >= bounds.bytes) return done(false);
    passed += 1;
    if (candidate !== undefined && mayMatch(candidate, query)) {
      const matches = evidence.matches(candidate);
      if (matches === true) found.push(candidate);
      if (matches === undefined) unread += 1;
      // More is asked for at a time the more has been read, so that few rounds go by in vain.
      if (matches === undefined && evidence.missing >= Math.max(FIRST_PACKS, evidence.packs)) return done(false);
    }
    next = position;
  }
  return done(true);
}

interface Step {
  readonly position: ScanPosition;
  /** `undefined` where something else is passed. */
  readonly candidate: Candidate | undefined;
}

function* walk(state: MachineState, query: Query): Generator<Step> {
  for (const { stage, list } of parts(state, query)) {
    const from = query.after?.stage === stage ? query.after : undefined;
    if (list === undefined) yield* walkLive(state, query, from);
    else yield* walkEnded(query, list, stage, from);
  }
}

/** The parts of the order that are not behind us: 0 for those that live, and one for each state of each channel. */
function* parts(
  state: MachineState,
  { channel, filter, after, mayFind }: Query,
): Generator<{ readonly stage: number; readonly list: EndedList | undefined }> {
  const first = after?.stage ?? 0;
  if (first === 0 && filter.states.some((one) => !isEnded(one))) yield { stage: 0, list: undefined };
  const wanted = ENDED_STATES.filter((one) => filter.states.includes(one));
  if (wanted.length === 0) return;
  const from = channel?.number ?? Math.max(1, Math.floor((first - 1) / ENDED_STATES.length));
  const to = channel?.number ?? state.nextChannel - 1;
  for (let number = from; number <= to; number++) {
    const of = state.channelNumbers.get(number);
    if (of === undefined || mayFind?.(of) === false) continue;
    for (const ended of wanted) {
      const stage = 1 + number * ENDED_STATES.length + ENDED_STATES.indexOf(ended);
      if (stage >= first) yield { stage, list: of.ended[ended] };
    }
  }
}

function isEnded(state: MessageFilter['states'][number]): boolean {
  return ENDED_STATES.some((one) => one === state);
}

function* walkLive(state: MachineState, query: Query, from: ScanPosition | undefined): Generator<Step> {
  const { channel, backwards } = query;
  if (channel !== undefined && backlogOf(channel) <= SMALL_BACKLOG) return yield* walkSmall(query, channel, from);
  const { messages } = state;
  let seq = from?.a ?? (backwards ? Infinity : 0);
  for (;;) {
    const message = backwards ? messages.below(seq) : messages.above(seq);
    if (message === undefined) return;
    seq = message.seq;
    const position = { stage: 0, a: seq, b: 0 };
    yield { position, candidate: isOf(message, query) ? candidateOf(message, position) : undefined };
  }
}

function* walkSmall(query: Query, channel: Channel, from: ScanPosition | undefined): Generator<Step> {
  const sign = query.backwards ? -1 : 1;
  const all = channel.delayed.slice(0, channel.delayed.size);
  for (const lane of channel.lanes.values()) for (const page of lane.values()) all.push(...page.messages);
  all.sort((a, b) => sign * (a.seq - b.seq));
  for (const message of all) {
    if (from !== undefined && sign * (message.seq - from.a) <= 0) continue;
    const position = { stage: 0, a: message.seq, b: 0 };
    yield { position, candidate: candidateOf(message, position) };
  }
}

function isOf({ channel }: Message, query: Query): boolean {
  return query.channel === undefined ? query.mayFind?.(channel) !== false : query.channel === channel;
}

function candidateOf(live: Message, position: ScanPosition): Candidate {
  const { seq, pack, second } = live;
  return { seq, pack, second, live, ended: undefined, list: undefined, position };
}

function* walkEnded(
  { backwards, filter, until }: Query,
  list: EndedList,
  stage: number,
  from: ScanPosition | undefined,
): Generator<Step> {
  const { messages } = list;
  const rankOf = (endedAt: number, seq: number): number => messages.rank({ seq, endedAt, pack: 0, second: 0 });
  const { endedAfter = 0, endedBefore = Infinity } = filter;
  const last = Math.min(endedBefore, until === undefined ? Infinity : until.endedAt + 1);
  let rank: number;
  if (backwards) rank = (from === undefined ? rankOf(last, 0) : rankOf(from.a, from.b)) - 1;
  else if (from === undefined) rank = rankOf(endedAfter, 0);
  else {
    rank = rankOf(from.a, from.b);
    if (messages.at(rank)?.seq === from.b) rank += 1;
  }
  for (; rank >= 0; rank += backwards ? -1 : 1) {
    const ended = messages.at(rank);
    if (ended === undefined || ended.endedAt >= last || ended.endedAt < endedAfter) return;
    const { seq, pack, second, endedAt } = ended;
    const position = { stage, a: endedAt, b: seq };
    yield { position, candidate: { seq, pack, second, live: undefined, ended, list, position } };
  }
}

/** Whether what is in memory allows that the filter holds. */
function mayMatch({ live, second, seq }: Candidate, { filter, until }: Query): boolean {
  const { producedAfter, producedBefore, endedAfter, endedBefore } = filter;
  if (until !== undefined && seq >= until.seq) return false;
  if (live !== undefined && (endedAfter !== undefined || endedBefore !== undefined)) return false;
  if (live !== undefined && !filter.states.includes(live.state)) return false;
  if (producedAfter !== undefined && second < secondOf(producedAfter)) return false;
  return producedBefore === undefined || second < secondOf(producedBefore);
}
