/** Dedupe keys: which message stands for a key, and until when. */
import type { DedupeRule } from '../model/policy.ts';
import type { Channel, DedupeSlot } from './memory.ts';
import type { MachineState } from './state.ts';

/** Finds the slot of a key whose window still runs. */
export function findSlot(state: MachineState, channel: Channel, hash: string): DedupeSlot | undefined {
  const slot = channel.dedupe.get(hash);
  if (slot === undefined || slot.until === 0 || slot.until > state.now) return slot;
  return endWindow(state, slot) ? undefined : slot;
}

/** Ends the window of a slot, and says whether the key is free: while a message waits for the standing one it is not. */
export function endWindow(state: MachineState, slot: DedupeSlot): boolean {
  if (slot.nextSeq === 0) {
    dropSlot(state, slot);
    return true;
  }
  state.windows.remove(slot);
  slot.until = 0;
  rewriteSlot(state, slot);
  return false;
}

export function takeSlot(
  state: MachineState,
  channel: Channel,
  hash: string,
  seq: number,
  id: string,
  rule: DedupeRule,
): void {
  const until = rule.windowMs === 0 ? 0 : state.now + rule.windowMs;
  const slot: DedupeSlot = { channel, hash, seq, id, until, nextSeq: 0, nextId: '', commit: 0 };
  channel.dedupe.set(hash, slot);
  if (until !== 0) state.windows.add(slot);
  state.changes.slots.add(slot);
}

/** Gives the key of a message free that is deleted, unless another one has it by now. */
export function freeKey(state: MachineState, channel: Channel, hash: string, seq: number): void {
  const slot = hash === '' ? undefined : channel.dedupe.get(hash);
  if (slot?.seq === seq && slot.nextSeq === 0) dropSlot(state, slot);
}

/** Gives a key free. */
export function dropSlot(state: MachineState, slot: DedupeSlot): void {
  slot.channel.dedupe.delete(slot.hash);
  if (slot.until !== 0) state.windows.remove(slot);
  releaseRecord(state, slot);
}

/** Writes the slot again in this commit, after it changed. */
export function rewriteSlot(state: MachineState, slot: DedupeSlot): void {
  releaseRecord(state, slot);
  state.changes.slots.add(slot);
}

/** Forgets where the slot stands; its record goes with the last slot in it. */
function releaseRecord(state: MachineState, slot: DedupeSlot): void {
  if (state.changes.slots.delete(slot) || slot.commit === 0) return;
  const left = (state.slotRecords.get(slot.commit) ?? 1) - 1;
  if (left === 0) {
    state.slotRecords.delete(slot.commit);
    state.changes.freedSlotRecords.push(slot.commit);
  } else {
    state.slotRecords.set(slot.commit, left);
  }
  slot.commit = 0;
}
