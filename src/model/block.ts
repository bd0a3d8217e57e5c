/**
 * A block: messages that a client produced together, encoded once. The same bytes travel in the produce
 * frame, stand in the store, and go out with the deliveries; nobody between producer and consumer takes a
 * message apart.
 *
 * ```
 * block = version(u8) codec(u8) second(varint) count(u32) item*
 * item  = flags(u8) id(16) [delayMs(f64)] [dueAt(f64)] [priority(signed)] [dedupe(16)] [undelivered] [more] length(varint) payload
 * undelivered = length(varint) (length(varint) key)*
 * more  = length(varint) flags(u8) [group(text)] [name(text)] [cost(varint)] [schedule]
 * schedule = key(text) at(f64) manual(u8)
 * ```
 *
 * All ids of a block come from one second (counted from 2020), which keeps the index from ids to blocks small.
 *
 * To change the form, raise `BLOCK_VERSION`, keep reading the old one (stored blocks live as long as their
 * messages), and describe both here and in `docs/protocol.md`.
 */
import { ByteReader, ByteWriter, small31, textOf } from './bytes.ts';
import { MAX_DURATION_MS } from './duration.ts';
import { HoldfastError } from './errors.ts';
import { MAX_KV_KEY_BYTES } from './kv.ts';
import { isMessageId, MESSAGE_ID_BYTES, messageIdTime } from './message-id.ts';

/** Version 2 has items with keys that are written when the message is given up; version 3 has groups, names and costs. */
const BLOCK_VERSION = 3;
const OLDEST_BLOCK_VERSION = 1;

/** A block is closed when it holds this many bytes, so that reading one message never reads much more. */
export const BLOCK_BYTES: number = 64 * 1024;

/** The bytes of a dedupe key's hash: the first 128 bits of SHA-256. */
export const DEDUPE_BYTES = 16;

const FLAG = { delay: 1, dueAt: 2, priority: 4, dedupe: 8, lifo: 16, awaited: 32, undelivered: 64, more: 128 } as const;

/** What fewer messages have stands behind flags of its own; the tick of a schedule is the last of it, see {@link tickBlock}. */
const MORE = { group: 1, name: 2, cost: 4, schedule: 128 } as const;

const EPOCH_2020_SECONDS = 1_577_836_800;

/** The options of one message that travel with it; all others are in its policy. */
export interface ItemOptions {
  /** Relative delay in milliseconds, measured by the broker's clock. */
  readonly delayMs?: number | undefined;
  /** Wall-clock moment before which the message is not delivered, in epoch milliseconds. */
  readonly dueAt?: number | undefined;
  /** Smaller comes first; 0 is the default. */
  readonly priority?: number | undefined;
  /** Puts the message in front of those of its priority. */
  readonly lifo?: boolean | undefined;
  /** The hash of the dedupe key. */
  readonly dedupe?: Uint8Array | undefined;
  /** The producer waits for the result. */
  readonly awaited?: boolean | undefined;
  /** Keys of KV that get the payload as their value in the commit that gives the message up. */
  readonly undelivered?: readonly Uint8Array[] | undefined;
  /** The key of the group that it belongs to; not empty. */
  readonly group?: string | undefined;
  /** What it is called where people look for it; not empty. */
  readonly name?: string | undefined;
  /** How much of a rate it takes; 1 is the default. */
  readonly cost?: number | undefined;
  /** The tick that it is, when a schedule has produced it. */
  readonly schedule?: Tick | undefined;
}

/** A tick of a schedule. */
export interface Tick {
  /** The key of the schedule. */
  readonly key: string;
  /** The time for which the schedule had it, in epoch milliseconds; it may come later than that. */
  readonly at: number;
  /** Somebody asked for it, and it is none of those that the rule gives. */
  readonly manual: boolean;
}

/** How long the key of a group, or a name, is at most. */
export const MAX_LABEL_CHARACTERS = 255;

export const MAX_COST = 1_000_000;

/** The second of an id, as blocks and the id index count it. */
export function idSecond(id: Uint8Array, at: number = 0): number {
  return secondOf(messageIdTime(id, at));
}

/** The second of a moment, likewise. */
export function secondOf(ms: number): number {
  return small31(Math.max(0, Math.floor(ms / 1_000) - EPOCH_2020_SECONDS));
}

/** The moment at which a second of {@link idSecond} begins, in milliseconds since 1970. */
export function secondStart(second: number): number {
  return (second + EPOCH_2020_SECONDS) * 1_000;
}

