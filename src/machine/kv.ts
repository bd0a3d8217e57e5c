/**
 * KV: reads and commits of entries. Memory holds no entry beyond the batch in which it was written; what a command needs
 * of the others is cold, see `cold.ts`. An entry that expires has a record in the order of expiry besides; one that is
 * written again leaves that record behind, and the sweep sees that it is not meant any more.
 */
import { bytesOf, textOf } from '../model/bytes.ts';
import type { KvCommit, KvRead, KvWatch, Reply } from '../model/command.ts';
import {
  KV_ANSWER_BYTES,
  MAX_KV_READ_BYTES,
  type KvCheck,
  type KvEffects,
  type KvEntry,
  type KvMutation,
  type KvPage,
  type KvRange,
  type KvRecord,
  type KvValue,
  versionstampOf,
} from '../model/kv.ts';
import type { Entry, KeyRange } from '../model/records.ts';
import type { ColdView, Need } from './cold.ts';
import { compute } from './kv-numbers.ts';
import { KIND, type Layout } from './layout.ts';
import { readEntry } from './kv-records.ts';
import { MAX_WATCHED_KEYS, tellWatchers, watchKeys } from './kv-watches.ts';
import type { Session } from './memory.ts';
import type { Refused } from './rights.ts';
import { erase, type KvChange, type MachineState, put, type StoredKv } from './state.ts';
import { refusalForWantOfRoom, refusalToSend, send } from './targets.ts';
import { countKvReads, countKvWrites } from './usage.ts';

/** How many entries one sweep deletes. */
const SWEEP_LIMIT = 500;

/** What a read needs from the store. */
export function planKvRead(
  state: MachineState,
  { keys, ranges }: Pick<KvRead, 'keys' | 'ranges'>,
  view: ColdView,
): Need | undefined {
  const missing = ranges.map((range) => rangeOf(state.layout, range)).filter((range) => view.part(range) === undefined);
  return needOf(state, keys, missing, view);
}

/** What checks, and mutations that depend on what is there, need from the store. */
export function planKvEffects(
  state: MachineState,
  effects: Iterable<KvEffects | undefined>,
  view: ColdView,
): Need | undefined {
  const keys: Uint8Array[] = [];
  for (const each of effects) {
    if (each === undefined) continue;
    for (const { key } of each.checks) keys.push(key);
    for (const { kind, key } of each.mutations) if (kind !== 'set' && kind !== 'delete') keys.push(key);
  }
  return needOf(state, keys, [], view);
}

export function applyKvRead(
  state: MachineState,
  session: Session,
  { keys, ranges }: Pick<KvRead, 'keys' | 'ranges'>,
  view: ColdView,
): Reply {
  const entries = keys.map((key) => shown(find(state, key, view)));
  if (entries.reduce((sum, entry) => sum + (entry?.bytes.length ?? 0), 0) > MAX_KV_READ_BYTES) {
    const message = `Cannot read entries of more than ${MAX_KV_READ_BYTES} bytes at once: name fewer keys`;
    return { kind: 'refused', code: 'TOO_MANY', message };
  }
  const budget = { left: KV_ANSWER_BYTES };
  const pages = ranges.map((range) => readPage(state, range, view, budget));
  countKvReads(state, session, entries, pages);
  return { kind: 'kvRead', entries, pages };
}

export function applyKvWatch(state: MachineState, session: Session, { watch, keys }: KvWatch, view: ColdView): Reply {
  if (!watchKeys(state, session, watch, keys)) {
    return {
      kind: 'refused',
      code: 'TOO_MANY',
      message: `Cannot watch: a session watches at most ${MAX_WATCHED_KEYS} keys`,
    };
  }
  return applyKvRead(state, session, { keys, ranges: [] }, view);
}

