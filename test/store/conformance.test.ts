import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { seededRandom } from '#holdfast/model/random.js';
import { openLmdbStore } from '#holdfast/store/lmdb.js';
import { createMemoryDisk, openMemoryStore } from '#holdfast/store/memory.js';
import { FaultyDisk } from '#holdfast/testing/faulty-store.js';
import { storeConformance, type StoreFactory } from '#holdfast/testing/store-conformance.js';
import { instantClock } from './clocks.ts';
import { temporaryFolder } from './folders.ts';

const folder = temporaryFolder();
let count = 0;

const factories: Readonly<Record<string, StoreFactory>> = {
  memory: async () => {
    const disk = createMemoryDisk();
    return { open: async () => openMemoryStore({ disk }), dispose: async () => {} };
  },
  lmdb: async () => {
    const path = join(folder, String(count++));
    return { open: () => openLmdbStore({ path }), dispose: async () => rmSync(path, { recursive: true }) };
  },
  'faulty store without faults': async () => {
    const disk = new FaultyDisk({ clock: instantClock(), random: seededRandom(1) });
    return { open: async () => disk.open(), dispose: async () => {} };
  },
};

for (const [store, factory] of Object.entries(factories)) {
  describe(store, () => {
    for (const { name, run } of storeConformance(factory)) test(name, run);
  });
}
