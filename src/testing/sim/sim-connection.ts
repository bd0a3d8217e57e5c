/** A simulated connection between two threads: late, cut, silent, or saying things twice. */
import type { Link } from '../../model/link.ts';
import type { Random } from '../../model/random.ts';
import type { Carrier, CarrierReceivers } from '../../wire/carrier.ts';
import type { SpanMs } from '../faulty-store.ts';
import type { SimProcess } from './sim-process.ts';
import type { SimThread } from './sim-thread.ts';
import type { SimTime } from './sim-time.ts';

export interface ConnectionOptions {
  readonly time: SimTime;
  readonly random: Random;
  readonly latencyMs: SpanMs;
  /** Whether the frame that is sent now arrives twice, one right after the other. */
  readonly doubled: () => boolean;
  /** Sees each frame that the client's side sends. */
  readonly asked: (frame: Uint8Array) => void;
  /** Sees each frame that the broker's side sends. */
  readonly said: (frame: Uint8Array) => void;
  /** Sees each frame that arrives at the client's side. */
  readonly heard: (frame: Uint8Array) => void;
  /** Told once: it no longer carries everything both ways. */
  readonly broken: (why: BreakReason) => void;
}

/** `given up`: one side has destroyed it though nobody had disturbed it. */
export type BreakReason = 'fault' | 'death' | 'ended' | 'given up';

interface End {
  readonly side: 'client' | 'broker';
  readonly process: SimProcess;
  readonly thread: SimThread;
  receivers: CarrierReceivers | undefined;
  readonly early: Uint8Array<ArrayBuffer>[];
  isOpen: boolean;
  isFlowing: boolean;
  /** When the last thing that is on its way to this end arrives; what is sent later arrives later. */
  arrivesAt: number;
}

export class SimConnection {
  readonly #options: ConnectionOptions;
  readonly #ends: readonly [End, End];
  /** What is on its way is lost. */
  #isLost = false;
  #isSilent = false;
  #isBroken = false;

  constructor(
    client: { readonly process: SimProcess; readonly thread: SimThread },
    broker: { readonly process: SimProcess; readonly thread: SimThread },
    options: ConnectionOptions,
  ) {
    this.#options = options;
    const end = (side: End['side'], { process, thread }: typeof client): End => ({
      side,
      process,
      thread,
      receivers: undefined,
      early: [],
      isOpen: true,
      isFlowing: true,
      arrivesAt: 0,
    });
    this.#ends = [end('client', client), end('broker', broker)];
    const [near, far] = this.#ends;
    if (near.process === far.process) return;
    near.process.onDeath(() => this.#died(near, far));
    far.process.onDeath(() => this.#died(far, near));
  }

  get isOpen(): boolean {
    return this.#ends[0].isOpen && this.#ends[1].isOpen;
  }

  get isSilent(): boolean {
    return this.#isSilent;
  }

  /** Both ends are open and everything arrives. */
  get isSound(): boolean {
    return this.isOpen && !this.#isBroken;
  }

  /** Whether one of its ends is in this process. */
  touches(process: SimProcess): boolean {
    return this.#ends.some((end) => end.process === process);
  }

  carrier(side: End['side']): Carrier {
    const [own, peer] = this.#pair(side);
    return {
      bufferedBytes: 0,
      takenBytes: 0,
      maxFrameBytes: Infinity,
      start: (receivers) => this.#start(own, receivers),
      send: (frame) => this.#send(own, peer, Uint8Array.from(frame)),
      flow: (open) => {
        own.isFlowing = open;
        if (open) this.#release(own);
      },
      end: () => this.#end(own, peer, 'ended'),
      destroy: () => this.#end(own, peer, 'given up'),
    };
  }

  /** A side as a link, for a connection that needs no signs of life. */
  link(side: End['side']): Link {
    const [own, peer] = this.#pair(side);
    return {
      open: ({ frame, closed }) =>
        this.#start(own, {
          frame: (bytes) => frame(bytes),
          heard: () => {},
          broken: () => {},
          drained: () => {},
          closed,
        }),
      send: (frame) => this.#send(own, peer, frame),
      close: () => this.#end(own, peer, 'ended'),
      hold: () => {},
      flow: () => {},
      isCongested: false,
    };
  }

  /** Cuts the connection: what is on its way is lost, and both sides hear of it, each in its time. */
  cut(): void {
    if (!this.#ends.some(({ isOpen }) => isOpen)) return;
    this.#isLost = true;
    this.#break('fault');
    for (const end of this.#ends) {
      this.#options.time.after(this.#latency(), () => end.thread.enter(() => this.#shut(end)));
    }
  }

  /** From now on nothing arrives, and nobody is told. */
  silence(): void {
    this.#isSilent = true;
    this.#break('fault');
  }

  #pair(side: End['side']): readonly [own: End, peer: End] {
    const [client, broker] = this.#ends;
    return side === 'client' ? [client, broker] : [broker, client];
  }

  #start(own: End, receivers: CarrierReceivers): void {
    own.receivers = receivers;
    if (!own.isOpen) own.thread.clock.defer(receivers.closed);
    else if (own.early.length > 0) own.thread.clock.defer(() => this.#release(own));
  }

  #send(own: End, peer: End, frame: Uint8Array<ArrayBuffer>): void {
    if (!own.isOpen || !own.process.isAlive) return;
    if (own.side === 'broker') this.#options.said(frame);
    else this.#options.asked(frame);
    if (this.#isSilent || this.#isLost) return;
    const copies = this.#options.doubled() ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) this.#deliver(peer, () => this.#receive(peer, frame));
  }

  #end(own: End, peer: End, why: BreakReason): void {
    if (!own.isOpen) return;
    own.isOpen = false;
    this.#break(why);
    this.#options.time.after(0, () => own.thread.enter(() => own.receivers?.closed()));
    this.#deliver(peer, () => this.#shut(peer));
  }

  /** Hands something to an end behind everything that is on its way there. */
  #deliver(to: End, run: () => void): void {
    const { time } = this.#options;
    to.arrivesAt = Math.max(to.arrivesAt, time.nowMs + this.#latency());
    time.after(to.arrivesAt - time.nowMs, () => {
      if (!this.#isLost && !this.#isSilent) to.thread.enter(run);
    });
  }

  #receive(end: End, frame: Uint8Array<ArrayBuffer>): void {
    if (!end.isOpen) return;
    end.early.push(frame);
    this.#release(end);
  }

  #release(end: End): void {
    while (end.receivers !== undefined && end.isOpen && end.isFlowing) {
      const frame = end.early.shift();
      if (frame === undefined) return;
      if (end.side === 'client') this.#options.heard(frame);
      end.receivers.heard();
      end.receivers.frame(frame);
    }
  }

  #shut(end: End): void {
    if (!end.isOpen) return;
    end.isOpen = false;
    end.receivers?.closed();
  }

  /** What the dead had sent may still arrive, or not; its end is noticed in any case. */
  #died(dead: End, peer: End): void {
    dead.isOpen = false;
    this.#break('death');
    if (this.#isSilent) return;
    const { random, time } = this.#options;
    if (random.fraction() < 0.5) this.#isLost = true;
    const at = this.#isLost ? this.#latency() : Math.max(peer.arrivesAt - time.nowMs, this.#latency());
    time.after(at, () => peer.thread.enter(() => this.#shut(peer)));
  }

  #break(why: BreakReason): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#options.broken(why);
  }

  #latency(): number {
    const [least, most] = this.#options.latencyMs;
    return least + (most - least) * this.#options.random.fraction();
  }
}
