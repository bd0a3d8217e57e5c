/**
 * Message ids: 128 bits, ordered by time, made by the client that produces, so that a client knows the id
 * before any answer and can repeat a request without making a second message.
 *
 * The form is UUID version 7 of RFC 9562, section 5.7: 48 bits of milliseconds since 1970, 12 bits that count
 * within the millisecond (method 1 of section 6.2), 62 random bits.
 */
import { allocate } from './bytes.ts';
import type { Clock } from './clock.ts';
import type { Random } from './random.ts';

/** A message id as its 36-character text, in lower case. */
export type MessageId = string;

export const MESSAGE_ID_BYTES = 16;

const PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** The characters of a text under construction. */
const text = Buffer.alloc(36);
const HEX_DIGITS: Uint8Array = Buffer.from('0123456789abcdef');
const HYPHEN: number = 0x2d;

const COUNTER_LIMIT = 0x1000;

/** Random bytes of an id, and for how many ids they are drawn at once. */
const RANDOM_BYTES = 8;
const IDS_A_DRAW = 64;

/** Makes ids that grow, also within a millisecond and when the clock goes back. */
export class MessageIdSource {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #randomBytes = new Uint8Array(RANDOM_BYTES * IDS_A_DRAW);
  #randomUsed: number = RANDOM_BYTES * IDS_A_DRAW;
  #lastMs = 0;
  #counter = 0;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  next(): Uint8Array {
    const nowMs = Math.floor(this.#clock.wallMs());
    if (nowMs > this.#lastMs) {
      this.#lastMs = nowMs;
      this.#counter = 0;
    } else if (++this.#counter === COUNTER_LIMIT) {
      // More than 4,096 ids in a millisecond borrow from the next one; order matters more than the exact time.
      this.#lastMs += 1;
      this.#counter = 0;
    }
    if (this.#randomUsed === this.#randomBytes.length) {
      this.#random.fill(this.#randomBytes);
      this.#randomUsed = 0;
    }
    const id = allocate(MESSAGE_ID_BYTES);
    for (let i = 8; i < MESSAGE_ID_BYTES; i++) id[i] = this.#randomBytes[this.#randomUsed++] as number;
    const ms = this.#lastMs;
    id[0] = ms / 2 ** 40;
    id[1] = ms / 2 ** 32;
    id[2] = ms >>> 24;
    id[3] = ms >>> 16;
    id[4] = ms >>> 8;
    id[5] = ms;
    id[6] = 0x70 | (this.#counter >>> 8);
    id[7] = this.#counter;
    id[8] = 0x80 | ((id[8] as number) & 0x3f);
    return id;
  }
}

/** Whether these bytes have the version and the variant of an id. */
export function isMessageId(bytes: Uint8Array, at: number): boolean {
  return (bytes[at + 6] as number) >>> 4 === 7 && (bytes[at + 8] as number) >>> 6 === 2;
}

/** The moment in an id, in milliseconds since 1970. */
export function messageIdTime(bytes: Uint8Array, at: number = 0): number {
  const byte = (i: number): number => bytes[at + i] as number;
  return byte(0) * 2 ** 40 + byte(1) * 2 ** 32 + byte(2) * 2 ** 24 + (byte(3) << 16) + (byte(4) << 8) + byte(5);
}

export function messageIdText(bytes: Uint8Array, at: number = 0): MessageId {
  // Made in one piece: a text of parts would keep all of them until it is looked at.
  let to = 0;
  for (let i = 0; i < MESSAGE_ID_BYTES; i++) {
    const byte = bytes[at + i] as number;
    if (i === 4 || i === 6 || i === 8 || i === 10) text[to++] = HYPHEN;
    text[to++] = HEX_DIGITS[byte >>> 4] as number;
    text[to++] = HEX_DIGITS[byte & 0x0f] as number;
  }
  return text.toString('latin1', 0, to);
}

/** Reads the text of an id. @throws TypeError when it is not the text of a message id. */
export function parseMessageId(text: MessageId): Uint8Array {
  if (typeof text !== 'string' || !PATTERN.test(text)) {
    throw new TypeError(`Cannot use "${String(text)}" as a message id: it must be the id of a receipt or a message`);
  }
  const hex = text.replaceAll('-', '');
  return Uint8Array.from({ length: MESSAGE_ID_BYTES }, (_, i) => Number.parseInt(hex.slice(i * 2, i * 2 + 2), 16));
}
