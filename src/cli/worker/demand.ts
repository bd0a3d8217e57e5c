/** Demand: hears when messages come to channels that a FILE listens to and nobody is there to take them. */
import type { Holdfast } from '../../api/holdfast.ts';
import type { Place } from './messages.ts';

export interface DemandListener {
  /** Called once for each `watch`, at most. */
  wanted(place: Place): void;
  /** The place cannot be watched any more; messages that come there start nothing. */
  failed(place: Place, error: unknown): void;
}

export class Demand {
  readonly #holdOpen: (place: Place) => Promise<Holdfast>;
  readonly #listener: DemandListener;
  readonly #places = new Map<string, Place>();
  readonly #watched = new Set<string>();
  readonly #stop = new AbortController();
  #isHeard = false;

  constructor(holdOpen: (place: Place) => Promise<Holdfast>, listener: DemandListener) {
    this.#holdOpen = holdOpen;
    this.#listener = listener;
  }

  /** What is watched, in the order in which it came. */
  get places(): readonly Place[] {
    return [...this.#places.values()];
  }

  /** Adds places, and says whether there is a new one among them. */
  add(places: readonly Place[]): boolean {
    const before = this.#places.size;
    for (const place of places) this.#places.set(JSON.stringify([place.url, place.space, place.channel]), place);
    return this.#places.size > before;
  }

  /** From now on a message that nobody takes is heard of, once. */
  watch(): void {
    this.#isHeard = false;
    for (const [key, place] of this.#places) {
      if (this.#watched.has(key)) continue;
      this.#watched.add(key);
      void this.#watchOne(key, place);
    }
  }

  close(): void {
    this.#stop.abort();
  }

  async #watchOne(key: string, place: Place): Promise<void> {
    const { signal } = this.#stop;
    try {
      const holdfast = await this.#holdOpen(place);
      await holdfast.channel(place.channel).wanted({ signal });
    } catch (error) {
      if (!signal.aborted) this.#listener.failed(place, error);
      return;
    }
    this.#watched.delete(key);
    if (this.#isHeard || signal.aborted) return;
    this.#isHeard = true;
    this.#listener.wanted(place);
  }
}
