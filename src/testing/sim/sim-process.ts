/** A simulated process: the application's thread, and the one behind it that leads or follows. */
import type { Clock } from '../../model/clock.ts';
import type { Random } from '../../model/random.ts';
import { SimThread } from './sim-thread.ts';
import type { SimTime } from './sim-time.ts';

export class SimProcess {
  readonly name: string;
  /** Names this incarnation. */
  readonly host: string;
  readonly random: Random;
  /** Where handlers and the client run. */
  readonly main: SimThread;
  /** Where the member runs, which no handler can hold up. */
  readonly background: SimThread;
  readonly #onDeath: (() => void)[] = [];
  readonly #time: SimTime;
  #alive = true;
  /** When its last pause ended, in simulated time; `Infinity` while it is paused. */
  resumedAt: number = -Infinity;

  constructor(time: SimTime, name: string, random: Random) {
    this.#time = time;
    this.name = name;
    this.random = random;
    this.host = Array.from(random.fill(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
    this.main = new SimThread(time);
    this.background = new SimThread(time);
  }

  /** The application's. */
  get clock(): Clock {
    return this.main.clock;
  }

  get isAlive(): boolean {
    return this.#alive;
  }

  /** Neither thread runs. */
  get isPaused(): boolean {
    return this.background.isPaused;
  }

  /** The application does not get on, be it that only a handler holds it up. */
  get isBlocked(): boolean {
    return this.main.isPaused;
  }

  /** Resolves in the application after this long, unless the process is dead by then. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.clock.timer(ms, resolve));
  }

  pause(): void {
    this.resumedAt = Infinity;
    this.main.pause();
    this.background.pause();
  }

  /** A handler holds up the event loop. */
  block(): void {
    this.main.pause();
  }

  resume(): void {
    if (this.isPaused) this.resumedAt = this.#time.nowMs;
    this.background.resume();
    this.main.resume();
  }

  onDeath(listener: () => void): void {
    if (this.#alive) this.#onDeath.push(listener);
    else listener();
  }

  kill(): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.main.kill();
    this.background.kill();
    for (const listener of this.#onDeath.splice(0)) listener();
  }
}
