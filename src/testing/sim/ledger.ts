/** The ledger: what is known of every message from the commits that have become durable. */
import type { ChannelTotals } from '../../model/views.ts';
import { NO_TOTALS } from '../../model/metrics.ts';
import type { Policy } from '../../model/policy.ts';
import type { Happening } from '../../model/states.ts';
import type {
  ChannelContent,
  CommitContent,
  GroupContent,
  ItemContent,
  LiveContent,
  Transition,
} from './commit-content.ts';

export type LedgerState = 'waits' | 'leased' | 'givenUp' | 'completed' | 'dead' | 'cancelled' | 'purged' | 'removed';

export interface LedgerMessage extends ItemContent {
  /** As it is now, whatever was produced. */
  content: string;
  dueAt: number;
  readonly producedAt: number;
  /** The channel that it was produced to; dead letters move. */
  readonly producedTo: number;
  /** Simulated time of the commit that made it durable. */
  readonly durableAt: number;
  channel: number;
  policy: number;
  state: LedgerState;
  /** The newest token, its claims and how they ended, in order. */
  token: number;
  readonly claims: Claim[];
  /** Failed attempts since it was produced, moved or redriven. */
  nacks: number;
  moved: boolean;
  /** It waits for others, since this simulated time. */
  blockedAt: number | undefined;
  /** It became ready before the end of its delay: promoted, moved or redriven. */
  promoted: boolean;
  /** Machine time before which a delay holds it back. */
  notBefore: number;
  failure: string | undefined;
  /** Simulated time of its last transition, and of the first one that ended it. */
  touchedAt: number;
  endedAt: number | undefined;
}

export interface Claim {
  readonly token: number;
  readonly attempt: number;
  readonly session: number;
  /** The secret name of that session. */
  readonly sessionId: string;
  /** The incarnation of the process that holds it. */
  readonly host: string;
  readonly claimedAt: number;
  readonly alone: boolean;
  /** What was handed out. */
  readonly content: string;
  /** Its handler was told to end. */
  isCancelled: boolean;
  ended: Happening | undefined;
}

/** What a session has in hand, as the store has it. */
export interface SessionWork {
  /** Its secret name. */
  readonly id: string;
  readonly host: string;
  /** How many messages it holds that were claimed in company. */
  plain: number;
  /** The newest claim of a suspect, and until when, in simulated time, that is or was alone with the session. */
  suspect: Claim | undefined;
  aloneUntil: number;
  /** Simulated time since which it has held no message that was claimed in company. */
  clearSince: number;
}

/** A suspect is alone with its session for no longer than this, in milliseconds. */
const ALONE_MS = 5_000;

/** A transition that was not possible, for S3 to S5 to object to. */
export interface Impossible {
  readonly transition: Transition;
  readonly was: LedgerState | 'unknown';
}

/** What happens to a message that stays where it is. */
const STAYS: ReadonlySet<Happening> = new Set(['updated', 'progress', 'logged']);

const LEAVES_LEASE: ReadonlySet<Happening> = new Set(['acked', 'nacked', 'released', 'leaseLost', 'snoozed', 'failed']);

const ENDS: ReadonlySet<Happening> = new Set([
  'acked',
  'failed',
  'expired',
  'cancelled',
  'replaced',
  'purged',
  'removed',
]);

