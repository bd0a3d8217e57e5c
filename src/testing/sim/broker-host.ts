/** A simulated process with a broker in it. */
import { Broker } from '../../broker/broker.ts';
import type { LogLine } from '../../broker/broker-options.ts';
import type { Leader } from '../../model/records.ts';
import type { Store } from '../../store/store.ts';
import type { FaultyDisk, FaultyStore } from '../faulty-store.ts';
import type { CommitWatch } from './commit-watch.ts';
import type { SimProcess } from './sim-process.ts';

export interface BrokerHostOptions {
  readonly process: SimProcess;
  readonly disk: FaultyDisk;
  readonly watch: CommitWatch;
  readonly space: string;
  readonly reserveBytes: number;
  readonly sessionTimeoutMs: number;
  readonly isLive: (leader: Leader) => boolean;
  readonly log: (line: LogLine) => void;
}

export class BrokerHost {
  readonly process: SimProcess;
  readonly broker: Broker;
  readonly #stores = new Set<FaultyStore>();
  phase: 'starting' | 'serving' = 'starting';

  constructor({ process, disk, watch, space, reserveBytes, sessionTimeoutMs, isLive, log }: BrokerHostOptions) {
    this.process = process;
    this.broker = new Broker({
      openStore: async (): Promise<Store> => {
        const store = disk.open();
        this.#stores.add(store);
        return watch.wrap(store);
      },
      isLive: async (leader) => isLive(leader),
      address: async () => process.host,
      onServing: () => {},
      onFailed: () => {},
      host: process.host,
      space,
      clock: process.clock,
      random: process.random,
      reserveBytes,
      sessionTimeoutMs,
      log,
    });
    // What the process had not heard of is lost, or not; in either case it never hears of it.
    process.onDeath(() => {
      for (const store of this.#stores) store.crash();
    });
  }

  async start(): Promise<void> {
    await this.broker.start();
    this.phase = 'serving';
  }
}
