/** From a value to an item on its way, and from a delivery back to a value. */
import { createHash } from 'node:crypto';
import type { Client } from '../client/client.ts';
import type { Item } from '../client/outbox.ts';
import { CODEC_BSON, decode, decodeWithin, encode } from '../codec/bson.ts';
import { decodeV8 } from '../codec/v8.ts';
import { BlockReader, DEDUPE_BYTES, type ItemOptions, type Tick } from '../model/block.ts';
import type { Delivery } from '../model/command.ts';
import { parseDuration } from '../model/duration.ts';
import { HoldfastError } from '../model/errors.ts';
import { CODEC_V8 } from '../model/kv.ts';
import { messageIdText } from '../model/message-id.ts';
import { checkProduceOptions, type ProduceOptions, type ResolvedChannelOptions } from './options.ts';

/** Encodes a checked message. @throws TypeError, RangeError for what cannot be stored */
export function createItem(
  client: Client,
  options: ResolvedChannelOptions,
  message: unknown,
  produce: ProduceOptions | undefined,
  awaited: boolean,
): Item {
  const payload = encode(message, options.limits);
  const deduped = options.policy.dedupe !== undefined;
  return { id: client.nextId(), codec: CODEC_BSON, payload, options: itemOptions(produce, payload, deduped, awaited) };
}

const PLAIN: ItemOptions = {};

function itemOptions(
  produce: ProduceOptions | undefined,
  payload: Uint8Array,
  deduped: boolean,
  awaited: boolean,
): ItemOptions {
  if (produce === undefined)
    return deduped || awaited ? { dedupe: deduped ? hashOf('p', payload) : undefined, awaited } : PLAIN;
  checkProduceOptions(produce);
  const { delay, dueAt, priority, lifo, dedupeKey, name, group, cost } = produce;
  if (dedupeKey !== undefined && !deduped) {
    throw new TypeError(`Cannot use "dedupeKey": open the channel with process: 'exactlyOnce' or with "dedupe"`);
  }
  return {
    delayMs: delay === undefined ? undefined : parseDuration(delay, 'delay'),
    dueAt: dueAt === undefined ? undefined : Number(dueAt),
    priority,
    lifo,
    dedupe: deduped ? (dedupeKey === undefined ? hashOf('p', payload) : hashOf('k', dedupeKey)) : undefined,
    awaited,
    name,
    group,
    cost,
  };
}

/** Keys and payloads are hashed apart, so that no key is taken for the content of a message. */
function hashOf(kind: 'k' | 'p', content: string | Uint8Array): Uint8Array {
  return createHash('sha256').update(kind).update(content).digest().subarray(0, DEDUPE_BYTES);
}

/** The id of a delivered message. */
export function deliveredId({ bytes, itemStart }: Delivery): string {
  return messageIdText(bytes, itemStart + ITEM_ID_AT);
}

/** The tick of a schedule that a delivered message is. */
export function deliveredTick({ bytes, itemStart, itemEnd }: Delivery): Tick | undefined {
  return BlockReader.scheduleOf(bytes.subarray(itemStart, itemEnd));
}

/** Behind the flags; see `block.ts`. */
const ITEM_ID_AT = 1;

/** Decodes a delivered message. @throws HoldfastError `UNDECODABLE` */
export function decodeDelivery({ codec, bytes, itemStart, itemEnd }: Delivery): unknown {
  const start = BlockReader.payloadStart(bytes, itemStart);
  return codec === CODEC_BSON
    ? decodeWithin(bytes, start, itemEnd)
    : decodePayload(codec, bytes.subarray(start, itemEnd));
}

/** @throws HoldfastError `UNDECODABLE` */
export function decodePayload(codec: number, payload: Uint8Array): unknown {
  switch (codec) {
    case CODEC_BSON:
      return decode(payload);
    case CODEC_V8:
      return decodeV8(payload);
    default:
      throw new HoldfastError(
        'UNDECODABLE',
        `Cannot decode a message in codec ${codec}: this version knows ${CODEC_BSON} and ${CODEC_V8}`,
      );
  }
}
