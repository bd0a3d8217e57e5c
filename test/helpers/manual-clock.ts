import { setImmediate } from 'node:timers';
import type { CancelTimer, Clock } from '#holdfast/model/clock.js';

/** How many turns of the event loop let everything that is under way come to rest. */
const TURNS = 40;

/** A clock that stands still until a test moves it. */
export class ManualClock implements Clock {
  #monotonicMs = 1_000;
  #wallMs: number;
  #timers: { readonly dueAt: number; readonly fire: () => void }[] = [];

  constructor(wallMs: number = Date.UTC(2030, 0, 1)) {
    this.#wallMs = wallMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  wallMs(): number {
    return this.#wallMs;
  }

  timer(delayMs: number, fire: () => void): CancelTimer {
    const timer = { dueAt: this.#monotonicMs + Math.max(0, delayMs), fire };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  defer(run: () => void): void {
    process.nextTick(run);
  }

  afterInput(run: () => void): void {
    setImmediate(run);
  }

  keepAlive(): CancelTimer {
    return () => {};
  }

  /** Sets the wall clock, and not the monotonic one. */
  setWall(wallMs: number): void {
    this.#wallMs = wallMs;
  }

  /** Lets time pass: fires what falls due, in order, and lets everything come to rest after each. */
  async advance(ms: number): Promise<void> {
    const until = this.#monotonicMs + ms;
    await settled();
    for (;;) {
      const next = this.#takeDue(until);
      if (next === undefined) break;
      this.#pass(next.dueAt - this.#monotonicMs);
      next.fire();
      await settled();
    }
    this.#pass(until - this.#monotonicMs);
    await settled();
  }

  #takeDue(until: number): { readonly dueAt: number; readonly fire: () => void } | undefined {
    const due = this.#timers.filter(({ dueAt }) => dueAt <= until).sort((a, b) => a.dueAt - b.dueAt)[0];
    if (due !== undefined) this.#timers = this.#timers.filter((timer) => timer !== due);
    return due;
  }

  #pass(ms: number): void {
    if (ms <= 0) return;
    this.#monotonicMs += ms;
    this.#wallMs += ms;
  }
}

/** Resolves when everything that is under way without time passing has come to rest. */
export async function settled(turns: number = TURNS): Promise<void> {
  for (let i = 0; i < turns; i++) await turn();
}

/** Resolves as soon as the condition holds; fails when it does not come to hold by itself. */
export async function until(condition: () => boolean, what: string = 'the condition'): Promise<void> {
  for (let i = 0; i < 100_000; i++) {
    if (condition()) return;
    await turn();
  }
  throw new Error(`Waited in vain for ${what}`);
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
