/** The classes of KV as Deno has them: values to compare with, and types without anything private. */
import { AtomicOperation as AtomicOperationClass } from '../../api/kv/atomic.ts';
import { BadResource } from '../../api/kv/core.ts';
import { Kv as KvClass } from '../../api/kv/kv.ts';
import { KvListIterator as KvListIteratorClass } from '../../api/kv/list.ts';
import type {
  AtomicOperation as AtomicOperationType,
  Kv as KvType,
  KvListIterator as KvListIteratorType,
} from '../../api/kv/types.ts';

export type Kv = KvType;

/** Not to be constructed: `openKv` gives one. */
export const Kv: { readonly prototype: Kv; new (): Kv } = KvClass as never;

export type AtomicOperation = AtomicOperationType;

export const AtomicOperation: { readonly prototype: AtomicOperation; new (): AtomicOperation } =
  AtomicOperationClass as never;

export type KvListIterator<T> = KvListIteratorType<T>;

export const KvListIterator: { readonly prototype: KvListIterator<unknown>; new <T>(): KvListIterator<T> } =
  KvListIteratorClass as never;

/** What is thrown besides TypeError, RangeError and Error. */
export const errors: { readonly BadResource: typeof BadResource } = { BadResource };