/** Gathers messages into one block. */
export class BlockWriter {
  readonly #block: ByteWriter;
  readonly #codec: number;
  readonly #second: number;
  /** Where the count stands, which is known only at the end. */
  readonly #countAt: number;
  #count = 0;

  /** `initialBytes` is room for what is expected; the block grows beyond it. */
  constructor(codec: number, second: number, initialBytes: number = 512) {
    this.#codec = codec;
    this.#second = second;
    this.#block = new ByteWriter(initialBytes);
    this.#block.u8(BLOCK_VERSION);
    this.#block.u8(codec);
    this.#block.varint(second);
    this.#countAt = this.#block.length;
    this.#block.u32(0);
  }

  get count(): number {
    return this.#count;
  }

  /** Whether a message of this codec, second and size belongs into another block. */
  isClosedFor(codec: number, second: number, payloadBytes: number): boolean {
    if (codec !== this.#codec || second !== this.#second) return true;
    return this.#count > 0 && this.#block.length + payloadBytes > BLOCK_BYTES;
  }

  add(id: Uint8Array, payload: Uint8Array, options: ItemOptions): void {
    const { delayMs, dueAt, priority, dedupe, undelivered = NO_KEYS } = options;
    const items = this.#block;
    const more = encodeMore(options);
    items.u8(
      (delayMs ? FLAG.delay : 0) |
        (dueAt === undefined ? 0 : FLAG.dueAt) |
        (priority ? FLAG.priority : 0) |
        (dedupe === undefined ? 0 : FLAG.dedupe) |
        (options.lifo === true ? FLAG.lifo : 0) |
        (options.awaited === true ? FLAG.awaited : 0) |
        (undelivered.length > 0 ? FLAG.undelivered : 0) |
        (more === undefined ? 0 : FLAG.more),
    );
    items.raw(id);
    if (delayMs) items.f64(delayMs);
    if (dueAt !== undefined) items.f64(dueAt);
    if (priority) items.signed(priority);
    if (dedupe !== undefined) items.raw(dedupe);
    if (undelivered.length > 0) items.bytes(encodeKeys(undelivered));
    if (more !== undefined) items.bytes(more);
    items.bytes(payload);
    this.#count += 1;
  }

  finish(): Uint8Array {
    this.#block.patchU32(this.#countAt, this.#count);
    return this.#block.take();
  }
}

/** Reads the items of a block one after the other; the fields speak of the item that `next()` read. */
export class BlockReader {
  readonly codec: number;
  readonly second: number;
  readonly count: number;
  readonly #reader: ByteReader;
  readonly #bytes: Uint8Array;
  #read = 0;

  /** Where the item starts and ends, in the bytes given to the constructor. */
  start = 0;
  end = 0;
  payloadStart = 0;
  delayMs = 0;
  dueAt = 0;
  priority = 0;
  lifo = false;
  awaited = false;
  undelivered = false;
  /** Empty for none. */
  group = '';
  cost = 1;
  schedule: Tick | undefined;
  /** The dedupe hash as a string of 16 characters, one a byte; empty when there is none. */
  dedupe = '';

  /** @throws HoldfastError `PROTOCOL` when the bytes are not a block. */
  constructor(bytes: Uint8Array, at: number = 0) {
    this.#bytes = bytes;
    this.#reader = new ByteReader(bytes, at);
    const version = this.#reader.u8();
    if (version < OLDEST_BLOCK_VERSION || version > BLOCK_VERSION)
      throw new HoldfastError('PROTOCOL', `Cannot read a block of version ${version}`);
    this.codec = this.#reader.u8();
    this.second = this.#reader.varint();
    this.count = this.#reader.u32();
    this.end = this.#reader.at;
  }

  /** Where the payload of the item at `itemStart` starts; it ends with the item. */
  static payloadStart(bytes: Uint8Array, itemStart: number): number {
    return behindVarint(bytes, lengthAt(bytes, itemStart));
  }

  /** One item on its own with another payload. */
  static withPayload(item: Uint8Array, payload: Uint8Array): Uint8Array {
    const writer = new ByteWriter(item.length);
    writer.raw(item.subarray(0, lengthAt(item, 0)));
    writer.bytes(payload);
    return writer.take();
  }

  /** The dedupe hash of one item on its own; empty when there is none. */
  static dedupeOf(item: Uint8Array): string {
    const end = behindDedupe(item, 0);
    return (item[0] as number) & FLAG.dedupe ? textOf(item.subarray(end - DEDUPE_BYTES, end)) : '';
  }

  /** The payload of one item on its own. */
  static payloadOf(item: Uint8Array): Uint8Array {
    return item.subarray(BlockReader.payloadStart(item, 0));
  }

