/**
 * The store contract: an ordered key-value map with atomic, durable, fenced commits.
 *
 * One broker leads a store at a time, under an {@link Epoch}. Every commit and every read carries the
 * epoch, and the store compares it inside the same atomic operation, so a deposed broker can neither
 * change anything nor answer from what is no longer true. The conformance suite in `holdfast/testing`
 * holds every implementation to what is written here, with faults injected.
 *
 * The store object that won an epoch is the only one that commits under it; another object may read under it, and
 * may commit when the one that won it has been closed.
 */
import type { Entry, Epoch, Key, KeyRange, Leader, Value, Write } from '../model/records.ts';

export interface Store {
  /**
   * What a resolved `commit` promises: `memory` nothing beyond the process, `disk` synced to the local
   * disk, `replicated` held by more than one machine.
   */
  readonly durability: 'memory' | 'disk' | 'replicated';

  /** Reads who leads, or `undefined` when nobody ever did. Never answers from a cache. */
  leader(): Promise<Leader | undefined>;

  /**
   * Makes the caller the leader, by compare and swap: wins only when the leader is still `seen`, compared
   * by epoch. The new epoch has the number after the old one (the first is 1) and a fresh nonce, and is
   * durable when the promise resolves. A lost race changes nothing and returns who won.
   */
  acquire(address: string, seen: Leader | undefined): Promise<{ won: Epoch } | { lost: Leader }>;

  /**
   * Renews the leader's lease in the store's clock; any commit does as well. Throws `FENCED` for a stale
   * epoch. A store on a local disk has no lease and only checks the epoch.
   */
  renew(epoch: Epoch): Promise<void>;

  /**
   * Writes all of `writes`, in order, or nothing, and resolves when that is durable. `commitId` comes from
   * the caller, starts anywhere, and grows by one with each commit of an epoch; an implementation keeps
   * the last one to answer `resolve`. Implementations may assume that calls do not overlap, that no key or
   * value is above the limits of `model/records.ts`, and that nobody changes the buffers before the promise settles.
   *
   * @throws StoreError `FENCED` when the epoch is stale, `unknown` only when it became so during the call;
   * `STORE_FULL` (aborted) when there is no room; `STORE_FAILED` with the outcome that is certain, `unknown` in doubt. After any error but `FENCED`
   * the store object must be closed and opened anew.
   */
  commit(epoch: Epoch, commitId: bigint, writes: readonly Write[]): Promise<void>;

  /**
   * Says whether the commit with this id was applied, for a caller that got `unknown`. It may be asked of a
   * new store object under a new epoch about a commit of the epoch before. `unknown` is the answer when a
   * later commit has hidden the trace.
   */
  resolve(epoch: Epoch, commitId: bigint): Promise<'applied' | 'absent' | 'unknown'>;

  /**
   * Reads the values of `keys` from one snapshot that holds every commit resolved before the call, in the
   * order asked; `undefined` for an absent key. Throws `FENCED` for a stale epoch, `STORE_CORRUPT` for a
   * record that does not match its checksum. Values stay valid and unchanged for as long as they are held.
   */
  get(epoch: Epoch, keys: readonly Key[]): Promise<(Value | undefined)[]>;

  /**
   * Reads the entries of a range in memcmp order of their keys, in chunks of at most about 1,000 entries or
   * 1 MiB. A chunk comes from one snapshot; the chunks of one reading may come from different ones. Same
   * errors as `get`. Stopping the iteration early releases what it held.
   */
  range(epoch: Epoch, selector: KeyRange): AsyncIterable<readonly Entry[]>;

  /** The bytes that can still be written before the store is full; `Infinity` when there is no bound. */
  freeBytes(): Promise<number>;

  /** Releases files and connections. Safe to call twice; a commit under way settles first. */
  close(): Promise<void>;
}
