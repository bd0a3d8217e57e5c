/**
 * A pack: the stored payloads of messages that were produced together.
 *
 * ```
 * pack   = version(u8) producedAt(f64) channel(varint) rest
 * rest   = block                                                          version 1, see model/block.ts
 *        | codec(u8) count(varint) (index(varint) length(varint) item)*   version 2, after most messages have gone
 * ```
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
}

const WHOLE = 1;
const SPARSE = 2;

const scratch = new ByteWriter(128 * 1024);

/** The record of a block that was just produced. */
export function encodePack(producedAt: number, channel: number, block: Uint8Array): Value {
  writeHeader(WHOLE, producedAt, channel);
  scratch.raw(block);
  return scratch.finish();
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
  return version === WHOLE
    ? openWhole(value, producedAt, channel, reader.at)
    : openSparse(value, producedAt, channel, reader);
}

/** The item of the message with this position, as a view; `undefined` when the pack no longer holds it. */
export function itemOf(pack: Pack, index: number): Uint8Array | undefined {
  const start = pack.startOf(index);
  return start < 0 ? undefined : pack.value.subarray(start, pack.endOf(index));
}

/** The position of the message with this id, or -1. */
export function indexOfId(pack: Pack, id: Uint8Array): number {
  const found = pack.indexes.find((index) => {
    const item = itemOf(pack, index);
    return item !== undefined && compareKeys(item.subarray(1, 1 + MESSAGE_ID_BYTES), id) === 0;
  });
  return found ?? -1;
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
  };
}

function writeHeader(version: number, producedAt: number, channel: number): void {
  scratch.clear();
  scratch.u8(version);
  scratch.f64(producedAt);
  scratch.varint(channel);
}
