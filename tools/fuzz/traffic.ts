/**
 * Frames that a client could send: all commands, with what the broker has said so far among their values, and now and
 * then with values that no honest client would choose.
 */
import { encode } from '#holdfast/codec/bson.js';
import { BlockReader, BlockWriter, idSecond } from '#holdfast/model/block.js';
import { systemClock } from '#holdfast/model/clock.js';
import type { Command, LeaseKey, Outcome, Request, Settle } from '#holdfast/model/command.js';
import type { Failure } from '#holdfast/model/failure.js';
import { MESSAGE_ID_BYTES, MessageIdSource } from '#holdfast/model/message-id.js';
import { CHILD_POLICIES, type FlowEdge, type FlowPart } from '#holdfast/model/flow.js';
import { type SettingsPatch, DEFAULT_POLICY, type Policy } from '#holdfast/model/policy.js';
import { STATES } from '#holdfast/model/states.js';
import { encodeHello } from '#holdfast/wire/frames.js';
import { encodeRequests } from '#holdfast/wire/requests.js';
import type { Dice } from './dice.ts';
import { BullTraffic } from './bull-traffic.ts';
import { KvTraffic } from './kv-traffic.ts';
import { GROUPS, LifeTraffic } from './life-traffic.ts';

/** Names of one character: what a mutation makes of one is most often another of few. */
const CHANNELS = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'] as const;

/** Ids of access tokens that may come and go; the run's own is another. */
const TOKEN_IDS = ['000000000001', '000000000002', '0123456789ab'] as const;

const ODD_NUMBERS = [
  0,
  1,
  2,
  3,
  127,
  128,
  255,
  16_384,
  2 ** 28,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32,
  Number.MAX_SAFE_INTEGER,
];

/** So much is kept of what the broker has said. */
const MOST_KNOWN = 32;
const MOST_REFS = 8;
const SMALL_BACKLOG = 200;

/** Ended messages are kept in small numbers, so that what the broker keeps does not grow with the run. */
const SETTINGS: SettingsPatch = {
  completed: { count: 20, ageMs: 10_000 },
  dead: { count: 20, ageMs: 10_000 },
};

const KINDS = [
  ...Array<'produce'>(8).fill('produce'),
  ...Array<'window'>(4).fill('window'),
  ...Array<'settle'>(8).fill('settle'),
  ...Array<'declare'>(3).fill('declare'),
  ...(['started', 'holding', 'extend', 'annotate', 'control', 'manage', 'await', 'watch', 'inspect'] as const),
  ...(['inspect', 'createToken', 'revokeToken', 'retainEvents', 'backup'] as const),
  ...(['declareTopic', 'subscribe', 'subscribe', 'unsubscribe'] as const),
  ...(['update', 'update', 'bulk', 'stopBulk', 'group', 'look', 'look', 'schedule'] as const),
  ...Array<'kvCommit'>(5).fill('kvCommit'),
  ...Array<'kvRead'>(3).fill('kvRead'),
  'kvWatch' as const,
  ...Array<'flow'>(4).fill('flow'),
  ...Array<'bull'>(8).fill('bull'),
];

const TOPICS = ['t', 'topic'] as const;

export interface Identity {
  readonly session: string;
  readonly token: string;
}

/** What one client says. */
export class Traffic {
  readonly #dice: Dice;
  readonly #ids: MessageIdSource;
  readonly #kv: KvTraffic;
  readonly #life: LifeTraffic;
  readonly #bull: BullTraffic;
  readonly #leases: LeaseKey[] = [];
  readonly #known: Uint8Array[] = [];
  #nextRequest = 1;
  #nextBackup = 1;

