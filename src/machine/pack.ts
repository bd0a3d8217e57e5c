/**
 * A pack: the stored payloads of messages that were produced together.
 *
 * ```
 * pack   = version(u8) producedAt(f64) channel(varint) rest
 * rest   = block                                                          version 1, see model/block.ts
 *        | codec(u8) count(varint) (index(varint) length(varint) item)*   version 2, after most messages have gone
 *        | copies(varint) channel(varint)* block                          version 3, published to several channels
 * ```
 *
 * Of a block that was published the first copy of each message comes first, then the second copies, and so on; each is of the
 * channel in its place. The id of copy n is the id in the block, whose last four bytes are a number, plus n.
 */
import { BlockReader } from '../model/block.ts';
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import { MESSAGE_ID_BYTES } from '../model/message-id.ts';
import { compareKeys, type Value } from '../model/records.ts';

/** A pack, taken apart once for all of its messages. */
export interface Pack {
  readonly producedAt: number;
  readonly channel: number;
  readonly codec: number;
  /** How many bytes it takes in memory. */
  readonly bytes: number;
  /** The positions of the messages that it still holds. */
  readonly indexes: readonly number[];
  /** What the items stand in. */
  readonly value: Value;
  /** Where the item of the message with this position starts in {@link value}; -1 when the pack no longer holds it. */
  readonly startOf: (index: number) => number;
  readonly endOf: (index: number) => number;
  /** From this position on messages are copies of the ones before, and their items are made by {@link itemOf}. */
  readonly firstCopy: number;
}

const WHOLE = 1;
const SPARSE = 2;
const FANNED = 3;

/** Where the number is in an id that copies count on. */
const ID_NUMBER_AT: number = MESSAGE_ID_BYTES - 4;

/** Where the id is in an item. */
const ITEM_ID_AT = 1;

const scratch = new ByteWriter(128 * 1024);

/** The record of a block that was just produced. */
export function encodePack(producedAt: number, channel: number, block: Uint8Array): Value {
  writeHeader(WHOLE, producedAt, channel);
  scratch.raw(block);
  return scratch.finish();
}

/** The record of a block that was published to these channels. */
export function encodeFannedPack(producedAt: number, channels: readonly number[], block: Uint8Array): Value {
  writeHeader(FANNED, producedAt, channels[0] as number);
  scratch.varint(channels.length);
  for (const channel of channels) scratch.varint(channel);
  scratch.raw(block);
  return scratch.finish();
}

/** The id of a copy of a message. */
export function copyOfId(id: Uint8Array, copy: number): Uint8Array {
  // Not `slice`: of a Buffer that is a view.
  const copied = new Uint8Array(id);
  const view = new DataView(copied.buffer, copied.byteOffset);
  view.setUint32(ID_NUMBER_AT, (view.getUint32(ID_NUMBER_AT) + copy) >>> 0);
  return copied;
}

/** The record of messages that were not produced together, or of those of a pack that are still there. */
export function encodeItems(
  producedAt: number,
  channel: number,
  codec: number,
  items: readonly { readonly index: number; readonly item: Uint8Array }[],
): Value {
  writeHeader(SPARSE, producedAt, channel);
  scratch.u8(codec);
  scratch.varint(items.length);
  for (const { index, item } of items) {
    scratch.varint(index);
    scratch.bytes(item);
  }
  return scratch.finish();
}

/** @throws HoldfastError `PROTOCOL` when the bytes are not a pack */
export function openPack(value: Value): Pack {
  const reader = new ByteReader(value);
  const version = reader.u8();
  const producedAt = reader.f64();
  const channel = reader.varint();
  if (version === SPARSE) return openSparse(value, producedAt, channel, reader);
  if (version !== FANNED) return openWhole(value, producedAt, channel, reader.at);
  const copies = reader.varint();
  for (let left = copies; left > 0; left--) reader.varint();
  return openFanned(openWhole(value, producedAt, channel, reader.at), copies);
}

/** The item of the message with this position, as a view or, of a copy, anew; `undefined` when the pack no longer holds it. */
export function itemOf(pack: Pack, index: number): Uint8Array | undefined {
  const start = pack.startOf(index);
  if (start < 0) return undefined;
  const item = pack.value.subarray(start, pack.endOf(index));
  if (index < pack.firstCopy) return item;
  const copied = new Uint8Array(item);
  copied.set(idOf(pack, index) as Uint8Array, ITEM_ID_AT);
  return copied;
}

/** The id of the message with this position; `undefined` when the pack no longer holds it. */
export function idOf(pack: Pack, index: number): Uint8Array | undefined {
  const start = pack.startOf(index);
  if (start < 0) return undefined;
  const id = pack.value.subarray(start + ITEM_ID_AT, start + ITEM_ID_AT + MESSAGE_ID_BYTES);
  return index < pack.firstCopy ? id : copyOfId(id, Math.floor(index / pack.firstCopy));
}

/** The position of the message with this id, or -1. */
export function indexOfId(pack: Pack, id: Uint8Array): number {
  const found = pack.indexes.find((index) => {
    const own = idOf(pack, index);
    return own !== undefined && compareKeys(own, id) === 0;
  });
  return found ?? -1;
}

function openFanned(block: Pack, copies: number): Pack {
  const count = block.indexes.length;
  const isHeld = (index: number): boolean => index < count * copies;
  return {
    ...block,
    get indexes() {
      return Array.from({ length: count * copies }, (_, index) => index);
    },
    startOf: (index) => (isHeld(index) ? block.startOf(index % count) : -1),
    endOf: (index) => block.endOf(index % count),
    firstCopy: count,
  };
}

function openWhole(value: Value, producedAt: number, channel: number, at: number): Pack {
  const reader = new BlockReader(value, at);
  const bounds = new Uint32Array(reader.count + 1);
  bounds[0] = reader.end;
  for (let i = 1; reader.next(); i++) bounds[i] = reader.end;
  return {
    producedAt,
    channel,
    codec: reader.codec,
    bytes: value.length + bounds.byteLength,
    get indexes() {
      return Array.from({ length: reader.count }, (_, index) => index);
    },
    value,
    startOf: (index) => (index < reader.count ? (bounds[index] as number) : -1),
    endOf: (index) => bounds[index + 1] as number,
    firstCopy: Infinity,
  };
}

function openSparse(value: Value, producedAt: number, channel: number, reader: ByteReader): Pack {
  const codec = reader.u8();
  const items = new Map<number, { readonly start: number; readonly end: number }>();
  for (let left = reader.varint(); left > 0; left--) {
    const index = reader.varint();
    const length = reader.varint();
    const start = reader.at;
    reader.skip(length);
    items.set(index, { start, end: reader.at });
  }
  return {
    producedAt,
    channel,
    codec,
    bytes: value.length,
    indexes: [...items.keys()],
    value,
    startOf: (index) => items.get(index)?.start ?? -1,
    endOf: (index) => items.get(index)?.end ?? -1,
    firstCopy: Infinity,
  };
}

function writeHeader(version: number, producedAt: number, channel: number): void {
  scratch.clear();
  scratch.u8(version);
  scratch.f64(producedAt);
  scratch.varint(channel);
}
