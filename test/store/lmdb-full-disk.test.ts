import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { StoreError } from '#holdfast/model/errors.js';
import type { Epoch, KeyRange, Write } from '#holdfast/model/records.js';
import { openLmdbStore } from '#holdfast/store/lmdb.js';
import { openMemoryStore } from '#holdfast/store/memory.js';
import type { Store } from '#holdfast/store/store.js';
import { digestOf, must, need } from './children.ts';
import { temporaryFolder } from './folders.ts';
import { acquire, bytes, put } from './writing.ts';

const folder = temporaryFolder();
const disk = join(folder, 'disk');
const DISK_BYTES = 36 * 1024 * 1024;
const BALLAST_BYTES = 12 * 1024 * 1024;

/** The store to close when the test fails. */
let open: Store | undefined;

beforeAll(() => {
  need('mkfs.ext4', 'mount', 'losetup');
  const image = join(folder, 'image');
  must('truncate', '-s', String(DISK_BYTES), image);
  must('mkfs.ext4', '-q', '-F', image);
  mkdirSync(disk);
  must('mount', '-o', 'loop', image, disk);
});

afterAll(async () => {
  try {
    await open?.close();
  } finally {
    must('umount', disk);
  }
});

test('a full disk is STORE_FULL, costs nothing that was acknowledged, and is over when there is room', async () => {
  const path = join(disk, 'store');
  const ballast = join(disk, 'ballast');
  writeFileSync(ballast, new Uint8Array(BALLAST_BYTES));
  const model = openMemoryStore();
  const modelEpoch = await acquire(model);

  let { store, epoch } = await reopen(path);
  let id = 0n;
  for (const round of [1, 2, 3]) {
    const refusal = await fill();
    expect(refusal).toMatchObject({ code: 'STORE_FULL', outcome: 'aborted' });
    expect(id).toBeGreaterThan(10n);
    await expect(store.commit(epoch, id, [])).rejects.toMatchObject({ code: 'STORE_FAILED' });
    await store.close();

    rmSync(ballast);
    ({ store, epoch } = await reopen(path));
    expect(await digestOf(store, epoch)).toBe(await digestOf(model, modelEpoch));
    expect(await store.resolve(epoch, id)).toBe('absent');

    const [from, to] = [bytes(`${round} `), bytes(`${round}!`)];
    const before = await store.freeBytes();
    const cleared = await bytesIn(model, modelEpoch, { from, to });
    await commit([{ kind: 'clear', from, to }]);
    expect(cleared).toBeGreaterThan(500_000);
    expect(await store.freeBytes()).toBeGreaterThan(before + cleared * 0.8);
    writeFileSync(ballast, new Uint8Array(BALLAST_BYTES / 2));
  }
  await store.close();

  async function commit(writes: readonly Write[]): Promise<void> {
    await store.commit(epoch, id, writes);
    await model.commit(modelEpoch, id++, writes);
  }

  async function fill(): Promise<StoreError> {
    for (let i = 0; ; i++) {
      const small = Array.from({ length: 10 }, (_, j) => put(`${i % 3 === 0 ? '1 ' : '2 '}small ${i} ${j}`, 200, i));
      try {
        await commit([
          put(`1 large ${i}`, 50_000, i),
          put(`2 large ${i}`, 9_000, i),
          put(`3 large ${i}`, 9_000, i),
          ...small,
        ]);
      } catch (error) {
        if (error instanceof StoreError) return error;
        throw error;
      }
    }
  }
});

async function bytesIn(store: Store, epoch: Epoch, range: KeyRange): Promise<number> {
  let sum = 0;
  for await (const chunk of store.range(epoch, range)) for (const { value } of chunk) sum += value.length;
  return sum;
}

async function reopen(path: string): Promise<{ store: Store; epoch: Epoch }> {
  const store = await openLmdbStore({ path });
  open = store;
  return { store, epoch: await acquire(store) };
}
