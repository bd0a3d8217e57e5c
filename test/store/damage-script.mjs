/**
 * Damages copies of a store file and reads them, in a process of its own, because LMDB might crash on one.
 *
 *     node damage-script.mjs <folder> <first seed> <count>
 *
 * The folder holds `whole.mdb`, and `older.mdb`, the same file some commits earlier. One line of JSON is
 * written a seed: what was damaged, how opening ended, how many records were right, absent, refused as corrupt,
 * and altered, and how writing on ended.
 */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { seededRandom } from '#holdfast/model/random.js';
import { openLmdbStore } from '#holdfast/store/lmdb.js';

const PAGE_BYTES = 8_192;
const ALL = { from: new Uint8Array(), to: Uint8Array.of(0xff, 0xff) };

const [folder, first, count] = process.argv.slice(2);
const whole = readFileSync(join(folder, 'whole.mdb'));
const older = readFileSync(join(folder, 'older.mdb'));
const expected = await readWhole();

for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
  writeSync(1, `${JSON.stringify({ seed, ...(await attempt(seed)) })}\n`);
}

async function readWhole() {
  const path = join(folder, `expected ${first}`);
  mkdirSync(path);
  copyFileSync(join(folder, 'whole.mdb'), join(path, 'default.mdb'));
  const store = await openLmdbStore({ path });
  const epoch = await acquire(store);
  const entries = new Map();
  for await (const chunk of store.range(epoch, ALL)) {
    for (const { key, value } of chunk) entries.set(Buffer.from(key).toString('latin1'), value);
  }
  await store.close();
  return entries;
}

async function attempt(seed) {
  const path = join(folder, String(seed));
  const bytes = Buffer.from(whole);
  const { what, length } = damage(bytes, seededRandom(seed));
  mkdirSync(path);
  writeFileSync(join(path, 'default.mdb'), bytes.subarray(0, length));
  try {
    return { what, ...(await examine(path)) };
  } finally {
    rmSync(path, { recursive: true });
  }
}

/** One of several kinds of damage, as disks and people do it. */
function damage(bytes, random) {
  const below = (limit) => Math.floor(random.fraction() * limit);
  const pages = bytes.length / PAGE_BYTES;
  const page = below(pages);
  const spanOf = (number) => [number * PAGE_BYTES, (number + 1) * PAGE_BYTES];
  const pageBytes = bytes.subarray(...spanOf(page));
  const kind = below(9);
  if (kind <= 2) {
    const at = kind === 0 ? below(bytes.length) : kind === 1 ? page * PAGE_BYTES + below(64) : below(2 * 168);
    const place = kind === 2 && at >= 168 ? PAGE_BYTES + at - 168 : at;
    bytes[place] ^= 1 << below(8);
    return {
      what: `a bit of byte ${place % PAGE_BYTES} of page ${Math.floor(place / PAGE_BYTES)} flipped`,
      length: bytes.length,
    };
  }
  if (kind === 3) return { what: 'the end cut off', length: below(bytes.length) };
  if (kind === 4) pageBytes.fill(0);
  else if (kind === 5) random.fill(pageBytes);
  else if (kind === 6) pageBytes.fill(0, below(16) * 512);
  else if (kind === 7) older.copy(pageBytes, 0, ...spanOf(page % (older.length / PAGE_BYTES)));
  else bytes.copyWithin(page * PAGE_BYTES, ...spanOf(below(pages)));
  const names = {
    4: 'zeroed',
    5: 'filled with noise',
    6: 'zeroed from a sector on',
    7: 'as it was earlier',
    8: 'a copy of another',
  };
  return { what: `page ${page} ${names[kind]}`, length: bytes.length };
}

async function examine(path) {
  const counts = { opened: 'whole', right: 0, absent: [], corrupt: 0, altered: [], written: 'whole' };
  let store;
  let step = 'opened';
  try {
    store = await openLmdbStore({ path });
    const epoch = await acquire(store);
    await readAll(store, epoch, counts);
    step = 'written';
    await write(store, epoch);
    await readAll(store, epoch, { ...counts, right: 0, absent: [] });
  } catch (error) {
    counts[step] = error.code ?? String(error.stack);
  } finally {
    await store?.close();
  }
  return counts;
}

/** Reads every record by its key and the whole as a range, and compares with what was written. */
async function readAll(store, epoch, counts) {
  for (const [name, value] of expected) {
    try {
      const [found] = await store.get(epoch, [new Uint8Array(Buffer.from(name, 'latin1'))]);
      if (found === undefined) counts.absent.push(`${name.slice(0, 20)} (${value.length} bytes)`);
      else if (Buffer.compare(found, value) === 0) counts.right++;
      else counts.altered.push(name.slice(0, 20));
    } catch (error) {
      if (error.code !== 'STORE_CORRUPT') throw error;
      counts.corrupt++;
    }
  }
  try {
    for await (const chunk of store.range(epoch, ALL)) {
      for (const { key, value } of chunk) {
        const name = Buffer.from(key).toString('latin1');
        if (name.startsWith('later ')) continue;
        if (Buffer.compare(expected.get(name) ?? Buffer.from('absent'), value) !== 0)
          counts.altered.push(name.slice(0, 20));
      }
    }
  } catch (error) {
    if (error.code !== 'STORE_CORRUPT') throw error;
  }
}

/** Writes enough to change most pages and to use the free ones. */
async function write(store, epoch) {
  for (let i = 0; i < 12; i++) {
    const writes = Array.from({ length: 8 }, (_, j) => put(`later ${i} ${j}`, 300 + i));
    if (i % 4 === 1)
      writes.push(
        put(`later large ${i}`, 50_000),
        ...Array.from({ length: 250 }, (_, j) => put(`later bulk ${j}`, 300)),
      );
    if (i % 4 === 3) writes.push({ kind: 'delete', key: new Uint8Array(Buffer.from(`later ${i - 1} 3`)) });
    await store.commit(epoch, BigInt(1_000_000 + i), writes);
  }
}

function put(name, length) {
  return { kind: 'put', key: new Uint8Array(Buffer.from(name)), value: new Uint8Array(length).fill(length) };
}

async function acquire(store) {
  return (await store.acquire('damage', await store.leader())).won;
}
