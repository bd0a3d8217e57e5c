/** Evidence: whether a filter holds for a message, from memory and from the records that a step has read. */
import { BlockReader } from '../model/block.ts';
import type { Failure } from '../model/failure.ts';
import type { MessageFilter, ScanPosition } from '../model/filter.ts';
import { type ColdView, type Need, readEndedRecords } from './cold.ts';
import { KIND } from './layout.ts';
import type { EndedList, EndedMessage, Message } from './memory.ts';
import { itemOf, openPack, type Pack } from './pack.ts';
import { payloadPackOf } from './payloads.ts';
import type { EndedRecord, MachineState } from './state.ts';

/** A message that is looked at. */
export interface Candidate {
  readonly seq: number;
  readonly pack: number;
  readonly second: number;
  readonly live: Message | undefined;
  readonly ended: EndedMessage | undefined;
  readonly list: EndedList | undefined;
  readonly position: ScanPosition;
}

/** What it takes to know whether a filter holds. */
export interface Question {
  readonly filter: MessageFilter;
  /** Whether the record of an ended message, or its item, is needed even where the filter does not ask for it. */
  readonly needsEnd?: boolean;
  readonly needsItem?: boolean;
}

export class Evidence {
  readonly #state: MachineState;
  readonly #filter: MessageFilter;
  readonly #view: ColdView;
  readonly #needsEnd: boolean;
  readonly #needsItem: boolean;
  readonly #text: Buffer | undefined;
  /** Each is taken apart once, however many messages it tells of. */
  readonly #packs = new Map<number, Pack | undefined>();
  readonly #ends = new Map<number, ReadonlyMap<number, EndedRecord>>();
  readonly #lackingPacks = new Set<number>();
  readonly #lackingEnds = new Set<number>();
  /** Bytes of payloads that were searched. */
  bytes = 0;

  constructor(state: MachineState, { filter, needsEnd, needsItem }: Question, view: ColdView) {
    this.#state = state;
    this.#filter = filter;
    this.#view = view;
    const { minAttempts, maxAttempts, failure, group, name, text } = filter;
    this.#needsEnd = needsEnd === true || [minAttempts, maxAttempts, failure, group].some((one) => one !== undefined);
    this.#needsItem = needsItem === true || name !== undefined || text !== undefined;
    this.#text = text === undefined ? undefined : Buffer.from(text);
  }

  /** How many packs have been read for it. */
  get packs(): number {
    return Math.max(this.#packs.size, this.#ends.size);
  }

  /** How many packs are still to be read for it. */
  get missing(): number {
    return Math.max(this.#lackingPacks.size, this.#lackingEnds.size);
  }

  need(): Need | undefined {
    if (this.missing === 0) return undefined;
    const { layout } = this.#state;
    return {
      keys: [...this.#lackingPacks].map((pack) => layout.key(KIND.pack, pack)),
      ranges: [...this.#lackingEnds].map((pack) => layout.range(KIND.ended, pack)),
    };
  }

  /** Whether the filter holds for a message that may match; `undefined` while that is not known. */
  matches(candidate: Candidate): boolean | undefined {
    if (candidate.live !== undefined) {
      const { attempts, extra, group } = candidate.live;
      if (!this.#holdsFor(attempts, extra?.failure, group?.key ?? '')) return false;
    } else if (this.#needsEnd) {
      const end = this.endOf(candidate);
      if (end === 'unread') {
        // Both at once: one round less.
        if (this.#needsItem) this.#itemOf(candidate);
        return undefined;
      }
      if (end?.state === undefined) return false;
      const attempts = end.state === 'completed' ? end.attempts + 1 : end.attempts;
      if (!this.#holdsFor(attempts, end.failure, end.group)) return false;
    }
    if (!this.#needsItem) return true;
    const item = this.#itemOf(candidate);
    return item === 'unread' ? undefined : item !== undefined && this.#holdsForItem(item);
  }

  /** The newest record of an ended message's end. */
  endOf({ pack, seq }: Pick<Candidate, 'pack' | 'seq'>): EndedRecord | 'unread' | undefined {
    const unwritten = this.#state.changes.ended.get(pack)?.findLast((record) => record.seq === seq);
    if (unwritten !== undefined) return unwritten;
    if (this.#lackingEnds.has(pack)) return 'unread';
    let ends = this.#ends.get(pack);
    if (ends === undefined) {
      const entries = this.#view.range(this.#state.layout.range(KIND.ended, pack));
      if (entries === undefined) {
        this.#lackingEnds.add(pack);
        return 'unread';
      }
      const read = new Map<number, EndedRecord>();
      for (const { value } of entries) for (const record of readEndedRecords(value, pack)) read.set(record.seq, record);
      this.#ends.set(pack, read);
      ends = read;
    }
    return ends.get(seq);
  }

  /** The item of a message, if its pack was read. */
  readItemOf(candidate: Candidate): Uint8Array | undefined {
    const item = this.#itemOf(candidate);
    return item === 'unread' ? undefined : item;
  }

  #itemOf(candidate: Candidate): Uint8Array | 'unread' | undefined {
    const number = payloadPackOf(this.#state, candidate);
    if (this.#lackingPacks.has(number)) return 'unread';
    let pack = this.#packs.get(number);
    if (pack === undefined && !this.#packs.has(number)) {
      const record = this.#view.get(this.#state.layout.key(KIND.pack, number));
      if (record === undefined) {
        this.#lackingPacks.add(number);
        return 'unread';
      }
      pack = record.value === undefined ? undefined : openPack(record.value);
      this.#packs.set(number, pack);
    }
    return pack === undefined ? undefined : itemOf(pack, candidate.seq - number);
  }

  #holdsFor(attempts: number, failure: Failure | undefined, group: string): boolean {
    const { minAttempts = 0, maxAttempts = Infinity, failure: wanted, group: key } = this.#filter;
    if (attempts < minAttempts || attempts > maxAttempts || (key !== undefined && key !== group)) return false;
    if (wanted === undefined) return true;
    return failure !== undefined && (failure.name.includes(wanted) || failure.message.includes(wanted));
  }

  #holdsForItem(item: Uint8Array): boolean {
    const { name } = this.#filter;
    if (name !== undefined && BlockReader.labelsOf(item).name !== name) return false;
    if (this.#text === undefined) return true;
    const payload = BlockReader.payloadOf(item);
    this.bytes += payload.length;
    return Buffer.from(payload.buffer, payload.byteOffset, payload.length).includes(this.#text);
  }
}
