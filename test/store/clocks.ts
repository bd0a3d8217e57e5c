import type { FaultyDiskOptions } from '#holdfast/testing/faulty-store.js';

/** A clock whose timers fire as soon as nothing else runs, in the order of their due times; it jumps to each. */
export function instantClock(): FaultyDiskOptions['clock'] {
  const timers: { readonly dueAt: number; readonly number: number; readonly fire: () => void }[] = [];
  let nowMs = 0;
  let count = 0;
  const fireNext = (): void => {
    timers.sort((a, b) => a.dueAt - b.dueAt || a.number - b.number);
    const next = timers.shift();
    if (next === undefined) return;
    nowMs = Math.max(nowMs, next.dueAt);
    next.fire();
  };
  return {
    monotonicMs: () => nowMs,
    timer(delayMs, fire) {
      const timer = { dueAt: nowMs + delayMs, number: count++, fire };
      timers.push(timer);
      setImmediate(fireNext);
      return () => {
        const index = timers.indexOf(timer);
        if (index >= 0) timers.splice(index, 1);
      };
    },
  };
}
