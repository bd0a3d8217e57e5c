/**
 * The EVENTS frame: what the broker answers and says unasked.
 *
 * ```
 * reply    = 1 request(varint) reply
 * delivery = 2 consumer seq token attempt flags(u8) timeoutMs codec(u8) producedAt(f64) length(varint) item
 * ended    = 3 id(16) state(u8) [result] [failure]
 * revoked  = 4 seq token reason(u8)
 * room     = 5 channel(text)
 * consumerRefused = 6 consumer code(text) message(text)
 * awaitRefused    = 7 id(16) code(text) message(text)
 * wanted          = 8 channel(text)
 * events          = 9
 * kvChanged       = 10 watch
 * cancelling      = 11 seq token deadlineMs reason(text)
 * bulkEnded       = 12 bulk
 * bull            = 13 waiter at(f64)
 * ```
 */
import { decode, encode } from '../codec/bson.ts';
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import type { Delivery, Notice, Reply } from '../model/command.ts';
import { type ErrorCode, HoldfastError } from '../model/errors.ts';
import { MESSAGE_ID_BYTES } from '../model/message-id.ts';
import { readReply, type ValueCodec, writeReply } from '../model/reply.ts';
import { FRAME } from './frames.ts';
import { readFailure, writeFailure } from './requests.ts';

const EVENT = {
  reply: 1,
  delivery: 2,
  ended: 3,
  revoked: 4,
  room: 5,
  consumerRefused: 6,
  awaitRefused: 7,
  wanted: 8,
  events: 9,
  kvChanged: 10,
  cancelling: 11,
  bulkEnded: 12,
  bull: 13,
} as const;

const ENDED_STATES = ['completed', 'dead', 'cancelled'] as const;
const REASONS = ['cancelled', 'timeout', 'leaseLost'] as const;

/** A value in a frame is BSON; it may be larger than a payload, as a list of messages holds many. */
const MAX_VALUE_BYTES = 64 * 1024 * 1024;

const BSON_VALUES: ValueCodec = {
  write: (writer, value) => writer.bytes(encode(value, { maxBytes: MAX_VALUE_BYTES })),
  read: (reader) => decode(reader.bytes(), { maxBytes: MAX_VALUE_BYTES }),
};

/** Gathers what one client is to hear into one frame. */
export class EventsWriter {
  readonly #frame: ByteWriter;

  /** `initialBytes` is room for what is expected; the frame grows beyond it. */
  constructor(initialBytes: number = 256) {
    this.#frame = new ByteWriter(initialBytes);
    this.#frame.u8(FRAME.events);
  }

  /** How many bytes the frame has so far. */
  get length(): number {
    return this.#frame.length;
  }

