/** Machine time: what relative delays, leases and windows go by. */
import type { Clock } from '../model/clock.ts';

/** How fast machine time is moved towards the wall clock: half a millisecond a second, as NTP daemons slew. */
const SLEW = 0.0005;

/** A wall clock that is further ahead than this is worth a line in the log. */
const NOTABLE_STEP_MS = 60_000;

export interface Instant {
  readonly now: number;
  readonly wall: number;
}

/**
 * Advances with the monotonic clock and follows the wall clock by slewing, so it never goes back and never jumps.
 * It starts at the later one of the wall clock and the time that was stored: a wall clock that was set back between
 * two runs makes nothing wait longer and nothing happen twice.
 */
export class MachineClock {
  readonly #clock: Clock;
  readonly #noteStep: (aheadMs: number) => void;
  #time: number;
  #monotonic: number;
  #noted = false;

  constructor(clock: Clock, stored: number, noteStep: (aheadMs: number) => void) {
    this.#clock = clock;
    this.#noteStep = noteStep;
    this.#time = Math.max(stored, clock.wallMs());
    this.#monotonic = clock.monotonicMs();
  }

  read(): Instant {
    const monotonic = this.#clock.monotonicMs();
    const wall = this.#clock.wallMs();
    const elapsed = Math.max(0, monotonic - this.#monotonic);
    const ahead = wall - (this.#time + elapsed);
    this.#monotonic = monotonic;
    this.#time += elapsed + Math.min(Math.max(ahead, -elapsed * SLEW), elapsed * SLEW);
    if (ahead > NOTABLE_STEP_MS !== this.#noted) {
      this.#noted = !this.#noted;
      if (this.#noted) this.#noteStep(ahead);
    }
    return { now: this.#time, wall };
  }
}
