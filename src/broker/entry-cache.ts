/**
 * The entries of KV that were read or written last, also those that are not there, so that a counter or a lock is not read
 * from the store each time. The broker is the only writer: with every write that it makes the cache stays as the store is.
 */
import type { ColdView } from '../machine/machine.ts';
import { textOf } from '../model/bytes.ts';
import type { Key, Value, Write } from '../model/records.ts';

/** What an entry takes in memory beside its bytes, about. */
const ENTRY_BYTES = 256;

export class EntryCache implements ColdView {
  readonly #isEntry: (key: Key) => boolean;
  readonly #limitBytes: number;
  /** By key, one character a byte; in the order of their last use, the oldest first. */
  readonly #entries = new Map<string, { readonly value: Value | undefined }>();
  #bytes = 0;

  /** @param isEntry whether a key of the store is one of KV */
  constructor(limitBytes: number, isEntry: (key: Key) => boolean) {
    this.#limitBytes = limitBytes;
    this.#isEntry = isEntry;
  }

  get(key: Key): { readonly value: Value | undefined } | undefined {
    const text = textOf(key);
    const found = this.#entries.get(text);
    if (found === undefined) return undefined;
    this.#entries.delete(text);
    this.#entries.set(text, found);
    return found;
  }

  range(): undefined {
    return undefined;
  }

  part(): undefined {
    return undefined;
  }

  pack(): undefined {
    return undefined;
  }

  /** Keeps what the store has under this key, if it is one of KV. */
  add(key: Key, value: Value | undefined): void {
    if (!this.#isEntry(key)) return;
    const text = textOf(key);
    this.#remove(text);
    this.#entries.set(text, { value: value?.slice() });
    this.#bytes += bytesOf(text, value);
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#limitBytes) break;
      this.#remove(oldest);
    }
  }

  /** Takes note of what is written. */
  update(writes: readonly Write[]): void {
    // Entries are never cleared by ranges.
    for (const write of writes)
      if (write.kind !== 'clear') this.add(write.key, write.kind === 'put' ? write.value : undefined);
  }

  #remove(text: string): void {
    const found = this.#entries.get(text);
    if (found === undefined) return;
    this.#entries.delete(text);
    this.#bytes -= bytesOf(text, found.value);
  }
}

function bytesOf(text: string, value: Value | undefined): number {
  return ENTRY_BYTES + text.length + (value?.length ?? 0);
}
