/** A simulation: one seed's scenario from its first event to the rest at the end, with everything recorded and checked. */
import { BrokerHost } from './broker-host.ts';
import type { LogLine } from '../../broker/broker-options.ts';
import type { Settle } from '../../model/command.ts';
import { type ErrorCode, HoldfastError } from '../../model/errors.ts';
import type { Link } from '../../model/link.ts';
import { seededRandom } from '../../model/random.ts';
import { FaultyDisk } from '../faulty-store.ts';
import { Chance } from './chance.ts';
import { Checker, type Violation } from './checker.ts';
import { canonical, CommitReader } from './commit-content.ts';
import { CommitWatch } from './commit-watch.ts';
import { FaultInjector } from './faults.ts';
import { IDLE_MS } from './invariants/rest.ts';
import { type Mark, marksOf } from './marks.ts';
import type { IdleConsumer, ProducedMessage, SimRecord } from './records.ts';
import { drawScenario, type Scenario } from './scenario.ts';
import { SimConnection } from './sim-link.ts';
import { SimProcess } from './sim-process.ts';
import { SimTime } from './sim-time.ts';
import { describe } from './describe.ts';
import { Trace } from './trace.ts';
import { useWorker } from './user.ts';
import { Worker } from './worker.ts';
import type { Content, Workplace, World } from './world.ts';

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
const REFUSED: ReadonlySet<ErrorCode> = new Set(['BACKLOG_FULL', 'STORE_FULL']);

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
  host: BrokerHost | undefined;
  readonly workers: Set<Worker> = new Set();
  /** The faults are over, and everything is to come to its end. */
  isHealed = false;
  /** Everything has ended; nobody needs to look after it any more. */
  isAtRest = false;
  readonly #chance: Chance;
  readonly #options: SimulationOptions;
  readonly #watch: CommitWatch;
  readonly #reader: CommitReader = new CommitReader(SPACE);
  readonly #connections = new Set<{
    readonly process: SimProcess;
    readonly host: BrokerHost;
    readonly connection: SimConnection;
    silent: boolean;
  }>();
  /** By worker and channel. */
  readonly #idleSince = new Map<Workplace, Map<string, number>>();
  readonly #produced = new Map<string, string[]>();
  /** Calls without an answer, with the process that waits for it. */
  readonly #pending = new Map<number, SimProcess>();
  #nextOp = 1;
  #nextContent = 1;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.trace = new Trace(options.print);
    this.#chance = new Chance(seededRandom(options.seed * 2_654_435_761));
    this.scenario = drawScenario(this.#chance.fork());
    this.faults = new FaultInjector(this, this.#chance.fork());
    this.disk = new FaultyDisk({
      // The disk's time passes in the process that uses it, so that a paused one hears nothing.
      clock: {
        monotonicMs: () => this.time.nowMs,
        timer: (delayMs, fire) => (this.host?.process.clock ?? { timer: () => () => {} }).timer(delayMs, fire),
      },
      random: this.#chance.fork().random,
      commitMs: this.scenario.commitMs,
      readMs: this.scenario.readMs,
      commitFault: () => this.faults.commitFault(),
      readFault: () => this.faults.readFault(),
    });
    this.#watch = new CommitWatch(this.disk);
  }

  get violations(): readonly Violation[] {
    return this.checker.violations;
  }

  /** Lets this much simulated time pass, or less when `isOver`. */
  async pass(ms: number, isOver: () => boolean = () => false): Promise<void> {
    await this.time.runUntil(this.time.nowMs + ms, () => {
      this.#seeCommit();
      return this.violations.length > 0 || isOver();
    });
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

  /** Starts a process with a broker and a worker in it, again and again until the store opens. */
  startBroker(): void {
    const process = new SimProcess(this.time, 'home', this.#chance.fork().random);
    const startedAt = this.time.nowMs;
    const host = new BrokerHost({
      process,
      disk: this.disk,
      watch: this.#watch,
      space: SPACE,
      reserveBytes: RESERVE_BYTES,
      sessionTimeoutMs: this.scenario.sessionTimeoutMs,
      isLive: (leader) => this.faults.isLive(leader.address),
      log: (line) => this.#log(host, line),
    });
    this.host = host;
    host.start().then(
      () => {
        const tookMs = process.wasPaused ? 0 : this.time.nowMs - startedAt;
        this.record({ kind: 'opened', at: this.time.nowMs, tookMs });
        this.#startWorker(process);
      },
      (error: unknown) => {
        this.note(`a broker could not start: ${error instanceof HoldfastError ? error.code : String(error)}`);
        if (this.isHealed || !(error instanceof HoldfastError) || error.code === 'STORE_CORRUPT')
          this.broken('a start', error);
        this.restartBroker();
      },
    );
  }

  /** Ends the broker's process, if it still runs, and starts another after a while. */
  restartBroker(): void {
    const { host } = this;
    host?.process.kill();
    this.time.after(this.#chance.between(10, this.isHealed ? 100 : 5_000), () => {
      if (this.host === host) this.startBroker();
    });
  }

  /** Kills a process; another takes its place after a while. */
  kill(process: SimProcess): void {
    if (!process.isAlive) return;
    this.note(`${process.name} dies`);
    this.disturb();
    if (this.host?.process === process) return this.restartBroker();
    process.kill();
    if (process.name !== 'home') this.startRemoteSoon(process.name);
  }

  startRemoteSoon(name: string): void {
    this.time.after(this.#chance.between(10, this.isHealed ? 100 : 8_000), () => {
      this.#startWorker(new SimProcess(this.time, name, this.#chance.fork().random));
    });
  }

  #startWorker(process: SimProcess): void {
    const worker = new Worker(this, process, this.#chance.fork());
    this.workers.add(worker);
    process.onDeath(() => {
      this.workers.delete(worker);
      for (const [op, waiting] of this.#pending) if (waiting === process) this.#pending.delete(op);
    });
    void worker.run();
    if (this.isHealed) void worker.care();
    else useWorker(worker).catch((error: unknown) => this.broken('a user', error));
  }

  /** A new link from a process to the broker. */
  connect(process: SimProcess): Link {
    const own = process.name === 'home';
    const host = this.host;
    const target = own ? [host, ...this.faults.formerHosts].find((other) => other?.process === process) : host;
    if (target === undefined || target.phase !== 'serving' || !target.process.isAlive) {
      throw new HoldfastError('CLOSED', 'No broker can be reached');
    }
    const connection = new SimConnection(this.time, process, target.process, this.#chance.fork().random, {
      latencyMs: own ? [0.02, 0.2] : this.scenario.latencyMs,
      doubled: () => this.faults.doublesFrame(),
    });
    for (const entry of this.#connections)
      if (!entry.connection.isOpen && !entry.silent) this.#connections.delete(entry);
    this.#connections.add({ process, host: target, connection, silent: false });
    target.process.enter(() =>
      target.broker.accept(connection.broker, {
        lingerMs: own ? Infinity : this.scenario.lingerMs,
        needsToken: 'never',
      }),
    );
    return connection.client;
  }

  isConnected(process: SimProcess): boolean {
    const { host } = this;
    if (host?.phase !== 'serving' || !host.process.isAlive || host.process.isPaused) return false;
    return [...this.#connections].some(
      (entry) => entry.process === process && entry.host === host && entry.connection.isOpen && !entry.silent,
    );
  }

  /** Open connections, for faults to choose from. */
  get connections(): readonly { readonly connection: SimConnection; silent: boolean }[] {
    return [...this.#connections].filter(({ connection, silent }) => connection.isOpen || silent);
  }

  // What workers do

  newContent(fate: Content['fate']): Content {
    const n = this.#nextContent++;
    return { n, fate, padding: n % 9 === 0 ? 'x'.repeat((n * 97) % 3_000) : '' };
  }

  called(
    worker: Workplace,
    channel: string,
    messages: readonly ProducedMessage[],
    withToken: number | undefined,
  ): number {
    const op = this.#nextOp++;
    const { nowMs: at, wallMs: wall } = this.time;
    this.record({ kind: 'produce.called', at, wall, op, process: worker.process.name, channel, messages, withToken });
    if (withToken === undefined) this.#pending.set(op, worker.process);
    return op;
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

  settleCalled({ process }: Workplace, { seq, token, outcome }: Settle): void {
    const delayed = outcome.kind === 'nack' && outcome.delayMs !== undefined;
    const name = delayed ? 'nack after its own delay' : outcome.kind;
    this.record({ kind: 'settle.called', at: this.time.nowMs, process: process.name, seq, token, outcome: name });
  }

  settleAnswered(worker: Workplace, token: number, held: boolean | undefined): void {
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

  // Rest

  /** Something was disturbed, so nobody counts as idle from before. */
  disturb(): void {
    this.#idleSince.clear();
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

  #seeCommit(): void {
    const writes = this.#watch.take();
    if (writes === undefined) return;
    const content = this.#reader.read(writes);
    this.record({ kind: 'commit', at: this.time.nowMs, wall: this.time.wallMs, content });
  }

  #log(host: BrokerHost, { level, message, error }: LogLine): void {
    this.note(`${host.process.name} says: ${message}`);
    if (message.startsWith('A commit failed')) {
      this.disturb();
      this.reached('a broker rebuilds');
    }
    const isDeposed = message.startsWith('Another broker');
    if (level !== 'error' && !isDeposed) return;
    const code = error instanceof HoldfastError ? error.code : 'BROKER_FAILED';
    if (code === 'FENCED') this.reached('a broker is fenced');
    else if (code !== 'STORE_FAILED' && code !== 'STORE_FULL' && code !== 'STORE_IN_USE')
      return this.broken('a broker stopped', error);
    // An operator, or a supervisor, ends a process whose broker has given up.
    this.time.after(1_000, () => this.kill(host.process));
  }
}
