/** Checking of messages by a Standard Schema (https://standardschema.dev). */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { HoldfastError } from '../model/errors.ts';

/** A message that does not match its channel's schema. */
export class InvalidMessageError extends HoldfastError {
  override readonly name = 'InvalidMessageError';
  /** What is wrong and where, as the schema says it. */
  readonly issues: readonly StandardSchemaV1.Issue[];

  constructor(channel: string, issues: readonly StandardSchemaV1.Issue[]) {
    super('INVALID_MESSAGE', `Cannot accept a message for "${channel}": ${issues.map(describe).join('; ')}`);
    this.issues = issues;
  }
}

/** The checked value; a promise only when the schema checks asynchronously. @throws InvalidMessageError */
export function checkMessage(schema: StandardSchemaV1, channel: string, message: unknown): unknown {
  const result = schema['~standard'].validate(message);
  return result instanceof Promise ? result.then((settled) => unwrap(settled, channel)) : unwrap(result, channel);
}

function unwrap(result: StandardSchemaV1.Result<unknown>, channel: string): unknown {
  if (result.issues !== undefined) throw new InvalidMessageError(channel, result.issues);
  return result.value;
}

function describe({ message, path }: StandardSchemaV1.Issue): string {
  if (path === undefined || path.length === 0) return message;
  const keys = path.map((part) => String(typeof part === 'object' ? part.key : part));
  return `${keys.join('.')}: ${message}`;
}
