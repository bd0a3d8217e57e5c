/**
 * Attendance: notices that the broker's thread was away, because its process was stopped or something held up its event
 * loop. Meanwhile the others heard nothing of it, so that they may have given up their links, and it heard nothing of them.
 */
import type { Clock } from '../model/clock.ts';

/** How often it is to be looked, in shares of the silence after which others give up a link. */
const LOOKS_A_SILENCE = 4;

/**
 * An absence of this share of that silence can be enough to be given up: a client asks for a sign of life four times in it,
 * and may have heard the last one almost two of these times before.
 */
const SHORTEST_ABSENCE = 0.5;

export class Attendance {
  /** How often {@link hasBeenAway} must be asked, in milliseconds; `Infinity` where nobody gives up. */
  readonly lookMs: number;
  readonly #clock: Clock;
  readonly #silenceMs: number;
  /** Nobody is away before the first look. */
  #lookedAt = Infinity;
  #backAt = -Infinity;

  /** @param silenceMs after which others give up a link, or longer */
  constructor(clock: Clock, silenceMs: number) {
    this.#clock = clock;
    this.#silenceMs = silenceMs;
    this.lookMs = silenceMs / LOOKS_A_SILENCE;
  }

  /** Whether it was away since it was last asked; to be asked before anything is judged by the time that has passed. */
  hasBeenAway(): boolean {
    const now = this.#clock.monotonicMs();
    const isBack = now - this.#lookedAt >= this.#silenceMs * SHORTEST_ABSENCE;
    this.#lookedAt = now;
    if (isBack) this.#backAt = now;
    return isBack;
  }

  /** Whether a link that closes now may have been given up because this broker was away. */
  get isJustBack(): boolean {
    return this.#clock.monotonicMs() - this.#backAt < this.#silenceMs;
  }
}
