/**
 * A campaign against several processes on one store: one that leads it at first, one that produces, and others that
 * work. At random moments one of them or several are killed and started again, or stopped for so long that the others
 * take them for dead. After some of these strikes everything is counted strictly, and new data begun.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '#holdfast/model/random.js';
import {
  type CampaignOptions,
  FAULTS_A_FOLDER,
  OPENING_MS,
  OPENING_SHARE,
  OVERLAP,
  SHORTEST_LOAD_MS,
} from './campaign.ts';
import { type Child, startChild } from './child.ts';
import { Ledger } from './ledger.ts';
import type { LoadEvent, Role } from './load.ts';
import { sumOf, type Tally } from './tally.ts';

/** A process under torture. */
interface Member {
  readonly role: Role;
  readonly child: Child;
  /** When it went on after it was stopped, by the machine's monotonic clock. */
  resumedAt: number;
}

/** The shares of strikes that hit whichever leads alone, and several at once; the others hit any one. */
const LEADER_SHARE = 0.4;
const SEVERAL_SHARE = 0.2;
/** One strike in so many stops processes; the others kill. */
const STOP_SHARE = 8;
/** Longer than the others have patience with a silent leader, and longer than the session timeout. */
const SHORTEST_STOP_MS = 4_300;
const LONGEST_STOP_MS = 6_000;

/**
 * A process that was stopped begins with what it had got before, until it hears that it lost that: for so long, in
 * milliseconds, its starts say nothing about what was delivered.
 */
const CATCHING_UP_MS = 5_000;

export class SharedCampaign {
  readonly #options: CampaignOptions;
  readonly #roles: readonly Role[];
  readonly #random: () => number;
  readonly #closed: Ledger[] = [];
  readonly #reopenMs: number[] = [];
  readonly #takeoverMs: number[] = [];
  #ledger = new Ledger();
  #members: Member[] = [];
  #finisher: Child | undefined;
  #leader: Member | undefined;
  /** When the leader was killed, as long as no produce that was asked for since has been acknowledged. */
  #leaderKilledAt: number | undefined;
  #cycles = 0;
  #kills = 0;
  #leaderKills = 0;
  #stops = 0;

  /** @param processes how many there are at a time, 3 at least */
  constructor(options: CampaignOptions, processes: number) {
    this.#options = options;
    this.#roles = ['lead', 'produce', ...Array.from({ length: processes - 2 }, () => 'work' as const)];
    const random = seededRandom(options.seed);
    this.#random = () => random.fraction();
  }

