/** What goes wrong with bytes: on a bad line, in a broken client, or at the hands of somebody who means it. */
import type { Dice } from './dice.ts';

/** Values at which lengths, signs and codes change their meaning. */
const TELLING_BYTES = [0, 1, 2, 4, 5, 6, 0x10, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0xc0, 0xfe, 0xff];

type Mutation = (dice: Dice, bytes: Uint8Array, others: readonly Uint8Array[]) => Uint8Array;

const MUTATIONS: readonly Mutation[] = [
  changeBytes,
  changeBytes,
  flipBits,
  flipBits,
  cut,
  insert,
  remove,
  repeat,
  splice,
  stretch,
];

const MAX_RAW_BYTES = 3_000;

/** Other bytes in place of these; `others` are frames whose parts may get in. */
export function mutate(dice: Dice, bytes: Uint8Array, others: readonly Uint8Array[]): Uint8Array {
  let mutated = bytes;
  for (let changes = dice.chance(0.7) ? 1 : 1 + dice.below(4); changes > 0; changes--) {
    mutated = dice.pick(MUTATIONS)(dice, mutated, others);
  }
  // No frame is empty; that is for those who spoil records.
  return mutated.length > 0 ? mutated : dice.bytes(1);
}

/** Bytes that nobody has made with care. */
export function noise(dice: Dice): Uint8Array {
  const bytes = dice.bytes(1 + dice.below(dice.chance(0.9) ? 200 : MAX_RAW_BYTES));
  return dice.chance(0.2) ? bytes.fill(dice.pick(TELLING_BYTES)) : bytes;
}

function changeBytes(dice: Dice, bytes: Uint8Array): Uint8Array {
  const changed = Uint8Array.from(bytes);
  for (let count = 1 + dice.below(3); count > 0; count--) {
    changed[dice.below(changed.length)] = dice.chance(0.6) ? dice.pick(TELLING_BYTES) : dice.below(256);
  }
  return changed;
}

function flipBits(dice: Dice, bytes: Uint8Array): Uint8Array {
  const changed = Uint8Array.from(bytes);
  const at = dice.below(Math.max(1, changed.length));
  changed[at] = (changed[at] ?? 0) ^ (1 << dice.below(8));
  return changed;
}

function cut(dice: Dice, bytes: Uint8Array): Uint8Array {
  return bytes.slice(0, dice.below(bytes.length + 1));
}

function insert(dice: Dice, bytes: Uint8Array): Uint8Array {
  const at = dice.below(bytes.length + 1);
  return Buffer.concat([bytes.subarray(0, at), dice.bytes(1 + dice.below(16)), bytes.subarray(at)]);
}

function remove(dice: Dice, bytes: Uint8Array): Uint8Array {
  const at = dice.below(bytes.length + 1);
  return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + dice.below(16))]);
}

function repeat(dice: Dice, bytes: Uint8Array): Uint8Array {
  const from = dice.below(bytes.length + 1);
  const to = from + dice.below(bytes.length - from + 1);
  return Buffer.concat([bytes.subarray(0, to), bytes.subarray(from)]);
}

function splice(dice: Dice, bytes: Uint8Array, others: readonly Uint8Array[]): Uint8Array {
  const other = others.length > 0 ? dice.pick(others) : bytes;
  const beginning = bytes.subarray(0, dice.below(bytes.length + 1));
  return Buffer.concat([beginning, other.subarray(dice.below(other.length + 1))]);
}

/** Puts an integer of seven bits a byte where another began, longer than any that makes sense. */
function stretch(dice: Dice, bytes: Uint8Array): Uint8Array {
  const at = dice.below(bytes.length + 1);
  const long = new Uint8Array(1 + dice.below(9)).fill(0xff);
  if (dice.chance(0.8)) long[long.length - 1] = 0x7f;
  return Buffer.concat([bytes.subarray(0, at), long, bytes.subarray(at + 1)]);
}
