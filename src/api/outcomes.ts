/** Outcomes that a handler returns instead of a result: values, not exceptions. */
import { type Duration, parseDuration } from '../model/duration.ts';
import { refuseUnknown } from './checks.ts';

/** A result that an isolate has encoded. */
export class EncodedResult {
  /** `undefined` when nothing was returned. */
  readonly bytes: Uint8Array | undefined;

  constructor(bytes: Uint8Array | undefined) {
    this.bytes = bytes;
  }
}

/** What `retry`, `deadLetter`, `snooze`, `rateLimited` and `waitForChildren` give, and what becomes of a handler whose isolate has died. */
export class HandlerOutcome {
  readonly kind: 'retry' | 'deadLetter' | 'snooze' | 'holdChannel' | 'holdGroup' | 'wait' | 'died';
  readonly delayMs: number | undefined;
  readonly reason: string;

  constructor(kind: HandlerOutcome['kind'], delayMs: number | undefined, reason: string) {
    this.kind = kind;
    this.delayMs = delayMs;
    this.reason = reason;
  }
}

/** The attempt failed, and the next one comes after `delay` instead of the backoff. */
export function retry(options: { readonly delay?: Duration; readonly reason?: string } = {}): HandlerOutcome {
  refuseUnknown(options, ['delay', 'reason'], 'retry');
  const delayMs = options.delay === undefined ? undefined : parseDuration(options.delay, 'delay');
  return new HandlerOutcome('retry', delayMs, checkReason(options.reason ?? 'The handler asked for a retry'));
}

/** No attempt will help: the message is dead now, or goes to the dead-letter channel. */
export function deadLetter(reason: string): HandlerOutcome {
  return new HandlerOutcome('deadLetter', undefined, checkReason(reason));
}

/** Not now: the message comes again after this time, and no attempt is counted. */
export function snooze(duration: Duration): HandlerOutcome {
  return new HandlerOutcome('snooze', parseDuration(duration, 'snooze'), 'The handler asked for a pause');
}

/**
 * Somebody else asks for patience, as HTTP does with 429: the message goes back, no attempt is counted, and nothing of the
 * channel is handed out before this time is over; with `of: 'group'`, nothing of the message's group, if it has one.
 */
export function rateLimited(duration: Duration, options: { readonly of?: 'channel' | 'group' } = {}): HandlerOutcome {
  refuseUnknown(options, ['of'], 'rateLimited');
  const { of = 'channel' } = options;
  if (of !== 'channel' && of !== 'group') {
    throw new TypeError(`Cannot use "${String(of)}" as "of": it must be one of channel, group`);
  }
  const kind = of === 'group' ? 'holdGroup' : 'holdChannel';
  return new HandlerOutcome(kind, parseDuration(duration, 'rateLimited'), 'The handler was told to wait');
}

/**
 * The message waits until all of its children have ended, among them those of `context.addChild`, and comes again then; no
 * attempt is counted. What `tx` has gathered commits with it. Without a child that has not ended it comes again at once.
 */
export function waitForChildren(): HandlerOutcome {
  return new HandlerOutcome('wait', undefined, 'The handler waits for children');
}

function checkReason(reason: string): string {
  if (typeof reason === 'string') return reason;
  throw new TypeError(`Cannot use ${typeof reason} as "reason": it must be a text`);
}
