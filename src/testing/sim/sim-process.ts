/** A simulated process: what runs in it stops with it, waits while it is paused, and sees time through its own clock. */
import type { Clock } from '../../model/clock.ts';
import type { Random } from '../../model/random.ts';
import type { SimTime } from './sim-time.ts';

export class SimProcess {
  readonly name: string;
  /** Names this incarnation. */
  readonly host: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly #time: SimTime;
  readonly #onDeath: (() => void)[] = [];
  /** What waits for the end of a pause. */
  #waiting: (() => void)[] | undefined;
  #alive = true;
  /** Whether it was ever paused, so that how long something took in it says nothing. */
  wasPaused = false;

  constructor(time: SimTime, name: string, random: Random) {
    this.#time = time;
    this.name = name;
    this.random = random;
    this.host = Array.from(random.fill(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
    this.clock = {
      monotonicMs: () => time.nowMs,
      wallMs: () => time.wallMs,
      timer: (delayMs, fire) => {
        let cancelled = false;
        // A timer that is cancelled behind a pause does not fire any more.
        const cancel = time.after(delayMs, () =>
          this.enter(() => {
            if (!cancelled) fire();
          }),
        );
        return () => {
          cancelled = true;
          cancel();
        };
      },
      defer: (run) => void time.after(0, () => this.enter(run)),
      afterInput: (run) => void time.after(0, () => this.enter(run)),
      keepAlive: () => () => {},
    };
  }

  get isAlive(): boolean {
    return this.#alive;
  }

  get isPaused(): boolean {
    return this.#waiting !== undefined;
  }

  /** Runs something in this process: never when it is dead, and later when it is paused. */
  enter(run: () => void): void {
    if (!this.#alive) return;
    if (this.#waiting === undefined) run();
    else this.#waiting.push(run);
  }

  /** Resolves after this long, unless the process is dead by then. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.clock.timer(ms, resolve));
  }

  pause(): void {
    this.wasPaused = true;
    if (this.#alive) this.#waiting ??= [];
  }

  resume(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    // Each in an event of its own, as input that has piled up is handed out.
    for (const run of waiting) this.#time.after(0, () => this.enter(run));
  }

  onDeath(listener: () => void): void {
    if (this.#alive) this.#onDeath.push(listener);
    else listener();
  }

  kill(): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#waiting = undefined;
    for (const listener of this.#onDeath.splice(0)) listener();
  }
}
