/**
 * The ledger of KV: what entries must be, as a replay of what clients asked for by the versions under which it became durable.
 *
 * Each commit to KV in a simulation sets a key of its own, its marker, which is never set again: it says that the commit has
 * happened, once, with which writes, and under which version.
 */
import { decode } from '../../codec/bson.ts';
import { canonical, type EntryContent, type StoredContent } from './commit-content.ts';
import type { Ledger, LedgerMessage } from './ledger.ts';
import { SLEW } from './leads.ts';
import type {
  Committed,
  KvAnswered,
  KvCalled,
  KvEffectsAsked,
  KvEntryHeard,
  KvMutationAsked,
  KvPageHeard,
  KvRangeAsked,
  SettleAnswered,
  SettleCalled,
  SimRecord,
} from './records.ts';

/** Keys that begin so are markers. */
const MARKER = 'op/';

/** What the last record has shown to be wrong, by the invariant that it breaks. */
export interface KvProblem {
  readonly id: 'S6' | 'S8' | 'S16';
  readonly found: string;
}

/** Something that was asked of KV, and what came of it. */
export interface KvOp {
  readonly calledAt: number;
  readonly called: KvCalled | SettleCalled;
  readonly effects: KvEffectsAsked | undefined;
  /** The highest version that anybody had been told of. */
  readonly toldBefore: number;
  /** The least that machine time can have been, under whoever leads at present. */
  notBefore: number;
  readonly marker: string | undefined;
  answered: KvAnswered | SettleAnswered | undefined;
  /** The version under which it became durable. */
  version: number | undefined;
}

interface Change {
  readonly version: number;
  readonly stored: StoredContent | undefined;
}

/** A commit to KV as it is replayed. */
interface Step {
  readonly version: number;
  readonly effects: KvEffectsAsked;
  readonly name: string;
}

export class KvLedger {
  problems: KvProblem[] = [];
  /** What became durable with the last record: commits of clients, and entries that went because their time was over. */
  applied: KvOp[] = [];
  swept: string[] = [];
  /** What it has come across in that: entries that expired while nobody led, and sums that were asked for before a failed commit. */
  expiredMeanwhile = false;
  hasLateSum = false;
  /** Everything that was asked for, in order. */
  readonly ops: KvOp[] = [];
  readonly entries: Map<string, StoredContent> = new Map();
  /** When an entry was written or deleted last. */
  readonly changedAt: Map<string, number> = new Map();
  /** Ends of messages that were given up, by the broker under which they were. */
  readonly givenUpBy: Map<number, string> = new Map();
  readonly #changes = new Map<string, Change[]>();
  readonly #versions: number[] = [0];
  readonly #byMarker = new Map<string, KvOp>();
  readonly #byCall = new Map<number, KvOp>();
  readonly #byToken = new Map<number, KvOp>();
  #told = 0;
  /** Machine time and simulated time of the last commit of the present leader. */
  #now = 0;
  #nowAt: number | undefined;
  #furthestWall = 0;
  #failedAt = -Infinity;

  add(record: SimRecord, ledger: Ledger): void {
    this.problems = [];
    this.applied = [];
    this.swept = [];
    this.expiredMeanwhile = false;
    this.hasLateSum = false;
    if ('wall' in record) this.#furthestWall = Math.max(this.#furthestWall, record.wall - record.at);
    switch (record.kind) {
      case 'acquired':
        this.#nowAt = undefined;
        // Where the wall clock was set back, machine time goes on from the last commit: it stood still while nobody led.
        for (const op of this.ops) {
          if (op.answered === undefined) op.notBefore = Math.min(op.notBefore, this.#now);
        }
        break;
      case 'noted':
        if (record.what.startsWith('a commit fails')) this.#failedAt = record.at;
        break;
      case 'kv.called':
        this.#byCall.set(record.op, this.#called(record, record.asked.what === 'commit' ? record.asked : undefined));
        break;
      case 'settle.called':
        this.#byToken.set(record.token, this.#called(record, record.effects));
        break;
      case 'kv.answered':
        this.#answered(record);
        break;
      case 'settle.answered':
        this.#settled(record);
        break;
      case 'commit':
        this.#commit(record, ledger);
        break;
      default:
        break;
    }
  }

  /** The latest that machine time can be at this simulated time. */
  latestNow(at: number): number {
    return this.#furthestWall + at * (1 + SLEW) + 1;
  }

  isDue({ expiresAt }: StoredContent, at: number): boolean {
    return expiresAt !== 0 && expiresAt <= this.latestNow(at);
  }

  #called(called: KvCalled | SettleCalled, effects: KvEffectsAsked | undefined): KvOp {
    const since = this.#nowAt === undefined ? 0 : (called.at - this.#nowAt) * (1 - SLEW);
    const marker = effects?.mutations.find(({ key }) => key.startsWith(MARKER))?.key;
    const op: KvOp = {
      calledAt: called.at,
      called,
      effects,
      toldBefore: this.#told,
      notBefore: this.#now + since,
      marker,
      answered: undefined,
      version: undefined,
    };
    this.ops.push(op);
    if (marker !== undefined) this.#byMarker.set(marker, op);
    return op;
  }

