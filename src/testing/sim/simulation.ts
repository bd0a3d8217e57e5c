/** A simulation: one seed's scenario from its first event to the rest at the end, with everything recorded and checked. */
import type { LogLine } from '../../broker/broker-options.ts';
import type { Reply, Settle } from '../../model/command.ts';
import { type ErrorCode, HoldfastError } from '../../model/errors.ts';
import { seededRandom } from '../../model/random.ts';
import { FaultyDisk, type Written } from '../faulty-store.ts';
import { Chance } from './chance.ts';
import { Checker, type Violation } from './checker.ts';
import { canonical, canonicalReply, CommitReader } from './commit-content.ts';
import { FaultInjector } from './faults.ts';
import { IDLE_MS, RECOVERY_MS } from './invariants/rest.ts';
import { type Mark, marksOf } from './marks.ts';
import { effectsAsked } from './kv-records.ts';
import type { IdleConsumer, KvAsked, KvHeard, ProducedMessage, SimRecord } from './records.ts';
import { drawScenario, type Scenario } from './scenario.ts';
import { SimMember } from './sim-member.ts';
import { SimNetwork } from './sim-network.ts';
import { SimProcess } from './sim-process.ts';
import { SimTime } from './sim-time.ts';
import { describe } from './describe.ts';
import { Trace } from './trace.ts';
import { useWorker } from './user.ts';
import { Worker } from './worker.ts';
import type { Along, Content, Workplace, World } from './world.ts';

export const SPACE = 'default';

const RESERVE_BYTES = 64 * 1024;

/** Errors that a call may meet when things fail around it; it may have had its effect, or may still have it. */
const UNKNOWN: ReadonlySet<ErrorCode> = new Set([
  'UNKNOWN_OUTCOME',
  'CLOSED',
  'FENCED',
  'STORE_IN_USE',
  'STORE_FAILED',
  'LEASE_LOST',
  'DEAD',
  'NOT_FOUND',
  'WRONG_STATE',
]);

/** Errors that say that nothing was stored. */
const REFUSED: ReadonlySet<ErrorCode> = new Set(['BACKLOG_FULL', 'STORE_FULL', 'DUPLICATE']);

export interface SimulationOptions {
  readonly seed: number;
  /** Hears each line of the trace. */
  readonly print?: ((line: string) => void) | undefined;
  /** Keeps all records, for a test of the checker. */
  readonly keepsHistory?: boolean | undefined;
}

