/** Reads a range chunk by chunk, so that no chunk takes long or much memory, whatever the range holds. */
import { compareKeys, type Entry, type Key, type KeyRange } from '../model/records.ts';

/** The most entries of a chunk. */
const CHUNK_ENTRIES = 1_000;

/** A chunk ends with the entry that makes its keys and values reach this many bytes. */
const CHUNK_BYTES: number = 1024 * 1024;

/**
 * Yields the chunks of `selector`, each read by `read` from one snapshot. `read` may stop anywhere behind
 * its first entry; an empty answer ends the reading.
 */
export async function* readInChunks(
  selector: KeyRange,
  read: (part: KeyRange & { readonly limit: number }) => readonly Entry[],
): AsyncGenerator<readonly Entry[], void> {
  let { from, to } = selector;
  let left = selector.limit ?? Infinity;
  while (left > 0 && compareKeys(from, to) < 0) {
    const chunk = read({ ...selector, from, to, limit: Math.min(left, CHUNK_ENTRIES) });
    const last = chunk.at(-1);
    if (last === undefined) return;
    yield chunk;
    left -= chunk.length;
    if (selector.reverse === true) to = last.key;
    else from = keyAfter(last.key);
  }
}

/** Takes at most `limit` entries, or fewer when they make a full chunk before. */
export function takeChunk(entries: Iterable<Entry>, limit: number): Entry[] {
  const chunk: Entry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    chunk.push(entry);
    bytes += entry.key.length + entry.value.length;
    if (chunk.length >= limit || bytes >= CHUNK_BYTES) break;
  }
  return chunk;
}

/** The smallest key above `key`. */
export function keyAfter(key: Key): Key {
  const after = new Uint8Array(key.length + 1);
  after.set(key);
  return after;
}
