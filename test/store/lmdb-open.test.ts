import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { open } from 'lmdb';
import { describe, expect, test } from 'vitest';
import { openLmdbStore } from '#holdfast/store/lmdb.js';
import { temporaryFolder } from './folders.ts';
import { acquire } from './writing.ts';

const folder = temporaryFolder();
const PAGE_BYTES = 8_192;
const FILES = ['default.mdb', 'default.mdb-lock'];
let count = 0;

const newPath = (): string => join(folder, String(count++));

describe('openLmdbStore()', () => {
  test('makes the folder and the files of each space for their owner only', async () => {
    const path = join(newPath(), 'nested');
    const store = await openLmdbStore({ path });
    const other = await openLmdbStore({ path, space: 'other' });
    expect(statSync(path).mode & 0o777).toBe(0o700);
    expect(readdirSync(path).toSorted()).toEqual([...FILES, 'other.mdb', 'other.mdb-lock']);
    for (const file of readdirSync(path)) expect(statSync(join(path, file)).mode & 0o777).toBe(0o600);
    await store.close();
    await other.close();
  });

  test('keeps spaces apart', async () => {
    const path = newPath();
    const [one, two] = [await openLmdbStore({ path, space: 'one' }), await openLmdbStore({ path, space: 'two' })];
    const epoch = await acquire(one);
    await one.commit(epoch, 1n, [{ kind: 'put', key: Uint8Array.of(1), value: Uint8Array.of(1) }]);
    expect(await two.leader()).toBeUndefined();
    expect(await two.get(await acquire(two), [Uint8Array.of(1)])).toEqual([undefined]);
    await one.close();
    await two.close();
  });

  test('refuses a name that is not a file name', async () => {
    for (const space of ['', '../other', 'a/b', 'a.b', 'x'.repeat(65)]) {
      await expect(openLmdbStore({ path: newPath(), space })).rejects.toThrow(RangeError);
    }
  });

  test('opens the same new store in many objects at once', async () => {
    const path = newPath();
    const stores = await Promise.all(Array.from({ length: 8 }, () => openLmdbStore({ path })));
    expect(readdirSync(path).toSorted()).toEqual(FILES);
    for (const store of stores) await store.close();
  });

  test('goes on behind what a process left that was killed while it made the file', async () => {
    const path = newPath();
    mkdirSync(join(path, '.new-abcdef'), { recursive: true });
    writeFileSync(join(path, '.new-abcdef', 'file'), 'half a file');
    const store = await openLmdbStore({ path });
    await acquire(store);
    await store.close();
  });

  test('refuses what is not a store, and leaves it as it is', async () => {
    for (const contents of ['', 'a text', 'a long text '.repeat(5_000), '\0'.repeat(5 * PAGE_BYTES)]) {
      const path = newPath();
      await (await openLmdbStore({ path })).close();
      writeFileSync(join(path, 'default.mdb'), contents);
      await expect(openLmdbStore({ path })).rejects.toMatchObject({ code: 'STORE_CORRUPT', outcome: 'aborted' });
      expect(readFileSync(join(path, 'default.mdb'), 'latin1')).toBe(contents);
    }
  });

  test('refuses a folder in the place of a file, without ending the process', async () => {
    for (const name of FILES) {
      const path = newPath();
      mkdirSync(join(path, name), { recursive: true });
      await expect(openLmdbStore({ path })).rejects.toMatchObject({ code: 'STORE_FAILED' });
    }
    const file = newPath();
    writeFileSync(file, 'a file in the place of the folder');
    await expect(openLmdbStore({ path: file })).rejects.toMatchObject({ code: 'STORE_FAILED' });
  });

  test('refuses an LMDB file of another application', async () => {
    for (const pageSize of [4_096, PAGE_BYTES]) {
      const path = newPath();
      await (await openLmdbStore({ path })).close();
      rmSync(join(path, 'default.mdb'));
      const foreign = open({ path: join(path, 'default.mdb'), pageSize, overlappingSync: false });
      foreign.transactionSync(() => void foreign.put('key', 'value'));
      await foreign.close();
      await expect(openLmdbStore({ path })).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
    }
  });

  test('refuses a store that a later version wrote', async () => {
    const path = newPath();
    const file = join(path, 'default.mdb');
    const store = await openLmdbStore({ path });
    await acquire(store);
    await store.close();
    const bytes = readFileSync(file);
    // Pages of earlier transactions hold it too.
    for (let at = bytes.indexOf('"format":1}'); at >= 0; at = bytes.indexOf('"format":1}', at)) {
      bytes.write('"format":2}', at);
      withChecksum(bytes, at + '"format":2}'.length);
    }
    writeFileSync(file, bytes);
    await expect(openLmdbStore({ path })).rejects.toMatchObject({ code: 'STORE_TOO_NEW' });
  });

  test('refuses a later data version of LMDB', async () => {
    const path = newPath();
    const file = join(path, 'default.mdb');
    await (await openLmdbStore({ path })).close();
    const bytes = readFileSync(file);
    for (const page of [0, 1]) bytes.writeUInt32LE(3, page * PAGE_BYTES + 28);
    writeFileSync(file, bytes);
    await expect(openLmdbStore({ path })).rejects.toMatchObject({ code: 'STORE_TOO_NEW' });
  });
});

describe('a store object that failed', () => {
  test('refuses every call until it is opened anew', async () => {
    const path = newPath();
    const store = await openLmdbStore({ path });
    const epoch = await acquire(store);
    const tooLong = { kind: 'put', key: new Uint8Array(5_000), value: Uint8Array.of(1) } as const;
    await expect(store.commit(epoch, 1n, [tooLong])).rejects.toMatchObject({
      code: 'STORE_FAILED',
      outcome: 'aborted',
    });
    const refusal = { code: 'STORE_FAILED', outcome: 'aborted' };
    await expect(store.commit(epoch, 1n, [])).rejects.toMatchObject(refusal);
    await expect(store.get(epoch, [])).rejects.toMatchObject(refusal);
    await expect(store.leader()).rejects.toMatchObject(refusal);
    await expect(store.freeBytes()).rejects.toMatchObject(refusal);
    await store.close();

    const reopened = await openLmdbStore({ path });
    await reopened.commit(epoch, 1n, []);
    await reopened.close();
  });
});

describe('a truncated file', () => {
  test('is refused at any length', async () => {
    const path = newPath();
    const file = join(path, 'default.mdb');
    const store = await openLmdbStore({ path });
    const epoch = await acquire(store);
    for (let i = 0; i < 20; i++) {
      const puts = Array.from(
        { length: 30 },
        (_, j) => ({ kind: 'put', key: Uint8Array.of(i, j), value: new Uint8Array(900) }) as const,
      );
      await store.commit(epoch, BigInt(i), puts);
    }
    await store.close();
    for (let length = statSync(file).size - 1; length > 0; length -= 3 * PAGE_BYTES + 100) {
      truncateSync(file, length);
      await expect(openAndAcquire(path)).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
    }
  });
});

async function openAndAcquire(path: string): Promise<void> {
  const store = await openLmdbStore({ path });
  try {
    await acquire(store);
  } finally {
    await store.close();
  }
}

/** Makes the checksum right again of the record whose value ends at `end`: the key is the byte 0, the value JSON. */
function withChecksum(bytes: Buffer, end: number): void {
  const start = bytes.lastIndexOf('{', end);
  bytes.writeUInt32LE(crc32(Buffer.concat([Buffer.of(0), bytes.subarray(start, end)])), end);
}
