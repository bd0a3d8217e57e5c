import { onTestFinished } from 'vitest';
import { Broker } from '#holdfast/broker/broker.js';
import type { BrokerOptions } from '#holdfast/broker/broker-options.js';
import { Client } from '#holdfast/client/client.js';
import type { NeedsToken } from '#holdfast/model/access-token.js';
import type { Clock } from '#holdfast/model/clock.js';
import { type Random, seededRandom } from '#holdfast/model/random.js';
import { openMemoryStore } from '#holdfast/store/memory.js';
import { localLink } from '#holdfast/wire/local-link.js';

/** What a broker needs without a host around it: a store in memory, nobody else. */
export function brokerOptions(clock: Clock): BrokerOptions {
  const random = seededRandom(5);
  return {
    openStore: async () => openMemoryStore({ random }),
    isLive: async () => false,
    address: async () => 'memory',
    onServing: () => {},
    onFailed: () => {},
    host: 'host',
    space: 'default',
    clock,
    random,
    reserveBytes: 0,
    sessionTimeoutMs: 30_000,
    renewMs: Infinity,
    patienceMs: Infinity,
    log: () => {},
  };
}

/** A broker that is closed behind the test. */
export async function startBroker(clock: Clock, options: Partial<BrokerOptions> = {}): Promise<Broker> {
  const broker = new Broker({ ...brokerOptions(clock), ...options });
  await broker.start();
  onTestFinished(() => broker.close());
  return broker;
}

export interface ConnectOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** How long leases wait for the client when its link has closed. */
  readonly lingerMs?: number;
  readonly needsToken?: NeedsToken;
  readonly token?: string | undefined;
  /** How long the broker may take to welcome it. */
  readonly withinMs?: number;
}

/** A client of a broker in the same thread. */
export async function connectTo(broker: Broker, options: ConnectOptions): Promise<Client> {
  const { clock, random, lingerMs = Infinity, needsToken = 'never', token, withinMs = 0 } = options;
  const client = new Client({
    connect: async () => {
      const ends = localLink(clock);
      broker.accept(ends.broker, { lingerMs, needsToken });
      return ends.client;
    },
    host: 'host',
    token,
    clock,
    random,
  });
  await client.open(withinMs);
  return client;
}
