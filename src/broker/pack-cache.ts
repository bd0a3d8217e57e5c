/** The packs that were written or read last, so that a message produced and consumed at once is never read back. */
import type { Value } from '../model/records.ts';
import { openPack, type Pack } from '../machine/machine.ts';

export class PackCache {
  readonly #limitBytes: number;
  /** In the order of their last use, the oldest first. */
  readonly #packs = new Map<number, Pack>();
  #bytes = 0;
  /** The one used last: most packs are used for many messages in a row. */
  #newest: { readonly number: number; readonly pack: Pack } | undefined;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get(number: number): Pack | undefined {
    if (this.#newest?.number === number) return this.#newest.pack;
    const pack = this.#packs.get(number);
    if (pack === undefined) return undefined;
    this.#packs.delete(number);
    this.#packs.set(number, pack);
    this.#newest = { number, pack };
    return pack;
  }

  add(number: number, value: Value): Pack {
    const pack = openPack(value);
    this.remove(number);
    this.#packs.set(number, pack);
    this.#newest = { number, pack };
    this.#bytes += pack.bytes;
    for (const oldest of this.#packs.keys()) {
      if (this.#bytes <= this.#limitBytes || oldest === number) break;
      this.remove(oldest);
    }
    return pack;
  }

  clear(): void {
    this.#packs.clear();
    this.#newest = undefined;
    this.#bytes = 0;
  }

  remove(number: number): void {
    const pack = this.#packs.get(number);
    if (pack === undefined) return;
    this.#packs.delete(number);
    if (this.#newest?.number === number) this.#newest = undefined;
    this.#bytes -= pack.bytes;
  }
}
