/** The simulated network: who listens where, and the connections between processes. */
import type { Listening } from '../../host/place.ts';
import type { Carrier } from '../../wire/carrier.ts';
import { decodeHello, FRAME } from '../../wire/frames.ts';
import type { SpanMs } from '../faulty-store.ts';
import type { Chance } from './chance.ts';
import { SimConnection } from './sim-connection.ts';
import type { SimProcess } from './sim-process.ts';
import type { SimTime } from './sim-time.ts';

export interface NetworkOptions {
  readonly time: SimTime;
  readonly chance: Chance;
  readonly latencyMs: SpanMs;
  readonly doubled: () => boolean;
  /** A broker has taken up the session of a client that comes over this connection. */
  readonly welcomed: (wire: Wire) => void;
  /** A connection over which a client was welcomed is not sound any more. */
  readonly parted: (wire: Wire) => void;
  /** A connection over which a client was welcomed was given up, though nothing had disturbed it. */
  readonly givenUp: (wire: Wire) => void;
}

/** A connection from the member of one process to that of another. */
export interface Wire {
  readonly from: SimProcess;
  readonly to: SimProcess;
  readonly address: string;
  readonly connection: SimConnection;
  readonly openedAt: number;
  /** The session of the client behind it, as its HELLO names it. */
  session: string;
  /** A broker has welcomed that client over it. */
  isWelcomed: boolean;
}

export class SimNetwork {
  readonly #options: NetworkOptions;
  readonly #listeners = new Map<string, { readonly process: SimProcess; readonly accept: (from: Carrier) => void }>();
  readonly #wires = new Set<Wire>();
  /** Processes that nothing goes to and comes from at present. */
  readonly #isolated = new Set<SimProcess>();
  /** Frames that have come over the network: the member that passes one on is not the broker that wrote it. */
  readonly #relayed = new WeakSet<Uint8Array>();
  #nextAddress = 1;

  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  async listen(process: SimProcess, accept: (from: Carrier) => void): Promise<Listening> {
    const address = `${process.name} #${this.#nextAddress++}`;
    this.#listeners.set(address, { process, accept });
    process.onDeath(() => this.#listeners.delete(address));
    return {
      address,
      close: async () => {
        this.#listeners.delete(address);
        for (const wire of this.#wires) if (wire.address === address) wire.connection.carrier('broker').end();
      },
    };
  }

  dial(from: SimProcess, address: string): Promise<Carrier> {
    const { time, chance, latencyMs } = this.#options;
    const [least, most] = latencyMs;
    return new Promise((resolve, reject) => {
      time.after(2 * chance.between(least, most), () => {
        if (!from.isAlive) return;
        const found = this.#listeners.get(address);
        // The kernel accepts a connection to a stopped process; to a dead one it does not.
        const connection = found && this.#connect(from, found.process, address);
        if (connection !== undefined) {
          found?.process.background.enter(() => found.accept(connection.carrier('broker')));
        }
        from.background.enter(() => {
          if (connection === undefined) reject(new Error(`Nobody listens at "${address}"`));
          else resolve(connection.carrier('client'));
        });
      });
    });
  }

  /** Whether a frame was written elsewhere than where it is passed on. */
  isRelayed(frame: Uint8Array): boolean {
    return this.#relayed.has(frame);
  }

  /** The process that can be found at this address. */
  processAt(address: string): SimProcess | undefined {
    return this.#listeners.get(address)?.process;
  }

  /** Whether a client of one process is connected with the broker that listens at this address. */
  isServed(process: SimProcess, address: string): boolean {
    for (const { from, address: to, connection, isWelcomed } of this.#wires) {
      if (from === process && to === address && isWelcomed && connection.isSound) return true;
    }
    return false;
  }

  /** Connections that faults may choose. */
  get wires(): readonly Wire[] {
    return [...this.#wires].filter(({ connection }) => connection.isSound);
  }

  /** Cuts a process off: nothing arrives in either direction, and nobody is told. */
  isolate(process: SimProcess): void {
    this.#isolated.add(process);
    for (const { connection } of this.#wires) if (connection.touches(process)) connection.silence();
  }

  isIsolated(process: SimProcess): boolean {
    return this.#isolated.has(process);
  }

  /** Mends everything that is silent, as far as it concerns this process, or all of it. */
  mend(process?: SimProcess): void {
    if (process === undefined) this.#isolated.clear();
    else this.#isolated.delete(process);
    for (const { connection } of this.#wires) {
      if (connection.isSilent && (process === undefined || connection.touches(process))) connection.cut();
    }
  }

  #connect(from: SimProcess, to: SimProcess, address: string): SimConnection {
    const { time, chance, latencyMs, doubled } = this.#options;
    for (const wire of this.#wires) if (!wire.connection.isOpen && !wire.connection.isSilent) this.#wires.delete(wire);
    const connection = new SimConnection(
      { process: from, thread: from.background },
      { process: to, thread: to.background },
      {
        time,
        random: chance.fork().random,
        latencyMs,
        doubled,
        asked: (frame) => {
          if (frame[0] === FRAME.hello) wire.session = decodeHello(frame).session;
        },
        said: (frame) => {
          if (frame[0] !== FRAME.welcome) return;
          wire.isWelcomed = true;
          this.#options.welcomed(wire);
          // It was cut before, and the broker has not heard of that yet.
          if (!connection.isSound) this.#options.parted(wire);
        },
        heard: (frame) => this.#relayed.add(frame),
        broken: (why) => {
          if (!wire.isWelcomed) return;
          this.#options.parted(wire);
          const isDisturbed = [from, to].some(({ resumedAt }) => resumedAt >= wire.openedAt);
          if (why === 'given up' && !isDisturbed) this.#options.givenUp(wire);
        },
      },
    );
    const openedAt = time.nowMs;
    const wire: Wire = { from, to, address, connection, openedAt, session: '', isWelcomed: false };
    this.#wires.add(wire);
    if (this.#isolated.has(from) || this.#isolated.has(to)) connection.silence();
    return connection;
  }
}
