/** What a broker reads of KV from its store, watched for situations that are worth reaching. */
import { textOf } from '../../model/bytes.ts';
import { encodeKvKey } from '../../model/kv-key.ts';
import type { Key } from '../../model/records.ts';
import { KIND, Layout } from '../../machine/layout.ts';
import type { Store } from '../../store/store.ts';
import type { Mark } from './marks.ts';

const BURST: Uint8Array = encodeKvKey(['b']);
const GONE: Uint8Array = encodeKvKey(['gone']);

/** Makes a store say what is reached; it does what it does. */
export function markReading<S extends Store>(store: S, space: string, reached: (mark: Mark) => void): S {
  const layout = new Layout(space);
  const isEntry = (key: Key): boolean => layout.kindOf(key) === KIND.kv;
  const isOf = (key: Key, prefix: Uint8Array): boolean =>
    isEntry(key) && prefix.every((byte, i) => layout.bytesBehind(key, 0)[i] === byte);
  /** Entries that were read or written before, and those that are being read. */
  const known = new Set<string>();
  const underway = new Map<string, number>();
  const get = store.get.bind(store);
  const commit = store.commit.bind(store);
  return Object.assign(store, {
    get: async (epoch, keys) => {
      const texts = keys.filter(isEntry).map(textOf);
      // Each of these is touched by commands of its own.
      if (keys.filter((key) => isOf(key, BURST)).length > 1) reached('entries are read ahead');
      // Nobody asks for one of these but who takes it away.
      if (keys.some((key) => isOf(key, GONE))) reached('expired entries are looked at in two stages');
      if (texts.some((text) => known.has(text))) reached('an entry has left the cache');
      for (const text of texts) underway.set(text, (underway.get(text) ?? 0) + 1);
      const values = await get(epoch, keys);
      for (const text of texts) {
        underway.set(text, (underway.get(text) ?? 1) - 1);
        known.add(text);
      }
      return values;
    },
    commit: (epoch, id, writes) => {
      for (const write of writes) {
        if (write.kind === 'clear' || !isEntry(write.key)) continue;
        const text = textOf(write.key);
        if ((underway.get(text) ?? 0) > 0) reached('a cold read is overtaken by a write');
        known.add(text);
      }
      return commit(epoch, id, writes);
    },
  } satisfies Partial<Store>);
}
