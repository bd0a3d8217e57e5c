/** The reserve: free space that new data may not take, so that what is under way can always end. */
import type { Clock } from '../model/clock.ts';
import type { Store } from '../store/store.ts';

/** How old a figure of the store may get before it is asked for again, in milliseconds. */
const FRESH_MS = 100;

/** A commit writes more than its records: copied pages, indexes, a journal of the file system. */
const WRITE_FACTOR = 3;

export class Reserve {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #reserveBytes: number;
  #freeBytes = Infinity;
  #writtenBytes = 0;
  #askedAt = -Infinity;

  constructor(store: Store, clock: Clock, reserveBytes: number) {
    this.#store = store;
    this.#clock = clock;
    this.#reserveBytes = reserveBytes;
  }

  /** Whether commands that add data must be refused. */
  get isReached(): boolean {
    return this.#freeBytes - this.#writtenBytes * WRITE_FACTOR < this.#reserveBytes;
  }

  /** Whether the figure is worth asking for again: it is old, or much was written since. */
  get isStale(): boolean {
    const oldMs = this.#clock.monotonicMs() - this.#askedAt;
    return (
      oldMs >= FRESH_MS && (this.#writtenBytes > 0 || this.#freeBytes < 2 * this.#reserveBytes || oldMs === Infinity)
    );
  }

  written(bytes: number): void {
    this.#writtenBytes += bytes;
  }

  async ask(): Promise<void> {
    this.#askedAt = this.#clock.monotonicMs();
    this.#writtenBytes = 0;
    this.#freeBytes = await this.#store.freeBytes();
  }
}
