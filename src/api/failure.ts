/** Errors as data. */
import type { Failure } from '../model/failure.ts';

/** What an attempt has failed of, where there is something to say beside it. */
export class NotedError extends Error {
  override readonly name = 'NotedError';
  readonly error: unknown;
  readonly note: string;

  constructor(error: unknown, note: string) {
    super(note);
    this.error = error;
    this.note = note;
  }
}

/** An error as data, whatever its class has made of the fields of an Error. */
export function failureOf(error: unknown): Failure {
  if (error instanceof NotedError) return withNote(failureOf(error.error), error.note);
  if (!(error instanceof Error)) return { name: 'Error', message: describe(error), stack: undefined };
  try {
    const { name, message, stack } = error as { name: unknown; message: unknown; stack: unknown };
    return { name: describe(name), message: describe(message), stack: typeof stack === 'string' ? stack : undefined };
  } catch {
    return { name: 'Error', message: 'An error that cannot be shown', stack: undefined };
  }
}

export function withNote(failure: Failure, note: string): Failure {
  return { ...failure, message: `${failure.message} (${note})` };
}

export function describe(value: unknown): string {
  try {
    return String(value);
  } catch {
    return 'An error that cannot be shown';
  }
}
