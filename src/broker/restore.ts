/** Restoring: makes an empty store what it was when a backup ended. */
import { Machine } from '../machine/machine.ts';
import { HoldfastError } from '../model/errors.ts';
import type { Write } from '../model/records.ts';
import type { Store } from '../store/store.ts';

/**
 * Writes a backup into a store that nobody has ever led, and ends all sessions: no client of then can come back, so what
 * they held is ready again, as after a crash.
 *
 * @throws HoldfastError `STORE_EXISTS` when the store has been led; `STORE_CORRUPT` when what was written makes no store
 */
export async function restoreInto(
  store: Store,
  space: string,
  parts: AsyncIterable<readonly Write[]>,
  wallMs: number,
): Promise<void> {
  const outcome = await store.acquire('restored', undefined);
  if ('lost' in outcome) throw new HoldfastError('STORE_EXISTS', 'Cannot restore: the store is in use');
  const epoch = outcome.won;
  let commitId = 1n;
  for await (const writes of parts) await store.commit(epoch, commitId++, writes);
  const machine = new Machine(space);
  const loader = machine.loader();
  for await (const chunk of store.range(epoch, machine.head)) for (const entry of chunk) loader.add(entry);
  loader.begin(epoch.number, wallMs, undefined);
  for (const range of machine.body) {
    for await (const chunk of store.range(epoch, range)) for (const entry of chunk) loader.add(entry);
  }
  loader.finish(wallMs, 0);
  const { writes } = machine.flush();
  if (writes.length > 0) await store.commit(epoch, commitId, writes);
}
