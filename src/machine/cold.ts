/**
 * Cold records: what the machine does not keep in memory. A command first says what it needs (`plan`), the
 * broker reads it, and then the command is applied to a view that holds it.
 */
import { idSecond } from '../model/block.ts';
import { ByteReader } from '../model/bytes.ts';
import type { Entry, Key, KeyRange, Value } from '../model/records.ts';
import { KIND, type Layout } from './layout.ts';
import { readEnded } from './message-record.ts';
import { indexOfId, openPack } from './pack.ts';
import { FINGERPRINT_BYTES } from './produce.ts';
import type { EndedRecord } from './state.ts';

/** What a command needs from the store before it can be applied. */
export interface Need {
  readonly keys: readonly Key[];
  readonly ranges: readonly KeyRange[];
  /** Packs by their numbers; one that has been removed will do where it is still remembered. */
  readonly packs?: readonly number[];
}

/** The first entries of a range. */
export interface RangePart {
  readonly entries: readonly Entry[];
  /** The range has no more. */
  readonly isEnd: boolean;
}

/** The records that were asked for; `undefined` for a key, or a range, that was not loaded. */
export interface ColdView {
  get(key: Key): { readonly value: Value | undefined } | undefined;
  range(range: KeyRange): readonly Entry[] | undefined;
  /** Of a range with a limit, what was loaded: all of the limit or up to about 4 MiB. */
  part(range: KeyRange): RangePart | undefined;
  pack(number: number): { readonly value: Value | undefined } | undefined;
}

/** What of a need the view does not hold yet; `undefined` when it holds everything. */
export function lacking({ keys, ranges }: Need, view: ColdView): Need | undefined {
  const missing = {
    keys: keys.filter((key) => view.get(key) === undefined),
    ranges: ranges.filter((range) => view.part(range) === undefined),
  };
  return missing.keys.length + missing.ranges.length === 0 ? undefined : missing;
}

export const NOTHING_COLD: ColdView = {
  get: () => undefined,
  range: () => undefined,
  part: () => undefined,
  pack: () => undefined,
};

/** Where a message's payload is. */
export interface Location {
  readonly seq: number;
  readonly pack: number;
  readonly second: number;
}

/** Finds a message by its id, or says what must be read first. */
export function locate(layout: Layout, id: Uint8Array, view: ColdView): Need | { found: Location | undefined } {
  const second = idSecond(id);
  const ids = layout.range(KIND.ids, second);
  const entries = view.range(ids);
  if (entries === undefined) return { keys: [], ranges: [ids] };
  const candidates = entries.filter(({ value }) => mayHold(value, id)).map(({ key }) => layout.numberAt(key, 1));
  const missing = candidates.map((pack) => layout.key(KIND.pack, pack)).filter((key) => view.get(key) === undefined);
  if (missing.length > 0) return { keys: missing, ranges: [] };
  for (const pack of candidates) {
    const record = view.get(layout.key(KIND.pack, pack))?.value;
    const index = record === undefined ? -1 : indexOfId(openPack(record), id);
    if (index >= 0) return { found: { seq: pack + index, pack, second } };
  }
  return { found: undefined };
}

/** The newest record of a message's end. */
export function lastEnd(at: Pick<Location, 'seq' | 'pack'>, entries: readonly Entry[]): EndedRecord | undefined {
  let last: EndedRecord | undefined;
  for (const { value } of entries) {
    for (const record of readEndedRecords(value, at.pack)) if (record.seq === at.seq) last = record;
  }
  return last;
}

export function* readEndedRecords(value: Value, pack: number): Generator<EndedRecord> {
  const reader = new ByteReader(value, 1);
  while (reader.left > 0) yield readEnded(reader, pack, value[0] ?? 0);
}

function mayHold(fingerprints: Value, id: Uint8Array): boolean {
  for (let at = 0; at < fingerprints.length; at += FINGERPRINT_BYTES) {
    let same = true;
    for (let i = 0; i < FINGERPRINT_BYTES; i++) same &&= fingerprints[at + i] === id[12 + i];
    if (same) return true;
  }
  return false;
}
