import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { type HoldfastKv, type KvEntry, KvU64 } from 'holdfast';
import { setups, startInMemory } from '../helpers/instances.ts';

describe.each(setups)('KV, $name', ({ start }) => {
  test('an entry that expires is read until then, and not after', async () => {
    const { hf, clock } = await start();
    const { kv } = hf;
    await kv.set(['short'], 1, { expireIn: 1_000 });
    await kv.set(['long'], 2, { expireIn: 5_000 });
    await kv.atomic().set(['kept'], new KvU64(3n), { expireIn: 1_000 }).commit();
    await kv.atomic().sum(['kept'], 1n).set(['long'], 2).commit();
    await clock.advance(999);
    expect((await kv.get(['short'])).value).toBe(1);
    await clock.advance(1);
    expect((await kv.get(['short'])).versionstamp).toBeNull();
    await clock.advance(10_000);
    expect((await all(kv)).map(({ key }) => key)).toEqual([['kept'], ['long']]);
  });

  test('a list reads past entries that have expired', async () => {
    const { hf, clock } = await start();
    const { kv } = hf;
    for (let i = 0; i < 30; i++) await kv.set(['l', i], i, i < 25 ? { expireIn: 10 } : undefined);
    await clock.advance(10);
    for (const reverse of [false, true]) {
      const values = (await all(kv, { batchSize: 3, reverse })).map(({ value }) => value);
      expect(values).toEqual(reverse ? [29, 28, 27, 26, 25] : [25, 26, 27, 28, 29]);
    }
  });
});

describe('list()', () => {
  test('says where it stands after each entry, and nothing at its end', async () => {
    const { kv } = (await startInMemory()).hf;
    for (let i = 0; i < 3; i++) await kv.set(['l', i], i);
    const list = kv.list({ prefix: ['l'] }, { batchSize: 2 });
    const cursors: string[] = [];
    for await (const _entry of list) cursors.push(list.cursor);
    expect(cursors).toEqual(['IYAAAAAAAAAA', 'Ib_wAAAAAAAA', 'IcAAAAAAAAAA']);
    expect(list.cursor).toBe('');
    expect(await list.next()).toEqual({ done: true, value: undefined });
  });

  test('stands where its limit has left it', async () => {
    const { kv } = (await startInMemory()).hf;
    for (let i = 0; i < 3; i++) await kv.set(['l', i], i);
    const list = kv.list({ prefix: ['l'] }, { limit: 2 });
    for (let i = 0; i < 3; i++) await list.next();
    expect(list.cursor).toBe('Ib_wAAAAAAAA');
  });

  test('gives each entry once to those who ask at the same time', async () => {
    const { kv } = (await startInMemory()).hf;
    for (let i = 0; i < 5; i++) await kv.set(['l', i], i);
    const list = kv.list({ prefix: ['l'] }, { batchSize: 2 });
    const results = await Promise.all(Array.from({ length: 7 }, () => list.next()));
    expect(results.map(({ value }) => value?.value)).toEqual([0, 1, 2, 3, 4, undefined, undefined]);
  });

  test('of an empty range asks nobody', async () => {
    const { kv } = (await startInMemory()).hf;
    expect(await kv.list({ start: ['a'], end: ['a'] }).next()).toEqual({ done: true, value: undefined });
  });

  test('ends with its KV', async () => {
    const { kv } = (await startInMemory()).hf;
    await kv.set(['l'], 1);
    kv.close();
    await expect(kv.list({ prefix: [] }).next()).rejects.toMatchObject({ name: 'BadResource' });
  });
});

describe('what was closed', () => {
  const acts: readonly (readonly [string, (kv: HoldfastKv) => unknown])[] = [
    ['get', (kv) => kv.get(['a'])],
    ['getMany', (kv) => kv.getMany([['a']])],
    ['set', (kv) => kv.set(['a'], 1)],
    ['delete', (kv) => kv.delete(['a'])],
    ['enqueue', (kv) => kv.enqueue(1)],
    ['commit', (kv) => kv.atomic().commit()],
  ];

  test.each(acts)('refuses %s', async (_name, act) => {
    const { kv } = (await startInMemory()).hf;
    kv.close();
    await expect(act(kv)).rejects.toMatchObject({ name: 'BadResource', message: 'Bad resource ID' });
  });

  test('refuses watch() and close() at once, and is disposed of again', async () => {
    const { hf } = await startInMemory();
    const { kv } = hf;
    kv[Symbol.dispose]();
    kv[Symbol.dispose]();
    expect(() => kv.watch([['a']])).toThrow(expect.objectContaining({ name: 'BadResource' }));
    expect(() => kv.close()).toThrow(expect.objectContaining({ name: 'BadResource' }));
    expect(await hf.channelNames()).toEqual([]);
  });
});

test('objects are shown as Deno shows them', async () => {
  const { hf } = await startInMemory();
  const { kv } = hf;
  expect(inspect(kv.atomic())).toBe('AtomicOperation (empty)');
  const atomic = kv
    .atomic()
    .check({ key: ['a', 1n], versionstamp: null })
    .set(['a'], { x: [1] }, { expireIn: 5 })
    .delete(['b'])
    .sum(['c'], 1n)
    .enqueue('s', { delay: 5, backoffSchedule: [1] })
    .enqueue(1)
    .produce(hf.channel<string>('mails'), 'm');
  expect(inspect(atomic).split('\n')).toEqual([
    'AtomicOperation',
    `  check({ key: [ 'a', 1n ], versionstamp: null })`,
    `  set([ 'a' ], { x: [ 1 ] }, { expireIn: 5 })`,
    `  delete([ 'b' ])`,
    `  sum([ 'c' ], [Deno.KvU64: 1n])`,
    `  enqueue('s', { delay: 5, backoffSchedule: [ 1 ] })`,
    '  enqueue(1)',
    `  produce('mails', 'm')`,
  ]);
  const forDeno = atomic as unknown as Record<symbol, (inspect: (value: unknown) => string, options: object) => string>;
  const shown = forDeno[Symbol.for('Deno.privateCustomInspect')]?.((value) => JSON.stringify(value, text), {});
  expect(shown).toContain('  delete(["b"])');
});

test('an atomic operation takes keys as they are at the commit, and values as they were at the call', async () => {
  const { kv } = (await startInMemory()).hf;
  const value = { a: 1 };
  const bytes = Uint8Array.of(1);
  const atomic = kv.atomic().set(['object'], value).set(['bytes'], bytes);
  value.a = 2;
  bytes[0] = 2;
  await atomic.commit();
  const entries = await kv.getMany([['object'], ['bytes']]);
  expect(entries.map((entry) => entry.value)).toEqual([{ a: 1 }, Uint8Array.of(1)]);
});

async function all(kv: HoldfastKv, options?: Parameters<HoldfastKv['list']>[1]): Promise<KvEntry<unknown>[]> {
  const entries: KvEntry<unknown>[] = [];
  for await (const entry of kv.list({ prefix: [] }, options)) entries.push(entry);
  return entries;
}

function text(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}n` : value;
}