  #answered(record: KvAnswered): void {
    const op = this.#byCall.get(record.op);
    if (op === undefined) return this.#object('S16', `#${record.op} was answered and never asked`);
    op.answered = record;
    const { heard } = record;
    switch (heard.what) {
      case 'committed':
        if (op.marker !== undefined && op.version !== heard.version)
          this.#object('S16', `#${record.op} was told version ${heard.version}, and its version is ${op.version}`);
        if (op.marker === undefined) this.#checkAt(op, heard.version, record.at);
        this.#told = Math.max(this.#told, heard.version);
        break;
      case 'conflict':
      case 'refused':
        if (op.version !== undefined)
          this.#object('S16', `#${record.op} was told of a ${heard.what}, and is there as version ${op.version}`);
        break;
      case 'read':
        this.#judgeRead(op, record, heard);
        break;
      case 'unknown':
        break;
    }
  }

  #settled(record: SettleAnswered): void {
    const op = this.#byToken.get(record.token);
    if (op === undefined) return;
    op.answered = record;
    if (record.held === true) this.#told = Math.max(this.#told, op.version ?? 0);
    else if (record.held !== undefined && op.version !== undefined)
      this.#object('S6', `the settle of token ${record.token} was refused, and its effects are there`);
  }

  /** What only checked is durable for what it saw. */
  #checkAt({ effects }: KvOp, version: number, at: number): void {
    const wrong = effects?.checks.find((check) => (this.#at(check.key, version - 1)?.version ?? 0) !== check.version);
    const stored = wrong?.version === 0 ? this.#at(wrong.key, version - 1) : undefined;
    const hasExpired = stored !== undefined && this.isDue(stored, at);
    if (wrong !== undefined && !hasExpired)
      this.#object('S16', `a commit found ${wrong.key} as version ${wrong.version} before its own version ${version}`);
  }

  #commit(record: Committed, ledger: Ledger): void {
    const { content, at } = record;
    const { now } = content;
    const steps = [...this.#marked(content.entries), ...this.#undelivered(record, ledger)].toSorted(
      (a, b) => a.version - b.version,
    );
    this.#judgeEffects(record, ledger);
    const touched = new Map<string, StoredContent | undefined>();
    const find = (key: string): StoredContent | undefined => {
      const stored = touched.has(key) ? touched.get(key) : this.entries.get(key);
      return stored !== undefined && stored.expiresAt !== 0 && stored.expiresAt <= now ? undefined : stored;
    };
    for (const step of steps) {
      if (step.version <= (this.#versions.at(-1) as number))
        this.#object('S16', `${step.name} has version ${step.version}, and ${this.#versions.at(-1)} was before it`);
      this.#versions.push(step.version);
      const wrong = step.effects.checks.find(({ key, version }) => (find(key)?.version ?? 0) !== version);
      if (wrong !== undefined)
        this.#object('S16', `${step.name} is there, and ${wrong.key} was not version ${wrong.version} before it`);
      for (const mutation of step.effects.mutations) {
        const stored = storedAfter(mutation, step.version, now, find);
        touched.set(mutation.key, stored);
        this.#note(mutation.key, { version: step.version, stored });
      }
    }
    this.#compare(content.entries, touched, now, at);
    this.#reach(now, at);
  }

  #reach(now: number, at: number): void {
    const isTakeover = this.#nowAt === undefined;
    const expired = isTakeover ? [...this.entries.values()].filter((stored) => isOver(stored, now)) : [];
    this.expiredMeanwhile = expired.some((stored) => !isOver(stored, this.#now));
    const isLate = ({ calledAt, effects }: KvOp): boolean =>
      calledAt < this.#failedAt && effects?.mutations.some(({ kind }) => kind === 'sum') === true;
    this.hasLateSum = this.applied.some(isLate);
    this.#now = now;
    this.#nowAt = at;
  }

  /** The commits of clients whose markers were set. */
  #marked(entries: readonly EntryContent[]): Step[] {
    const steps: Step[] = [];
    for (const { key, stored } of entries) {
      if (!key.startsWith(MARKER) || stored === undefined) continue;
      const op = this.#byMarker.get(key);
      if (op?.effects === undefined) {
        this.#object('S16', `${key} is there and nobody asked for it`);
        continue;
      }
      if (op.version !== undefined) this.#object('S8', `${key} was applied twice`);
      op.version = stored.version;
      this.applied.push(op);
      steps.push({ version: stored.version, effects: op.effects, name: key });
    }
    return steps;
  }

  /** Messages that died, whose keys are written with their death. */
  #undelivered({ content, nonce }: Committed, ledger: Ledger): Step[] {
    const steps: Step[] = [];
    const dead = new Set<LedgerMessage>();
    for (const { what, seq } of content.transitions) {
      const message = ledger.messages.get(seq);
      if (what === 'givenUp') this.givenUpBy.set(seq, nonce);
      if (message !== undefined && (what === 'failed' || what === 'expired')) dead.add(message);
    }
    const written = new Map(content.entries.map(({ key, stored }) => [key, stored]));
    for (const { id, undelivered, content: message } of dead) {
      const [first] = undelivered;
      const version = first === undefined ? undefined : written.get(first)?.version;
      if (first === undefined) continue;
      if (version === undefined) {
        this.#object('S16', `${id} is dead, and ${first} was not written with that`);
        continue;
      }
      const value = written.get(first)?.value ?? '';
      if (!isPayload(value, message)) this.#object('S16', `${first} holds something else than ${id}`);
      const mutations = undelivered.map((key) => ({ kind: 'set', key, value, expireInMs: undefined }) as const);
      steps.push({ version, effects: { checks: [], mutations }, name: `the end of ${id}` });
    }
    return steps;
  }

  /** All of a settle is there, or nothing: its effects exactly with its ack. */
  #judgeEffects({ content }: Committed, ledger: Ledger): void {
    const acked = new Set<number>();
    for (const { what, seq, session } of content.transitions) {
      const commits = what === 'acked' || (what === 'blocked' && session !== 0);
      const token = commits ? ledger.messages.get(seq)?.claims.at(-1)?.token : undefined;
      if (token !== undefined) acked.add(token);
    }
    for (const token of acked) {
      const op = this.#byToken.get(token);
      if (op?.marker !== undefined && !this.applied.includes(op))
        this.#object('S6', `the ack of token ${token} is durable without its effects`);
    }
    for (const { called, marker } of this.applied) {
      if (called.kind !== 'settle.called') continue;
      if (called.outcome !== 'ack' && called.outcome !== 'wait')
        this.#object('S6', `${marker} is there, and token ${called.token} was no ack`);
      else if (!acked.has(called.token)) this.#object('S6', `${marker} is durable without the ack of ${called.token}`);
    }
  }

  /** What was written is what the replay gives, and nothing else. */
  #compare(
    entries: readonly EntryContent[],
    touched: ReadonlyMap<string, StoredContent | undefined>,
    now: number,
    at: number,
  ): void {
    const written = new Map(entries.map(({ key, stored }) => [key, stored]));
    for (const [key, expected] of touched) {
      const stored = written.get(key);
      const isSwept = stored === undefined && expected !== undefined && isOver(expected, now);
      if (!written.has(key)) this.#object('S16', `${key} was not written with the others of its commit`);
      else if (!isSwept && !isSame(stored, expected))
        this.#object('S16', `${key} is ${shown(stored)} and should be ${shown(expected)}`);
    }
    for (const [key, stored] of written) {
      const before = this.entries.get(key);
      if (!touched.has(key)) {
        if (stored !== undefined) this.#object('S16', `${key} was written, and nobody asked for that`);
        else if (before !== undefined && !isOver(before, now))
          this.#object('S16', `${key} was deleted, and nobody asked for that`);
        else if (before !== undefined) this.swept.push(key);
      }
      if (before !== undefined || stored !== undefined) this.changedAt.set(key, at);
      if (stored === undefined) this.entries.delete(key);
      else this.entries.set(key, stored);
    }
  }

  #note(key: string, change: Change): void {
    const changes = this.#changes.get(key);
    if (changes === undefined) this.#changes.set(key, [change]);
    else changes.push(change);
  }

  /** What an entry was behind this version, whatever the time. */
  #at(key: string, version: number): StoredContent | undefined {
    return this.#changes.get(key)?.findLast((change) => change.version <= version)?.stored;
  }

  /** A read saw all entries as of one moment between its call and its answer, and none whose time was over. */
  #judgeRead(op: KvOp, { at, op: number }: KvAnswered, heard: Heard): void {
    if (op.called.kind !== 'kv.called') return;
    const { asked } = op.called;
    if (asked.what === 'commit') return;
    const all = [...heard.entries, ...heard.pages.flatMap(({ entries }) => entries)];
    for (const entry of all) {
      if (entry === undefined) continue;
      this.#told = Math.max(this.#told, entry.version);
      const stored = this.#at(entry.key, entry.version);
      if (stored?.version === entry.version && isOver(stored, op.notBefore))
        return this.#object('S16', `#${number} got ${entry.key}, which had expired`);
    }
    const moments = this.#versions.filter((version) => version > op.toldBefore);
    const fits = [op.toldBefore, ...moments].some((version) => {
      const isRight = (key: string, seen: KvEntryHeard | undefined): boolean => this.#fits(key, seen, version, at);
      if (!asked.keys.every((key, i) => isRight(key, heard.entries[i]))) return false;
      const ranges = asked.what === 'read' ? asked.ranges : [];
      return ranges.every((range, i) => this.#fitsPage(range, heard.pages[i] as KvPageHeard, version, at));
    });
    if (!fits) this.#object('S16', `#${number} got what was not there at any moment of it`);
  }

  /** Whether somebody may have seen this of an entry behind that version. */
  #fits(key: string, seen: KvEntryHeard | undefined, version: number, at: number): boolean {
    const stored = this.#at(key, version);
    if (seen !== undefined) return stored?.version === seen.version && stored.value === seen.value;
    return stored === undefined || this.isDue(stored, at);
  }

  #fitsPage(range: KvRangeAsked, { entries, isEnd }: KvPageHeard, version: number, at: number): boolean {
    const keys = [...this.#changes.keys()].filter((key) => key >= range.from && key < range.to).toSorted();
    if (range.reverse) keys.reverse();
    let next = 0;
    for (const key of keys) {
      const seen = entries[next];
      if (seen?.key === key) {
        if (!this.#fits(key, seen, version, at)) return false;
        next += 1;
      } else if (!this.#fits(key, undefined, version, at)) {
        // What comes behind the last one may be left out.
        return next === entries.length && !isEnd;
      }
    }
    return next === entries.length && entries.length <= range.limit;
  }

  #object(id: KvProblem['id'], found: string): void {
    this.problems.push({ id, found });
  }
}

