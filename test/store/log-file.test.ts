import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { beforeAll, describe, expect, test } from 'vitest';
import { seededRandom } from '#holdfast/model/random.js';
import type { Write } from '#holdfast/model/records.js';
import { openLmdbStore } from '#holdfast/store/lmdb.js';
import { openMemoryStore } from '#holdfast/store/memory.js';
import type { Store } from '#holdfast/store/store.js';
import { digestOf } from './children.ts';
import { temporaryFolder } from './folders.ts';
import { acquire, bytes, put } from './writing.ts';

const folder = temporaryFolder();
const crashed = join(folder, 'crashed');
const HEADER_BYTES = 4_096;
const SECTOR_BYTES = 512;
const COMMITS = 40;
const SEEDS = 200;
let count = 0;

/** The contents behind each commit. */
const digests: string[] = [];
/** Where the log ends behind each commit, in bytes. */
const ends: number[] = [];

/** Copies the files of a store as a crash would leave them: with its commits in the log. */
beforeAll(async () => {
  const path = join(folder, 'built');
  const store = await openLmdbStore({ path });
  const model = openMemoryStore();
  const [epoch, modelEpoch] = [await acquire(store), await acquire(model)];
  const log = (): Buffer => readFileSync(join(path, logIn(path)));
  digests.push(await digestOf(model, modelEpoch));
  ends.push(HEADER_BYTES);
  for (let i = 0; i < COMMITS; i++) {
    const writes: Write[] = [put(`key ${i % 7}`, 30 + ((i * 997) % 3_000), i), put(`other ${i}`, 20, i)];
    if (i % 5 === 4) writes.push({ kind: 'clear', from: bytes('key 2'), to: bytes('key 4') });
    await store.commit(epoch, BigInt(i), writes);
    await model.commit(modelEpoch, BigInt(i), writes);
    digests.push(await digestOf(model, modelEpoch));
    ends.push(endOf(log()));
  }
  mkdirSync(crashed);
  for (const name of ['default.mdb', logIn(path)]) copyFileSync(join(path, name), join(crashed, name));
  await store.close();
});

describe('what a crash leaves in the commit log', () => {
  test('is found, with the trace of the last commit', async () => {
    const { path } = copy();
    const store = await openLmdbStore({ path });
    const epoch = await acquire(store);
    expect(await digestOf(store, epoch)).toBe(digests[COMMITS]);
    expect(await store.resolve(epoch, BigInt(COMMITS - 1))).toBe('applied');
    expect(await store.resolve(epoch, BigInt(COMMITS))).toBe('absent');
    await store.close();
  });

  test('is whole up to the last commit, however little of that was written', async () => {
    const from = ends[COMMITS - 1] as number;
    for (let written = from; written < (ends[COMMITS] as number); written += SECTOR_BYTES) {
      const { path, file, log } = copy();
      log.fill(0, written, ends[COMMITS]);
      writeFileSync(file, log);
      const store = await openLmdbStore({ path });
      const epoch = await acquire(store);
      expect(await digestOf(store, epoch)).toBe(digests[COMMITS - 1]);
      expect(await store.resolve(epoch, BigInt(COMMITS - 1))).toBe('absent');
      await store.commit(epoch, 1n, [put('behind it', 700, 1)]);
      await store.close();

      const again = await openLmdbStore({ path });
      const [value] = await again.get(await acquire(again), [bytes('behind it')]);
      expect(value?.length).toBe(700);
      await again.close();
    }
  });

  test('is refused or right when it was damaged, but for the last commit, which may be one that was never whole', async () => {
    const random = seededRandom(11);
    const below = (limit: number): number => Math.floor(random.fraction() * limit);
    const seen = { refused: 0, whole: 0, shorter: 0 };
    for (let seed = 0; seed < SEEDS; seed++) {
      const { path, file, log } = copy();
      const at = below((ends[COMMITS] as number) + SECTOR_BYTES);
      const sector = at - (at % SECTOR_BYTES);
      const kind = below(3);
      if (kind === 0) log[at] = (log[at] as number) ^ (1 << below(8));
      else if (kind === 1) log.fill(0, sector, sector + SECTOR_BYTES);
      else random.fill(log.subarray(sector, sector + SECTOR_BYTES));
      writeFileSync(file, log);
      const found = await read(path);
      const name = `seed ${seed}: kind ${kind} at ${at}`;
      if (found === 'STORE_CORRUPT' || found === 'STORE_TOO_NEW') seen.refused++;
      else if (found === digests[COMMITS]) seen.whole++;
      else {
        expect(found, name).toBe(digests[COMMITS - 1]);
        expect(at, name).toBeGreaterThanOrEqual(ends[COMMITS - 1] as number);
        seen.shorter++;
      }
      rmSync(path, { recursive: true });
    }
    expect(seen.refused).toBeGreaterThan(SEEDS / 2);
    expect(seen.whole).toBeGreaterThan(0);
  });
});

