/** What a read or a watch asks for, and the answers. */
import {
  type KvEntry,
  type KvPage,
  type KvRange,
  type KvRecord,
  MAX_KV_KEY_BYTES,
  versionstampOf,
} from '../../model/kv.ts';
import { HoldfastError } from '../../model/errors.ts';
import { EXCESS, LIMITS } from './limits.ts';
import { type Entry, READ_STATUS, type ReadRange, SNAPSHOT_READ_OUTPUT, WATCH_OUTPUT } from './messages.ts';
import { Refusal } from './refusal.ts';
import type { KvBackend } from './sessions.ts';

/** What one answer has at most, in bytes: more than 1,000 of the largest values that are written over KV Connect. */
const MAX_ANSWER_BYTES: number = 80 * 1024 * 1024;

const NO_ENTRIES: KvPage = { entries: [], isEnd: true, last: undefined };

/** A range that is being read. */
interface Reading {
  /** What is left to read of it; `undefined` when nothing is. */
  rest: KvRange | undefined;
  readonly entries: KvEntry[];
}

/** @throws Refusal */
export function checkRanges(ranges: readonly ReadRange[]): KvRange[] {
  let entries = 0;
  const checked = ranges.map(({ start, end, limit, reverse }) => {
    if (limit <= 0) throw new Refusal(400, 'The read range limit of the snapshot read request is invalid.');
    // The end of a range may be one byte longer than a key.
    if (Math.max(start.length, end.length) > MAX_KV_KEY_BYTES + 1) throw new Refusal(400, EXCESS.keyBytes);
    entries += limit;
    return { from: start, to: end, limit, reverse };
  });
  if (entries > LIMITS.entries) throw new Refusal(400, EXCESS.entries);
  return checked;
}

/** @throws Refusal */
export function checkWatchedKeys(keys: readonly { readonly key: Uint8Array }[]): Uint8Array[] {
  return keys.map(({ key }) => {
    if (key.length > MAX_KV_KEY_BYTES) throw new Refusal(400, EXCESS.keyBytes);
    return key;
  });
}

/**
 * Reads ranges, each up to its limit or its end.
 *
 * All of it is of one moment as long as it has at most 4 MiB. What is beyond that comes in further steps, for the broker
 * gives no more at once: each step is of a moment of its own, later than the one before, and all ranges go on in it
 * together. No entry is left out or given twice that was there all the time. Deno reads a list in batches likewise, each
 * of a moment of its own.
 *
 * @param onLarge is awaited before the second step
 * @throws Refusal, HoldfastError
 */
export async function readRanges(
  backend: Pick<KvBackend, 'read'>,
  ranges: readonly KvRange[],
  onLarge: () => Promise<void>,
): Promise<Uint8Array<ArrayBuffer>> {
  const readings = ranges.map((range): Reading => ({ rest: isEmpty(range) ? undefined : range, entries: [] }));
  let bytes = 0;
  for (let step = 0; readings.some(({ rest }) => rest !== undefined); step++) {
    if (step === 1) await onLarge();
    const open = readings.filter(({ rest }) => rest !== undefined);
    for (const [i, page] of (
      await readPages(
        backend,
        open.map(({ rest }) => rest as KvRange),
      )
    ).entries()) {
      goOn(open[i] as Reading, page);
      for (const { key, bytes: value } of page.entries) bytes += key.length + value.length;
    }
    if (bytes > MAX_ANSWER_BYTES) throw new Refusal(400, 'The answer is too large: read fewer entries at a time.');
  }
  return SNAPSHOT_READ_OUTPUT.encode({
    ranges: readings.map(({ entries }) => ({ values: entries.map((entry) => entryOf(entry.key, entry)) })),
    readIsStronglyConsistent: true,
    status: READ_STATUS.success,
  });
}

/**
 * What a watch says: how each of the keys is now. The protocol has a way to say of one that it has not changed; Deno shows
 * such a key as if it had no entry.
 */
export function watchOutput(
  keys: readonly Uint8Array[],
  records: readonly (KvRecord | undefined)[],
): Uint8Array<ArrayBuffer> {
  return WATCH_OUTPUT.encode({
    status: READ_STATUS.success,
    keys: keys.map((key, i) => {
      const record = records[i];
      return { changed: true, entryIfChanged: record === undefined ? undefined : entryOf(key, record) };
    }),
  });
}

export function versionstampBytes(version: number): Uint8Array {
  return Buffer.from(versionstampOf(version), 'hex');
}

/**
 * A range of one key is read as that key, which the broker may have at hand.
 *
 * `@deno/kv` gets a key by the first entry from there on, and drops it when it has another key. A token that allows the
 * key seldom allows all that is behind it, so where the range is refused the key alone is read: for `get` it is the same.
 */
async function readPages(backend: Pick<KvBackend, 'read'>, ranges: readonly KvRange[]): Promise<KvPage[]> {
  try {
    return await readApart(backend, ranges, isOneKey);
  } catch (error) {
    const isForbidden = error instanceof HoldfastError && error.code === 'FORBIDDEN';
    if (!isForbidden || !ranges.some(isFirstFromKey)) throw error;
    return await readApart(backend, ranges, (range) => isOneKey(range) || isFirstFromKey(range));
  }
}

/** Reads some ranges as their first keys, all as of one moment. */
async function readApart(
  backend: Pick<KvBackend, 'read'>,
  ranges: readonly KvRange[],
  isKey: (range: KvRange) => boolean,
): Promise<KvPage[]> {
  const keys = ranges.filter(isKey).map(({ from }) => from);
  const { entries, pages } = await backend.read(
    keys,
    ranges.filter((range) => !isKey(range)),
  );
  let [nextKey, nextPage] = [0, 0];
  return ranges.map((range) => {
    if (!isKey(range)) return pages[nextPage++] ?? NO_ENTRIES;
    const record = entries[nextKey++];
    return record === undefined ? NO_ENTRIES : { ...NO_ENTRIES, entries: [{ key: range.from, ...record }] };
  });
}

function goOn(reading: Reading, { entries, isEnd, last }: KvPage): void {
  const range = reading.rest as KvRange;
  reading.entries.push(...entries);
  const limit = range.limit - entries.length;
  if (isEnd || limit <= 0) {
    reading.rest = undefined;
  } else if (last !== undefined) {
    const rest = range.reverse ? { ...range, to: last, limit } : { ...range, from: behind(last), limit };
    reading.rest = isEmpty(rest) ? undefined : rest;
  }
  // Else the other ranges have left no room for this one, and it is read in the next step as it is.
}

function isOneKey({ from, to }: KvRange): boolean {
  return to.length === from.length + 1 && to[from.length] === 0 && Buffer.compare(to.subarray(0, -1), from) === 0;
}

function isFirstFromKey({ from, to, limit, reverse }: KvRange): boolean {
  return limit === 1 && !reverse && from.length > 0 && to.length === 1 && to[0] === 0xff;
}

function isEmpty({ from, to }: KvRange): boolean {
  return Buffer.compare(from, to) >= 0;
}

/** The first key that can follow this one. */
function behind(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}

function entryOf(key: Uint8Array, { encoding, bytes, version }: KvRecord): Entry {
  return { key, value: bytes, encoding, versionstamp: versionstampBytes(version) };
}
