/**
 * The log in front of the places of an LMDB store.
 *
 * A commit of LMDB copies every page that it touches and syncs twice. Therefore a commit is one record of the log
 * instead, see `log-file.ts`, and its writes wait in memory, in the overlay, which goes before what is in the
 * places. When a segment of the log is full, the log goes on in the other one, and the overlay is folded: the last
 * version of each key is written to its place, a share of the keys at a time, so that no commit waits for long. With
 * the last share the store notes that the full segment may be used again. What was put and deleted in between never
 * reaches a place at all.
 *
 * The overlay holds a value, or a mark that the key is deleted. It is made by replaying the records of the log and by
 * nothing else. A replay brings back what was folded already, which does no harm, because it is in its place too.
 * Two kinds of writes need care:
 *
 * - `clear` is noted with the keys that it found in the places, since a replay may find more or fewer.
 * - A commit with more than {@link BULK_BYTES} is written to the places at once, behind a fold of everything.
 *
 * The records of the log have consecutive numbers from 1 on. A record in the tables of LMDB, the position, says
 * which is the first that is not folded, and in which segment it stands.
 */
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import {
  compareKeys,
  MAX_KEY_BYTES,
  MAX_VALUE_BYTES,
  type Entry,
  type Key,
  type KeyRange,
  type Value,
  type Write,
} from '../model/records.ts';
import { keyAfter } from './chunks.ts';
import type { LastCommit } from './epoch.ts';
import type { Snapshot, Table } from './lmdb-table.ts';
import { damaged, IDENTITY_BYTES, LogFile, type LogRecord, SEGMENT_BYTES, type SegmentNumber } from './log-file.ts';
import { OrderedMap, type Item } from './ordered-map.ts';

/** A commit with more bytes is not written twice. */
const BULK_BYTES: number = SEGMENT_BYTES / 2;

/** A `clear` that finds more keys is done in the places at once. */
const CLEAR_KEYS = 1_000;

/** A fold takes this many shares, spread over this part of the segment that is being filled. */
const FOLD_SHARES = 16;
const SHARE_BYTES: number = SEGMENT_BYTES / 2 / FOLD_SHARES;

const [PUT, DELETE, CLEAR] = [1, 2, 3];
const NONCE_BYTES = 16;
const POSITION_KEY: Key = new Uint8Array();

/** What the store keeps of the log outside of it. */
interface Position {
  readonly identity: string;
  /** The number of the first record that is not folded, and the segment whose first it is or will be. */
  readonly number: number;
  readonly segment: SegmentNumber;
  /** The commit of the record before. */
  readonly commit: LastCommit | undefined;
}

/** A fold under way. */
interface Fold {
  /** What the store notes at the end. */
  readonly position: Position;
  readonly share: number;
  /** The keys below this one are in their places. */
  from: Key;
  /** How many shares are done. */
  done: number;
}

/** Something that was folded in a write transaction, to be told when that has been committed. */
export interface Folding {
  readonly succeeded: () => void;
}

export class CommitLog {
  readonly #file: LogFile;
  readonly #positions: Table;
  readonly #places: Table;
  readonly #writer = new ByteWriter(4_096);
  #overlay = new OrderedMap<Value | null>();
  #position: Position | undefined;
  /** The segment that is being filled: its number, its contents, and where the next record goes. */
  #segment: SegmentNumber = 0;
  #bytes: Buffer = Buffer.alloc(0);
  #end = 0;
  #nextNumber = 1;
  #fold: Fold | undefined;
  #lastCommit: LastCommit | undefined;

  constructor(file: LogFile, positions: Table, places: Table) {
    this.#file = file;
    this.#positions = positions;
    this.#places = places;
  }

  /** The trace of the last commit, as of the last {@link load} or {@link commit}. */
  get lastCommit(): LastCommit | undefined {
    return this.#lastCommit;
  }

  /**
   * Reads the log anew, in the write transaction under way. With `asLeader` what was read is made durable too, see
   * `LogFile.rewrite`.
   */
  load(asLeader: boolean): void {
    this.#position = this.#readPosition() ?? this.#firstPosition();
    const { number, segment, commit } = this.#position;
    this.#overlay = new OrderedMap();
    this.#fold = undefined;
    this.#nextNumber = number;
    this.#lastCommit = commit;
    const first = this.#file.read(segment);
    const second = this.#file.read(otherThan(segment));
    this.#replaySegment(segment, first, asLeader);
    if (this.#end > 0 && this.#file.find(second, 0, this.#nextNumber) !== undefined) {
      this.#beginFold();
      this.#replaySegment(otherThan(segment), second, asLeader);
    }
    // The log ends where a record is missing or was not wholly written; that must be its end indeed.
    if (this.#file.hasFrom(first, this.#nextNumber) || this.#file.hasFrom(second, this.#nextNumber)) {
      throw damaged(`record ${this.#nextNumber} is missing`);
    }
    if (asLeader) this.#writePosition(this.#position);
  }

