/**
 * Time, captured once. Every other file gets a {@link Clock} handed in, so that tests and the simulator
 * can own time; the lint rules forbid the global functions everywhere but here.
 */

/** Stops a timer; safe to call when the timer has fired. */
export type CancelTimer = () => void;

export interface Clock {
  /** Milliseconds since an arbitrary moment; never goes back, not moved by clock adjustments. */
  monotonicMs(): number;
  /** Milliseconds since 1970-01-01 UTC as the machine's calendar has it; may jump. */
  wallMs(): number;
  /** Calls `fire` once after `delayMs` or later, never earlier. The timer does not keep a process alive. */
  timer(delayMs: number, fire: () => void): CancelTimer;
  /** Calls `run` when the code that is running now, and every promise reaction it causes, has finished. */
  defer(run: () => void): void;
  /** Calls `run` when the input that has already arrived at this process has been handed out. */
  afterInput(run: () => void): void;
  /** Keeps the process alive until it is cancelled. */
  keepAlive(): CancelTimer;
}

/** setTimeout takes no longer delay than this; a longer one is waited for in pieces. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

const { setTimeout, clearTimeout, setInterval, setImmediate, performance, Date, process } = globalThis;
const nextTick = process.nextTick.bind(process);

/**
 * The time of the calendar as the code around has it, who may have put a clock of its own in the place of the global one. For doors
 * whose system lets its caller's clock decide.
 */
export function callersNow(): number {
  return globalThis.Date.now();
}

/** The clock of the machine that this process runs on. */
export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  defer: (run) => nextTick(run),
  afterInput: (run) => void setImmediate(run),
  keepAlive() {
    const handle = setInterval(() => {}, LONGEST_TIMEOUT_MS);
    return () => clearTimeout(handle);
  },
  timer(delayMs, fire) {
    const dueAt = performance.now() + delayMs;
    let handle: NodeJS.Timeout;
    const arm = (): void => {
      // Timers are rounded to whole milliseconds, so one can fire a fraction early.
      const leftMs = dueAt - performance.now();
      if (leftMs <= 0) return fire();
      handle = setTimeout(arm, Math.min(Math.ceil(leftMs), LONGEST_TIMEOUT_MS));
      handle.unref();
    };
    handle = setTimeout(arm, Math.min(Math.max(Math.ceil(delayMs), 0), LONGEST_TIMEOUT_MS));
    handle.unref();
    return () => clearTimeout(handle);
  },
};
