/** Starts the processes of the demo, kills them where it was decided, and starts others until the work is done. */
import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type Kill, type Phase, randomKills, randomOf, type Victim } from './kills.ts';
import type { Notice, Order, Report, Role } from './member.ts';

/** What the supervisor tells of while the work goes on. */
export interface Listener {
  /** @param workers how many worker processes there are */
  started(workers: number): void;
  progress(stored: number, ended: number): void;
  /** @param kills how many there were by then */
  killed(kills: number, kill: Kill): void;
}

export interface Supervised {
  readonly workers: number;
  /** Kills of the process that led the folder. */
  readonly brokerKills: number;
  /** Kills of worker processes that did not. */
  readonly workerKills: number;
  /** From the first start to the end of the last process. */
  readonly seconds: number;
}

/** A process that runs. */
interface Member {
  readonly role: Role;
  readonly process: ChildProcess;
  readonly ready: Promise<unknown>;
  /** Resolves when it has ended, for whatever reason. */
  readonly gone: Promise<unknown>;
  isDone: boolean;
}

const WORKERS_A_CORE = 2;
/** Beyond this many the disk is what they all wait for. */
const MOST_WORKERS = 16;
const MOST_STEPS = 64;

const PROGRAM = fileURLToPath(new URL('./process.js', import.meta.url));

export class Supervisor {
  readonly #order: Pick<Order, 'folder' | 'data'>;
  readonly #listener: Listener;
  readonly #workers: number = Math.min(availableParallelism() * WORKERS_A_CORE, MOST_WORKERS);
  readonly #kills: Kill[];
  readonly #steps: Record<Phase, number> = { producing: 0, handling: 0 };
  readonly #killed: Record<Victim, number> = { broker: 0, worker: 0 };
  readonly #members = new Set<Member>();
  readonly #asking: Member[] = [];
  #isGranting = false;
  #isProduced = false;
  #leader: Member | undefined;
  #onLeader: () => void = () => {};
  #progress = { stored: 0, ended: 0 };
  #end: { readonly resolve: () => void; readonly reject: (error: unknown) => void } | undefined;

  /** @param files how many files there are to work on */
  constructor(order: Pick<Order, 'folder' | 'data'>, files: number, listener: Listener) {
    this.#order = order;
    this.#listener = listener;
    this.#kills = randomKills(files);
  }