  constructor(dice: Dice) {
    this.#dice = dice;
    this.#ids = new MessageIdSource(systemClock, dice.random);
    this.#kv = new KvTraffic(dice);
    this.#bull = new BullTraffic(dice);
    this.#life = new LifeTraffic(dice, {
      channel: () => this.#channel(),
      ref: () => this.#ref(),
      id: () => this.#id(),
      number: () => this.#number(),
      block: () => this.#block(1),
    });
  }

  hello({ session, token }: Identity): Uint8Array {
    return encodeHello({ session, host: this.#text(), token, needsToken: this.#dice.chance(0.9) ? 'never' : 'always' });
  }

  /** The commands with which a client begins: names for its channels, and consumers with room. */
  opening(): Uint8Array {
    const commands: Command[] = [];
    for (let ref = 1; ref <= 2; ref++) {
      commands.push(this.#declare(ref), { kind: 'window', consumer: ref, ref, size: 1 + this.#dice.below(8) });
    }
    return this.#frame(commands);
  }

  next(): Uint8Array {
    const commands: Command[] = [];
    for (let count = 1 + this.#dice.below(4); count > 0; count--) commands.push(this.#command());
    return this.#frame(commands);
  }

  /** A frame to be spoiled: its requests have the numbers that the next frame will have too. */
  draft(): Uint8Array {
    const nextRequest = this.#nextRequest;
    const frame = this.next();
    this.#nextRequest = nextRequest;
    return frame;
  }

  /** Learns of a lease, which later commands use. */
  delivered(lease: LeaseKey): void {
    this.#leases.push(lease);
    if (this.#leases.length > MOST_KNOWN) this.#leases.shift();
  }

  #frame(commands: readonly Command[]): Uint8Array {
    const { chance } = this.#dice;
    const requests: Request[] = commands.map((command) => ({ request: this.#requestFor(command), command }));
    const honest = Math.max(0, this.#nextRequest - 1 - this.#dice.below(8));
    return encodeRequests({ answeredUpTo: chance(0.02) ? this.#number() : honest, requests });
  }

  #requestFor({ kind }: Command): number {
    if (this.#dice.chance(0.002)) return this.#number();
    const isNote = ['declare', 'window', 'holding', 'started', 'await'].includes(kind);
    return isNote ? 0 : this.#nextRequest++;
  }

  #command(): Command {
    const { below, chance, pick } = this.#dice;
    switch (pick(KINDS)) {
      case 'produce':
        return { kind: 'produce', ref: this.#ref(), atomic: chance(0.3), blocks: this.#blocks() };
      case 'window':
        return { kind: 'window', consumer: this.#ref(), ref: this.#ref(), size: pick([0, 1, 2, 8, 64, 20_000]) };
      case 'settle':
        return { kind: 'settle', settles: this.#several(4, () => this.#settle()) };
      case 'declare':
        return this.#declare(this.#ref());
      case 'started':
        return { kind: 'started', leases: this.#several(4, () => this.#lease()) };
      case 'holding':
        return { kind: 'holding', leases: this.#several(4, () => this.#lease()) };
      case 'extend':
        return { kind: 'extend', ...this.#lease(), forMs: pick([0, 1, 50, 10_000, 2 ** 31]) };
      case 'annotate':
        return {
          kind: 'annotate',
          ...this.#lease(),
          progress: chance(0.5) ? encode({ at: below(100) }) : undefined,
          line: chance(0.5) ? this.#text() : undefined,
        };
      case 'control':
        return {
          kind: 'control',
          channel: this.#channel(),
          action: pick(['pause', 'resume', 'resume', 'purge', 'redrive', 'configure'] as const),
          settings: SETTINGS,
        };
      case 'manage':
        return {
          kind: 'manage',
          id: this.#id(),
          action: pick(['cancel', 'promote', 'redrive', 'retry', 'remove'] as const),
          children: chance(0.5),
        };
      case 'await':
        return { kind: 'await', id: this.#id(), stop: chance(0.3) };
      case 'watch':
        return { kind: 'watch', channel: this.#channel() };
      case 'kvCommit':
        return this.#kv.commit(chance(0.3) ? [{ kind: 'produce', ref: this.#ref(), blocks: this.#blocks() }] : []);
      case 'flow': {
        const produced = this.#several(3, () => this.#part());
        const under = chance(0.2) ? this.#id() : undefined;
        return { kind: 'flow', produced, edges: this.#edges(produced, under !== undefined), under };
      }
      case 'kvRead':
        return this.#kv.read();
      case 'kvWatch':
        return this.#kv.watch();
      case 'inspect':
        return this.#inspect();
      case 'createToken':
        return {
          kind: 'createToken',
          id: pick(TOKEN_IDS),
          hash: this.#dice.bytes(32),
          label: this.#text().slice(0, 255),
          scopes: [pick(['server:admin', 'channel:*:produce,read', 'channel:a:consume', 'kv:a:r'])],
          expiresInMs: chance(0.5) ? 1 + below(1_000) : undefined,
        };
      case 'update':
        return this.#life.update();
      case 'bulk':
        return this.#life.bulk();
      case 'stopBulk':
        return this.#life.stopBulk();
      case 'group':
        return this.#life.group();
      case 'look':
        return this.#life.inspect();
      case 'schedule':
        return this.#life.schedule();
      case 'bull':
        return this.#bull.next();
      case 'declareTopic':
        return { kind: 'declareTopic', ref: this.#ref(), topic: pick(TOPICS) };
      case 'subscribe':
        return { kind: 'subscribe', topic: pick(TOPICS), channel: this.#channel(), policy: this.#policy() };
      case 'unsubscribe':
        return { kind: 'unsubscribe', topic: pick(TOPICS), channel: this.#channel() };
      case 'retainEvents':
        return { kind: 'retainEvents', count: below(1_000_001), ageMs: below(100_000) };
      case 'revokeToken':
        return { kind: 'revokeToken', id: pick(TOKEN_IDS) };
      case 'backup':
        return {
          kind: 'backup',
          id: chance(0.8) ? this.#nextBackup++ : 1,
          part: pick([0, 0, 1, 2]),
          stop: chance(0.4),
        };
    }
  }

  #inspect(): Command {
    const { below, chance, pick } = this.#dice;
    const channel = this.#channel();
    switch (below(12)) {
      case 0:
        return { kind: 'inspect', what: 'channels' };
      case 6: {
        const [from, to] = [pick([undefined, 0, this.#number()]), pick([undefined, 8.64e15, this.#number()])];
        const stepMs = pick([undefined, 60_000, 86_400_000]);
        const some = { after: this.#number(), limit: 1 + below(2_000), from, to, stepMs };
        return { kind: 'inspect', what: 'metrics', channel: chance(0.5) ? channel : undefined, ...some };
      }
      case 7: {
        const [from, to] = [pick([undefined, -8.64e15, this.#number()]), pick([undefined, 8.64e15, this.#number()])];
        const after = pick([undefined, new Uint8Array(32).fill(below(256))]);
        return {
          kind: 'inspect',
          what: 'usage',
          from,
          to,
          token: undefined,
          channel: pick([undefined, channel]),
          after,
        };
      }
      case 1:
        return { kind: 'inspect', what: 'tokens' };
      case 2:
        return { kind: 'inspect', what: 'channel', channel };
      case 3:
        return { kind: 'inspect', what: 'overview', after: this.#number(), limit: 1 + below(2_000) };
      case 4:
        return { kind: 'inspect', what: 'message', id: this.#id() };
      case 8:
        return { kind: 'inspect', what: 'children', ...this.#lease(), offset: this.#number(), limit: 1 + below(200) };
      case 9:
        return {
          kind: 'inspect',
          what: 'flow',
          id: this.#id(),
          offset: below(9),
          limit: 1 + below(2_000),
          depth: below(30),
        };
      case 5: {
        const after = pick([undefined, { at: 0 }, { commit: this.#number(), index: this.#number() }]);
        return {
          kind: 'inspect',
          what: 'events',
          after,
          filter: {
            channel: chance(0.5) ? channel : undefined,
            channels: pick([undefined, '*', 'a*b*']),
            kinds: pick([undefined, ['acked'], ['drained', 'produced']] as const),
          },
          limit: 1 + below(50),
        };
      }
      default:
        return {
          kind: 'inspect',
          what: 'list',
          channel,
          state: pick(STATES),
          offset: this.#number(),
          limit: below(120),
        };
    }
  }

  #declare(ref: number): Command {
    return { kind: 'declare', ref, channel: this.#channel(), policy: this.#policy(), settings: SETTINGS };
  }

  #policy(): Policy {
    const { chance, pick } = this.#dice;
    return {
      ...DEFAULT_POLICY,
      maxAttempts: pick([1, 2, 5]),
      backoff: { kind: 'fixed', delayMs: pick([0, 5, 100]), jitter: 0 },
      timeoutMs: pick([0, 0, 20, 1_000]),
      timeToLiveMs: pick([0, 0, 200]),
      deadLetter: chance(0.2) ? this.#channel() : undefined,
      dedupe: chance(0.3)
        ? { windowMs: pick([0, 50, 1_000]), mode: pick(['reject', 'replace', 'keepLast'] as const) }
        : undefined,
      maxBacklog: SMALL_BACKLOG,
    };
  }

  #settle(): Settle {
    const { chance } = this.#dice;
    if (chance(0.1)) {
      const parts = this.#several(2, () => this.#part());
      const outcome = { kind: 'wait', edges: this.#edges(parts, true) } as const;
      return { ...this.#lease(), outcome, produced: parts, effects: undefined };
    }
    const produced = chance(0.2) ? [this.#part()] : undefined;
    const effects = chance(0.3) ? this.#kv.effects() : undefined;
    return { ...this.#lease(), outcome: this.#outcome(), produced, effects };
  }

  #outcome(): Outcome {
    const { below, bytes, chance, pick } = this.#dice;
    const failure: Failure = { name: this.#text(), message: this.#text(), stack: chance(0.5) ? 'at' : undefined };
    const kind = pick(['ack', 'ack', 'ack', 'nack', 'undecodable', 'release', 'snooze', 'fail', 'died'] as const);
    switch (kind) {
      case 'ack':
        return { kind, result: chance(0.3) ? bytes(below(200)) : undefined };
      case 'nack':
        return { kind, failure, delayMs: chance(0.3) ? below(1_000) : undefined };
      case 'undecodable':
      case 'fail':
      case 'died':
        return { kind, failure };
      case 'release':
        return { kind };
      case 'snooze':
        return { kind, delayMs: below(1_000) };
    }
  }

  #part(): FlowPart {
    return { kind: 'produce', ref: this.#ref(), blocks: this.#blocks() };
  }

  /** Most of them lead from a message to a later one. */
  #edges(parts: readonly FlowPart[], hasTop: boolean): FlowEdge[] {
    const { below, chance, pick } = this.#dice;
    const nodes = parts.reduce(
      (sum, { blocks }) => blocks.reduce((all, block) => all + new BlockReader(block).count, sum),
      0,
    );
    return Array.from({ length: below(6) }, () => {
      const child = below(nodes);
      const parent = child === 0 || (hasTop && chance(0.3)) ? undefined : below(child);
      const key = chance(0.2) ? pick(['a', 'ä€😀', 'x'.repeat(100)]) : undefined;
      return { child, parent: chance(0.01) ? below(99) : parent, onFailure: pick(CHILD_POLICIES), key };
    }).filter(({ parent }) => parent !== undefined || hasTop || chance(0.01));
  }

  #blocks(): Uint8Array[] {
    return this.#several(2, () => this.#block());
  }

  #block(most = 6): Uint8Array {
    const { below, bytes, chance, pick } = this.#dice;
    const ids = this.#several(most, () => this.#freshId());
    const second = idSecond(ids[0] as Uint8Array);
    const writer = new BlockWriter(1, second);
    for (const id of ids.filter((other) => idSecond(other) === second)) {
      const payload = chance(0.5) ? encode({ n: below(1_000) }) : bytes(below(chance(0.02) ? 20_000 : 100));
      writer.add(id, payload, {
        delayMs: chance(0.2) ? below(2_000) : undefined,
        dueAt: chance(0.05) ? pick([0, 1, -1, 8.64e15, Date.now() + 500]) : undefined,
        priority: chance(0.2) ? below(21) - 10 : undefined,
        lifo: chance(0.1),
        dedupe: chance(0.3) ? new Uint8Array(16).fill(below(20)) : undefined,
        awaited: chance(0.1),
        group: chance(0.2) ? pick(GROUPS) : undefined,
        name: chance(0.1) ? pick(['n', 'ä']) : undefined,
        cost: chance(0.1) ? 1 + below(20) : undefined,
        undelivered: chance(0.1) ? this.#several(3, () => this.#kv.key()) : undefined,
      });
    }
    return writer.finish();
  }

  #freshId(): Uint8Array {
    const isRepeated = this.#known.length > 0 && this.#dice.chance(0.01);
    const id = isRepeated ? this.#dice.pick(this.#known) : this.#ids.next();
    this.#known.push(id);
    if (this.#known.length > MOST_KNOWN) this.#known.shift();
    return id;
  }

  #id(): Uint8Array {
    return this.#known.length > 0 && this.#dice.chance(0.8)
      ? this.#dice.pick(this.#known)
      : this.#dice.bytes(MESSAGE_ID_BYTES);
  }

  /** Most often one that the client holds, or has held. */
  #lease(): LeaseKey {
    const { chance, pick } = this.#dice;
    if (this.#leases.length === 0 || chance(0.1)) return { seq: this.#number(), token: this.#number() };
    const lease = pick(this.#leases);
    return chance(0.1) ? { ...lease, token: this.#number() } : lease;
  }

  #channel(): string {
    return this.#dice.pick(CHANNELS);
  }

  #ref(): number {
    return this.#dice.chance(0.02) ? this.#number() : 1 + this.#dice.below(MOST_REFS);
  }

  #number(): number {
    return this.#dice.chance(0.5) ? this.#dice.pick(ODD_NUMBERS) : this.#dice.below(10_000);
  }

  #text(): string {
    return this.#dice.pick(['', 'x', 'Error', '\u0000', 'ä€😀', '__proto__', 'constructor', 'x'.repeat(300)]);
  }

  #several<T>(most: number, make: () => T): T[] {
    return Array.from({ length: 1 + this.#dice.below(most) }, make);
  }
}
