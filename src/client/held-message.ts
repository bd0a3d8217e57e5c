/** A message that a consumer holds, from its delivery until it is settled for good. */
import type { Delivery } from '../model/command.ts';
import type { Answer, Settled } from './outbox.ts';

/** Why a running handler should stop. */
export type StopReason = 'cancelled' | 'timeout' | 'leaseLost' | 'closed';

/** How long the handler of a cancelled message has to end, and why it was cancelled. */
export interface Cancellation {
  readonly deadlineMs: number;
  readonly reason: string;
}

/** A message that is held, as its handler sees it. */
export interface Work {
  readonly delivery: Delivery;
  /** How often the handler has run in vain, because what it read did not hold. */
  readonly conflicts: number;
  /** Set once; the first reason counts. */
  readonly stopped: StopReason | undefined;
  /** Its handler is to end soon; what it does until then counts. */
  readonly cancelling: Cancellation | undefined;
  /** Told when one of the two is set. */
  onStop: { stop(reason: StopReason, cancelling?: Cancellation): void } | undefined;
}

/** Who is told what became of a settle. */
interface Holder {
  settled(work: HeldMessage, settled: Settled): void;
}

/** A message under a lease: waiting, running, or settled without an answer yet. The answer comes to it. */
export class HeldMessage implements Work, Answer<Settled> {
  readonly delivery: Delivery;
  readonly #holder: Holder;
  /** Its lease is, as far as is known here, still its own. */
  isHeld = true;
  /** Its outcome is on the way to the broker. */
  settling = false;
  conflicts = 0;
  /** When it came, by the monotonic clock, where that matters: for a batch. */
  cameAt = 0;
  stopped: StopReason | undefined;
  cancelling: Cancellation | undefined;
  onStop: Work['onStop'];

  constructor(holder: Holder, delivery: Delivery) {
    this.#holder = holder;
    this.delivery = delivery;
  }

  stop(reason: StopReason): void {
    if (this.stopped !== undefined) return;
    this.stopped = reason;
    this.onStop?.stop(reason);
  }

  cancel(cancellation: Cancellation): void {
    if (this.stopped !== undefined || this.cancelling !== undefined) return;
    this.cancelling = cancellation;
    this.onStop?.stop('cancelled', cancellation);
  }

  resolve(settled: Settled): void {
    this.#holder.settled(this, settled);
  }

  /** Whether it had its effect is unknown; if not, the message comes again. */
  reject(): void {
    this.#holder.settled(this, 'lost');
  }
}
