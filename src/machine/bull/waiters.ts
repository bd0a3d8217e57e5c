/** Who waits at a queue, each told once, the longest first. */
import { MAX_BULL_WAITERS } from '../../model/bull.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { Session } from '../memory.ts';

/** Who waits, by the client's own number. */
export interface BullWaiter {
  readonly session: Session;
  readonly number: number;
}

export class Waiters {
  readonly #all = new Map<string, BullWaiter>();
  /** How often each session is among them. */
  readonly #counts = new Map<Session, number>();

  get size(): number {
    return this.#all.size;
  }

  /** Puts one behind all others. @throws HoldfastError `TOO_MANY` */
  add(session: Session, number: number): void {
    this.remove(session, number);
    const count = this.#counts.get(session) ?? 0;
    if (count >= MAX_BULL_WAITERS) {
      throw new HoldfastError('TOO_MANY', `Cannot wait at a queue more than ${MAX_BULL_WAITERS} times at once`);
    }
    this.#counts.set(session, count + 1);
    this.#all.set(keyOf(session, number), { session, number });
  }

  /** Whether it was there. */
  remove(session: Session, number: number): boolean {
    if (!this.#all.delete(keyOf(session, number))) return false;
    const left = (this.#counts.get(session) as number) - 1;
    if (left === 0) this.#counts.delete(session);
    else this.#counts.set(session, left);
    return true;
  }

  /** Takes the one that has waited longest. */
  take(): BullWaiter | undefined {
    for (const waiter of this.#all.values()) {
      this.remove(waiter.session, waiter.number);
      return waiter;
    }
    return undefined;
  }

  /** Forgets a session. */
  forget(session: Session): void {
    if (!this.#counts.has(session)) return;
    for (const waiter of this.#all.values()) if (waiter.session === session) this.remove(session, waiter.number);
  }
}

function keyOf(session: Session, number: number): string {
  return `${session.number}:${number}`;
}
