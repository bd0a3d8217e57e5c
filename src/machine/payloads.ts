/**
 * Payloads that were replaced. A message stays in the pack that it was produced in, by which it is found; what it is now stands
 * in a pack of its own, and its old payload goes when its pack is next written smaller. Packs of replaced payloads have numbers
 * below zero, so that they are no others'.
 */
import { BlockReader } from '../model/block.ts';
import { KIND } from './layout.ts';
import type { Message } from './memory.ts';
import { extraOf } from './message.ts';
import { encodeItems, itemOf, type Pack } from './pack.ts';
import { compactLater } from './packs.ts';
import { erase, type MachineState, put } from './state.ts';

/** The pack that holds the payload of a message now. */
export function payloadPackOf(
  { payloadPacks }: MachineState,
  { seq, pack }: { readonly seq: number; readonly pack: number },
): number {
  return payloadPacks.size === 0 ? pack : (payloadPacks.get(seq) ?? pack);
}

/** Gives a message another payload; `produced` is the pack that it was produced in. */
export function replacePayload(
  state: MachineState,
  message: Message,
  produced: Pack,
  codec: number,
  payload: Uint8Array,
): void {
  const { seq } = message;
  const item = itemOf(produced, seq - message.pack);
  if (item === undefined) return;
  releasePayload(state, seq);
  const number = -state.nextSeq++;
  const items = [{ index: seq - number, item: BlockReader.withPayload(item, payload) }];
  const value = encodeItems(produced.producedAt, produced.channel, codec, items);
  put(state, state.layout.key(KIND.pack, number), value);
  state.changes.packs.push({ number, value });
  state.payloadPacks.set(seq, number);
  extraOf(message).payloadPack = number;
  compactLater(state, message.pack);
}

/** The payload of a message is not needed any more where it stands in a pack of its own. */
export function releasePayload(state: MachineState, seq: number): void {
  const pack = state.payloadPacks.size === 0 ? undefined : state.payloadPacks.get(seq);
  if (pack === undefined) return;
  state.payloadPacks.delete(seq);
  erase(state, state.layout.key(KIND.pack, pack));
}