export function applyKvCommit(state: MachineState, session: Session, command: KvCommit, view: ColdView): Reply {
  const { produced } = command;
  for (const part of produced) {
    const refusal = refusalToSend(state, session, part);
    if (refusal !== undefined) return refusal;
  }
  if (!checksHold(state, command.checks, view)) return { kind: 'kvConflict' };
  const full = refusalForWantOfRoom(state, session, produced);
  if (full !== undefined) return full;
  const prepared = prepare(state, command.mutations, view);
  if ('kind' in prepared) return prepared;
  const version = write(state, prepared);
  countKvWrites(state, session, command.mutations);
  for (const part of produced) send(state, session, part);
  return { kind: 'kvCommitted', version };
}

/** Whether everything is still as the checks say. */
export function checksHold(state: MachineState, checks: readonly KvCheck[], view: ColdView): boolean {
  return checks.every(({ key, version }) => (find(state, key, view)?.version ?? 0) === version);
}

/** What the mutations come to, one after the other; nothing is changed yet. */
export function prepare(
  state: MachineState,
  mutations: readonly KvMutation[],
  view: ColdView,
): readonly KvChange[] | Refused {
  const version = state.nextVersion;
  const changes = new Map<string, KvChange>();
  for (const mutation of mutations) {
    const key = mutation.kind === 'set' && mutation.isStamped ? stamped(mutation.key, version) : mutation.key;
    const text = textOf(key);
    const known = changes.get(text);
    const entry = (): KvValue | undefined => (known === undefined ? find(state, key, view) : known.record);
    const record = recordAfter(state, mutation, version, entry);
    if (record !== undefined && 'kind' in record) return record;
    changes.set(text, { key, record });
  }
  return [...changes.values()];
}

/** Writes what was prepared, as one commit of its own. @returns its version */
export function write(state: MachineState, changes: readonly KvChange[]): number {
  const version = state.nextVersion++;
  state.changes.dirty = true;
  for (const change of changes) writeEntry(state, change);
  return version;
}

/** Gives all these keys this value, for good. */
export function writeAll(state: MachineState, keys: readonly Uint8Array[], { encoding, bytes }: KvValue): void {
  const record = { encoding, bytes, version: state.nextVersion, expiresAt: 0 };
  write(
    state,
    keys.map((key) => ({ key, record })),
  );
}

/** Reads the next entries whose time is over, first their keys and then what is stored under them. */
export function planSweep(state: MachineState, view: ColdView): Need | undefined {
  const range = sweepRange(state);
  const due = view.part(range);
  if (due === undefined) return { keys: [], ranges: [range] };
  return needOf(state, keysDue(state, due.entries), [], view);
}

/** Deletes entries whose time is over, and finds out when the next one's is. */
export function applySweep(state: MachineState, view: ColdView): void {
  const due = view.part(sweepRange(state));
  if (due === undefined) return;
  state.kvExpiresAt = due.isEnd ? Infinity : state.now;
  for (const { key: expiry } of due.entries) {
    const expiresAt = state.layout.numberAt(expiry, 0);
    if (expiresAt > state.now) {
      state.kvExpiresAt = expiresAt;
      break;
    }
    erase(state, expiry);
    const key = state.layout.bytesBehind(expiry, 1);
    const stored = change(state, key) ?? readEntry(view.get(state.layout.bytesKey(KIND.kv, key))?.value);
    // It was written again since, and stays for as long as that said.
    if (stored?.expiresAt === expiresAt) writeEntry(state, { key, record: undefined });
  }
}

function sweepRange({ layout }: MachineState): KeyRange {
  return { ...layout.range(KIND.kvExpiry), limit: SWEEP_LIMIT };
}

function keysDue({ layout, now }: MachineState, expiries: readonly Entry[]): Uint8Array[] {
  return expiries.filter(({ key }) => layout.numberAt(key, 0) <= now).map(({ key }) => layout.bytesBehind(key, 1));
}