  /** The keys of KV that one item on its own names for when it is given up. */
  static undeliveredOf(item: Uint8Array): Uint8Array[] {
    const flags = item[0] as number;
    if ((flags & FLAG.undelivered) === 0) return [];
    return decodeKeys(new ByteReader(item, behindDedupe(item, 0)).bytes());
  }

  /** What one item on its own is called, and the key of its group. */
  static labelsOf(item: Uint8Array): { readonly name: string | undefined; readonly group: string | undefined } {
    const { name, group } = moreOf(item);
    return { name: name === '' ? undefined : name, group: group === '' ? undefined : group };
  }

  /** The tick of a schedule that one item on its own is. */
  static scheduleOf(item: Uint8Array): Tick | undefined {
    return moreOf(item).schedule;
  }

  next(): boolean {
    if (this.#read === this.count) return false;
    this.#read += 1;
    const reader = this.#reader;
    this.start = reader.at;
    const flags = reader.u8();
    reader.skip(MESSAGE_ID_BYTES);
    this.delayMs = flags & FLAG.delay ? reader.f64() : 0;
    this.dueAt = flags & FLAG.dueAt ? reader.f64() : 0;
    this.priority = flags & FLAG.priority ? reader.signed() : 0;
    this.dedupe = flags & FLAG.dedupe ? textOf(reader.raw(DEDUPE_BYTES)) : '';
    this.lifo = (flags & FLAG.lifo) !== 0;
    this.awaited = (flags & FLAG.awaited) !== 0;
    this.undelivered = (flags & FLAG.undelivered) !== 0;
    if (this.undelivered) reader.skip(reader.varint());
    this.group = '';
    this.cost = 1;
    this.schedule = undefined;
    if (flags & FLAG.more) this.#readMore();
    const length = reader.varint();
    this.payloadStart = reader.at;
    reader.skip(length);
    this.end = reader.at;
    return true;
  }

  #readMore(): void {
    const more = readMore(this.#reader.bytes());
    this.group = more.group;
    this.cost = more.cost;
    this.schedule = more.schedule;
  }

  /** Copies the last bytes of the id, which are random, to `target`. */
  copyIdEnd(target: Uint8Array, at: number, bytes: number): void {
    const end = this.start + 1 + MESSAGE_ID_BYTES;
    for (let i = 0; i < bytes; i++) target[at + i] = this.#bytes[end - bytes + i] as number;
  }

  get id(): Uint8Array {
    return this.#bytes.subarray(this.start + 1, this.start + 1 + MESSAGE_ID_BYTES);
  }

  get payload(): Uint8Array {
    return this.#bytes.subarray(this.payloadStart, this.end);
  }

  /** The whole item, as it stands in the block. */
  get item(): Uint8Array {
    return this.#bytes.subarray(this.start, this.end);
  }

  /** Whether the item is one that a client may send: in its second, with numbers that make sense. */
  isSound(): boolean {
    return (
      isMessageId(this.#bytes, this.start + 1) &&
      idSecond(this.#bytes, this.start + 1) === this.second &&
      this.delayMs >= 0 &&
      this.delayMs <= MAX_DURATION_MS &&
      Math.abs(this.dueAt) <= MAX_DUE_AT &&
      Math.abs(this.priority) <= MAX_PRIORITY &&
      this.cost >= 1 &&
      this.cost <= MAX_COST &&
      this.group.length <= MAX_LABEL_CHARACTERS &&
      this.schedule === undefined &&
      (!this.undelivered || areKeysSound(this.item))
    );
  }
}

/** A block with the one message of this block, under another id and as the tick of a schedule; nobody waits for its end. */
export function tickBlock(template: Uint8Array, id: Uint8Array, tick: Tick): Uint8Array {
  const reader = new BlockReader(template);
  reader.next();
  const { item } = reader;
  const flags = item[0] as number;
  const moreAt = behindUndelivered(item);
  const payloadAt = flags & FLAG.more ? behindBytes(item, moreAt) : moreAt;
  const more = new ByteWriter(64);
  const others = flags & FLAG.more ? new ByteReader(item, moreAt).bytes() : Uint8Array.of(0);
  more.u8((others[0] as number) | MORE.schedule);
  more.raw(others.subarray(1));
  writeTick(more, tick);
  const block = new ByteWriter(template.length + tick.key.length + 32);
  block.u8(BLOCK_VERSION);
  block.u8(reader.codec);
  block.varint(idSecond(id));
  block.u32(1);
  block.u8((flags & ~FLAG.awaited) | FLAG.more);
  block.raw(id);
  block.raw(item.subarray(1 + MESSAGE_ID_BYTES, moreAt));
  block.bytes(more.take());
  block.raw(item.subarray(payloadAt));
  return block.take();
}

function writeTick(writer: ByteWriter, { key, at, manual }: Tick): void {
  writer.text(key);
  writer.f64(at);
  writer.u8(manual ? 1 : 0);
}

interface More {
  readonly group: string;
  readonly name: string;
  readonly cost: number;
  readonly schedule: Tick | undefined;
}

const NOTHING_MORE: More = { group: '', name: '', cost: 1, schedule: undefined };

function encodeMore({ group, name, cost = 1, schedule }: ItemOptions): Uint8Array | undefined {
  if (group === undefined && name === undefined && cost === 1 && schedule === undefined) return undefined;
  const writer = new ByteWriter(64);
  writer.u8(
    (group === undefined ? 0 : MORE.group) |
      (name === undefined ? 0 : MORE.name) |
      (cost === 1 ? 0 : MORE.cost) |
      (schedule === undefined ? 0 : MORE.schedule),
  );
  if (group !== undefined) writer.text(group);
  if (name !== undefined) writer.text(name);
  if (cost !== 1) writer.varint(cost);
  if (schedule !== undefined) writeTick(writer, schedule);
  return writer.take();
}

function readMore(bytes: Uint8Array): More {
  const reader = new ByteReader(bytes);
  const flags = reader.u8();
  return {
    group: flags & MORE.group ? reader.text() : '',
    name: flags & MORE.name ? reader.text() : '',
    cost: flags & MORE.cost ? reader.varint() : 1,
    schedule: flags & MORE.schedule ? { key: reader.text(), at: reader.f64(), manual: reader.u8() === 1 } : undefined,
  };
}

function moreOf(item: Uint8Array): More {
  const flags = item[0] as number;
  if ((flags & FLAG.more) === 0) return NOTHING_MORE;
  return readMore(new ByteReader(item, behindUndelivered(item)).bytes());
}

const NO_KEYS: readonly Uint8Array[] = [];

/** A message names at most this many keys, of at most as many bytes as a key of KV has. */
export const MAX_UNDELIVERED_KEYS = 10_000;

function encodeKeys(keys: readonly Uint8Array[]): Uint8Array {
  const writer = new ByteWriter();
  for (const key of keys) writer.bytes(key);
  return writer.take();
}

function decodeKeys(bytes: Uint8Array): Uint8Array[] {
  const keys: Uint8Array[] = [];
  for (const reader = new ByteReader(bytes); reader.left > 0;) keys.push(reader.bytes());
  return keys;
}

/** Whether an item's keys are such as KV can have. */
function areKeysSound(item: Uint8Array): boolean {
  const keys = BlockReader.undeliveredOf(item);
  return keys.length <= MAX_UNDELIVERED_KEYS && keys.every(({ length }) => length > 0 && length <= MAX_KV_KEY_BYTES);
}

/** The last moment that a Date can hold, in epoch milliseconds; nothing is due later. */
export const MAX_DUE_AT = 8.64e15;

/** Priorities go from minus this to this. */
export const MAX_PRIORITY: number = 2 ** 21;

/** Where what follows the keys of an item on its own starts. */
function behindUndelivered(item: Uint8Array): number {
  const at = behindDedupe(item, 0);
  return (item[0] as number) & FLAG.undelivered ? behindBytes(item, at) : at;
}

/** Where what follows the dedupe key of an item starts. */
function behindDedupe(bytes: Uint8Array, itemStart: number): number {
  const flags = bytes[itemStart] as number;
  let at = itemStart + 1 + MESSAGE_ID_BYTES + (flags & FLAG.delay ? 8 : 0) + (flags & FLAG.dueAt ? 8 : 0);
  if (flags & FLAG.priority) at = behindVarint(bytes, at);
  return flags & FLAG.dedupe ? at + DEDUPE_BYTES : at;
}

/** Where the length of the payload of an item stands. */
function lengthAt(bytes: Uint8Array, itemStart: number): number {
  const flags = bytes[itemStart] as number;
  let at = behindDedupe(bytes, itemStart);
  if (flags & FLAG.undelivered) at = behindBytes(bytes, at);
  if (flags & FLAG.more) at = behindBytes(bytes, at);
  return at;
}

function behindBytes(bytes: Uint8Array, at: number): number {
  const reader = new ByteReader(bytes, at);
  reader.skip(reader.varint());
  return reader.at;
}

function behindVarint(bytes: Uint8Array, at: number): number {
  let end = at;
  while ((bytes[end++] as number) >= 0x80);
  return end;
}