  /** @throws the reason of `abort` when that fires; all processes are gone then */
  async run(cycles: number, abort: AbortSignal): Promise<Tally> {
    const stop = (): void => {
      for (const { child } of this.#members) child.process.kill('SIGKILL');
      this.#finisher?.process.kill('SIGKILL');
    };
    abort.addEventListener('abort', stop, { once: true });
    try {
      return await this.#run(cycles, abort);
    } catch (error) {
      // Whatever it looked like to whoever waited for a process.
      abort.throwIfAborted();
      throw error;
    } finally {
      abort.removeEventListener('abort', stop);
      stop();
      await Promise.all([...this.#members.map(({ child }) => child.gone), this.#finisher?.gone]);
    }
  }

  get tally(): Tally {
    return {
      cycles: this.#cycles,
      ...sumOf([...this.#closed, this.#ledger]),
      reopenMs: this.#reopenMs,
      shared: {
        kills: this.#kills,
        leaderKills: this.#leaderKills,
        stops: this.#stops,
        takeoverMs: this.#takeoverMs,
      },
    };
  }

  get isViolated(): boolean {
    return this.describe().length > 0;
  }

  describe(): string[] {
    return this.#ledger.describe();
  }

  async #run(cycles: number, abort: AbortSignal): Promise<Tally> {
    for (let left = cycles; left > 0; left -= FAULTS_A_FOLDER) {
      const data = join(this.#options.place.folder, `data-${this.#closed.length}`);
      for (const role of this.#roles) {
        const member = this.#start(role, data, abort);
        // The first leads.
        if (role === 'lead') await member.child.until('opened');
      }
      for (let i = 0; i < Math.min(left, FAULTS_A_FOLDER); i++) {
        await this.#strike(data, abort);
        this.#cycles += 1;
        this.#options.onCycle(this.tally);
      }
      await this.#finish(data, abort);
      if (this.isViolated) return this.tally;
      rmSync(data, { recursive: true });
      this.#closed.push(this.#ledger);
      this.#ledger = new Ledger();
    }
    return this.tally;
  }

  async #strike(data: string, abort: AbortSignal): Promise<void> {
    const { longestLoadMs } = this.#options;
    // As many numbers for each strike, whoever leads by then.
    const draw = Array.from({ length: 5 + this.#roles.length }, this.#random);
    const [opening = 0, load = 0, stop = 0, stopLength = 0, ...choice] = draw;
    const whileOpening = opening < 1 / OPENING_SHARE;
    if (!whileOpening) await Promise.all(this.#members.map(({ child }) => child.until('opened')));
    const loadMs = whileOpening ? load * OPENING_MS : SHORTEST_LOAD_MS + load * (longestLoadMs - SHORTEST_LOAD_MS);
    await sleep(loadMs, undefined, { signal: abort });
    this.#checkAlive();
    const victims = this.#chooseVictims(choice);
    const stopMs = SHORTEST_STOP_MS + stopLength * (LONGEST_STOP_MS - SHORTEST_STOP_MS);
    if (stop < 1 / STOP_SHARE) await this.#stop(victims, stopMs, abort);
    else await this.#kill(victims, data, abort);
  }

  async #kill(victims: readonly Member[], data: string, abort: AbortSignal): Promise<void> {
    const isLeader = victims.some((victim) => victim === this.#leader);
    this.#leaderKilledAt = isLeader && !victims.some(({ role }) => role === 'produce') ? now() : undefined;
    for (const { child } of victims) child.process.kill('SIGKILL');
    if (isLeader) {
      this.#leader = undefined;
      this.#leaderKills += 1;
    }
    this.#members = this.#members.filter((member) => !victims.includes(member));
    await Promise.all(victims.map(({ child }) => child.gone));
    this.#kills += victims.length;
    for (const { role } of victims) this.#start(role, data, abort);
  }

  async #stop(victims: readonly Member[], stopMs: number, abort: AbortSignal): Promise<void> {
    // What the others do meanwhile says nothing about a takeover after a kill.
    this.#leaderKilledAt = undefined;
    for (const { child } of victims) child.process.kill('SIGSTOP');
    await sleep(stopMs, undefined, { signal: abort });
    for (const victim of victims) {
      victim.resumedAt = now();
      victim.child.process.kill('SIGCONT');
    }
    this.#stops += victims.length;
  }

  /** The leader, any other one, or several. */
  #chooseVictims([kind = 0, ...picks]: readonly number[]): Member[] {
    if (kind < LEADER_SHARE && this.#leader !== undefined) return [this.#leader];
    const left = [...this.#members];
    const count = kind < 1 - SEVERAL_SHARE ? 1 : 2 + Math.floor(((1 - kind) / SEVERAL_SHARE) * (left.length - 1));
    return Array.from({ length: count }, (_, i) => {
      return left.splice(Math.floor((picks[i] as number) * left.length), 1)[0] as Member;
    });
  }

  /** Kills what is left, and has one process work on everything to the end. */
  async #finish(data: string, abort: AbortSignal): Promise<void> {
    const left = this.#members.splice(0);
    for (const { child } of left) child.process.kill('SIGKILL');
    await Promise.all(left.map(({ child }) => child.gone));
    this.#leader = undefined;
    this.#leaderKilledAt = undefined;
    abort.throwIfAborted();
    this.#finisher = startChild({ data, mode: 'finish', first: 0 }, (event) => this.#ledger.take(event));
    await this.#finisher.until('finished');
    await this.#finisher.gone;
  }

  #start(role: Role, data: string, abort: AbortSignal): Member {
    abort.throwIfAborted();
    const first = Math.max(0, this.#ledger.highest - OVERLAP);
    const child = startChild({ data, mode: role, first }, (event) => this.#hear(member, event));
    const member: Member = { role, child, resumedAt: -Infinity };
    this.#members.push(member);
    return member;
  }

  #hear(member: Member, event: LoadEvent): void {
    switch (event.kind) {
      case 'leads':
        // One that was killed may be heard of only now.
        if (this.#members.includes(member)) this.#leader = member;
        break;
      case 'opened':
        this.#reopenMs.push(event.ms);
        break;
      case 'acknowledged':
        if (this.#leaderKilledAt === undefined || event.askedAt < this.#leaderKilledAt) break;
        this.#takeoverMs.push(event.at - this.#leaderKilledAt);
        this.#leaderKilledAt = undefined;
        break;
      case 'started':
        if (event.at - member.resumedAt < CATCHING_UP_MS) return;
        break;
      case 'jobStarted':
        // That somebody has begun with it counts, but not when.
        if (event.at - member.resumedAt < CATCHING_UP_MS) return this.#ledger.take({ ...event, at: -Infinity });
        break;
      default:
        break;
    }
    this.#ledger.take(event);
  }

  #checkAlive(): void {
    for (const { role, child } of this.#members) {
      const { exitCode, signalCode } = child.process;
      if (exitCode === null && signalCode === null) continue;
      const end = signalCode ?? `exit code ${exitCode}`;
      throw new Error(`A process under torture (${role}) ended by itself (${end})\n${child.complaints()}`);
    }
  }
}

/** The clock of the processes under torture. */
function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
