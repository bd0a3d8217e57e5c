import type { Epoch, Write } from '#holdfast/model/records.js';
import type { Store } from '#holdfast/store/store.js';

/** Takes the lead of a store that nobody else wants. */
export async function acquire(store: Store): Promise<Epoch> {
  const outcome = await store.acquire('test', await store.leader());
  if (!('won' in outcome)) throw new Error('The race is lost');
  return outcome.won;
}

/** A record of so many bytes, all of them the same. */
export function put(name: string, length: number, fill: number): Write {
  return { kind: 'put', key: bytes(name), value: new Uint8Array(length).fill(fill) };
}

export function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text));
}
