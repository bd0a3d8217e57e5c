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
 * The records of the log have consecutive numbers from 1 on, over all leaders; each leader has a log of its own. A
 * record in the tables of LMDB, the position, says which log that is, which record is the first that is not folded, and
 * in which segment it stands.
 */
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import { StoreError } from '../model/errors.ts';
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

/** A fold takes up to this many shares, spread over this part of the segment that is being filled. */
const FOLD_SHARES = 16;
const FOLD_BYTES: number = SEGMENT_BYTES / 2;

/**
 * A share that has less to do than this is not worth a transaction of its own, which syncs twice: so many keys, where each so
 * many bytes count as one more.
 */
const SHARE_KEYS = 512;
const BYTES_A_KEY = 1_024;

const [PUT, DELETE, CLEAR] = [1, 2, 3];
const NONCE_BYTES = 16;
const POSITION_KEY: Key = new Uint8Array();
const [WITH_COMMIT, WITH_LOG] = [1, 2];

/** What the store keeps of the log outside of it. */
interface Position {
  /** The number of the first record that is not folded. */
  readonly number: number;
  /** The commit of the record before. */
  readonly commit: LastCommit | undefined;
  /** The log that goes on from there, and the segment whose first record has that number; none in a closed store. */
  readonly log: { readonly identity: string; readonly segment: SegmentNumber } | undefined;
}

/** The files of the logs of a store, by the identities of the logs. */
export interface LogFiles {
  /** @throws StoreError `STORE_CORRUPT` when it is missing or damaged */
  open(identity: string): LogFile;
  /** Makes a file for a new log, and deletes all others that a crash may have left, but for the log `kept`. */
  create(kept: string | undefined): LogFile;
  seal(identity: string): void;
  remove(identity: string): void;
}

/** A fold under way. */
interface Fold {
  /** What the store notes at the end. */
  readonly position: Position;
  /** How many keys a share has, and how far the segment is filled from one share to the next. */
  readonly share: number;
  readonly everyBytes: number;
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
  readonly #files: LogFiles;
  readonly #positions: Table;
  readonly #places: Table;
  readonly #writer = new ByteWriter(4_096);
  #overlay = new OrderedMap<Value | null>();
  #position: Position | undefined;
  /** The file that this object writes, as the leader. */
  #file: LogFile | undefined;
  /** The segment that is being filled: its number, its contents, and where the next record goes. */
  #segment: SegmentNumber = 0;
  #bytes: Buffer = Buffer.alloc(0);
  #end = 0;
  #nextNumber = 1;
  #fold: Fold | undefined;
  #lastCommit: LastCommit | undefined;

  constructor(files: LogFiles, positions: Table, places: Table) {
    this.#files = files;
    this.#positions = positions;
    this.#places = places;
  }

  /** The trace of the last commit, as of the last {@link load} or {@link commit}. */
  get lastCommit(): LastCommit | undefined {
    return this.#lastCommit;
  }

  /** Reads the log of whoever leads, in the write transaction under way. */
  load(): void {
    const position = this.#readPosition();
    this.#position = position;
    this.#overlay = new OrderedMap();
    this.#fold = undefined;
    this.#nextNumber = position?.number ?? 1;
    this.#lastCommit = position?.commit;
    if (position?.log === undefined) return;
    const { identity, segment } = position.log;
    const file = this.#files.open(identity);
    try {
      this.#replayAll(file, segment);
    } finally {
      file.close();
    }
  }

  /**
   * Folds what the leaders before have left, and begins a log, in the write transaction in which the caller becomes
   * the leader.
   */
  takeOver(): Folding {
    const before = this.#readPosition()?.log?.identity;
    if (before !== undefined) this.#files.seal(before);
    this.load();
    this.release();
    this.#file = this.#files.create(before);
    return this.foldEverything(before);
  }

  /** Folds everything and ends the log, in the write transaction under way: no file is needed then. */
  end(): Folding {
    const own = this.#file?.identity;
    this.release();
    return this.foldEverything(own);
  }

  /** Says to other processes whether this leader is in a write transaction. */
  markBusy(busy: boolean): void {
    try {
      this.#file?.markBusy(busy);
    } catch {
      // Without the mark another process may stand still beside this one while that is stopped; nothing else depends on it.
    }
  }

