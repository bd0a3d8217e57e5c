/** Sees each commit at the moment at which it becomes durable. */
import type { Write } from '../../model/records.ts';
import type { LastCommit } from '../../store/epoch.ts';
import type { Store } from '../../store/store.ts';
import type { FaultyDisk, FaultyStore } from '../faulty-store.ts';

export class CommitWatch {
  readonly #disk: FaultyDisk;
  readonly #called = new Map<string, readonly Write[]>();
  #seen: LastCommit | undefined;

  constructor(disk: FaultyDisk) {
    this.#disk = disk;
  }

  /** A store that lets this watch know what it is asked to write. */
  wrap(store: FaultyStore): Store {
    return {
      durability: store.durability,
      leader: () => store.leader(),
      acquire: (address, seen) => store.acquire(address, seen),
      renew: (epoch) => store.renew(epoch),
      commit: (epoch, commitId, writes) => {
        this.#called.set(`${epoch.nonce} ${commitId}`, writes);
        return store.commit(epoch, commitId, writes);
      },
      resolve: (epoch, commitId) => store.resolve(epoch, commitId),
      get: (epoch, keys) => store.get(epoch, keys),
      range: (epoch, selector) => store.range(epoch, selector),
      freeBytes: () => store.freeBytes(),
      close: () => store.close(),
    };
  }

  /** The writes that have become durable since the last call; at most one commit does in one event. */
  take(): readonly Write[] | undefined {
    const { lastCommit } = this.#disk.data;
    if (lastCommit === this.#seen || lastCommit === undefined) return undefined;
    this.#seen = lastCommit;
    const key = `${lastCommit.epoch.nonce} ${lastCommit.id}`;
    const writes = this.#called.get(key);
    this.#called.delete(key);
    return writes;
  }
}
