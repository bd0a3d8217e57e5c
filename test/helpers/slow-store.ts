import { seededRandom } from '#holdfast/model/random.js';
import { openMemoryStore } from '#holdfast/store/memory.js';
import type { Store } from '#holdfast/store/store.js';
import { settled } from './manual-clock.ts';

/** A store, and what was done with it. */
export interface Watched {
  readonly store: Store;
  commits: number;
  reads: number;
  keysRead: number;
}

/** How many turns of the event loop operations take, as those of a store elsewhere take a while. */
export interface Turns {
  readonly commit?: number;
  readonly get?: number;
  readonly chunk?: number;
}

export function slowStore({ commit = 3, get = 2, chunk: perChunk = 1 }: Turns = {}): Watched {
  const store = openMemoryStore({ random: seededRandom(4) });
  const watched: Watched = {
    commits: 0,
    reads: 0,
    keysRead: 0,
    store: {
      durability: store.durability,
      leader: () => store.leader(),
      acquire: (address, seen) => store.acquire(address, seen),
      renew: (epoch) => store.renew(epoch),
      async commit(epoch, id, writes) {
        watched.commits += 1;
        await settled(commit);
        await store.commit(epoch, id, writes);
      },
      resolve: (epoch, id) => store.resolve(epoch, id),
      async get(epoch, keys) {
        if (keys.length > 0) watched.reads += 1;
        watched.keysRead += keys.length;
        const values = await store.get(epoch, keys);
        if (keys.length > 0) await settled(get);
        return values;
      },
      async *range(epoch, selector) {
        for await (const chunk of store.range(epoch, selector)) {
          await settled(perChunk);
          yield chunk;
        }
      },
      freeBytes: () => store.freeBytes(),
      close: () => store.close(),
    },
  };
  return watched;
}