  /** Lets go of the file that this object writes. */
  release(): void {
    this.#file?.close();
    this.#file = undefined;
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
   * Appends a commit, and says whether it did: otherwise it is one for {@link commitInPlace}. A `clear` looks for its
   * keys in the snapshot.
   *
   * @throws StoreError `FENCED` when another leader has taken over; when that happened meanwhile, with the outcome `unknown`
   */
  append(commit: LastCommit, writes: readonly Write[], snapshot: Snapshot | undefined): boolean {
    for (const write of writes) checkLimits(write);
    const file = this.#file;
    if (file === undefined || !this.#encode(commit, writes, snapshot)) return false;
    const body = this.#writer.view();
    if (!LogFile.hasRoom(this.#end, body.length)) {
      if (this.#fold !== undefined) return false;
      this.#beginFold();
      this.#useSegment(otherThan(this.#segment));
    }
    if (file.isSealed) throw deposed('aborted');
    const record = file.append(this.#segment, this.#bytes, this.#end, this.#nextNumber, body);
    if (file.isSealed) throw deposed('unknown');
    this.#replay(record);
    return true;
  }

  /** Folds everything and writes a commit to the places, in the write transaction under way. */
  commitInPlace(commit: LastCommit, writes: readonly Write[]): Folding {
    const before = this.#file === undefined ? this.#position?.log?.identity : undefined;
    if (before !== undefined) this.#files.seal(before);
    this.#putInPlaces(this.#overlay.take(new Uint8Array(), Infinity));
    for (const write of writes) this.#writeInPlace(write);
    this.#overlay = new OrderedMap();
    this.#nextNumber += 1;
    this.#lastCommit = commit;
    return this.foldEverything(before);
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

  /** Folds all that waits, in the write transaction under way. The log with the identity `done` is deleted behind it. */
  foldEverything(done?: string): Folding {
    const position = this.#positionAt(this.#segment);
    this.#putInPlaces(this.#overlay.take(new Uint8Array(), Infinity));
    this.#writePosition(position);
    return {
      succeeded: () => {
        this.#overlay = new OrderedMap();
        this.#fold = undefined;
        this.#position = position;
        this.#useSegment(this.#segment);
        if (done !== undefined) this.#files.remove(done);
      },
    };
  }

  /** Whether every commit is in the places. */
  get isFolded(): boolean {
    return this.#nextNumber === this.#position?.number;
  }

  #sharesDue({ done, everyBytes }: Fold): number {
    return Math.floor(this.#end / everyBytes) + 1 - done;
  }

  #readPosition(): Position | undefined {
    const bytes = this.#positions.get(POSITION_KEY);
    return bytes === undefined ? undefined : decodePosition(bytes);
  }

  /** The position when all records so far are folded, and the next one is the first of `segment`. */
  #positionAt(segment: SegmentNumber): Position {
    const log = this.#file === undefined ? undefined : { identity: this.#file.identity, segment };
    return { number: this.#nextNumber, commit: this.#lastCommit, log };
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
    const { size } = this.#overlay;
    const shares = Math.min(FOLD_SHARES, Math.ceil((size + this.#end / BYTES_A_KEY) / SHARE_KEYS));
    this.#fold = {
      position: this.#positionAt(otherThan(this.#segment)),
      share: Math.ceil(size / shares),
      everyBytes: FOLD_BYTES / shares,
      from: new Uint8Array(),
      done: 0,
    };
  }

  #replayAll(file: LogFile, segment: SegmentNumber): void {
    const first = file.read(segment);
    const second = file.read(otherThan(segment));
    this.#replaySegment(file, first);
    if (this.#end > 0) this.#replaySegment(file, second);
    // The log ends where a record is missing or was not wholly written; that must be its end indeed.
    if (file.hasFrom(first, this.#nextNumber) || file.hasFrom(second, this.#nextNumber)) {
      throw damaged(`record ${this.#nextNumber} is missing`);
    }
  }

  #replaySegment(file: LogFile, bytes: Buffer): void {
    this.#end = 0;
    for (;;) {
      const record = file.find(bytes, this.#end, this.#nextNumber);
      if (record === undefined) break;
      this.#replay(record);
    }
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
  #encode(commit: LastCommit, writes: readonly Write[], snapshot: Snapshot | undefined): boolean {
    let bytes = 0;
    for (const write of writes) bytes += bytesOf(write);
    if (bytes > BULK_BYTES) return false;
    const writer = this.#writer;
    writer.clear();
    writeTrace(writer, commit);
    for (const write of writes) {
      if (write.kind === 'clear') {
        if (!this.#encodeClear(write.from, write.to, snapshot)) return false;
        continue;
      }
      writer.u8(write.kind === 'put' ? PUT : DELETE);
      writer.bytes(write.key);
      if (write.kind === 'put') writer.bytes(write.value);
    }
    return writer.length <= BULK_BYTES;
  }

  #encodeClear(from: Key, to: Key, snapshot: Snapshot | undefined): boolean {
    if (compareKeys(from, to) >= 0) return true;
    const keys = this.#places.keys(from, to, CLEAR_KEYS, snapshot);
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

function deposed(outcome: 'aborted' | 'unknown'): StoreError {
  return new StoreError('FENCED', outcome, 'Cannot use the store: another broker has taken over');
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

function encodePosition({ number, commit, log }: Position): Uint8Array {
  const writer = new ByteWriter();
  writer.varint(number);
  writer.u8((commit === undefined ? 0 : WITH_COMMIT) | (log === undefined ? 0 : WITH_LOG));
  if (commit !== undefined) writeTrace(writer, commit);
  if (log === undefined) return writer.take();
  writer.raw(Buffer.from(log.identity, 'hex'));
  writer.u8(log.segment);
  return writer.take();
}

function decodePosition(bytes: Uint8Array): Position {
  const reader = new ByteReader(bytes);
  const number = reader.varint();
  const flags = reader.u8();
  const commit = flags & WITH_COMMIT ? readTrace(reader) : undefined;
  if (!(flags & WITH_LOG)) return { number, commit, log: undefined };
  const identity = Buffer.from(reader.raw(IDENTITY_BYTES)).toString('hex');
  return { number, commit, log: { identity, segment: reader.u8() === 0 ? 0 : 1 } };
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
