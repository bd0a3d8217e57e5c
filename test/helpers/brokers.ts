import { onTestFinished } from 'vitest';
import { Broker } from '#holdfast/broker/broker.js';
import type { BrokerOptions } from '#holdfast/broker/broker-options.js';
import type { Clock } from '#holdfast/model/clock.js';
import { seededRandom } from '#holdfast/model/random.js';
import { openMemoryStore } from '#holdfast/store/memory.js';

/** A broker without a host around it, in memory unless told otherwise; it is closed behind the test. */
export async function startBroker(clock: Clock, options: Partial<BrokerOptions> = {}): Promise<Broker> {
  const random = seededRandom(5);
  const broker = new Broker({
    openStore: async () => openMemoryStore({ random }),
    isLive: async () => false,
    address: async () => 'memory',
    onFailed: () => {},
    host: 'host',
    space: 'default',
    clock,
    random,
    reserveBytes: 0,
    sessionTimeoutMs: 30_000,
    log: () => {},
    ...options,
  });
  await broker.start();
  onTestFinished(() => broker.close());
  return broker;
}
