/** Faults: what goes wrong, when, and that it ends. */
import type { CommitFault } from '../faulty-store.ts';
import type { Chance } from './chance.ts';
import type { FaultPlan } from './scenario.ts';
import type { SimProcess } from './sim-process.ts';
import type { World } from './world.ts';

type Timed = {
  [K in keyof FaultPlan]: FaultPlan[K] extends number ? never : K;
}[keyof FaultPlan];

export class FaultInjector {
  /** How many faults there were. */
  injected = 0;
  readonly #sim: World;
  readonly #chance: Chance;
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
      kill: () => this.#kill(this.#someFollower()),
      killLeader: () => this.#killLeader(),
      cutPower: () => this.#cutPower(),
      pause: () => this.#pause(this.#someFollower()),
      pauseLeader: () => this.#pause(this.#sim.leader),
      block: () => this.#block(),
      isolate: () => this.#isolate(),
      leave: () => this.#leave(),
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
    sim.network.mend();
    for (const process of sim.processes) process.resume();
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

  #repeat(meanMs: number, inject: () => void): void {
    this.#sim.time.after(this.#chance.until(meanMs), () => {
      if (!this.#active) return;
      inject();
      this.#repeat(meanMs, inject);
    });
  }

  #cut(): void {
    const { wires } = this.#sim.network;
    if (wires.length === 0) return;
    this.#note('a link is cut');
    this.#sim.reached('a link is cut');
    this.#chance.oneOf(wires).connection.cut();
  }

  #silence(): void {
    const { wires } = this.#sim.network;
    if (wires.length === 0) return;
    this.#note('a link goes silent');
    this.#sim.reached('a link goes silent');
    const { connection } = this.#chance.oneOf(wires);
    connection.silence();
    // Sooner or later the system finds out.
    this.#later(1_000, 60_000, () => connection.cut());
  }

  #someFollower(): SimProcess | undefined {
    const { processes, leader } = this.#sim;
    const followers = [...processes].filter((process) => process !== leader);
    return followers.length === 0 ? undefined : this.#chance.oneOf(followers);
  }

  #kill(process: SimProcess | undefined): void {
    if (process === undefined) return;
    this.injected += 1;
    this.#sim.kill(process);
  }

  #killLeader(): void {
    const { leader } = this.#sim;
    if (leader === undefined) return;
    this.#sim.reached('a leader crashes');
    this.#kill(leader);
  }

  #cutPower(): void {
    this.#note('the power is cut');
    this.#sim.reached('the power is cut');
    this.#sim.disk.cutPower();
    for (const process of this.#sim.processes) this.#sim.kill(process);
  }

  #pause(process: SimProcess | undefined): void {
    if (process === undefined || process.isPaused) return;
    this.#note(`${process.name} is paused`);
    this.#sim.reached(process === this.#sim.leader ? 'a leader is paused' : 'a process is paused');
    process.pause();
    this.#later(100, 40_000, () => process.resume());
  }

  #block(): void {
    const process = this.#chance.oneOf([...this.#sim.processes, undefined]);
    if (process === undefined || process.isBlocked) return;
    this.#note(`${process.name} blocks its event loop`);
    this.#sim.reached('an event loop is blocked');
    process.block();
    this.#later(100, 3 * this.#sim.scenario.sessionTimeoutMs, () => {
      if (!process.isPaused) process.resume();
    });
  }

  /** Others take over from a leader that they cannot reach, while it goes on until it hears of it. */
  #isolate(): void {
    const { leader, network } = this.#sim;
    if (leader === undefined || network.isIsolated(leader)) return;
    this.#note(`${leader.name} is cut off`);
    this.#sim.reached('a leader is cut off');
    network.isolate(leader);
    this.#later(2_000, 20_000, () => network.mend(leader));
  }

  #leave(): void {
    const process = this.#chance.oneOf([...this.#sim.processes, undefined]);
    if (process === undefined || process.isBlocked) return;
    this.injected += 1;
    this.#sim.reached('a process leaves');
    this.#sim.leave(process);
  }

  #later(least: number, most: number, run: () => void): void {
    this.#sim.time.after(this.#chance.between(least, most), () => {
      run();
      this.#sim.disturb();
    });
  }

  #fillDisk(): void {
    this.#note('the disk is full');
    this.#sim.reached('the disk is full');
    this.#sim.disk.freeBytes = this.#chance.whole(500, 40_000);
    this.#later(1_000, 40_000, () => {
      this.#sim.disk.freeBytes = Infinity;
    });
  }

  #jumpWall(): void {
    const ahead = this.#chance.happens(0.5);
    // What is under way goes by the time that it was up to now.
    this.#sim.note('the wall clock is set');
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
