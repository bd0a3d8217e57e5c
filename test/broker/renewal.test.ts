import { expect, test } from 'vitest';
import { seededRandom } from '#holdfast/model/random.js';
import { createMemoryDisk, openMemoryStore } from '#holdfast/store/memory.js';
import { TestClock } from 'holdfast/testing';
import { startBroker } from '../helpers/brokers.ts';

test('a broker that has nothing to write hears that another one leads by now', async () => {
  const clock = new TestClock();
  const random = seededRandom(7);
  const disk = createMemoryDisk();
  let failed = 0;
  const broker = await startBroker(clock, {
    openStore: async () => openMemoryStore({ disk, random }),
    onFailed: () => failed++,
    renewMs: 1_000,
  });
  await clock.advance('5s');
  expect(failed).toBe(0);
  const other = openMemoryStore({ disk, random });
  await other.acquire('other', await other.leader());
  await clock.advance('1s');
  expect(failed).toBe(1);
  expect(broker.failure).toMatchObject({ code: 'FENCED' });
});