  reply(request: number, reply: Reply): void {
    this.#frame.u8(EVENT.reply);
    this.#frame.varint(request);
    writeReply(this.#frame, reply, BSON_VALUES);
  }

  delivery(delivery: Delivery): void {
    const frame = this.#frame;
    frame.u8(EVENT.delivery);
    frame.varint(delivery.consumer);
    frame.varint(delivery.seq);
    frame.varint(delivery.token);
    frame.varint(delivery.attempt);
    frame.u8(delivery.redelivered ? 1 : 0);
    frame.varint(delivery.timeoutMs);
    frame.u8(delivery.codec);
    frame.f64(delivery.producedAt);
    frame.bytes(delivery.bytes.subarray(delivery.itemStart, delivery.itemEnd));
  }

  notice(notice: Notice): void {
    const frame = this.#frame;
    switch (notice.kind) {
      case 'ended':
        frame.u8(EVENT.ended);
        frame.raw(notice.id);
        frame.u8(notice.state === undefined ? ENDED_STATES.length : ENDED_STATES.indexOf(notice.state));
        frame.u8((notice.result === undefined ? 0 : 1) | (notice.failure === undefined ? 0 : 2));
        if (notice.result !== undefined) frame.bytes(notice.result);
        if (notice.failure !== undefined) writeFailure(frame, notice.failure);
        break;
      case 'revoked':
        frame.u8(EVENT.revoked);
        frame.varint(notice.seq);
        frame.varint(notice.token);
        frame.u8(REASONS.indexOf(notice.reason));
        break;
      case 'room':
      case 'wanted':
        frame.u8(EVENT[notice.kind]);
        frame.text(notice.channel);
        break;
      case 'consumerRefused':
        frame.u8(EVENT.consumerRefused);
        frame.varint(notice.consumer);
        frame.text(notice.code);
        frame.text(notice.message);
        break;
      case 'awaitRefused':
        frame.u8(EVENT.awaitRefused);
        frame.raw(notice.id);
        frame.text(notice.code);
        frame.text(notice.message);
        break;
      case 'events':
        frame.u8(EVENT.events);
        break;
      case 'kvChanged':
        frame.u8(EVENT.kvChanged);
        frame.varint(notice.watch);
        break;
      case 'cancelling':
        frame.u8(EVENT.cancelling);
        frame.varint(notice.seq);
        frame.varint(notice.token);
        frame.varint(notice.deadlineMs);
        frame.text(notice.reason);
        break;
      case 'bull':
        frame.u8(EVENT.bull);
        frame.varint(notice.waiter);
        frame.f64(notice.at);
        break;
      case 'bulkEnded':
        frame.u8(EVENT.bulkEnded);
        frame.varint(notice.bulk);
        break;
    }
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#frame.take();
  }
}

/** Who receives what an EVENTS frame holds. */
export interface EventsReceiver {
  reply(request: number, reply: Reply): void;
  delivery(delivery: Delivery): void;
  notice(notice: Notice): void;
}

/** Reads a frame and hands its events over in order. @throws HoldfastError `PROTOCOL` */
export function decodeEvents(bytes: Uint8Array, receiver: EventsReceiver): void {
  // The codec reads Buffers; this way no message needs one of its own.
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const frame = new ByteReader(bytes, 1);
  while (frame.left > 0) {
    const event = frame.u8();
    switch (event) {
      case EVENT.reply:
        receiver.reply(frame.varint(), readReply(frame, BSON_VALUES));
        break;
      case EVENT.delivery:
        receiver.delivery(readDelivery(frame, buffer));
        break;
      case EVENT.ended:
      case EVENT.revoked:
      case EVENT.room:
      case EVENT.consumerRefused:
      case EVENT.awaitRefused:
      case EVENT.wanted:
      case EVENT.events:
      case EVENT.kvChanged:
      case EVENT.cancelling:
      case EVENT.bulkEnded:
      case EVENT.bull:
        receiver.notice(readNotice(frame, event));
        break;
      default:
        throw new HoldfastError('PROTOCOL', `Cannot read an event of kind ${event}`);
    }
  }
}

function readDelivery(frame: ByteReader, bytes: Uint8Array): Delivery {
  const consumer = frame.varint();
  const seq = frame.varint();
  const token = frame.varint();
  const attempt = frame.varint();
  const redelivered = frame.u8() === 1;
  const timeoutMs = frame.varint();
  const codec = frame.u8();
  const producedAt = frame.f64();
  const itemBytes = frame.varint();
  const itemStart = frame.at;
  frame.skip(itemBytes);
  const itemEnd = frame.at;
  return { consumer, seq, token, attempt, redelivered, timeoutMs, producedAt, codec, bytes, itemStart, itemEnd };
}

function readNotice(frame: ByteReader, event: number): Notice {
  if (event === EVENT.events) return { kind: 'events' };
  if (event === EVENT.kvChanged) return { kind: 'kvChanged', watch: frame.varint() };
  if (event === EVENT.bull) return { kind: 'bull', waiter: frame.varint(), at: frame.f64() };
  if (event === EVENT.bulkEnded) return { kind: 'bulkEnded', bulk: frame.varint() };
  if (event === EVENT.cancelling) {
    const [seq, token, deadlineMs] = [frame.varint(), frame.varint(), frame.varint()];
    return { kind: 'cancelling', seq, token, deadlineMs, reason: frame.text() };
  }
  if (event === EVENT.room) return { kind: 'room', channel: frame.text() };
  if (event === EVENT.wanted) return { kind: 'wanted', channel: frame.text() };
  if (event === EVENT.revoked) {
    const seq = frame.varint();
    const token = frame.varint();
    return { kind: 'revoked', seq, token, reason: REASONS[frame.u8()] ?? 'cancelled' };
  }
  if (event === EVENT.consumerRefused) {
    const consumer = frame.varint();
    return { kind: 'consumerRefused', consumer, code: frame.text() as ErrorCode, message: frame.text() };
  }
  const id = frame.raw(MESSAGE_ID_BYTES).slice();
  if (event === EVENT.awaitRefused) {
    return { kind: 'awaitRefused', id, code: frame.text() as ErrorCode, message: frame.text() };
  }
  const state = ENDED_STATES[frame.u8()];
  const flags = frame.u8();
  const result = flags & 1 ? frame.bytes().slice() : undefined;
  return { kind: 'ended', id, state, result, failure: flags & 2 ? readFailure(frame) : undefined };
}
