/** Waiting until the code that runs has nothing more to do at this moment. */
import { systemClock } from '../model/clock.ts';

/**
 * Resolves when every promise reaction that can run now has run, and those that follow from them. It must be awaited in
 * a promise reaction, such as any asynchronous function after its first `await`: what is deferred there comes after all
 * other reactions, without a turn of the event loop, which makes it cheap and its order certain.
 */
export function settled(): Promise<void> {
  return new Promise((resolve) => systemClock.defer(resolve));
}

/** Lets the process handle its other input between two pieces of work. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => systemClock.afterInput(resolve));
}
