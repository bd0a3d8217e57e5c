/** Faults: what goes wrong, when, and that it ends. */
import type { BrokerHost } from './broker-host.ts';
import type { CommitFault } from '../faulty-store.ts';
import type { Chance } from './chance.ts';
import type { FaultPlan } from './scenario.ts';
import type { Wire, World } from './world.ts';

type Timed = {
  [K in keyof FaultPlan]: FaultPlan[K] extends number ? never : K;
}[keyof FaultPlan];

export class FaultInjector {
  /** How many faults there were. */
  injected = 0;
  /** Hosts that were paused while another took over, and their end is not known yet. */
  readonly formerHosts: BrokerHost[] = [];
  readonly #sim: World;
  readonly #chance: Chance;
  readonly #deposed = new Set<string>();
  #active = true;
  #furthestWallMs = 0;

  constructor(sim: World, chance: Chance) {
    this.#sim = sim;
    this.#chance = chance;
  }

  start(): void {
    const plan = this.#sim.scenario.faults;
    const kinds: Readonly<Record<Timed, () => void>> = {
      cut: () => this.#cut(),
      silence: () => this.#silence(),
      killWorker: () => this.#killWorker(),
      killBroker: () => this.#killBroker(),
      cutPower: () => this.#cutPower(),
      pauseWorker: () => this.#pauseWorker(),
      pauseBroker: () => this.#pauseBroker(),
      takeOver: () => this.#takeOver(),
      fillDisk: () => this.#fillDisk(),
      jumpWall: () => this.#jumpWall(),
    };
    for (const [kind, inject] of Object.entries(kinds) as [Timed, () => void][]) {
      const mean = plan[kind];
      if (mean !== undefined) this.#repeat(mean, inject);
    }
  }

  /** Ends all faults and mends what they left behind. */
  heal(): void {
    const sim = this.#sim;
    this.#active = false;
    sim.disk.freeBytes = Infinity;
    // Forward, so that no moment that was asked for lies a day ahead.
    sim.time.wallOffsetMs = this.#furthestWallMs;
    for (const entry of sim.connections) if (entry.silent) this.#mend(entry);
    for (const worker of sim.workers) worker.process.resume();
    sim.host?.process.resume();
    for (const host of this.formerHosts.splice(0)) sim.kill(host.process);
  }

  commitFault(): CommitFault | undefined {
    if (!this.#active || !this.#chance.happens(this.#sim.scenario.faults.failedCommits)) return undefined;
    const fault = this.#chance.oneOf(['aborted', 'unknown-applied', 'unknown-absent'] as const);
    this.#note(`a commit fails: ${fault}`);
    this.#sim.reached(
      fault === 'unknown-applied' ? 'a commit fails and was applied' : 'a commit fails and was not applied',
    );
    return fault;
  }

  readFault(): boolean {
    const fails = this.#active && this.#chance.happens(this.#sim.scenario.faults.failedReads);
    if (fails) this.#note('a read fails');
    return fails;
  }

  doublesFrame(): boolean {
    const doubled = this.#active && this.#chance.happens(this.#sim.scenario.faults.doubledFrames);
    if (doubled) {
      this.injected += 1;
      this.#sim.reached('a frame comes twice');
    }
    return doubled;
  }

  /** Whether the process at this address answers; one that another has taken over from does not. */
  isLive(address: string): boolean {
    if (this.#deposed.has(address)) return false;
    return [this.#sim.host, ...this.formerHosts].some((host) => host?.process.host === address && host.process.isAlive);
  }

  #repeat(meanMs: number, inject: () => void): void {
    this.#sim.time.after(this.#chance.until(meanMs), () => {
      if (!this.#active) return;
      inject();
      this.#repeat(meanMs, inject);
    });
  }

