/** A simulated connection between two processes: late, cut, silent, or saying things twice. */
import type { Link } from '../../model/link.ts';
import type { Random } from '../../model/random.ts';
import type { SpanMs } from '../faulty-store.ts';
import type { SimProcess } from './sim-process.ts';
import type { SimTime } from './sim-time.ts';

export interface LinkConditions {
  readonly latencyMs: SpanMs;
  /** How likely a frame arrives twice, one right after the other. */
  readonly doubled: () => boolean;
}

interface End {
  readonly process: SimProcess;
  receivers: Parameters<Link['open']>[0] | undefined;
  readonly early: Uint8Array[];
  isOpen: boolean;
  /** When the last thing that is on its way to this end arrives; what is sent later arrives later. */
  arrivesAt: number;
}

export class SimConnection {
  readonly client: Link;
  readonly broker: Link;
  readonly #time: SimTime;
  readonly #random: Random;
  readonly #conditions: LinkConditions;
  readonly #ends: readonly [End, End];
  /** What is on its way is lost. */
  #lost = false;
  #silent = false;

  constructor(time: SimTime, client: SimProcess, broker: SimProcess, random: Random, conditions: LinkConditions) {
    this.#time = time;
    this.#random = random;
    this.#conditions = conditions;
    const end = (process: SimProcess): End => ({
      process,
      receivers: undefined,
      early: [],
      isOpen: true,
      arrivesAt: 0,
    });
    this.#ends = [end(client), end(broker)];
    this.client = this.#link(this.#ends[0], this.#ends[1]);
    this.broker = this.#link(this.#ends[1], this.#ends[0]);
    client.onDeath(() => this.#died(this.#ends[0], this.#ends[1]));
    broker.onDeath(() => this.#died(this.#ends[1], this.#ends[0]));
  }

  get isOpen(): boolean {
    return this.#ends[0].isOpen && this.#ends[1].isOpen;
  }

  /** Cuts the connection: what is on its way is lost, and both sides hear of it, each in its time. */
  cut(): void {
    if (!this.#ends.some(({ isOpen }) => isOpen)) return;
    this.#lost = true;
    for (const end of this.#ends) this.#time.after(this.#latency(), () => end.process.enter(() => this.#shut(end)));
  }

  /** From now on nothing arrives, and nobody is told. */
  silence(): void {
    this.#silent = true;
  }

  #link(own: End, peer: End): Link {
    return {
      open: (receivers) => {
        own.receivers = receivers;
        for (const frame of own.early.splice(0)) receivers.frame(frame);
      },
      send: (frame) => {
        if (!own.isOpen || !own.process.isAlive || this.#silent || this.#lost) return;
        const copies = this.#conditions.doubled() ? 2 : 1;
        for (let copy = 0; copy < copies; copy++) this.#deliver(peer, () => this.#receive(peer, frame));
      },
      close: () => {
        if (!own.isOpen) return;
        this.#time.after(0, () => own.process.enter(() => own.receivers?.closed()));
        own.isOpen = false;
        this.#deliver(peer, () => this.#shut(peer));
      },
      hold: () => {},
      flow: () => {},
    };
  }

  /** Hands something to an end behind everything that is on its way there. */
  #deliver(to: End, run: () => void): void {
    to.arrivesAt = Math.max(to.arrivesAt, this.#time.nowMs + this.#latency());
    this.#time.after(to.arrivesAt - this.#time.nowMs, () => {
      if (!this.#lost && !this.#silent) to.process.enter(run);
    });
  }

  #receive(end: End, frame: Uint8Array): void {
    if (!end.isOpen) return;
    if (end.receivers === undefined) end.early.push(frame);
    else end.receivers.frame(frame);
  }

  #shut(end: End): void {
    if (!end.isOpen) return;
    end.isOpen = false;
    end.receivers?.closed();
  }

  /** What the dead had sent may still arrive, or not; its end is noticed in any case. */
  #died(dead: End, peer: End): void {
    dead.isOpen = false;
    if (this.#silent) return;
    if (this.#random.fraction() < 0.5) this.#lost = true;
    const at = this.#lost ? this.#latency() : Math.max(peer.arrivesAt - this.#time.nowMs, this.#latency());
    this.#time.after(at, () => peer.process.enter(() => this.#shut(peer)));
  }

  #latency(): number {
    const [least, most] = this.#conditions.latencyMs;
    return least + (most - least) * this.#random.fraction();
  }
}