export class Simulation implements World {
  readonly scenario: Scenario;
  readonly time: SimTime = new SimTime();
  readonly checker: Checker = new Checker();
  readonly trace: Trace;
  readonly marks: Map<Mark, number> = new Map();
  readonly history: SimRecord[] = [];
  readonly disk: FaultyDisk;
  readonly faults: FaultInjector;
  readonly network: SimNetwork;
  readonly workers: Set<Worker> = new Set();
  /** The faults are over, and everything is to come to its end. */
  isHealed = false;
  /** Everything has ended; nobody needs to look after it any more. */
  isAtRest = false;
  /** Whoever dies now is not followed by another. */
  isOver = false;
  readonly #processes = new Set<SimProcess>();
  readonly #chance: Chance;
  readonly #options: SimulationOptions;
  readonly #reader: CommitReader = new CommitReader(SPACE);
  /** By worker and channel. */
  readonly #idleSince = new Map<Workplace, Map<string, number>>();
  /** When something was disturbed last. */
  #quietSince = 0;
  readonly #produced = new Map<string, string[]>();
  /** Calls without an answer, with the process that waits for it. */
  readonly #pending = new Map<number, SimProcess>();
  #nextOp = 1;
  #nextContent = 1;
  #nextMarker = 1;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.trace = new Trace(options.print);
    this.#chance = new Chance(seededRandom(options.seed * 2_654_435_761));
    this.scenario = drawScenario(this.#chance.fork());
    this.faults = new FaultInjector(this, this.#chance.fork());
    this.disk = new FaultyDisk({
      clock: { monotonicMs: () => this.time.nowMs, timer: (delayMs, fire) => this.time.after(delayMs, fire) },
      random: this.#chance.fork().random,
      commitMs: this.scenario.commitMs,
      readMs: this.scenario.readMs,
      commitFault: () => this.faults.commitFault(),
      readFault: () => this.faults.readFault(),
    });
    this.network = new SimNetwork({
      time: this.time,
      chance: this.#chance.fork(),
      latencyMs: this.scenario.latencyMs,
      doubled: () => this.faults.doublesFrame(),
      welcomed: ({ from: { host }, session, to }) =>
        this.record({ kind: 'welcomed', at: this.time.nowMs, host, session, by: to.host }),
      parted: ({ from: { host }, session, to }) =>
        this.record({ kind: 'parted', at: this.time.nowMs, host, session, by: to.host }),
      givenUp: ({ from, to }) => this.broken('a link', `${from.name} and ${to.name} run, and it was given up`),
    });
    const { sessionTimeoutMs, lingerMs } = this.scenario;
    this.record({ kind: 'began', at: 0, sessionTimeoutMs, lingerMs });
  }

  get violations(): readonly Violation[] {
    return this.checker.violations;
  }

  /** Lets this much simulated time pass, or less when `isOver`. */
  async pass(ms: number, isOver: () => boolean = () => false): Promise<void> {
    await this.time.runUntil(this.time.nowMs + ms, () => this.violations.length > 0 || isOver());
  }

  record(record: SimRecord): void {
    this.checker.add(record);
    if (this.#options.keepsHistory === true) this.history.push(record);
    this.trace.add(record.at, describe(record));
    for (const mark of marksOf(record, this.checker)) this.reached(mark);
  }

  reached(mark: Mark): void {
    this.marks.set(mark, (this.marks.get(mark) ?? 0) + 1);
  }

  note(what: string): void {
    this.record({ kind: 'noted', at: this.time.nowMs, wall: this.time.wallMs, what });
  }

  /** Notes something that must not happen at all. */
  broken(where: string, error: unknown): void {
    this.note(`broken: ${where}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  }

  /** Lets errors pass that may come when things fail, and gives their code. */
  tolerate(error: unknown): string {
    if (!(error instanceof HoldfastError) || !(UNKNOWN.has(error.code) || REFUSED.has(error.code))) {
      this.broken('a call', error);
      return 'broken';
    }
    return error.code;
  }

  // Processes

  get leader(): SimProcess | undefined {
    const { leadership } = this.disk.data;
    return leadership && this.network.processAt(leadership.address);
  }

  get processes(): ReadonlySet<SimProcess> {
    return this.#processes;
  }

  /** Starts a process with a member and a worker in it, again and again until it leads or follows. */
  startProcess(name: string): void {
    const process = new SimProcess(this.time, name, this.#chance.fork().random);
    const { host } = process;
    const { sessionTimeoutMs, lingerMs, entryCacheBytes } = this.scenario;
    const member = new SimMember({
      time: this.time,
      process,
      disk: this.disk,
      network: this.network,
      space: SPACE,
      reserveBytes: RESERVE_BYTES,
      sessionTimeoutMs,
      lingerMs,
      entryCacheBytes,
      reached: (mark) => this.reached(mark),
      written: (what) => this.#written(process, what),
      lost: () => this.reached('several members race for the lead'),
      welcomed: (session) => this.record({ kind: 'welcomed', at: this.time.nowMs, host, session, by: host }),
      parted: (session) => this.record({ kind: 'parted', at: this.time.nowMs, host, session, by: host }),
      log: (line) => this.#log(process, line),
    });
    this.disturb();
    this.#processes.add(process);
    process.onDeath(() => {
      this.#processes.delete(process);
      this.record({ kind: 'died', at: this.time.nowMs, host });
    });
    member.start().then(
      () => this.#startWorker(member),
      (error: unknown) => {
        this.note(`${name} could not start: ${error instanceof HoldfastError ? error.code : String(error)}`);
        if (this.isHealed || !(error instanceof HoldfastError) || error.code === 'STORE_CORRUPT')
          this.broken('a start', error);
        this.kill(process);
      },
    );
  }

  /** Kills a process; another takes its place after a while. */
  kill(process: SimProcess): void {
    if (!process.isAlive) return;
    this.note(`${process.name} dies`);
    this.disturb();
    process.kill();
    if (this.isOver) return;
    this.time.after(this.#chance.between(10, this.isHealed ? 100 : 8_000), () => this.startProcess(process.name));
  }

  /** Ends a process in good order; another takes its place after a while. */
  leave(process: SimProcess): void {
    const worker = [...this.workers].find((one) => one.process === process);
    this.note(`${process.name} leaves`);
    this.disturb();
    const leaves = (worker?.leave() ?? Promise.resolve()).catch((error: unknown) => this.broken('a close', error));
    void leaves.then(() => this.kill(process));
  }

  #startWorker(member: SimMember): void {
    const { process } = member;
    const worker = new Worker(this, member, this.#chance.fork());
    this.workers.add(worker);
    process.onDeath(() => {
      this.workers.delete(worker);
      for (const [op, waiting] of this.#pending) if (waiting === process) this.#pending.delete(op);
    });
    void worker.run();
    if (this.isHealed) void worker.care();
    else useWorker(worker).catch((error: unknown) => this.broken('a user', error));
  }

  isConnected(process: SimProcess): boolean {
    const { leader } = this;
    const address = this.disk.data.leadership?.address;
    if (leader === undefined || address === undefined || leader.isPaused) return false;
    const worker = [...this.workers].find((one) => one.process === process);
    if (worker === undefined || !worker.member.isConnected) return false;
    return leader === process || this.network.isServed(process, address);
  }

  // What workers do

  newContent(fate: Content['fate']): Content {
    const n = this.#nextContent++;
    return { n, fate, padding: n % 9 === 0 ? 'x'.repeat((n * 97) % 3_000) : '' };
  }

  called(worker: Workplace, channel: string, messages: readonly ProducedMessage[], along: Along | undefined): number {
    const op = this.#nextOp++;
    const { nowMs: at, wallMs: wall } = this.time;
    const withToken = along !== undefined && 'token' in along ? along.token : undefined;
    const withMarker = along !== undefined && 'marker' in along ? along.marker : undefined;
    const { name: process } = worker.process;
    this.record({ kind: 'produce.called', at, wall, op, process, channel, messages, withToken, withMarker });
    if (along === undefined) this.#pending.set(op, worker.process);
    return op;
  }

  published(op: number, stored: number): void {
    this.record({ kind: 'publish.answered', at: this.time.nowMs, op, stored });
    if (stored > 1) this.reached('a message is published to several channels');
  }

  answered(
    worker: Workplace,
    op: number,
    outcome: 'acked' | 'rejected' | 'unknown',
    code: string | undefined,
    receipts: readonly { readonly id: string; readonly deduplicated: boolean }[],
  ): void {
    this.#pending.delete(op);
    const channel = this.checker.ops.get(op)?.called.channel ?? '';
    const ids = receipts.map(({ id, deduplicated }) => ({ id, deduplicated }));
    this.record({ kind: 'produce.answered', at: this.time.nowMs, op, outcome, code, receipts: ids });
    for (const { id, deduplicated } of ids) {
      const durableAt = this.checker.ledger.byId.get(id)?.durableAt ?? Infinity;
      if (!deduplicated && worker.hasReconnected && durableAt < worker.connectedAt)
        this.reached('a request is answered from memory');
      const known = this.#produced.get(channel);
      if (known === undefined) this.#produced.set(channel, [id]);
      else known.push(id);
    }
  }

  answeredWith(worker: Workplace, op: number, error: unknown): void {
    const code = this.tolerate(error);
    this.answered(worker, op, REFUSED.has(code as ErrorCode) ? 'rejected' : 'unknown', code, []);
  }

  async awaited<T>(worker: Workplace, call: Promise<T>): Promise<T> {
    const op = this.#nextOp++;
    if (worker.process.isAlive) this.#pending.set(op, worker.process);
    try {
      return await call;
    } finally {
      this.#pending.delete(op);
    }
  }

  get schedules(): readonly string[] {
    return [...this.checker.schedules.live.values()].map(({ stored }) => stored.key);
  }

  newMarker(): number {
    return this.#nextMarker++;
  }

  kvCalled({ process }: Workplace, asked: KvAsked): number {
    const op = this.#nextOp++;
    this.record({ kind: 'kv.called', at: this.time.nowMs, op, process: process.name, asked });
    // A process that has just died may still do what it was about to: nobody hears it.
    if (process.isAlive) this.#pending.set(op, process);
    return op;
  }

  kvAnswered(op: number, heard: KvHeard): void {
    this.#pending.delete(op);
    this.record({ kind: 'kv.answered', at: this.time.nowMs, op, heard });
  }

  replied(session: string, request: number, reply: Reply): void {
    // Answers that carry more than a count are read anew each time.
    if (reply.kind === 'kvRead' || (reply.kind === 'value' && typeof reply.value !== 'number')) return;
    this.record({ kind: 'replied', at: this.time.nowMs, session, request, reply: canonicalReply(reply) });
  }

  result(op: number, id: string, result: unknown): void {
    this.record({ kind: 'result', at: this.time.nowMs, op, id, result: canonical(result) });
  }

  managed(worker: Workplace, action: string, channel: string, id: string | undefined, outcome: string): void {
    this.record({
      kind: 'manage.answered',
      at: this.time.nowMs,
      process: worker.process.name,
      action,
      channel,
      id,
      outcome,
    });
  }

  settleCalled({ process }: Workplace, { seq, token, outcome, effects: settled }: Settle): void {
    const effects = settled && effectsAsked(settled);
    const delayed = outcome.kind === 'nack' && outcome.delayMs !== undefined;
    const name = delayed ? 'nack after its own delay' : outcome.kind;
    this.record({
      kind: 'settle.called',
      at: this.time.nowMs,
      process: process.name,
      seq,
      token,
      outcome: name,
      effects,
    });
  }

  settleAnswered(worker: Workplace, token: number, held: boolean | 'conflict' | undefined): void {
    this.record({ kind: 'settle.answered', at: this.time.nowMs, process: worker.process.name, token, held });
    const started = this.checker.starts.get(token);
    if (held === true && started !== undefined && started.at < worker.connectedAt)
      this.reached('a lease is settled over another link');
  }

  /** The id of one of the last messages of a channel that were acknowledged. */
  someId(channel: string, chance: Chance): string | undefined {
    const known = this.#produced.get(channel);
    return known && chance.oneOf(known.slice(-15));
  }

  idOf(seq: number): string {
    return this.checker.ledger.messages.get(seq)?.id ?? '';
  }

  // Rest

  /** Something was disturbed, so nobody counts as idle from before. */
  disturb(): void {
    this.#idleSince.clear();
    this.#quietSince = this.time.nowMs;
  }

  /** Nothing was disturbed for so long that all should be well. */
  get isQuiet(): boolean {
    return this.time.nowMs - this.#quietSince >= RECOVERY_MS;
  }

  /** Looks who has no connection with the leader. */
  lookForUnserved(): void {
    const { nowMs: at } = this.time;
    const quietSince = this.#quietSince;
    if (!this.isQuiet) return;
    const running = [...this.processes].filter((process) => !process.isBlocked && !this.network.isIsolated(process));
    const unserved = running.filter((process) => !this.isConnected(process)).map(({ host }) => host);
    const leaderRuns = this.leader?.isPaused === false;
    const hasRoom = this.disk.freeBytes === Infinity;
    this.record({ kind: 'looked', at, wall: this.time.wallMs, quietSince, leaderRuns, hasRoom, unserved });
    const served = [...this.workers].filter(
      ({ process }) => running.includes(process) && !unserved.includes(process.host),
    );
    const watchers = served.flatMap(({ process: { name: process }, watched }) =>
      watched === undefined ? [] : [{ process, ...watched }],
    );
    if (leaderRuns && watchers.length > 0) this.record({ kind: 'watching', at, watchers });
  }

  /** Looks whether consumers have had room for long. */
  lookForIdle(): void {
    const { nowMs: at } = this.time;
    const consumers: IdleConsumer[] = [];
    for (const worker of this.workers) {
      const since = this.#idleSince.get(worker) ?? new Map<string, number>();
      this.#idleSince.set(worker, since);
      for (const { name: channel } of this.scenario.channels) {
        if (!worker.isIdle(channel)) since.delete(channel);
        else if (!since.has(channel)) since.set(channel, at);
        const sinceMs = since.get(channel) ?? at;
        if (at - sinceMs >= IDLE_MS) consumers.push({ channel, host: worker.process.host, sinceMs });
      }
    }
    if (consumers.length > 0) this.record({ kind: 'idle', at, consumers });
  }

  /** Calls that nobody has answered yet, of processes that still live. */
  get pendingCalls(): number {
    return this.#pending.size;
  }

  get pendingOps(): number[] {
    return [...this.#pending.keys()];
  }

  #written({ host }: SimProcess, what: Written): void {
    const at = this.time.nowMs;
    if (what.kind === 'acquired') {
      const { number: epoch, nonce } = what.epoch;
      this.disturb();
      return this.record({ kind: 'acquired', at, host, epoch, nonce });
    }
    const content = this.#reader.read(what.writes);
    this.record({ kind: 'commit', at, wall: this.time.wallMs, host, nonce: what.epoch.nonce, content });
  }

  #log({ name }: SimProcess, { level, message, error }: LogLine): void {
    this.note(`${name} says: ${message}`);
    if (message.startsWith('The store has failed')) {
      this.disturb();
      this.reached('a broker rebuilds');
    }
    const isDeposed = message.startsWith('Another broker');
    if (level !== 'error' && !isDeposed) return;
    this.disturb();
    const code = error instanceof HoldfastError ? error.code : 'BROKER_FAILED';
    if (code === 'FENCED') this.reached('a broker is fenced');
    else if (code !== 'STORE_FAILED' && code !== 'STORE_FULL' && code !== 'STORE_IN_USE')
      this.broken('a broker stopped', error);
  }
}