  #cut(): void {
    const entries = this.#sim.connections.filter(({ connection }) => connection.isOpen);
    if (entries.length === 0) return;
    this.#note('a link is cut');
    this.#sim.reached('a link is cut');
    this.#chance.oneOf(entries).connection.cut();
  }

  #silence(): void {
    const entries = this.#sim.connections.filter(({ connection, silent }) => connection.isOpen && !silent);
    if (entries.length === 0) return;
    const entry = this.#chance.oneOf(entries);
    this.#note('a link goes silent');
    this.#sim.reached('a link goes silent');
    entry.silent = true;
    entry.connection.silence();
    // Sooner or later the system finds out.
    this.#sim.time.after(this.#chance.between(1_000, 60_000), () => this.#mend(entry));
  }

  #mend(entry: Wire): void {
    if (!entry.silent) return;
    entry.silent = false;
    entry.connection.cut();
    this.#sim.disturb();
  }

  #killWorker(): void {
    const workers = [...this.#sim.workers].filter(({ process }) => process.name !== 'home');
    if (workers.length === 0) return;
    this.injected += 1;
    this.#sim.kill(this.#chance.oneOf(workers).process);
  }

  #killBroker(): void {
    const { host } = this.#sim;
    if (host === undefined || !host.process.isAlive) return;
    this.injected += 1;
    this.#sim.reached('a broker crashes');
    this.#sim.kill(host.process);
  }

  #cutPower(): void {
    this.#note('the power is cut');
    this.#sim.reached('the power is cut');
    this.#sim.disk.cutPower();
    for (const worker of this.#sim.workers) this.#sim.kill(worker.process);
    if (this.#sim.host?.process.isAlive === true) this.#sim.kill(this.#sim.host.process);
  }

  #pauseWorker(): void {
    const workers = [...this.#sim.workers].filter(({ process }) => process.name !== 'home' && !process.isPaused);
    if (workers.length === 0) return;
    const { process } = this.#chance.oneOf(workers);
    this.#note(`${process.name} is paused`);
    this.#sim.reached('a process is paused');
    process.pause();
    this.#resumeLater(process);
  }

  #pauseBroker(): void {
    const { host } = this.#sim;
    if (host === undefined || host.process.isPaused) return;
    this.#note('the broker is paused');
    host.process.pause();
    this.#resumeLater(host.process);
  }

  #resumeLater(process: BrokerHost['process']): void {
    this.#sim.time.after(this.#chance.between(100, 40_000), () => {
      process.resume();
      this.#sim.disturb();
    });
  }

  /** The broker's process stops answering, another takes the lead, and then the first goes on. */
  #takeOver(): void {
    const { host } = this.#sim;
    if (host === undefined || host.phase !== 'serving' || !host.process.isAlive || host.process.isPaused) return;
    this.#note('another broker takes over');
    host.process.pause();
    this.#deposed.add(host.process.host);
    this.formerHosts.push(host);
    this.#sim.startBroker();
    this.#sim.time.after(this.#chance.between(2_000, 20_000), () => {
      host.process.resume();
      this.#sim.disturb();
    });
    this.#sim.time.after(this.#chance.between(25_000, 40_000), () => {
      this.#sim.kill(host.process);
    });
  }

  #fillDisk(): void {
    this.#note('the disk is full');
    this.#sim.reached('the disk is full');
    this.#sim.disk.freeBytes = this.#chance.whole(500, 40_000);
    this.#sim.time.after(this.#chance.between(1_000, 40_000), () => {
      this.#sim.disk.freeBytes = Infinity;
      this.#sim.disturb();
    });
  }

  #jumpWall(): void {
    const ahead = this.#chance.happens(0.5);
    const by = this.#chance.oneOf([500, 10_000, 3_600_000, 86_400_000]) * this.#chance.between(0.5, 1);
    this.#sim.time.wallOffsetMs += ahead ? by : -by;
    this.#furthestWallMs = Math.max(this.#furthestWallMs, this.#sim.time.wallOffsetMs);
    this.#note(`the wall clock jumps by ${Math.floor(ahead ? by : -by)} ms`);
    this.#sim.reached(ahead ? 'the wall clock jumps ahead' : 'the wall clock jumps back');
  }

  #note(what: string): void {
    this.injected += 1;
    this.#sim.note(what);
    this.#sim.disturb();
  }
}
