import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import type { Write } from '#holdfast/model/records.js';
import { seededRandom } from '#holdfast/model/random.js';
import { openLmdbStore } from '#holdfast/store/lmdb.js';
import { inParallel, run } from './children.ts';
import { temporaryFolder } from './folders.ts';
import { bytes, put } from './writing.ts';

const folder = temporaryFolder();

const FIRST_SEED = 1;
const SEEDS = 300;
const SEEDS_A_PROCESS = 75;
const AT_ONCE = 4;

interface Result {
  readonly seed: number;
  readonly what: string;
  readonly opened: string;
  readonly right: number;
  readonly absent: readonly string[];
  readonly corrupt: number;
  readonly altered: readonly string[];
  readonly written: string;
}

beforeAll(async () => {
  const random = seededRandom(7);
  const path = join(folder, 'built');
  const store = await openLmdbStore({ path });
  const outcome = await store.acquire('builder', undefined);
  if (!('won' in outcome)) throw new Error('The race is lost');
  for (let i = 0; i < 240; i++) {
    if (i === 200) copyFileSync(join(path, 'default.mdb'), join(folder, 'older.mdb'));
    const number = (): number => Math.floor(random.fraction() * 1_500);
    const writes: Write[] = Array.from({ length: 12 }, () => put(`small ${number()}`, 20 + (number() % 400), i));
    writes.push(put(`long ${number() % 60} `.padEnd(2_000, 'x'), 30, i), {
      kind: 'delete',
      key: bytes(`small ${number()}`),
    });
    if (i % 6 === 0) writes.push(put(`large ${number() % 30}`, 5_000 + number() * 20, i));
    if (i % 40 === 0) for (let j = 0; j < 250; j++) writes.push(put(`small ${number()}`, 300, i));
    await store.commit(outcome.won, BigInt(i), writes);
  }
  await store.close();
  copyFileSync(join(path, 'default.mdb'), join(folder, 'whole.mdb'));
});

test('a damaged lmdb file gives what was written, or an error, and never ends the process', async () => {
  const results: Result[] = [];
  const starts = Array.from({ length: Math.ceil(SEEDS / SEEDS_A_PROCESS) }, (_, i) => FIRST_SEED + i * SEEDS_A_PROCESS);
  await inParallel(starts, AT_ONCE, async (first) => {
    const count = Math.min(SEEDS_A_PROCESS, FIRST_SEED + SEEDS - first);
    const script = ['test/store/damage-script.mjs', folder, String(first), String(count)];
    const { code, signal, output, errors } = await run('node', script);
    const lines = output.split('\n').filter((line) => line !== '');
    expect({ code, signal, errors, read: lines.length, last: lines.at(-1) }).toMatchObject({ code: 0, signal: null });
    results.push(...lines.map((line) => JSON.parse(line) as Result));
  });

  expect(results.length).toBe(SEEDS);
  for (const result of results) {
    expect(result.altered, JSON.stringify(result)).toEqual([]);
    expect(result.absent, JSON.stringify(result)).toEqual([]);
    expect(['whole', 'STORE_CORRUPT', 'STORE_TOO_NEW'], JSON.stringify(result)).toContain(result.opened);
    expect(['whole', 'STORE_CORRUPT'], JSON.stringify(result)).toContain(result.written);
  }
  const refused = results.filter(({ opened }) => opened === 'STORE_CORRUPT');
  const unharmed = results.filter(({ opened, corrupt }) => opened === 'whole' && corrupt === 0);
  expect(refused.length).toBeGreaterThan(SEEDS / 4);
  expect(unharmed.length).toBeGreaterThan(0);
}, 120_000);