/** The record that a mutation leaves, `undefined` for none, or why it cannot be. */
function recordAfter(
  state: MachineState,
  mutation: KvMutation,
  version: number,
  entry: () => KvValue | undefined,
): StoredKv | undefined | Refused {
  switch (mutation.kind) {
    case 'delete':
      return undefined;
    case 'set': {
      const { value, expireInMs } = mutation;
      const expiresAt = expireInMs === undefined ? 0 : Math.max(1, Math.ceil(state.now + expireInMs));
      return { encoding: value.encoding, bytes: value.bytes, version, expiresAt };
    }
    default: {
      const computed = compute(mutation, entry());
      if ('refused' in computed) return { kind: 'refused', code: 'WRONG_TYPE', message: computed.refused };
      return { encoding: computed.value.encoding, bytes: computed.value.bytes, version, expiresAt: 0 };
    }
  }
}

function writeEntry(state: MachineState, entry: KvChange): void {
  const { key, record } = entry;
  const text = textOf(key);
  state.changes.kv.set(text, entry);
  state.changes.bytes += key.length + (record?.bytes.length ?? 0);
  state.changes.dirty = true;
  if (record !== undefined && record.expiresAt !== 0) {
    put(state, state.layout.bytesKey(KIND.kvExpiry, key, record.expiresAt), NO_BYTES);
    state.kvExpiresAt = Math.min(state.kvExpiresAt, record.expiresAt);
  }
  tellWatchers(state, text);
}

const NO_BYTES = new Uint8Array();

/** The entry as it is now, with what is not flushed yet. */
function find(state: MachineState, key: Uint8Array, view: ColdView): StoredKv | undefined {
  const pending = state.changes.kv.get(textOf(key));
  const stored =
    pending === undefined ? readEntry(view.get(state.layout.bytesKey(KIND.kv, key))?.value) : pending.record;
  return isOver(state, stored) ? undefined : stored;
}

function change(state: MachineState, key: Uint8Array): StoredKv | undefined {
  return state.changes.kv.get(textOf(key))?.record;
}

function isOver(state: MachineState, stored: StoredKv | undefined): boolean {
  return stored !== undefined && stored.expiresAt !== 0 && stored.expiresAt <= state.now;
}

function shown(stored: StoredKv | undefined): KvRecord | undefined {
  if (stored === undefined) return undefined;
  return { encoding: stored.encoding, bytes: stored.bytes, version: stored.version };
}

function readPage(state: MachineState, range: KvRange, view: ColdView, budget: { left: number }): KvPage {
  const { layout } = state;
  const { entries: stored, isEnd } = view.part(rangeOf(layout, range)) ?? { entries: [], isEnd: true };
  const entries: KvEntry[] = [];
  let looked = 0;
  for (const { key, value } of stored) {
    if (budget.left <= 0) break;
    budget.left -= value.length;
    looked += 1;
    const entry = readEntry(value);
    if (entry === undefined || isOver(state, entry)) continue;
    const { encoding, version, bytes } = entry;
    entries.push({ key: layout.bytesBehind(key, 0), encoding, version, bytes });
  }
  const last = stored[looked - 1];
  return { entries, isEnd: isEnd && looked === stored.length, last: last && layout.bytesBehind(last.key, 0) };
}

function rangeOf(layout: Layout, { from, to, limit, reverse }: KvRange): KeyRange {
  return { from: layout.bytesKey(KIND.kv, from), to: layout.bytesKey(KIND.kv, to), limit, reverse };
}

function needOf(
  state: MachineState,
  keys: readonly Uint8Array[],
  ranges: readonly KeyRange[],
  view: ColdView,
): Need | undefined {
  const missing = keys
    .filter((key) => !state.changes.kv.has(textOf(key)))
    .map((key) => state.layout.bytesKey(KIND.kv, key))
    .filter((key) => view.get(key) === undefined);
  return missing.length + ranges.length === 0 ? undefined : { keys: missing, ranges };
}

/** The key with the versionstamp as its last part, a text, see `model/kv-key.ts`. */
function stamped(key: Uint8Array, version: number): Uint8Array {
  const last = `\u0002${versionstampOf(version)}\0`;
  const whole = new Uint8Array(key.length + last.length);
  whole.set(key);
  whole.set(bytesOf(last), key.length);
  return whole;
}
