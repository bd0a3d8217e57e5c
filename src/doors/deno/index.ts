/**
 * KV and its queue as Deno has them, on Node, Bun and Deno: `import { openKv } from 'holdfast/deno'`, or
 * `import * as Deno from 'holdfast/deno'` for code that was written for Deno.
 */
export { AtomicOperation, errors, Kv, KvListIterator } from './classes.ts';
export { openKv, type OpenKvOptions } from './open-kv.ts';
export { KvU64 } from '../../api/kv/u64.ts';
export type {
  AtomicCheck,
  KvCommitError,
  KvCommitResult,
  KvConsistencyLevel,
  KvEnqueueOptions,
  KvEntry,
  KvEntryMaybe,
  KvListOptions,
  KvMutation,
  ListenQueueOptions,
} from '../../api/kv/types.ts';
export type { KvKey, KvKeyPart } from '../../model/kv-key.ts';
export type { KvListSelector } from '../../model/kv-selector.ts';
