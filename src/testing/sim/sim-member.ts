/** A simulated process with a member of the place in it, as it runs in production. */
import type { LogLine } from '../../broker/broker-options.ts';
import { Member } from '../../host/member.ts';
import type { Link } from '../../model/link.ts';
import { askForSign } from '../../wire/network-link.ts';
import { decodeHello, FRAME } from '../../wire/frames.ts';
import type { Store } from '../../store/store.ts';
import type { FaultyDisk, FaultyStore, SpanMs, Written } from '../faulty-store.ts';
import type { Mark } from './marks.ts';
import { SimConnection } from './sim-connection.ts';
import { markReading } from './sim-reading.ts';
import type { SimNetwork } from './sim-network.ts';
import type { SimProcess } from './sim-process.ts';
import type { SimTime } from './sim-time.ts';

export interface SimMemberOptions {
  readonly time: SimTime;
  readonly process: SimProcess;
  readonly disk: FaultyDisk;
  readonly network: SimNetwork;
  readonly space: string;
  readonly reserveBytes: number;
  readonly sessionTimeoutMs: number;
  readonly lingerMs: number;
  readonly entryCacheBytes: number | undefined;
  readonly reached: (mark: Mark) => void;
  readonly written: (what: Written) => void;
  /** Another one has won the race for the lead. */
  readonly lost: () => void;
  /** The broker of this process has taken up the session of its client. */
  readonly welcomed: (session: string) => void;
  /** The client of this process is not connected with its member any more. */
  readonly parted: (session: string) => void;
  readonly log: (line: LogLine) => void;
}

/** Between the threads of a process. */
const PORT_MS: SpanMs = [0.02, 0.2];

export class SimMember {
  readonly process: SimProcess;
  readonly #options: SimMemberOptions;
  readonly #member: Member;
  readonly #stores = new Set<FaultyStore>();
  #port: { readonly connection: SimConnection; isWelcomed: boolean } | undefined;

  constructor(options: SimMemberOptions) {
    const { process, network, space, reserveBytes, sessionTimeoutMs, lingerMs, entryCacheBytes, log } = options;
    this.process = process;
    this.#options = options;
    this.#member = new Member(
      {
        name: 'the simulated folder',
        openStore: async () => this.#openStore(),
        listen: (accept) => network.listen(process, accept),
        dial: (address) => network.dial(process, address),
        isLive: async (address, patienceMs) => {
          const way = await network.dial(process, address).catch(() => undefined);
          return way !== undefined && (await askForSign(way, process.background.clock, patienceMs)) === 'alive';
        },
        isFree: async () => {},
        traits: { lingerMs, needsToken: 'never' },
      },
      { target: { kind: 'memory' }, space, host: process.host, reserveBytes, sessionTimeoutMs, entryCacheBytes },
      { clock: process.background.clock, random: process.random, log },
    );
    // What the process had not heard of is lost, or not; in either case it never hears of it.
    process.onDeath(() => {
      for (const store of this.#stores) store.crash();
    });
  }

  /** Leads or follows. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.process.background.enter(() => void this.#member.start().then(resolve, reject));
    });
  }

  /** A link from the application to the member behind it. */
  connect(): Link {
    const { time, process, network, welcomed, parted } = this.#options;
    let session = '';
    const connection = new SimConnection(
      { process, thread: process.main },
      { process, thread: process.background },
      {
        time,
        random: process.random,
        latencyMs: PORT_MS,
        doubled: () => false,
        asked: (frame) => {
          if (frame[0] === FRAME.hello) ({ session } = decodeHello(frame));
        },
        said: (frame) => {
          if (frame[0] === FRAME.welcome && !network.isRelayed(frame)) welcomed(session);
        },
        heard: (frame) => {
          if (frame[0] === FRAME.welcome) port.isWelcomed = true;
        },
        broken: () => parted(session),
      },
    );
    const port = { connection, isWelcomed: false };
    this.#port = port;
    process.background.enter(() => this.#member.accept(connection.link('broker')));
    return connection.link('client');
  }

  /** Whether the application's client is connected with a broker, as far as this process knows. */
  get isConnected(): boolean {
    return this.#port?.isWelcomed === true && this.#port.connection.isSound;
  }

  /** Says goodbye to all clients and gives up what it is. */
  async close(): Promise<void> {
    await this.#member.close();
  }

  #openStore(): Store {
    const { disk, process, space, written, lost, reached } = this.#options;
    const store = disk.open({ clock: process.background.clock, written });
    this.#stores.add(store);
    const acquire = store.acquire.bind(store);
    return Object.assign(markReading(store, space, reached), {
      acquire: async (...given: Parameters<typeof acquire>) => {
        const outcome = await acquire(...given);
        if ('lost' in outcome) lost();
        return outcome;
      },
    } satisfies Partial<Store>);
  }
}
