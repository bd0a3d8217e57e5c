/** One attempt at a message, as its handler sees it. */
import type { HandlerContext } from '../../api/handler-context.ts';

/** What a handler gets beside its data: what it says here counts when it has returned. */
export class BrokerQueueMessage<T> {
  /** `failed` after `failed()`. */
  state: 'pending' | 'done' | 'failed' = 'pending';
  error?: Error;
  /** How many attempts there were before this one. */
  tries: number;
  /** Seconds, after `delay()`. */
  delayed: number = 0;
  readonly channel: string;
  readonly data: T;
  /** All that Holdfast tells a handler: the message's id, its token, a signal, and effects that commit with the ack. */
  readonly context: HandlerContext;

  /** @internal Messages come to handlers. */
  constructor(data: T, context: HandlerContext) {
    this.channel = context.channel;
    this.data = data;
    this.context = context;
    this.tries = context.attempt - 1;
  }

  /** The attempt has failed: the message comes again, or is dead after the last attempt. */
  failed(error: Error): void {
    this.state = 'failed';
    this.error = error;
  }

  /** The message comes again in so many seconds: uncounted, or, when the attempt has failed, instead of after the backoff. */
  delay(seconds: number): void {
    this.delayed = seconds;
  }
}
