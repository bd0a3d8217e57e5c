/** A clock that stands still until the test moves it. */
import { type CancelTimer, type Clock, systemClock } from '../model/clock.ts';
import { type Duration, parseDuration } from '../model/duration.ts';
import { EventHeap } from './event-heap.ts';
import { breathe } from './settled.ts';

/** How many turns of the event loop must pass without work before everything counts as settled. */
const QUIET_TURNS = 3;

export interface TestClockOptions {
  /** The wall clock at the start. @default 2024-01-01T00:00:00Z */
  readonly startAt?: Date | number;
}

/**
 * Time for tests: delays, backoff, timeouts and windows pass at once and in order when the test says so.
 *
 * ```ts
 * const clock = new TestClock();
 * await using holdfast = await open('memory:', { clock });
 * await reminders.produce({ to: 'Ada' }, { delay: '1h' });
 * await clock.advance('59m');   // nothing yet
 * await clock.advance('1m');    // delivered, handled and settled when this resolves
 * ```
 */
export class TestClock implements Clock {
  readonly #timers = new EventHeap();
  #nowMs = 0;
  #wallAtStart: number;
  #underWay = 0;

  constructor({ startAt = Date.UTC(2024, 0, 1) }: TestClockOptions = {}) {
    this.#wallAtStart = Number(startAt);
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#wallAtStart + this.#nowMs;
  }

  /** The wall clock as a date. */
  get now(): Date {
    return new Date(this.wallMs());
  }

  timer(delayMs: number, fire: () => void): CancelTimer {
    const event = this.#timers.add(this.#nowMs + Math.max(0, delayMs), fire);
    return () => {
      event.cancelled = true;
    };
  }

  defer(run: () => void): void {
    this.#underWay += 1;
    systemClock.defer(() => this.#end(run));
  }

  afterInput(run: () => void): void {
    this.#underWay += 1;
    systemClock.afterInput(() => this.#end(run));
  }

  keepAlive(): CancelTimer {
    return () => {};
  }

  /**
   * Lets time pass. Timers fire in their order, each when everything that the one before it caused has settled, and
   * everything has settled when the promise resolves.
   *
   * @throws TypeError, RangeError for a duration that cannot be used
   */
  async advance(duration: Duration): Promise<void> {
    const until = this.#nowMs + parseDuration(duration, 'duration');
    await this.settle();
    while (await this.#fireNext(until));
    this.#nowMs = Math.max(this.#nowMs, until);
    await this.settle();
  }

  /**
   * Sets the wall clock, as an operator does; monotonic time does not move with it. Moments given as `dueAt` go by the
   * wall clock, but it is looked at only now and then: advance by a second to see them come.
   */
  set(wall: Date | number): void {
    this.#wallAtStart = Number(wall) - this.#nowMs;
  }

  /** Resolves when nothing is under way that can go on without time passing. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < QUIET_TURNS; quiet++) {
      await breathe();
      if (this.#underWay > 0) quiet = -1;
    }
  }

  /** Goes on to the next timer, if there is one within this time, and says whether there was. */
  async advanceToNext(within: Duration): Promise<boolean> {
    await this.settle();
    return this.#fireNext(this.#nowMs + parseDuration(within, 'within'));
  }

  async #fireNext(until: number): Promise<boolean> {
    const event = this.#timers.take(until);
    if (event === undefined) return false;
    this.#nowMs = Math.max(this.#nowMs, event.at);
    event.run();
    await this.settle();
    return true;
  }

  #end(run: () => void): void {
    this.#underWay -= 1;
    run();
  }
}
