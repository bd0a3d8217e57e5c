/** Streams of entries that are watched. */
import { checkReadable, encodeKvKey, type KvKey } from '../../model/kv-key.ts';
import { HoldfastError } from '../../model/errors.ts';
import { checkOpen, entriesOf, type KvCore } from './core.ts';
import type { KvEntryMaybe } from './types.ts';

type Entries = KvEntryMaybe<unknown>[];

/**
 * The entries as they are, then whenever one of them was written: always with `raw`, else only when the versionstamp of
 * one is another one. Changes that nobody has taken yet are seen as one.
 *
 * @throws BadResource, TypeError
 */
export function watchEntries(core: KvCore, keys: readonly KvKey[], raw: boolean): ReadableStream<Entries> {
  checkOpen(core);
  const { maxKeys } = core.limits;
  if (keys.length > maxKeys) throw new TypeError(`Too many keys (max ${maxKeys})`);
  const encoded = keys.map((key) => checkReadable(encodeKvKey(key)));
  if (keys.length === 0) return new ReadableStream({ start: (controller) => controller.close() });
  const watching = core.raw.watch(encoded);
  const close = (): void => {
    forget();
    watching.close();
  };
  const forget = core.onClose(close);
  let versions: readonly number[] | undefined;
  return new ReadableStream<Entries>({
    async pull(controller) {
      try {
        for (;;) {
          const records = await watching.next();
          if (records === undefined) return controller.close();
          const seen = records.map((record) => record?.version ?? 0);
          const isSame = versions !== undefined && seen.every((version, i) => version === versions?.[i]);
          if (isSame && !raw) continue;
          versions = seen;
          return controller.enqueue(await entriesOf(keys, records));
        }
      } catch (error) {
        close();
        if (error instanceof HoldfastError && error.code === 'CLOSED') return controller.close();
        throw error;
      }
    },
    cancel: close,
  });
}
