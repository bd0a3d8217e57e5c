/** Events in the order of their time and, at the same time, in the order in which they were added. */

export interface TimedEvent {
  readonly at: number;
  readonly number: number;
  readonly run: () => void;
  cancelled: boolean;
}

/** A binary heap; cancelled events stay in it until their turn comes, and are passed over then. */
export class EventHeap {
  readonly #events: TimedEvent[] = [];
  #count = 0;

  add(at: number, run: () => void): TimedEvent {
    const event: TimedEvent = { at, number: this.#count++, run, cancelled: false };
    this.#events.push(event);
    this.#up(this.#events.length - 1);
    return event;
  }

  /** Takes out the first event, when it is not later than `until`. */
  take(until: number): TimedEvent | undefined {
    for (;;) {
      const first = this.#events[0];
      if (first === undefined || first.at > until) return undefined;
      const last = this.#events.pop() as TimedEvent;
      if (last !== first) {
        this.#events[0] = last;
        this.#down();
      }
      if (!first.cancelled) return first;
    }
  }

  #up(from: number): void {
    const events = this.#events;
    const event = events[from] as TimedEvent;
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      const above = events[parent] as TimedEvent;
      if (!isBefore(event, above)) break;
      events[at] = above;
      at = parent;
    }
    events[at] = event;
  }

  #down(): void {
    const events = this.#events;
    const event = events[0] as TimedEvent;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= events.length) break;
      const right = events[child + 1];
      if (right !== undefined && isBefore(right, events[child] as TimedEvent)) child += 1;
      const below = events[child] as TimedEvent;
      if (!isBefore(below, event)) break;
      events[at] = below;
      at = child;
    }
    events[at] = event;
  }
}

function isBefore(a: TimedEvent, b: TimedEvent): boolean {
  return a.at < b.at || (a.at === b.at && a.number < b.number);
}