  get(key: Key, snapshot: Snapshot): Value | undefined {
    const waiting = this.#overlay.get(key);
    return waiting === undefined ? this.#places.get(key, snapshot) : (waiting ?? undefined);
  }

  /** The entries of a range in its order; `limit` is left to the caller. */
  *entries({ from, to, reverse = false }: KeyRange, snapshot: Snapshot): Generator<Entry, void> {
    const waiting = this.#overlay.items({ from, to, reverse });
    let next = waiting.next();
    for (const entry of this.#places.entries({ from, to, reverse }, snapshot)) {
      let order = 1;
      for (; next.done !== true; next = waiting.next()) {
        order = compareKeys(next.value.key, entry.key) * (reverse ? -1 : 1);
        if (order >= 0) break;
        if (isPut(next.value)) yield next.value;
      }
      if (next.done === true || order > 0) yield entry;
    }
    for (; next.done !== true; next = waiting.next()) {
      if (isPut(next.value)) yield next.value;
    }
  }

  /**
   * Appends a commit, in the write transaction under way, which keeps others away. Says whether it did: otherwise the
   * commit is one for {@link commitInPlace}.
   */
  append(commit: LastCommit, writes: readonly Write[]): boolean {
    for (const write of writes) checkLimits(write);
    if (!this.#encode(commit, writes)) return false;
    const body = this.#writer.view();
    if (!LogFile.hasRoom(this.#end, body.length)) {
      if (this.#fold !== undefined) return false;
      this.#beginFold();
      this.#useSegment(otherThan(this.#segment));
    }
    this.#replay(this.#file.append(this.#segment, this.#bytes, this.#end, this.#nextNumber, body));
    return true;
  }

  /** Folds everything and writes a commit to the places, in the write transaction under way. */
  commitInPlace(commit: LastCommit, writes: readonly Write[]): void {
    this.foldEverything().succeeded();
    for (const write of writes) this.#writeInPlace(write);
    this.#nextNumber += 1;
    this.#lastCommit = commit;
    this.#position = this.#positionAt(this.#segment);
    this.#writePosition(this.#position);
  }

  /** Whether a share of a fold is due. */
  get isFoldDue(): boolean {
    return this.#fold !== undefined && this.#sharesDue(this.#fold) > 0;
  }

  /** Folds the shares that are due, in the write transaction under way. */
  foldShares(): Folding {
    const fold = this.#fold as Fold;
    const shares = this.#sharesDue(fold);
    const items = this.#overlay.take(fold.from, shares * fold.share);
    const last = items.length < shares * fold.share ? undefined : items.at(-1);
    this.#putInPlaces(items);
    if (last === undefined) this.#writePosition(fold.position);
    return {
      succeeded: () => {
        for (const { key } of items) this.#overlay.delete(key);
        fold.done += shares;
        if (last !== undefined) fold.from = keyAfter(last.key);
        else {
          this.#position = fold.position;
          this.#fold = undefined;
        }
      },
    };
  }

  /** Folds all that waits, in the write transaction under way. */
  foldEverything(): Folding {
    const position = this.#positionAt(this.#segment);
    this.#putInPlaces(this.#overlay.take(new Uint8Array(), Infinity));
    this.#writePosition(position);
    return {
      succeeded: () => {
        this.#overlay = new OrderedMap();
        this.#fold = undefined;
        this.#position = position;
        this.#useSegment(this.#segment);
      },
    };
  }

  /** Whether every commit is in the places. */
  get isFolded(): boolean {
    return this.#nextNumber === this.#position?.number;
  }

  close(): void {
    this.#file.close();
  }

  #sharesDue({ done }: Fold): number {
    return Math.floor(this.#end / SHARE_BYTES) + 1 - done;
  }

  #readPosition(): Position | undefined {
    const bytes = this.#positions.get(POSITION_KEY);
    if (bytes === undefined) return undefined;
    const position = decodePosition(bytes);
    if (position.identity !== this.#file.identity) throw damaged('it belongs to another store');
    return position;
  }

  /** The position in a store that nobody has led yet. */
  #firstPosition(): Position {
    for (const segment of [0, 1] as const) {
      if (this.#file.hasFrom(this.#file.read(segment), 1)) throw damaged('it belongs to a store that is gone');
    }
    return { identity: this.#file.identity, number: 1, segment: 0, commit: undefined };
  }

  /** The position when all records so far are folded, and the next one is the first of `segment`. */
  #positionAt(segment: SegmentNumber): Position {
    return { identity: this.#file.identity, number: this.#nextNumber, segment, commit: this.#lastCommit };
  }

  #writePosition(position: Position): void {
    this.#positions.put(POSITION_KEY, encodePosition(position));
  }

  /** Goes on at the beginning of a segment, in new memory: what waits, and what was read, still uses the old one. */
  #useSegment(segment: SegmentNumber): void {
    this.#segment = segment;
    this.#bytes = Buffer.alloc(SEGMENT_BYTES);
    this.#end = 0;
  }

  #beginFold(): void {
    const share = Math.ceil(this.#overlay.size / FOLD_SHARES);
    this.#fold = { position: this.#positionAt(otherThan(this.#segment)), share, from: new Uint8Array(), done: 0 };
  }

  #replaySegment(segment: SegmentNumber, bytes: Buffer, asLeader: boolean): void {
    this.#segment = segment;
    this.#bytes = bytes;
    this.#end = 0;
    for (;;) {
      const record = this.#file.find(bytes, this.#end, this.#nextNumber);
      if (record === undefined) break;
      this.#replay(record);
    }
    if (asLeader && this.#end > 0) this.#file.rewrite(segment, bytes, this.#end);
  }

  /** Applies a record to the overlay, which keeps views of it. */
  #replay({ body, end }: LogRecord): void {
    const reader = new ByteReader(body);
    this.#lastCommit = readTrace(reader);
    while (reader.left > 0) {
      const kind = reader.u8();
      const key = reader.bytes();
      if (kind === PUT) this.#overlay.put(key, reader.bytes());
      else if (kind === DELETE) this.#overlay.put(key, null);
      else this.#overlay.clear(key, reader.bytes());
    }
    this.#nextNumber += 1;
    this.#end = end;
  }

  /** Writes the body of a record, unless the commit is too large for one. */
  #encode(commit: LastCommit, writes: readonly Write[]): boolean {
    let bytes = 0;
    for (const write of writes) bytes += bytesOf(write);
    if (bytes > BULK_BYTES) return false;
    const writer = this.#writer;
    writer.clear();
    writeTrace(writer, commit);
    for (const write of writes) {
      if (write.kind === 'clear') {
        if (!this.#encodeClear(write.from, write.to)) return false;
        continue;
      }
      writer.u8(write.kind === 'put' ? PUT : DELETE);
      writer.bytes(write.key);
      if (write.kind === 'put') writer.bytes(write.value);
    }
    return writer.length <= BULK_BYTES;
  }

  #encodeClear(from: Key, to: Key): boolean {
    if (compareKeys(from, to) >= 0) return true;
    const keys = this.#places.keys(from, to, CLEAR_KEYS);
    if (keys.length === CLEAR_KEYS) return false;
    this.#writer.u8(CLEAR);
    this.#writer.bytes(from);
    this.#writer.bytes(to);
    for (const key of keys) {
      this.#writer.u8(DELETE);
      this.#writer.bytes(key);
    }
    return true;
  }