describe('a commit log', () => {
  test('that is missing, cut off or another one is refused', async () => {
    const missing = copy();
    rmSync(missing.file);
    expect(await read(missing.path)).toBe('STORE_CORRUPT');

    const cut = copy();
    writeFileSync(cut.file, cut.log.subarray(0, cut.log.length - 1));
    expect(await read(cut.path)).toBe('STORE_CORRUPT');

    const foreign = copy();
    const other = join(folder, 'other');
    const store = await openLmdbStore({ path: other });
    await acquire(store);
    copyFileSync(join(other, logIn(other)), foreign.file);
    await store.close();
    expect(await read(foreign.path)).toBe('STORE_CORRUPT');
  });

  test('of a later version is refused', async () => {
    const { path, file, log } = copy();
    log[12] = 2;
    log.writeUInt32LE(crc32(log.subarray(0, 32)), 32);
    writeFileSync(file, log);
    expect(await read(path)).toBe('STORE_TOO_NEW');
  });

  test('is gone behind close(), so a closed store is one file', async () => {
    const { path } = copy();
    expect(await read(path)).toBe(digests[COMMITS]);
    expect(readdirSync(path).toSorted()).toEqual(['default.mdb', 'default.mdb-lock']);
    rmSync(join(path, 'default.mdb-lock'));
    expect(await read(path)).toBe(digests[COMMITS]);
  });

  test('that a crash left behind is deleted, and that of a live leader is not', async () => {
    const { path } = copy();
    writeFileSync(join(path, 'default.mdb-log-0123'), 'left behind');
    writeFileSync(join(path, 'other.mdb-log-0123'), 'of another space');
    const store = await openLmdbStore({ path });
    await acquire(store);
    const bystander = await openLmdbStore({ path });
    expect(await bystander.acquire('bystander', undefined)).toMatchObject({ lost: { address: 'test' } });
    const names = readdirSync(path).filter((name) => name.includes('-log-'));
    expect(names).toEqual([expect.stringMatching(/^default\.mdb-log-[0-9a-f]{32}$/), 'other.mdb-log-0123']);
    await bystander.close();
    await store.close();
  });
});

describe('a leader that was deposed', () => {
  test('writes nothing, and says so', async () => {
    const { path } = copy();
    const [old, next] = [await openLmdbStore({ path }), await openLmdbStore({ path })];
    const epoch = await acquire(old);
    await old.commit(epoch, 1n, [put('by the old one', 10, 1)]);
    const later = await acquire(next);
    await expect(old.commit(epoch, 2n, [put('too late', 10, 1)])).rejects.toMatchObject({
      code: 'FENCED',
      outcome: 'aborted',
    });
    await next.commit(later, 3n, [put('by the new one', 10, 1)]);
    await old.close();
    const values = await next.get(later, ['by the old one', 'too late', 'by the new one'].map(bytes));
    expect(values.map((value) => value !== undefined)).toEqual([true, false, true]);
    await next.close();
  });
});

function copy(): { path: string; file: string; log: Buffer } {
  const path = join(folder, String(count++));
  cpSync(crashed, path, { recursive: true });
  const file = join(path, logIn(path));
  return { path, file, log: readFileSync(file) };
}

/** The name of the log of a store that is open, or was. */
function logIn(path: string): string {
  return readdirSync(path).find((name) => name.includes('-log-')) as string;
}

/** The digest of the contents, or the code of the error. */
async function read(path: string): Promise<string> {
  let store: Store | undefined;
  try {
    store = await openLmdbStore({ path });
    return await digestOf(store, await acquire(store));
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  } finally {
    await store?.close();
  }
}

/** The end of the last sector with something in it. */
function endOf(log: Buffer): number {
  let end = log.length;
  while (end > HEADER_BYTES && log.subarray(end - SECTOR_BYTES, end).every((byte) => byte === 0)) end -= SECTOR_BYTES;
  return end;
}
