#!/usr/bin/env node
/** The command `holdfast`. */
import { CommanderError } from 'commander';
import { HoldfastError } from '../model/errors.ts';
import { EXIT } from './exit.ts';
import { createProgram } from './program.ts';

// A reader that has seen enough, such as `head`, ends the output and is no error.
process.stdout.on('error', () => {});

try {
  await createProgram().parseAsync();
} catch (error) {
  process.exitCode = exitCodeFor(error);
}

/** Says what went wrong, unless that was said already, and gives the exit code for it. */
function exitCodeFor(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  if (error instanceof TypeError || error instanceof RangeError || error instanceof HoldfastError) {
    const code = error instanceof HoldfastError ? ` (${error.code})` : '';
    process.stderr.write(`holdfast: ${error.message}${code}\n`);
    return error instanceof HoldfastError ? EXIT.failed : EXIT.usage;
  }
  if (isSystemError(error)) {
    process.stderr.write(`holdfast: ${error.message}\n`);
    return EXIT.failed;
  }
  process.stderr.write(`holdfast: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return EXIT.failed;
}

/** A file that cannot be read or written says so itself; where in this program that was is of no interest. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error;
}