export class Ledger {
  readonly messages: Map<number, LedgerMessage> = new Map();
  readonly byId: Map<string, LedgerMessage> = new Map();
  readonly channels: Map<number, ChannelContent> = new Map();
  /** Groups of which something is kept, by the number of the channel and the key. */
  readonly groups: Map<string, GroupContent> = new Map();
  /** When a pause ended last, by channel. */
  readonly resumedAt: Map<number, number> = new Map();
  readonly policies: Map<number, Policy> = new Map();
  /** Where live messages stand, by page. */
  readonly pages: Map<string, readonly LiveContent[]> = new Map();
  /** Counted from the transitions, by channel. */
  readonly totals: Map<number, { -readonly [K in keyof ChannelTotals]: ChannelTotals[K] }> = new Map();
  /** What the last commit did that could not be. */
  impossible: Impossible[] = [];
  /** Ids that became durable a second time. */
  repeated: string[] = [];
  /** Packs that were erased while a message in them was alive. */
  lost: LedgerMessage[] = [];
  /** Messages that were produced in the last commit. */
  produced: LedgerMessage[] = [];
  /** Sessions that ended in the last commit. */
  endedSessions: SessionWork[] = [];
  /** What became of messages that waited for others, in the last commit. */
  wentOn: { readonly what: Happening; readonly since: number }[] = [];
  machineNow = 0;
  /** Sessions that have not ended, the newest last. */
  readonly sessions: Map<number, SessionWork> = new Map();
  readonly #items = new Map<
    number,
    { readonly item: ItemContent; readonly channel: number; readonly producedAt: number }
  >();
  readonly #bySeqInPack = new Map<number, number[]>();
  readonly #packs = new Map<number, number>();
  /** Simulated times, as of the last commit. */
  #aloneUntil = -Infinity;
  #suspectUntil = -Infinity;

  add(content: CommitContent, at: number): void {
    this.impossible = [];
    this.repeated = [];
    this.lost = [];
    this.produced = [];
    this.endedSessions = [];
    this.wentOn = [];
    // What stood in the store up to this commit counts up to now.
    this.#aloneUntil = this.aloneUntil(at);
    this.#suspectUntil = this.suspectUntil(at);
    this.machineNow = Math.max(this.machineNow, content.now);
    for (const channel of content.channels) {
      if (this.channels.get(channel.number)?.paused === true && !channel.paused) this.resumedAt.set(channel.number, at);
      this.channels.set(channel.number, channel);
    }
    for (const group of content.groups) {
      const name = `${group.channel}/${group.key}`;
      if (group.paused || group.heldUntil > 0) this.groups.set(name, group);
      else this.groups.delete(name);
    }
    for (const { number, policy } of content.policies) this.policies.set(number, policy);
    for (const { pack, channel, producedAt, items } of content.packs) {
      // What was published to several channels is one pack with messages of all of them.
      const before = this.#bySeqInPack.get(pack) ?? [];
      this.#bySeqInPack.set(pack, [...before, ...items.map(({ seq }) => seq)]);
      for (const item of items) {
        this.#items.set(item.seq, { item, channel, producedAt });
        this.#packs.set(item.seq, pack);
      }
    }
    const live = new Map<number, LiveContent>();
    for (const message of content.delayed) live.set(message.seq, message);
    for (const { page, messages } of content.pages) {
      if (messages.length === 0) this.pages.delete(page);
      else this.pages.set(page, messages);
      for (const message of messages) live.set(message.seq, message);
    }
    for (const { number, id, host } of content.sessions) {
      if (this.sessions.get(number)?.id === id) continue;
      // A number that was never durable is given out again.
      this.sessions.delete(number);
      this.sessions.set(number, { id, host, plain: 0, suspect: undefined, aloneUntil: at, clearSince: at });
    }
    for (const { seq, content: payload } of content.payloads) {
      const message = this.messages.get(seq);
      if (message !== undefined) message.content = payload;
    }
    for (const transition of content.transitions) this.#apply(transition, live.get(transition.seq), at);
    for (const { seq, isCancelled } of live.values()) {
      const claim = isCancelled ? this.messages.get(seq)?.claims.at(-1) : undefined;
      if (claim !== undefined) claim.isCancelled = true;
    }
    for (const { seq, failure } of content.ends) {
      const message = this.messages.get(seq);
      if (message !== undefined) message.failure = failure;
    }
    for (const number of content.endedSessions) {
      const ended = this.sessions.get(number);
      if (ended !== undefined) this.endedSessions.push(ended);
      this.sessions.delete(number);
    }
    for (const pack of content.erasedPacks) this.#erase(pack, []);
    for (const { pack, kept } of content.sparsePacks) this.#erase(pack, kept);
  }

  /** The messages of a channel that are ready, as the store has them. */
  *ready(channel: number): Generator<LiveContent> {
    for (const messages of this.pages.values()) {
      for (const message of messages) if (message.channel === channel && message.state === 'ready') yield message;
    }
  }

