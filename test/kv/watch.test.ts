import { describe, expect, test } from 'vitest';
import type { HoldfastKv, KvEntryMaybe } from 'holdfast';
import { setups, startInMemory } from '../helpers/instances.ts';
import { settled } from '../helpers/manual-clock.ts';

type Reader = ReadableStreamDefaultReader<KvEntryMaybe<unknown>[]>;

const watch = (kv: HoldfastKv, keys: string[], options?: { raw?: boolean }): Reader =>
  kv
    .watch<unknown[]>(
      keys.map((key) => [key]),
      options,
    )
    .getReader();

/** The values that come next, or `undefined` at the end. */
async function next(reader: Reader): Promise<unknown[] | undefined> {
  return (await reader.read()).value?.map(({ value }) => value);
}

/** Whether something comes without anything else happening. */
async function isSilent(reader: Reader): Promise<boolean> {
  let isSaid = false;
  void reader.read().then(() => (isSaid = true));
  await settled();
  return !isSaid;
}

describe.each(setups)('watch(), $name', ({ start }) => {
  test('gives the entries as they are, with their versionstamps', async () => {
    const { kv } = (await start()).hf;
    const { versionstamp } = await kv.set(['b'], new Date(5));
    expect((await watch(kv, ['a', 'b']).read()).value).toEqual([
      { key: ['a'], value: null, versionstamp: null },
      { key: ['b'], value: new Date(5), versionstamp },
    ]);
  });

  test('gives them again when one was set, added to, or deleted', async () => {
    const { kv } = (await start()).hf;
    const reader = watch(kv, ['a', 'b']);
    await next(reader);
    await kv.set(['a'], 1);
    expect(await next(reader)).toEqual([1, null]);
    await kv.atomic().set(['a'], 2).set(['b'], 3).commit();
    expect(await next(reader)).toEqual([2, 3]);
    await kv
      .atomic()
      .mutate({ key: ['b'], type: 'sum', value: 4 })
      .commit();
    expect(await next(reader)).toEqual([2, 7]);
    await kv.delete(['a']);
    expect(await next(reader)).toEqual([null, 7]);
  });

  test('gives them again when one has expired', async () => {
    const { hf, clock } = await start();
    await hf.kv.set(['a'], 1, { expireIn: 1_000 });
    const reader = watch(hf.kv, ['a']);
    expect(await next(reader)).toEqual([1]);
    const expired = next(reader);
    await clock.advance(60_000);
    expect(await expired).toEqual([null]);
  });

  test('is silent when nothing has become of it, unless raw', async () => {
    const { kv } = (await start()).hf;
    const reader = watch(kv, ['a']);
    const raw = watch(kv, ['a'], { raw: true });
    expect([await next(reader), await next(raw)]).toEqual([[null], [null]]);
    const again = next(raw);
    await settled();
    await kv.delete(['a']);
    expect(await again).toEqual([null]);
    expect(await isSilent(reader)).toBe(true);
  });

  test('shows what happens while nobody reads as one change', async () => {
    const { kv } = (await start()).hf;
    const reader = watch(kv, ['a']);
    await next(reader);
    for (let i = 0; i <= 50; i++) await kv.set(['a'], i);
    const seen = [await next(reader), await next(reader)];
    expect(seen[1]).toEqual([50]);
    expect(await isSilent(reader)).toBe(true);
  });
});

describe('a watch', () => {
  test('of nothing ends at once', async () => {
    const { kv } = (await startInMemory()).hf;
    expect(await kv.watch([]).getReader().read()).toEqual({ done: true, value: undefined });
  });

  test('ends with its KV, and with its instance', async () => {
    const { hf } = await startInMemory();
    const idle = watch(hf.kv, ['a']);
    const waiting = watch(hf.kv, ['a']);
    await next(waiting);
    const last = next(waiting);
    hf.kv.close();
    expect(await last).toBeUndefined();
    await next(idle);
    expect(await next(idle)).toBeUndefined();

    const other = await startInMemory();
    const reader = watch(other.hf.kv, ['a']);
    await next(reader);
    const end = next(reader);
    await settled();
    await other.hf.close();
    expect(await end).toBeUndefined();
  });

  test('that is cancelled is heard of no more', async () => {
    const { hf } = await startInMemory();
    const reader = watch(hf.kv, ['a']);
    await next(reader);
    await reader.cancel();
    expect(await next(reader)).toBeUndefined();
    await hf.kv.set(['a'], 1);
    // Nobody is left who would keep the process alive, or the broker busy.
    const many = Array.from({ length: 200 }, () => watch(hf.kv, ['a']));
    expect(await Promise.all(many.map(next))).toEqual(many.map(() => [1]));
    await Promise.all(many.map((one) => one.cancel()));
  });

  test('may be one of many on the same entry', async () => {
    const { kv } = (await startInMemory()).hf;
    const readers = Array.from({ length: 20 }, () => watch(kv, ['a']));
    await Promise.all(readers.map(next));
    const changed = readers.map(next);
    await kv.set(['a'], 1);
    expect(await Promise.all(changed)).toEqual(readers.map(() => [1]));
  });

  test('can be iterated over', async () => {
    const { kv } = (await startInMemory()).hf;
    const seen: unknown[] = [];
    for await (const [entry] of kv.watch<[number]>([['n']])) {
      seen.push(entry.value);
      if (entry.value === 3) break;
      await kv.set(['n'], (entry.value ?? 0) + 1);
    }
    expect(seen).toEqual([null, 1, 2, 3]);
  });
});