  /**
   * @throws Error when a process ends otherwise than expected
   * @throws the reason of `abort` when that fires; all processes are gone then
   */
  async run(abort: AbortSignal): Promise<Supervised> {
    const startedAt = performance.now();
    abort.throwIfAborted();
    const ended = new Promise<void>((resolve, reject) => (this.#end = { resolve, reject }));
    const stop = (): void => this.#end?.reject(abort.reason);
    abort.addEventListener('abort', stop, { once: true });
    try {
      this.#startAll().catch((error: unknown) => this.#end?.reject(error));
      await ended;
    } finally {
      abort.removeEventListener('abort', stop);
      this.#end = undefined;
      await this.#killAll();
    }
    const seconds = (performance.now() - startedAt) / 1_000;
    return { workers: this.#workers, brokerKills: this.#killed.broker, workerKills: this.#killed.worker, seconds };
  }

  /** The broker first, so that it leads; the work begins when all workers are there. */
  async #startAll(): Promise<void> {
    await this.#start('broker').ready;
    await Promise.all(Array.from({ length: this.#workers }, () => this.#start('worker').ready));
    if (this.#end === undefined) return;
    this.#listener.started(this.#workers);
    this.#start('producer');
  }

  #start(role: Role): Member {
    const order: Order = { ...this.#order, role, isProduced: this.#isProduced };
    const child = spawn(process.execPath, [PROGRAM, JSON.stringify(order)], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      // Out of reach of a Ctrl+C: who started it ends it.
      detached: true,
    });
    let isReady = (): void => {};
    const ready = new Promise<void>((resolve) => (isReady = resolve));
    const gone = new Promise<void>(
      (resolve) => void child.once('close', () => resolve()).once('error', () => resolve()),
    );
    const member: Member = { role, process: child, ready, gone, isDone: false };
    this.#members.add(member);
    child.on('message', (report: Report) => {
      if (report.kind === 'ready') isReady();
      else this.#hear(member, report);
    });
    child.once('error', (error) => this.#end?.reject(error));
    child.once('exit', (code, signal) => this.#exited(member, signal ?? `exit code ${code}`));
    return member;
  }

  #hear(member: Member, report: Exclude<Report, { kind: 'ready' }>): void {
    switch (report.kind) {
      case 'leads':
        this.#leader = member;
        this.#onLeader();
        break;
      case 'asks':
        this.#asking.push(member);
        this.#grant().catch((error: unknown) => this.#end?.reject(error));
        break;
      case 'progress':
        // Each process has its own moment to look.
        this.#progress = {
          stored: Math.max(this.#progress.stored, report.stored),
          ended: Math.max(this.#progress.ended, report.ended),
        };
        this.#listener.progress(this.#progress.stored, this.#progress.ended);
        break;
      case 'done':
        member.isDone = true;
        break;
    }
  }

  #exited(member: Member, how: string): void {
    // One that was killed has left before.
    if (!this.#members.delete(member)) return;
    if (this.#leader === member) this.#leader = undefined;
    if (!member.isDone) this.#end?.reject(new Error(`A ${member.role} process ended by itself (${how})`));
    if (member.role === 'producer') {
      this.#isProduced = true;
      for (const other of this.#members) tell(other, { kind: 'produced' });
    }
    const left = [...this.#members];
    if (left.length === 0) this.#end?.resolve();
    else if (left.every(({ role }) => role === 'broker')) for (const broker of left) tell(broker, { kind: 'end' });
  }

  /** Gives steps to those who ask, up to the next kill; while that is done, nobody gets any. */
  async #grant(): Promise<void> {
    if (this.#isGranting) return;
    this.#isGranting = true;
    for (let member = this.#asking.shift(); member !== undefined; member = this.#asking.shift()) {
      if (!this.#members.has(member)) continue;
      const phase = member.role === 'producer' ? 'producing' : 'handling';
      const next = this.#kills.find((kill) => kill.phase === phase);
      const left = next === undefined ? Infinity : next.afterSteps - this.#steps[phase];
      if (next !== undefined && left <= 0) {
        this.#asking.unshift(member);
        this.#kills.splice(this.#kills.indexOf(next), 1);
        await this.#kill(next);
        continue;
      }
      const steps = Math.max(1, Math.min(MOST_STEPS, Math.floor(left / (2 * this.#workers))));
      this.#steps[phase] += steps;
      tell(member, { kind: 'go', steps });
    }
    this.#isGranting = false;
  }

  async #kill(kill: Kill): Promise<void> {
    const member = kill.victim === 'broker' ? await this.#whoLeads() : this.#someWorker();
    if (member === undefined || !this.#members.delete(member)) return;
    if (this.#leader === member) this.#leader = undefined;
    member.process.kill('SIGKILL');
    await member.gone;
    this.#killed[kill.victim] += 1;
    this.#listener.killed(this.#killed.broker + this.#killed.worker, kill);
    if (this.#end !== undefined) this.#start(member.role);
  }

  /** A takeover may be under way. */
  async #whoLeads(): Promise<Member | undefined> {
    while (this.#leader === undefined && this.#end !== undefined) {
      await new Promise<void>((resolve) => (this.#onLeader = resolve));
    }
    return this.#leader;
  }

  #someWorker(): Member | undefined {
    return randomOf([...this.#members].filter((member) => member.role === 'worker' && member !== this.#leader));
  }

  async #killAll(): Promise<void> {
    this.#onLeader();
    const left = [...this.#members];
    this.#members.clear();
    for (const member of left) member.process.kill('SIGKILL');
    await Promise.all(left.map(({ gone }) => gone));
  }
}

function tell({ process }: Member, notice: Notice): void {
  // One that is about to end hears nothing any more, and need not.
  if (process.connected) process.send(notice, () => {});
}