  /** The session of the client that lives in this incarnation of a process. */
  sessionOf(host: string): SessionWork | undefined {
    let newest: SessionWork | undefined;
    for (const work of this.sessions.values()) if (work.host === host) newest = work;
    return newest;
  }

  /** Until when, as of now, a message was with a session alone. */
  aloneUntil(now: number): number {
    let latest = this.#aloneUntil;
    for (const { suspect, aloneUntil } of this.sessions.values())
      if (suspect !== undefined) latest = Math.max(latest, Math.min(now, aloneUntil));
    return latest;
  }

  /** Until when, as of now, a suspect was ready. */
  suspectUntil(now: number): number {
    for (const messages of this.pages.values())
      if (messages.some(({ suspect, state }) => suspect && state === 'ready')) return now;
    return this.#suspectUntil;
  }

  /** The pack in which a message was produced. */
  packOf(seq: number): number | undefined {
    return this.#packs.get(seq);
  }

  channelNamed(name: string): ChannelContent | undefined {
    for (const channel of this.channels.values()) if (channel.name === name) return channel;
    return undefined;
  }

  totalsOf(channel: number): { -readonly [K in keyof ChannelTotals]: ChannelTotals[K] } {
    let totals = this.totals.get(channel);
    if (totals === undefined) {
      totals = { ...NO_TOTALS };
      this.totals.set(channel, totals);
    }
    return totals;
  }

  #apply(transition: Transition, live: LiveContent | undefined, at: number): void {
    const { what, seq } = transition;
    if (what === 'produced') return this.#produce(seq, live, at);
    const message = this.messages.get(seq);
    if (message === undefined) return void this.impossible.push({ transition, was: 'unknown' });
    if (!mayHappen(what, message)) this.impossible.push({ transition, was: message.state });
    const claim = message.claims.at(-1);
    if (claim !== undefined && message.state === 'leased') {
      claim.ended = what;
      this.#release(claim, at);
    }
    if (live !== undefined) message.policy = live.policy;
    if (live?.failure !== undefined) message.failure = live.failure;
    message.touchedAt = at;
    if (!STAYS.has(what)) {
      if (message.blockedAt !== undefined) this.wentOn.push({ what, since: message.blockedAt });
      message.blockedAt = what === 'blocked' ? at : undefined;
    }
    if (ENDS.has(what)) message.endedAt ??= at;
    this.#count(what, message);
    switch (what) {
      case 'claimed':
        this.#claim(message, transition, live, at);
        break;
      case 'nacked':
        message.nacks += 1;
        message.notBefore = 0;
        message.state = 'waits';
        break;
      case 'moved':
        Object.assign(message, {
          state: 'waits',
          nacks: 0,
          moved: true,
          promoted: true,
          channel: live?.channel ?? message.channel,
        });
        this.totalsOf(message.channel).produced += 1;
        break;
      case 'redriven':
      case 'retried':
        Object.assign(message, { state: 'waits', nacks: 0, promoted: true });
        break;
      case 'promoted':
        message.promoted = true;
        break;
      case 'postponed':
        postpone(message, live);
        break;
      case 'givenUp':
        message.state = 'givenUp';
        break;
      case 'due':
      case 'unblocked':
      case 'updated':
      case 'progress':
      case 'logged':
        break;
      default:
        message.state = stateAfter(what);
    }
  }

  #produce(seq: number, live: LiveContent | undefined, at: number): void {
    const found = this.#items.get(seq);
    if (found === undefined || this.messages.has(seq)) {
      this.impossible.push({ transition: { what: 'produced', seq, attempt: 0, session: 0 }, was: 'unknown' });
      return;
    }
    const { item, channel, producedAt } = found;
    const message: LedgerMessage = {
      ...item,
      producedAt,
      producedTo: channel,
      durableAt: at,
      channel,
      policy: live?.policy ?? 0,
      state: 'waits',
      token: 0,
      claims: [],
      nacks: 0,
      moved: false,
      blockedAt: undefined,
      promoted: false,
      notBefore: item.dueAt === 0 ? producedAt + item.delayMs : 0,
      failure: undefined,
      touchedAt: at,
      endedAt: undefined,
    };
    if (this.byId.has(item.id)) this.repeated.push(item.id);
    this.messages.set(seq, message);
    this.byId.set(item.id, message);
    this.produced.push(message);
    this.totalsOf(channel).produced += 1;
  }

  #claim(message: LedgerMessage, { attempt, session }: Transition, live: LiveContent | undefined, at: number): void {
    message.state = 'leased';
    // A message that was claimed before counts as delivered again, unless no handler ever saw it.
    const { token = 0, claimedAt = 0, alone = false } = live ?? {};
    const work = this.sessions.get(session);
    const { id: sessionId = '', host = '' } = work ?? {};
    const { content } = message;
    const claim: Claim = {
      token,
      attempt,
      session,
      sessionId,
      host,
      claimedAt,
      alone,
      content,
      isCancelled: false,
      ended: undefined,
    };
    message.claims.push(claim);
    message.token = token;
    if (work === undefined) return;
    if (alone) Object.assign(work, { suspect: claim, aloneUntil: at + ALONE_MS });
    else work.plain += 1;
  }

  #release(claim: Claim, at: number): void {
    const work = this.sessions.get(claim.session);
    if (work === undefined) return;
    if (!claim.alone) {
      work.plain -= 1;
      if (work.plain === 0) work.clearSince = at;
    } else if (work.suspect === claim) {
      work.suspect = undefined;
      work.aloneUntil = Math.min(work.aloneUntil, at);
    }
  }

  #count(what: Happening, message: LedgerMessage): void {
    const { channel } = message;
    const totals = this.totalsOf(channel);
    if (what === 'acked') totals.completed += 1;
    else if (what === 'failed' || what === 'expired') totals.dead += 1;
    else if (what === 'cancelled' || what === 'replaced') totals.cancelled += 1;
    else if (what === 'purged' || (what === 'removed' && isAlive(message))) totals.purged += 1;
  }

  #erase(pack: number, kept: readonly number[]): void {
    for (const seq of this.#bySeqInPack.get(pack) ?? []) {
      if (kept.includes(seq)) continue;
      const message = this.messages.get(seq);
      if (message !== undefined && isAlive(message)) this.lost.push(message);
    }
  }
}

