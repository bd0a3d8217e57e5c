import { onTestFinished } from 'vitest';
import { Broker } from '#holdfast/broker/broker.js';
import type { BrokerOptions } from '#holdfast/broker/broker-options.js';
import type { Clock } from '#holdfast/model/clock.js';
import { seededRandom } from '#holdfast/model/random.js';
import { openMemoryStore } from '#holdfast/store/memory.js';

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
