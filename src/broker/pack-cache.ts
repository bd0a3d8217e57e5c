/** The packs that were written or read last, so that a message produced and consumed at once is never read back. */
import type { Value } from '../model/records.ts';
import { openPack, type Pack } from '../machine/machine.ts';

/** What an open pack takes beside its bytes, about: a small one is mostly this. */
const PACK_BYTES = 1_024;

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
    const pack = openPack(alone(value));
    this.remove(number);
    this.#packs.set(number, pack);
    this.#newest = { number, pack };
    this.#bytes += pack.bytes + PACK_BYTES;
    for (const oldest of this.#packs.keys()) {
      if (this.#bytes <= this.#limitBytes || oldest === number) break;
      this.remove(oldest);
    }
    return pack;
  }

  remove(number: number): void {
    const pack = this.#packs.get(number);
    if (pack === undefined) return;
    this.#packs.delete(number);
    if (this.#newest?.number === number) this.#newest = undefined;
    this.#bytes -= pack.bytes + PACK_BYTES;
  }
}

/** The same bytes in memory of their own: a small value is part of a slab, which would be kept with all that is in it. */
function alone(value: Value): Value {
  return value.buffer.byteLength > value.length * 2 ? value.slice() : value;
}