type Heard = Extract<KvAnswered['heard'], { readonly what: 'read' }>;

/** Whether a value is the payload of a message with this content. */
function isPayload(value: string, content: string): boolean {
  const [encoding, hex = ''] = value.split(':');
  return encoding === '3' && canonical(decode(Buffer.from(hex, 'hex'))) === content;
}

function isOver({ expiresAt }: StoredContent, now: number): boolean {
  return expiresAt !== 0 && expiresAt <= now;
}

function isSame(a: StoredContent | undefined, b: StoredContent | undefined): boolean {
  return a?.value === b?.value && a?.version === b?.version && a?.expiresAt === b?.expiresAt;
}

function shown(stored: StoredContent | undefined): string {
  return stored === undefined ? 'deleted' : `${stored.value} of version ${stored.version} until ${stored.expiresAt}`;
}

/** What a change makes of an entry: a second statement of what the machine does. */
function storedAfter(
  mutation: KvMutationAsked,
  version: number,
  now: number,
  find: (key: string) => StoredContent | undefined,
): StoredContent | undefined {
  if (mutation.kind === 'delete') return undefined;
  if (mutation.kind === 'set') {
    const { value, expireInMs } = mutation;
    return { value, version, expiresAt: expireInMs === undefined ? 0 : Math.max(1, Math.ceil(now + expireInMs)) };
  }
  const before = find(mutation.key)?.value;
  const operand = u64Of(mutation.value);
  const number = before === undefined ? undefined : u64Of(before);
  return { value: u64Text(combined(mutation.kind, number, operand)), version, expiresAt: 0 };
}

function combined(kind: 'sum' | 'min' | 'max', number: bigint | undefined, operand: bigint): bigint {
  if (number === undefined) return operand;
  if (kind === 'sum') return BigInt.asUintN(64, number + operand);
  return (kind === 'min') === number < operand ? number : operand;
}

/** The number in the text of a value, which is 8 bytes, the lowest first. */
export function u64Of(text: string): bigint {
  return Buffer.from(text.slice(text.indexOf(':') + 1), 'hex').readBigUInt64LE();
}

function u64Text(number: bigint): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(number);
  return `2:${bytes.toString('hex')}`;
}
