/** SIGINT, SIGTERM and SIGHUP as an abort signal, so that a tool ends its children and removes what it has made. */
import { constants } from 'node:os';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The tool was told to end. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  /** What a shell expects of a program that this signal has ended. */
  readonly exitCode: number;

  constructor(signal: (typeof SIGNALS)[number]) {
    super(`Ended by ${signal}`);
    this.exitCode = 128 + constants.signals[signal];
  }
}

/** An abort signal that fires when the tool is told to end, with an {@link Interrupted} as its reason. */
export function abortWhenInterrupted(): AbortSignal {
  const controller = new AbortController();
  // A Ctrl+C comes twice, from the terminal and from npm: the second must not end the process while it cleans up.
  for (const signal of SIGNALS) process.on(signal, () => controller.abort(new Interrupted(signal)));
  return controller.signal;
}

/** Ends the tool, which has cleaned up. */
export function exitInterrupted({ message, exitCode }: Interrupted): never {
  console.error(message);
  // On the way to an ordinary end node lets go of the signals first, and one that comes then decides the exit code.
  process.exit(exitCode);
}
