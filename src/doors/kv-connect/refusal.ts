/** Why a request is not served: a status of HTTP, and a plain text that clients show to their users. */
import { type ErrorCode, HoldfastError } from '../../model/errors.ts';
import { MalformedMessage } from './protobuf.ts';

export class Refusal extends Error {
  override readonly name: string = 'Refusal';
  readonly status: number;

  constructor(status: number, text: string) {
    super(text);
    this.status = status;
  }
}

/** Clients take a 4xx as the last word, and try again by themselves after a 5xx. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  WRONG_TYPE: 400,
  TOO_MANY: 429,
};

/** What a client is told about an error; `undefined` where it is a fault of the server. */
export function refusalFor(error: unknown): Refusal | undefined {
  if (error instanceof Refusal) return error;
  if (error instanceof MalformedMessage) {
    return new Refusal(400, error.excess ?? `Request protobuf is invalid: ${error.message}.`);
  }
  if (!(error instanceof HoldfastError)) return undefined;
  const status = STATUS[error.code];
  if (status !== undefined) return new Refusal(status, error.message);
  return new Refusal(503, `The server is temporarily unavailable, try again later: ${error.message}`);
}
