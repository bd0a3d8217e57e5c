/** What commands that look into a store have in common. */
import { type Command, InvalidArgumentError } from 'commander';
import { systemClock } from '../model/clock.ts';
import { type Duration, parseDuration } from '../model/duration.ts';
import { outputClosed } from './output.ts';
import { addTargetOptions } from './target.ts';

/** A command with the flags that all of them have. `example` shows how it is used. */
export function addStoreCommand(program: Command, usage: string, description: string, example: string): Command {
  const command = program.command(usage).description(description).option('--json', 'write JSON, for programs');
  return addTargetOptions(command).addHelpText('after', `\nExample:\n  ${example}`);
}

/** Fires at SIGINT and SIGTERM, and when nobody reads the output any more. */
export function untilInterrupted(): AbortSignal {
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort();
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  if (outputClosed.aborted) interrupt();
  outputClosed.addEventListener('abort', interrupt);
  return interrupted.signal;
}

/** Waits this long, or until the signal fires. */
export function waitFor(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const release = systemClock.keepAlive();
    const done = (): void => {
      cancel();
      release();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const cancel = systemClock.timer(ms, done);
    if (signal.aborted) done();
    else signal.addEventListener('abort', done);
  });
}

/** Reads a flag that is a whole number from here to there. */
export function wholeNumberFlag(from: number, to: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (/^\d+$/.test(text) && number >= from && number <= to) return number;
    throw new InvalidArgumentError(`It must be a whole number from ${from} to ${to}.`);
  };
}

/** Reads a flag that is a moment, or how long ago one was. */
export function momentFlag(text: string): number {
  const at = /^\d{4}-/.test(text) ? Date.parse(text) : systemClock.wallMs() - durationFlag(text);
  if (Number.isFinite(at)) return at;
  throw new InvalidArgumentError('It must be a duration, such as 10m, or a moment, such as 2030-01-31T12:00:00Z.');
}

/** Reads a flag that is a duration. */
export function durationFlag(text: string): number {
  try {
    return parseDuration(text as Duration, 'duration');
  } catch {
    throw new InvalidArgumentError(`It must be a number with a unit, such as 500ms, 1s, 5m, 2h, 3d.`);
  }
}
