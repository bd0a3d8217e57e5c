/** A simulated thread: what runs in it stops with it, waits while it is paused, and sees time through its own clock. */
import type { Clock } from '../../model/clock.ts';
import type { SimTime } from './sim-time.ts';

export class SimThread {
  readonly clock: Clock;
  readonly #time: SimTime;
  /** What waits for the end of a pause. */
  #waiting: (() => void)[] | undefined;
  #alive = true;

  constructor(time: SimTime) {
    this.#time = time;
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

  get isPaused(): boolean {
    return this.#waiting !== undefined;
  }

  /** Runs something in this thread: never when it is dead, and later when it is paused. */
  enter(run: () => void): void {
    if (!this.#alive) return;
    if (this.#waiting === undefined) run();
    else this.#waiting.push(run);
  }

  pause(): void {
    if (this.#alive) this.#waiting ??= [];
  }

  resume(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    // Each in an event of its own, as input that has piled up is handed out.
    for (const run of waiting) this.#time.after(0, () => this.enter(run));
  }

  kill(): void {
    this.#alive = false;
    this.#waiting = undefined;
  }
}
