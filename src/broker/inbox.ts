/**
 * The inbox: what clients have sent and nobody has applied, in its order. Two things put something off without changing
 * the order of its connection: a connection that is busy with a command, and a machine that is still being loaded.
 */
import type { Machine } from '../machine/machine.ts';
import type { Connection, Incoming } from './connection.ts';

interface Arrival {
  readonly from: Connection;
  readonly incoming: Incoming;
}

export class Inbox {
  #arrivals: Arrival[] = [];
  /** What has come while the machine is being loaded and needs all of it, and connections of which a request is among it. */
  #early: Arrival[] = [];
  readonly #waitsForLoad = new Set<Connection>();

  get isEmpty(): boolean {
    return this.#arrivals.length === 0;
  }

  push(from: Connection, incoming: Incoming): void {
    this.#arrivals.push({ from, incoming });
  }

  /** Hands out what can be applied now, one after the other, until `isEnough`. */
  take(machine: Machine, isEnough: () => boolean, apply: (from: Connection, incoming: Incoming) => void): void {
    let taken = 0;
    for (const { from, incoming } of this.#arrivals) {
      if (isEnough()) break;
      taken += 1;
      const isBusy = from.postponed.length > 0 || !from.isFree;
      if (incoming.kind === 'drained') apply(from, incoming);
      else if (machine.isLoading && this.#mustWaitForLoad(machine, from, incoming, isBusy)) {
        this.#early.push({ from, incoming });
      } else if (isBusy && incoming.kind !== 'closed') from.postponed.push(incoming);
      else apply(from, incoming);
    }
    this.#arrivals.splice(0, taken);
  }

  /** What came in while the connection was busy is next. */
  resume(connection: Connection): void {
    const postponed = connection.postponed.splice(0).map((incoming) => ({ from: connection, incoming }));
    this.#arrivals = postponed.concat(this.#arrivals);
  }

  /**
   * The machine is loaded: what had to wait comes before what has come since. A connection that is busy by now was not when
   * that came, so it stands before all that is put off for it: what a client holds is heard before it asks for more.
   */
  loaded(): void {
    const due: Arrival[] = [];
    const first = new Map<Connection, Incoming[]>();
    for (const arrival of this.#early) {
      const { from, incoming } = arrival;
      const isBusy = from.postponed.length > 0 || !from.isFree;
      if (!isBusy || incoming.kind === 'closed') due.push(arrival);
      else first.set(from, [...(first.get(from) ?? []), incoming]);
    }
    for (const [connection, incoming] of first) connection.postponed.unshift(...incoming);
    this.#arrivals = due.concat(this.#arrivals);
    this.#early = [];
    this.#waitsForLoad.clear();
  }

  clear(): void {
    this.#arrivals = [];
    this.#early = [];
    this.#waitsForLoad.clear();
  }

  /**
   * Whether something can only be applied when all of the machine is loaded. Requests keep their order, so others wait
   * behind it; notes may be overtaken, for they say how things are and not what is to happen.
   */
  #mustWaitForLoad(machine: Machine, from: Connection, incoming: Incoming, isBusy: boolean): boolean {
    // What is postponed for another reason comes to this in its turn, unless something before it waits already.
    if (isBusy && incoming.kind !== 'closed' && !this.#waitsForLoad.has(from)) return false;
    const isNote = incoming.kind === 'request' && incoming.request.request === 0;
    if (this.#waitsForLoad.has(from) && (!isNote || incoming.request.command.kind === 'declare')) return true;
    if (incoming.kind === 'hello' || incoming.kind === 'confirm') return false;
    if (incoming.kind === 'request') {
      const isServed = from.session === undefined || machine.isServedWhileLoading(from.session, incoming.request);
      if (isServed) return false;
    }
    if (!isNote) this.#waitsForLoad.add(from);
    return true;
  }
}
