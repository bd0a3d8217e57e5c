/**
 * Compaction: when few messages of a pack are left, say a dead one that is kept for a month, the payloads of the
 * others go. It waits a while first, because most packs are soon gone altogether.
 */
import { BlockReader } from '../model/block.ts';
import type { ColdView, Need } from './cold.ts';
import { KIND } from './layout.ts';
import { keptMessage, newestEnd } from './manage.ts';
import { encodeItems, itemOf, openPack } from './pack.ts';
import { type MachineState, put } from './state.ts';

/** What was replaced and stands elsewhere. */
const NOTHING = new Uint8Array();

/** A record this small is not worth writing again. */
const SMALL_BYTES = 2_048;

/** What the next compaction that is due needs, if one is due. */
export function planCompaction(state: MachineState): Need | undefined {
  const next = state.compactions[0];
  if (next === undefined || next.at > state.now) return undefined;
  const { layout } = state;
  return { keys: [layout.key(KIND.pack, next.pack)], ranges: [layout.range(KIND.ended, next.pack)] };
}

/** Writes the pack of the next compaction with only the messages that are still there. */
export function applyCompaction(state: MachineState, view: ColdView): void {
  const { layout } = state;
  const { pack: number } = state.compactions.shift() as { pack: number };
  const key = layout.key(KIND.pack, number);
  const value = view.get(key)?.value;
  if (value === undefined || value.length < SMALL_BYTES) return;
  const pack = openPack(value);
  const ends = view.range(layout.range(KIND.ended, number)) ?? [];
  const kept = pack.indexes.filter((index) => {
    const at = { seq: number + index, pack: number };
    if (state.messages.has(at.seq)) return true;
    const end = newestEnd(state, at, ends);
    return end !== undefined && keptMessage(state, end) !== undefined;
  });
  if (kept.length === 0) return;
  let isSmaller = kept.length < pack.indexes.length;
  const items = kept.map((index) => {
    const item = itemOf(pack, index) as Uint8Array;
    if (!state.payloadPacks.has(number + index)) return { index, item };
    isSmaller ||= BlockReader.payloadOf(item).length > 0;
    return { index, item: BlockReader.withPayload(item, NOTHING) };
  });
  if (!isSmaller) return;
  const left = encodeItems(pack.producedAt, pack.channel, pack.codec, items);
  // What several channels share may take less than a copy for each of the messages that are left.
  if (left.length < value.length) put(state, key, left);
}
