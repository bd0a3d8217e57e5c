/** What the parts of one KV have in common. */
import type { Client } from '../../client/client.ts';
import type { KvClient } from '../../client/kv.ts';
import { decodeKvValue } from '../../codec/v8.ts';
import type { KvKey } from '../../model/kv-key.ts';
import { type KvRecord, versionstampOf } from '../../model/kv.ts';
import type { KvLimits } from './limits.ts';
import type { KvConsistencyLevel, KvEntryMaybe } from './types.ts';

export interface KvCore {
  readonly client: Client;
  readonly raw: KvClient;
  readonly limits: KvLimits;
  readonly isClosed: boolean;
  /** Calls back when the KV is closed; what it gives takes that back. */
  onClose(listener: () => void): () => void;
}

interface WithDeno {
  readonly Deno?: { readonly errors?: { readonly BadResource?: ErrorConstructor } };
}

/** On Deno its own, so that code that asks for that one finds it. */
const Base: ErrorConstructor = (globalThis as WithDeno).Deno?.errors?.BadResource ?? Error;

/** What is asked of a KV that was closed is refused with this. */
export class BadResource extends Base {
  override readonly name: string = 'BadResource';
}

/** @throws BadResource */
export function checkOpen({ isClosed }: Pick<KvCore, 'isClosed'>): void {
  if (isClosed) throw new BadResource('Bad resource ID');
}

/** The last part of a key that stands for the versionstamp of the commit. */
export const COMMIT_VERSIONSTAMP: unique symbol = Symbol('KvCommitVersionstamp');

/** @throws TypeError */
export function checkConsistency(consistency: KvConsistencyLevel | undefined): void {
  if (consistency === undefined || consistency === 'strong' || consistency === 'eventual') return;
  throw new TypeError(`unknown variant \`${String(consistency)}\`, expected \`strong\` or \`eventual\``);
}

/**
 * An entry as its reader sees it, or the promise of it where the platform makes its value only in a while.
 *
 * @throws HoldfastError `UNDECODABLE`
 */
export function entryOf<T>(key: KvKey, record: KvRecord | undefined): KvEntryMaybe<T> | Promise<KvEntryMaybe<T>> {
  if (record === undefined) return { key, value: null, versionstamp: null };
  const versionstamp = versionstampOf(record.version);
  const value = decodeKvValue(record);
  if (value instanceof Promise) return value.then((known: T) => ({ key, value: known, versionstamp }));
  return { key, value: value as T, versionstamp };
}

/** As {@link entryOf}, of many. */
export async function entriesOf(
  keys: readonly KvKey[],
  records: readonly (KvRecord | undefined)[],
): Promise<KvEntryMaybe<unknown>[]> {
  const entries: KvEntryMaybe<unknown>[] = [];
  for (const [i, key] of keys.entries()) entries.push(await entryOf(key, records[i]));
  return entries;
}
