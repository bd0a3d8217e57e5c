import { expect, test } from 'vitest';
import { Client } from '#holdfast/client/client.js';
import { createHoldfast, type Holdfast } from '#holdfast/api/holdfast.js';
import { seededRandom } from '#holdfast/model/random.js';
import { openMemoryStore } from '#holdfast/store/memory.js';
import type { Store } from '#holdfast/store/store.js';
import { localLink } from '#holdfast/wire/local-link.js';
import { startBroker } from '../helpers/brokers.ts';
import { ManualClock, settled } from '../helpers/manual-clock.ts';

/** A store whose commits take a while, as those of a store elsewhere do; what is read meanwhile is from before. */
function slowStore(): Store {
  const store = openMemoryStore({ random: seededRandom(4) });
  return {
    durability: store.durability,
    leader: () => store.leader(),
    acquire: (address, seen) => store.acquire(address, seen),
    renew: (epoch) => store.renew(epoch),
    async commit(epoch, id, writes) {
      await settled(3);
      await store.commit(epoch, id, writes);
    },
    resolve: (epoch, id) => store.resolve(epoch, id),
    get: (epoch, keys) => store.get(epoch, keys),
    range: (epoch, selector) => store.range(epoch, selector),
    freeBytes: () => store.freeBytes(),
    close: () => store.close(),
  };
}

test('a command that needs more records sees what another one of the same batch has written', async () => {
  const clock = new ManualClock();
  const broker = await startBroker(clock, { openStore: async () => slowStore() });
  const connect = async (seed: number): Promise<Holdfast> => {
    const client = new Client({
      connect: async () => {
        const { client: link, broker: other } = localLink(clock);
        broker.accept(other, { lingerMs: 0, needsToken: 'never' });
        return link;
      },
      host: 'host',
      clock,
      random: seededRandom(seed),
    });
    await client.open();
    return createHoldfast(client, async () => {});
  };
  const [first, second] = [await connect(1), await connect(2)];
  const mail = first.channel<number>('mail');
  for (let i = 0; i < 20; i++) {
    const { id } = await mail.produce(i);
    const [, seen] = await Promise.all([first.admin.cancel(id), second.admin.get(id)]);
    expect(seen?.id).toBe(id);
  }
});
