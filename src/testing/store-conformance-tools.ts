/** What the cases of the store conformance suite share. */
import { StoreError, type ErrorCode } from '../model/errors.ts';
import type { Entry, Epoch, Key, KeyRange, Value, Write } from '../model/records.ts';
import type { Store } from '../store/store.ts';

/** What a case gets: stores on one set of data, closed for it at the end. */
export interface Bench {
  readonly open: () => Promise<Store>;
  /** Opens a store and acquires it, whoever leads. */
  readonly lead: () => Promise<{ store: Store; epoch: Epoch }>;
}

/** A case as it is written in the files beside this one. */
export type CaseBody = readonly [name: string, body: (bench: Bench) => Promise<void>];

/** Every key that the cases write, except those of nothing but 0xff bytes. */
export const ALL: KeyRange = { from: new Uint8Array(), to: new Uint8Array(16).fill(0xff) };

/** Text as bytes; one character a byte, up to U+00FF. */
export function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}

export function text(value: Uint8Array): string {
  return Buffer.from(value).toString('latin1');
}

export function put(key: string | Key, value: string | Value): Write {
  return { kind: 'put', key: asBytes(key), value: asBytes(value) };
}

export function remove(key: string | Key): Write {
  return { kind: 'delete', key: asBytes(key) };
}

export function clear(from: string | Key, to: string | Key): Write {
  return { kind: 'clear', from: asBytes(from), to: asBytes(to) };
}

function asBytes(value: string | Uint8Array): Uint8Array {
  return typeof value === 'string' ? bytes(value) : value;
}

/** Reads a whole range, as texts. */
export async function collect(store: Store, epoch: Epoch, selector: KeyRange): Promise<[string, string][]> {
  const found: [string, string][] = [];
  for await (const chunk of store.range(epoch, selector)) {
    for (const { key, value } of chunk) found.push([text(key), text(value)]);
  }
  return found;
}

/** Reads the chunks of a range. */
export async function collectChunks(store: Store, epoch: Epoch, selector: KeyRange): Promise<(readonly Entry[])[]> {
  const chunks: (readonly Entry[])[] = [];
  for await (const chunk of store.range(epoch, selector)) chunks.push(chunk);
  return chunks;
}

/** A condition for `assert.rejects`. */
export function hasCode(code: ErrorCode, outcome?: 'aborted' | 'unknown'): (error: unknown) => boolean {
  return (error) =>
    error instanceof StoreError && error.code === code && (outcome === undefined || error.outcome === outcome);
}

/** `count` bytes that look random and differ by `seed`. */
export function noise(count: number, seed: number): Uint8Array {
  const filled = new Uint8Array(count);
  let state = (seed + 1) | 0;
  for (let i = 0; i < count; i++) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9;
    filled[i] = state >>> 24;
  }
  return filled;
}