/** It waits for another time from now on, where that stands in the store; if it is over by now, nothing does. */
function postpone(message: LedgerMessage, live: LiveContent | undefined): void {
  message.promoted = live === undefined || live.state !== 'delayed';
  message.notBefore = live?.dueClock === 0 ? live.dueAt : 0;
  message.dueAt = live?.dueClock === 1 ? live.dueAt : 0;
}

export function isAlive({ state }: LedgerMessage): boolean {
  return state === 'waits' || state === 'leased' || state === 'givenUp';
}

function stateAfter(what: Happening): LedgerState {
  if (what === 'acked') return 'completed';
  if (what === 'failed' || what === 'expired') return 'dead';
  if (what === 'cancelled' || what === 'replaced') return 'cancelled';
  return what === 'purged' || what === 'removed' ? what : 'waits';
}

/** A second, independent statement of what the table of transitions allows. */
function mayHappen(what: Happening, { state, blockedAt }: LedgerMessage): boolean {
  // What it waits for has failed it.
  if (blockedAt !== undefined && what === 'failed') return true;
  if (state === 'givenUp') return what === 'failed' || what === 'expired' || what === 'cancelled';
  if (what === 'givenUp') return state === 'waits' || state === 'leased';
  if (LEAVES_LEASE.has(what)) return state === 'leased';
  if (what === 'moved' || what === 'redriven') return state === 'dead';
  const isKept = state === 'completed' || state === 'dead' || state === 'cancelled';
  if (what === 'retried') return isKept;
  if (what === 'removed') return isKept || state === 'waits';
  if (what === 'progress' || what === 'logged') return state === 'leased';
  if (what === 'cancelled' || what === 'blocked') return state === 'waits' || state === 'leased';
  return state === 'waits';
}
