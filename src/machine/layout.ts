/**
 * Where the machine's records stand in the store, and the procedure for changing that.
 *
 * Every key starts with the space (its UTF-8 name and a zero byte) and the kind of the record. A commit
 * writes few records however many messages it concerns, because each holds many:
 *
 * | kind | key behind it | record |
 * |---|---|---|
 * | accessToken | id of the token | who may come in, and what that allows |
 * | meta | | counters and machine time |
 * | channel | channel | name, settings, totals, what is under way |
 * | policy | policy | rules that messages were produced under |
 * | session | session | the highest applied request and the answers not yet confirmed |
 * | live | channel, priority, page | up to 128 messages that are ready, leased or waiting, in claim order |
 * | due | clock, due time, seq | one delayed message |
 * | ended | pack, commit, part | messages of the pack that ended in that commit |
 * | dedupe | commit | dedupe keys taken in that commit |
 * | journal | commit | what happened in that commit |
 * | ids | second, pack | four bytes of each id in the pack |
 * | pack | seq of its first message | payloads, as the producer encoded them |
 * | notes | seq | progress and log of a message |
 * | kv | key of the entry | an entry of KV |
 * | kvExpiry | time, key of the entry | nothing: the entry expires then |
 * | minutes | channel, minute | what the channel counted in a minute that is over |
 * | usage | day, access token, channel, commit | what the token has done there, as one broker has counted it |
 * | template | schedule | the block with a schedule's message |
 * | schedule | schedule | when it ticks, and how often it has |
 * | group | channel, key of the group | its own rules, its pause, and what its rate has let through |
 * | flow | see `flow-records.ts` | what waits for what |
 * | topic | topic | its name, and the channels that are subscribed with their rules |
 * | journalBounds | | how much of the past the journal keeps, where somebody has said so |
 * | bulk | number | what is done to many messages, and how far that is |
 * | bull | see `bull/records.ts` | a queue of BullMQ's, with its jobs |
 *
 * Everything before `ids` is read at open, and kinds from {@link SECOND_BODY} on; what stands between is read when it is needed. To
 * change a record, raise its version byte, keep reading the old one, and write the new one only; to change a key, take a new kind.
 */
import { allocate, small31 } from '../model/bytes.ts';
import type { Key, KeyRange } from '../model/records.ts';

export const KIND = {
  accessToken: 0,
  meta: 1,
  channel: 2,
  policy: 3,
  session: 4,
  live: 5,
  due: 6,
  ended: 7,
  dedupe: 8,
  journal: 9,
  ids: 10,
  pack: 11,
  notes: 12,
  kv: 13,
  kvExpiry: 14,
  template: 15,
  minutes: 28,
  usage: 29,
  schedule: 32,
  flow: 33,
  group: 37,
  topic: 35,
  journalBounds: 38,
  bulk: 36,
  bull: 39,
} as const;

/** The counters of a channel have a key of its kind with this number behind its own. */
export const COUNTERS = 0;

export type Kind = (typeof KIND)[keyof typeof KIND];

/** The first of the kinds that are read at open behind those that grow with the backlog. */
const SECOND_BODY = 32;

const NUMBER_BYTES = 8;

/**
 * Added to the upper half of a number, which is 2^53 for the whole, so that negative ones sort before positive ones as
 * unsigned bytes. Adding it to the whole would round: above 2^53 only every other integer exists.
 */
const HIGH_OFFSET = 2 ** 21;

/** Builds keys of one space. */
export class Layout {
  readonly #prefix: Uint8Array;

  constructor(space: string) {
    this.#prefix = new TextEncoder().encode(`${space}\0`);
  }

  /** A key of this kind with integers behind it, each within 2^53, in their numeric order. */
  key(kind: Kind, ...numbers: number[]): Key {
    const start = this.#prefix.length + 1;
    const key = allocate(start + numbers.length * NUMBER_BYTES);
    key.set(this.#prefix);
    key[start - 1] = kind;
    let at = start;
    for (const number of numbers) {
      const whole = Math.floor(number);
      const high = Math.floor(whole / 2 ** 32) + HIGH_OFFSET;
      const low = whole >>> 0;
      key[at++] = high >>> 24;
      key[at++] = high >>> 16;
      key[at++] = high >>> 8;
      key[at++] = high;
      key[at++] = low >>> 24;
      key[at++] = low >>> 16;
      key[at++] = low >>> 8;
      key[at++] = low;
    }
    return key;
  }

  /** A key of this kind that ends with bytes of its own, behind integers. */
  bytesKey(kind: Kind, bytes: Uint8Array, ...numbers: number[]): Key {
    const start = this.key(kind, ...numbers);
    const key = allocate(start.length + bytes.length);
    key.set(start);
    key.set(bytes, start.length);
    return key;
  }

  /** What stands in a key behind so many integers, as a view. */
  bytesBehind(key: Key, numbers: number): Uint8Array {
    return key.subarray(this.#prefix.length + 1 + numbers * NUMBER_BYTES);
  }

  /** All keys of this kind that start with these numbers. */
  range(kind: Kind, ...numbers: number[]): KeyRange {
    const from = this.key(kind, ...numbers);
    return { from, to: after(from) };
  }

  /** What is read at open first, in the order in which it can be understood: little, whatever the backlog. */
  head(): KeyRange {
    return { from: this.key(KIND.accessToken), to: this.key(KIND.live) };
  }

  /** What is read at open behind the head, one after the other. */
  body(): KeyRange[] {
    return [
      { from: this.key(KIND.live), to: this.key(KIND.ids) },
      { from: this.key(SECOND_BODY as Kind), to: this.everything().to },
    ];
  }

  /** All keys of the space. */
  everything(): KeyRange {
    return { from: this.#prefix, to: after(this.#prefix) };
  }

  /**
   * All keys of the space but those of messages, commits and seconds that are yet to come: who reads these ranges one after
   * the other is never led on by what is written meanwhile.
   */
  everythingBefore(seq: number, commit: number, second: number): KeyRange[] {
    const { to } = this.everything();
    const before = (kind: Kind, number: number): KeyRange => ({ from: this.key(kind), to: this.key(kind, number) });
    return [
      { from: this.#prefix, to: this.key(KIND.ended, seq) },
      before(KIND.dedupe, commit),
      before(KIND.journal, commit),
      before(KIND.ids, second),
      before(KIND.pack, seq),
      before(KIND.notes, seq),
      { from: after(this.key(KIND.notes)), to },
    ];
  }

  /** How many numbers a key consists of that has nothing else. */
  numbersIn(key: Key): number {
    return (key.length - this.#prefix.length - 1) / NUMBER_BYTES;
  }

  kindOf(key: Key): Kind {
    return key[this.#prefix.length] as Kind;
  }

  /** The n-th number of a key. */
  numberAt(key: Key, n: number): number {
    const at = this.#prefix.length + 1 + n * NUMBER_BYTES;
    const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
    return small31((view.getUint32(at) - HIGH_OFFSET) * 2 ** 32 + view.getUint32(at + 4));
  }
}

/** The first key that does not start with these bytes. */
function after(prefix: Key): Key {
  const end = prefix.slice();
  for (let i = end.length - 1; i >= 0; i--) {
    if (end[i] !== 0xff) {
      end[i] = (end[i] as number) + 1;
      return end.subarray(0, i + 1);
    }
  }
  return end;
}
