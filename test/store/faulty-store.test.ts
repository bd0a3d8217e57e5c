import { describe, expect, test } from 'vitest';
import { seededRandom } from '#holdfast/model/random.js';
import type { Epoch, Write } from '#holdfast/model/records.js';
import { FaultyDisk, type FaultyDiskOptions } from '#holdfast/testing/faulty-store.js';
import { instantClock } from './clocks.ts';
import { acquire } from './writing.ts';

const KEY = Uint8Array.of(1);
const SEEDS = 60;

describe('a faulty store', () => {
  const faults = [
    { fault: 'aborted', code: 'STORE_FAILED', outcome: 'aborted', resolved: 'absent' },
    { fault: 'full', code: 'STORE_FULL', outcome: 'aborted', resolved: 'absent' },
    { fault: 'unknown-applied', code: 'STORE_FAILED', outcome: 'unknown', resolved: 'applied' },
    { fault: 'unknown-absent', code: 'STORE_FAILED', outcome: 'unknown', resolved: 'absent' },
  ] as const;
  for (const { fault, code, outcome, resolved } of faults) {
    test(`with the fault "${fault}" fails once, is poisoned, and tells the truth when it is opened anew`, async () => {
      const { disk, store, epoch } = await opened();
      await store.commit(epoch, 1n, [put(1)]);
      disk.failNextCommit(fault);
      await expect(store.commit(epoch, 2n, [put(2)])).rejects.toMatchObject({ code, outcome });
      await expect(store.commit(epoch, 3n, [])).rejects.toMatchObject({ code: 'STORE_FAILED', outcome: 'aborted' });
      await expect(store.get(epoch, [KEY])).rejects.toMatchObject({ code: 'STORE_FAILED' });
      await expect(store.freeBytes()).rejects.toMatchObject({ code: 'STORE_FAILED' });
      await store.close();

      const again = disk.open();
      expect(await again.resolve(epoch, 2n)).toBe(resolved);
      expect(await again.get(epoch, [KEY])).toEqual([Uint8Array.of(resolved === 'applied' ? 2 : 1)]);
      await again.commit(epoch, resolved === 'applied' ? 3n : 2n, [put(3)]);
    });
  }

  test('can fail in acquire() and in a read', async () => {
    const { disk, store, epoch } = await opened();
    disk.failNextCommit('unknown-applied');
    await expect(store.acquire('next', await store.leader())).rejects.toMatchObject({ outcome: 'unknown' });
    const again = disk.open();
    expect((await again.leader())?.epoch.number).toBe(epoch.number + 1);
    disk.failNextRead();
    await expect(again.leader()).rejects.toMatchObject({ code: 'STORE_FAILED' });
    await expect(again.leader()).rejects.toMatchObject({ code: 'STORE_FAILED' });
  });

  test('is full for a commit with more bytes than are free', async () => {
    const { disk, store, epoch } = await opened();
    disk.freeBytes = 2;
    expect(await store.freeBytes()).toBe(2);
    await store.commit(epoch, 1n, [put(1)]);
    disk.freeBytes = 1;
    await expect(store.commit(epoch, 2n, [put(2)])).rejects.toMatchObject({ code: 'STORE_FULL', outcome: 'aborted' });
  });

  test('stays usable behind FENCED', async () => {
    const { store, epoch } = await opened();
    await expect(store.commit({ ...epoch, number: 9 }, 1n, [])).rejects.toMatchObject({ code: 'FENCED' });
    await store.commit(epoch, 1n, [put(1)]);
  });

  test('refuses a commit that overlaps another', async () => {
    const { store, epoch } = await opened();
    const first = store.commit(epoch, 1n, []);
    await expect(store.commit(epoch, 2n, [])).rejects.toThrow(/overlap/);
    await first;
    await store.commit(epoch, 2n, []);
  });

  test('that crashes never answers again, keeps what it acknowledged, and the commit under way by chance', async () => {
    const kept = new Set<number>();
    for (let seed = 0; seed < SEEDS; seed++) {
      const { disk, store, epoch } = await opened(seed);
      await store.commit(epoch, 1n, [put(1)]);
      let settled = false;
      const settle = (): void => {
        settled = true;
      };
      store.commit(epoch, 2n, [put(2)]).then(settle, settle);
      store.crash();
      store.get(epoch, [KEY]).then(settle, settle);
      const again = disk.open();
      const [value] = await again.get(epoch, [KEY]);
      await again.commit(epoch, 3n, []);
      expect(settled).toBe(false);
      kept.add(value?.[0] ?? 0);
    }
    expect(kept).toEqual(new Set([1, 2]));
  });

  test('that crashes with its commit lost loses it', async () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const { disk, store, epoch } = await opened(seed);
      void store.commit(epoch, 1n, [put(1)]);
      store.crash('lost');
      expect(await disk.open().get(epoch, [KEY])).toEqual([undefined]);
    }
  });

  test('loses its power with all others on the disk, and a prefix of what was under way is written', async () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < SEEDS; seed++) {
      const { disk, store, epoch } = await opened(seed);
      const second = disk.open();
      void store.commit(epoch, 1n, [put(1, 1)]);
      void second.commit(epoch, 2n, [put(2, 2)]);
      disk.cutPower();
      const values = await disk.open().get(epoch, [Uint8Array.of(1), Uint8Array.of(2)]);
      seen.add(values.map((value) => value?.[0] ?? '-').join(''));
    }
    expect([...seen].toSorted()).toEqual(['--', '1-', '12']);
  });

  test('does the same with the same seed', async () => {
    const first = await history(5);
    expect(await history(5)).toEqual(first);
    expect(await history(6)).not.toEqual(first);
  });
});

async function history(seed: number): Promise<string[]> {
  const random = seededRandom(seed);
  const clock = instantClock();
  const lines: string[] = [];
  const commitFault = (): 'unknown-applied' | undefined => (random.fraction() < 0.2 ? 'unknown-applied' : undefined);
  const disk = new FaultyDisk({ clock, random, commitFault, readMs: [0, 3] });
  for (let round = 0; round < 5; round++) {
    const store = disk.open();
    try {
      const epoch = await acquire(store);
      lines.push(epoch.nonce);
      for (let i = 0; i < 10; i++) {
        await store.commit(epoch, BigInt(i), [put(i)]);
        lines.push(`${clock.monotonicMs()} ${String(await store.get(epoch, [KEY]))}`);
      }
    } catch (error) {
      lines.push(String(error));
    }
  }
  return lines;
}

async function opened(seed = 1): Promise<{ disk: FaultyDisk; store: ReturnType<FaultyDisk['open']>; epoch: Epoch }> {
  const options: FaultyDiskOptions = { clock: instantClock(), random: seededRandom(seed) };
  const disk = new FaultyDisk(options);
  const store = disk.open();
  return { disk, store, epoch: await acquire(store) };
}

function put(value: number, key = 1): Write {
  return { kind: 'put', key: Uint8Array.of(key), value: Uint8Array.of(value) };
}
