/** Messages that were given up, whose producers named keys of KV for that: each ends in the commit that writes them. */
import { BlockReader } from '../model/block.ts';
import { CODEC_V8, KV_ENCODING, type KvValue } from '../model/kv.ts';
import type { ColdView, Need } from './cold.ts';
import { writeAll } from './kv.ts';
import { end } from './lifecycle.ts';
import type { Message } from './memory.ts';
import { attemptNumber } from './message.ts';
import { itemOf, openPack } from './pack.ts';
import { payloadPackOf } from './payloads.ts';
import type { MachineState } from './state.ts';

/** How many are ended in one step. */
const STEP = 100;

/** What the next step needs; `undefined` when the view holds it. */
export function planUndelivered(state: MachineState, view: ColdView): Need | undefined {
  const packs = nextGivenUp(state).map((message) => payloadPackOf(state, message));
  const missing = [...new Set(packs)].filter((pack) => view.pack(pack) === undefined);
  return missing.length === 0 ? undefined : { keys: [], ranges: [], packs: missing };
}

export function applyUndelivered(state: MachineState, view: ColdView): void {
  for (const message of nextGivenUp(state)) {
    const number = payloadPackOf(state, message);
    const found = view.pack(number);
    if (found === undefined) continue;
    state.givenUp.delete(message);
    const why = message.extra?.givenUp;
    if (why === undefined || state.messages.get(message.seq) !== message) continue;
    const pack = found.value === undefined ? undefined : openPack(found.value);
    const item = pack === undefined ? undefined : itemOf(pack, message.seq - number);
    if (pack !== undefined && item !== undefined) {
      const encoding = pack.codec === CODEC_V8 ? KV_ENCODING.v8 : KV_ENCODING.bytes;
      const value: KvValue = { encoding, bytes: BlockReader.payloadOf(item) };
      writeAll(state, BlockReader.undeliveredOf(item), value);
    }
    end(state, message, why, why === 'failed' ? { attempt: attemptNumber(message) - 1 } : {});
  }
}

function nextGivenUp(state: MachineState): Message[] {
  const next: Message[] = [];
  for (const message of state.givenUp) {
    next.push(message);
    if (next.length === STEP) break;
  }
  return next;
}