  #putInPlaces(items: readonly Item<Value | null>[]): void {
    for (const { key, value } of items) {
      if (value === null) this.#places.remove(key);
      else this.#places.put(key, value);
    }
  }

  #writeInPlace(write: Write): void {
    if (write.kind === 'put') this.#places.put(write.key, write.value);
    else if (write.kind === 'delete') this.#places.remove(write.key);
    else if (compareKeys(write.from, write.to) < 0) this.#places.clear(write.from, write.to);
  }
}

function otherThan(segment: SegmentNumber): SegmentNumber {
  return segment === 0 ? 1 : 0;
}

function isPut(item: Item<Value | null>): item is Item<Value> {
  return item.value !== null;
}

/** A key that has no place in LMDB would get into the log and never out of it. */
function checkLimits(write: Write): void {
  const longestKey = write.kind === 'clear' ? Math.max(write.from.length, write.to.length) : write.key.length;
  if (longestKey > MAX_KEY_BYTES) throw new RangeError(`Cannot write a key of ${longestKey} bytes`);
  const bytes = write.kind === 'put' ? write.value.length : 0;
  if (bytes > MAX_VALUE_BYTES) throw new RangeError(`Cannot write a value of ${bytes} bytes`);
}

function bytesOf(write: Write): number {
  if (write.kind === 'clear') return write.from.length + write.to.length;
  return write.key.length + (write.kind === 'put' ? write.value.length : 0);
}

function encodePosition({ number, segment, identity, commit }: Position): Uint8Array {
  const writer = new ByteWriter();
  writer.varint(number);
  writer.u8(segment);
  writer.raw(Buffer.from(identity, 'hex'));
  if (commit !== undefined) writeTrace(writer, commit);
  return writer.take();
}

function decodePosition(bytes: Uint8Array): Position {
  const reader = new ByteReader(bytes);
  const number = reader.varint();
  const segment = reader.u8() === 0 ? 0 : 1;
  const identity = Buffer.from(reader.raw(IDENTITY_BYTES)).toString('hex');
  return { number, segment, identity, commit: reader.left > 0 ? readTrace(reader) : undefined };
}

function writeTrace(writer: ByteWriter, { epoch, id }: LastCommit): void {
  writer.varint(epoch.number);
  writer.raw(Buffer.from(epoch.nonce, 'hex'));
  writer.text(id.toString());
}

function readTrace(reader: ByteReader): LastCommit {
  const number = reader.varint();
  const nonce = Buffer.from(reader.raw(NONCE_BYTES)).toString('hex');
  return { epoch: { number, nonce }, id: BigInt(reader.text()) };
}
