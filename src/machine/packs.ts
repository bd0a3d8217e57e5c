/** Packs in the store: each stays as long as something of it is needed, and then goes with all its records. */
import { KIND } from './layout.ts';
import { erase, type MachineState } from './state.ts';

/** Keeps a pack with all its records, as one message more of it would, until it is released. */
export function holdPack({ packs }: MachineState, pack: number): void {
  packs.set(pack, (packs.get(pack) ?? 1) + 1);
}

/** A pack is written smaller when so many messages of it are left, and still are after this time. */
const COMPACT_AT: readonly number[] = [1, 8];
const COMPACT_AFTER_MS = 60_000;

/** Has a pack written without the payloads that are not needed any more; see `compact.ts`. */
export function compactLater(state: MachineState, pack: number): void {
  state.compactions.push({ pack, at: state.now + COMPACT_AFTER_MS });
}

/** Says that one message of a pack is gone; the last one takes the pack and all its records along. */
export function releasePack(state: MachineState, pack: number, second: number): void {
  const left = state.packs.get(pack);
  if (left !== undefined) {
    if (left === 2) state.packs.delete(pack);
    else state.packs.set(pack, left - 1);
    if (COMPACT_AT.includes(left - 1)) compactLater(state, pack);
    return;
  }
  const { layout, changes } = state;
  erase(state, layout.key(KIND.pack, pack));
  erase(state, layout.key(KIND.ids, second, pack));
  // Ends of this pack that were not written yet must not appear after the clear.
  changes.ended.delete(pack);
  const ended = layout.range(KIND.ended, pack);
  changes.writes.push({ kind: 'clear', from: ended.from, to: ended.to });
  if (state.annotatedPacks.delete(pack)) {
    const notes = layout.range(KIND.notes, pack);
    changes.writes.push({ kind: 'clear', from: notes.from, to: notes.to });
  }
}
