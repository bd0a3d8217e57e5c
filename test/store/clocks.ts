import type { Clock } from '#holdfast/model/clock.js';

/** A clock whose timers fire at once, in the order of their due times; time advances to each. */
export function instantClock(): Clock {
  const timers: { readonly dueAt: number; readonly number: number; readonly fire: () => void }[] = [];
  let nowMs = 0;
  let number = 0;
  let running = false;
  const advance = (): boolean => {
    timers.sort((a, b) => a.dueAt - b.dueAt || a.number - b.number);
    const next = timers.shift();
    if (next === undefined) return false;
    nowMs = Math.max(nowMs, next.dueAt);
    next.fire();
    return true;
  };
  const run = (): void => {
    if (running) return;
    running = true;
    setImmediate(() => {
      running = false;
      if (advance()) run();
    });
  };
  return {
    monotonicMs: () => nowMs,
    wallMs: () => nowMs,
    defer: (work) => queueMicrotask(work),
    timer(delayMs, fire) {
      const timer = { dueAt: nowMs + delayMs, number: number++, fire };
      timers.push(timer);
      run();
      return () => {
        const index = timers.indexOf(timer);
        if (index >= 0) timers.splice(index, 1);
      };
    },

  };
}
