import { expect, test } from 'vitest';
import { createHoldfast, type Holdfast } from '#holdfast/api/holdfast.js';
import { seededRandom } from '#holdfast/model/random.js';
import { connectTo, startBroker } from '../helpers/brokers.ts';
import { ManualClock } from '../helpers/manual-clock.ts';
import { slowStore } from '../helpers/slow-store.ts';

test('a command that needs more records sees what another one of the same batch has written', async () => {
  const clock = new ManualClock();
  // What is read while a commit takes its time is from before.
  const { store } = slowStore({ get: 0, chunk: 0 });
  const broker = await startBroker(clock, { openStore: async () => store });
  const connect = async (seed: number): Promise<Holdfast> => {
    const client = await connectTo(broker, { clock, random: seededRandom(seed), lingerMs: 0 });
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
