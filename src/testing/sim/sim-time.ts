/** Simulated time: one heap of events, and the clocks of all simulated processes. */
import { EventHeap } from '../event-heap.ts';
import type { CancelTimer } from '../../model/clock.ts';
import { settled } from '../settled.ts';

/** Times are multiples of this part of a millisecond, so that they are exact and a timer always makes progress. */
const STEPS_PER_MS = 64;

/** The wall clock at the start of each simulation: a Tuesday in November 2023. */
const WALL_START_MS = 1_700_000_000_000;

/** More events than this at one moment mean that somebody waits for nothing in a circle. */
const MAX_EVENTS_AT_ONCE = 20_000;

export class SimTime {
  readonly #heap = new EventHeap();
  #nowMs = 0;
  #events = 0;
  #atOnce = 0;
  /** How far the wall clock has been set away from its true time, in milliseconds. */
  wallOffsetMs = 0;

  get nowMs(): number {
    return this.#nowMs;
  }

  get wallMs(): number {
    return Math.floor(WALL_START_MS + this.#nowMs + this.wallOffsetMs);
  }

  /** How many events have happened. */
  get events(): number {
    return this.#events;
  }

  /** Runs `run` after this long, and after everything that was to happen at that moment already. */
  after(delayMs: number, run: () => void): CancelTimer {
    const at = delayMs <= 0 ? this.#nowMs : this.#nowMs + Math.max(1, Math.ceil(delayMs * STEPS_PER_MS)) / STEPS_PER_MS;
    const event = this.#heap.add(Math.ceil(at * STEPS_PER_MS) / STEPS_PER_MS, run);
    return () => {
      event.cancelled = true;
    };
  }

  /** Lets events happen, one after the other and each to its end, until that time or until `isOver` after one of them. */
  async runUntil(untilMs: number, isOver: () => boolean): Promise<void> {
    await Promise.resolve();
    while (!isOver()) {
      const event = this.#heap.take(untilMs);
      if (event === undefined) {
        this.#nowMs = Math.max(this.#nowMs, untilMs);
        return;
      }
      this.#atOnce = event.at > this.#nowMs ? 0 : this.#atOnce + 1;
      if (this.#atOnce > MAX_EVENTS_AT_ONCE) throw new Error(`Time stands still at ${this.#nowMs} ms`);
      this.#nowMs = Math.max(this.#nowMs, event.at);
      this.#events += 1;
      event.run();
      await settled();
    }
  }
}
