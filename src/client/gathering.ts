/** Gathering: when messages that wait for a handler of many are enough for it. */
import type { CancelTimer, Clock } from '../model/clock.ts';

export interface BatchRules {
  /** How many messages a batch has at most. */
  readonly size: number;
  /** With fewer than this it waits for more. */
  readonly minSize: number;
  /** For so long, from when the first of them came. */
  readonly waitMs: number;
}

export class Gathering {
  readonly rules: BatchRules;
  readonly #clock: Clock;
  /** Called when there may be a batch, since the first of its messages has waited long enough. */
  readonly #due: () => void;
  #cancel: CancelTimer | undefined;

  constructor(clock: Clock, rules: BatchRules, due: () => void) {
    this.#clock = clock;
    this.rules = rules;
    this.#due = due;
  }

  /** How many of those that wait make a batch now; with 0 it calls back when time will have made one. */
  enough(waiting: number, firstCameAt: number): number {
    const { size, minSize, waitMs } = this.rules;
    if (waiting === 0) return 0;
    if (waiting >= minSize) return Math.min(waiting, size);
    const leftMs = firstCameAt + waitMs - this.#clock.monotonicMs();
    if (leftMs <= 0) return waiting;
    this.#cancel ??= this.#clock.timer(leftMs, () => {
      this.#cancel = undefined;
      this.#due();
    });
    return 0;
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }
}
