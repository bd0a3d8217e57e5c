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
import { allocate, ByteReader, ByteWriter } from '../model/bytes.ts';
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
  /** The item of the message with this position; `undefined` when the pack no longer holds it. */
  readonly item: (index: number) => Uint8Array | undefined;
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

/** The record of those messages of a pack that are still there. */
export function encodeSparsePack(pack: Pack, kept: readonly number[]): Value {
  writeHeader(SPARSE, pack.producedAt, pack.channel);
  scratch.u8(pack.codec);
  scratch.varint(kept.length);
  for (const index of kept) {
    scratch.varint(index);
    scratch.bytes(pack.item(index) ?? EMPTY);
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

/** The position of the message with this id, or -1. */
export function indexOfId(pack: Pack, id: Uint8Array): number {
  const found = pack.indexes.find((index) => {
    const item = pack.item(index);
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
    item: (index) => (index < reader.count ? value.subarray(bounds[index], bounds[index + 1]) : undefined),
  };
}

function openSparse(value: Value, producedAt: number, channel: number, reader: ByteReader): Pack {
  const codec = reader.u8();
  const items = new Map<number, Uint8Array>();
  for (let left = reader.varint(); left > 0; left--) items.set(reader.varint(), reader.bytes());
  return {
    producedAt,
    channel,
    codec,
    bytes: value.length,
    indexes: [...items.keys()],
    item: (index) => items.get(index),
  };
}

function writeHeader(version: number, producedAt: number, channel: number): void {
  scratch.clear();
  scratch.u8(version);
  scratch.f64(producedAt);
  scratch.varint(channel);
}

const EMPTY = allocate(0);
