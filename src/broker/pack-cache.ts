/** The packs that were written or read last, so that a message produced and consumed at once is never read back. */
import { BlockReader } from '../model/block.ts';
import type { Value } from '../model/records.ts';
import { readPackHeader } from '../machine/machine.ts';

/** A pack, taken apart once for all of its messages. */
export interface Pack {
  readonly producedAt: number;
  readonly codec: number;
  readonly bytes: number;
  /** The item of the message with this position in the pack. */
  item(index: number): Uint8Array;
}

export class PackCache {
  readonly #limitBytes: number;
  /** In the order of their last use, the oldest first. */
  readonly #packs = new Map<number, Pack>();
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get(number: number): Pack | undefined {
    const pack = this.#packs.get(number);
    if (pack === undefined) return undefined;
    this.#packs.delete(number);
    this.#packs.set(number, pack);
    return pack;
  }

  add(number: number, value: Value): Pack {
    const pack = openPack(value);
    this.remove(number);
    this.#packs.set(number, pack);
    this.#bytes += pack.bytes;
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
    this.#bytes -= pack.bytes;
  }
}

function openPack(value: Value): Pack {
  const { producedAt, blockAt } = readPackHeader(value);
  const reader = new BlockReader(value, blockAt);
  const bounds = new Uint32Array(reader.count + 1);
  bounds[0] = reader.end;
  for (let i = 1; reader.next(); i++) bounds[i] = reader.end;
  return {
    producedAt,
    codec: reader.codec,
    bytes: value.length + bounds.byteLength,
    item: (index) => value.subarray(bounds[index], bounds[index + 1]),
  };
}
