/**
 * What a client of KV does, on Deno as with its package for Node: `run` gives a report that is the same for both.
 */
import { isDeepStrictEqual } from 'node:util';

/** @param KvU64 the client's class */
export async function run(kv, KvU64) {
  return {
    values: await values(kv, KvU64),
    ofOthers: (await kv.get(['from', 'others'])).value,
    lists: await lists(kv),
    numbers: await numbers(kv, KvU64),
    checks: await checks(kv),
    watched: await watched(kv),
    expired: await expired(kv),
    refused: await refused(kv),
  };
}

/** The kinds of values that do not come back as they went. */
async function values(kv, KvU64) {
  const cyclic = { name: 'cyclic' };
  cyclic.self = cyclic;
  const all = {
    text: 'text ✓ \u{1f600}',
    number: -1.5,
    zero: -0,
    nan: NaN,
    bigint: 2n ** 80n,
    boolean: true,
    null: null,
    undefined,
    date: new Date(5),
    regexp: /a.c/gi,
    map: new Map([[{ a: 1 }, 'x']]),
    set: new Set([1, 'a', 2n]),
    array: [1, [2, [3]]],
    bytes: new Uint8Array([0, 1, 255]),
    noBytes: new Uint8Array(),
    typed: new Float64Array([1.5, -0]),
    error: new RangeError('no'),
    u64: new KvU64(2n ** 64n - 1n),
    large: 'x'.repeat(65_000),
    cyclic,
  };
  const changed = [];
  for (const [name, value] of Object.entries(all)) {
    const { ok } = await kv.set(['values', name], value);
    const read = (await kv.get(['values', name])).value;
    const same =
      value instanceof Error ? read.message === value.message && read.name === value.name : isEqual(read, value, KvU64);
    if (!ok || !same) changed.push(name);
  }
  await kv.delete(['values', 'text']);
  if ((await kv.get(['values', 'text'])).versionstamp !== null) changed.push('deleted');
  return changed;
}

function isEqual(a, b, KvU64) {
  return b instanceof KvU64 ? a.value === b.value : isDeepStrictEqual(a, b);
}

async function lists(kv) {
  const parts = [new Uint8Array([1]), 'text', 3n, -2n, 1.5, false, true];
  for (const part of parts) await kv.set(['list', part], 1);
  const many = kv.atomic();
  for (let i = 0; i < 250; i++) many.set(['many', i], i);
  await many.commit();
  const keys = async (selector, options) => {
    const found = [];
    for await (const { key } of kv.list(selector, options)) found.push(String(key.at(-1)));
    return found;
  };
  const all = await keys({ prefix: ['many'] });
  const backwards = await keys({ prefix: ['many'] }, { reverse: true, limit: 120, batchSize: 50 });
  const first = kv.list({ prefix: ['many'] }, { limit: 3 });
  for await (const entry of first) void entry;
  return {
    ordered: await keys({ prefix: ['list'] }),
    many: all.length,
    isInOrder: all.every((key, i) => key === String(i)),
    backwards: [backwards.length, backwards[0], backwards.at(-1)],
    range: await keys({ start: ['many', 10], end: ['many', 13] }),
    behind: await keys({ prefix: ['many'] }, { cursor: first.cursor, limit: 2 }),
    several: (await kv.getMany([['many', 1], ['absent'], ['many', 2]])).map(({ value }) => value),
  };
}

async function numbers(kv, KvU64) {
  await kv.atomic().sum(['sum'], 5n).min(['min'], 5n).max(['max'], 5n).commit();
  await kv
    .atomic()
    .sum(['sum'], 2n ** 64n - 1n)
    .min(['min'], 9n)
    .max(['max'], 9n)
    .commit();
  const read = await kv.getMany([['sum'], ['min'], ['max']]);
  return read.map(({ value }) => (value instanceof KvU64 ? String(value.value) : 'no KvU64'));
}

async function checks(kv) {
  const absent = { key: ['checked'], versionstamp: null };
  const first = await kv.atomic().check(absent).set(['checked'], 1).commit();
  const second = await kv.atomic().check(absent).set(['checked'], 2).commit();
  const { versionstamp } = await kv.get(['checked']);
  const third = await kv
    .atomic()
    .check({ key: ['checked'], versionstamp })
    .set(['checked'], 3)
    .commit();
  return [first.ok, second.ok, first.versionstamp === versionstamp, third.ok, third.versionstamp > versionstamp];
}

async function watched(kv) {
  await kv.set(['watched'], 'first');
  const reader = kv.watch([['watched'], ['unwritten']]).getReader();
  const seen = [];
  const see = async () => seen.push((await reader.read()).value.map(({ value }) => value));
  await see();
  await kv.set(['watched'], 'second');
  await see();
  await kv.set(['unwritten'], 'third');
  await see();
  await reader.cancel();
  return seen;
}

async function expired(kv) {
  await kv.set(['stays'], 1, { expireIn: 3_600_000 });
  await kv.set(['expires'], 1, { expireIn: 50 });
  while ((await kv.get(['expires'])).versionstamp !== null);
  return (await kv.get(['stays'])).value;
}

/** What the server says of a key that the token does not allow. */
async function refused(kv) {
  const answer = (error) => /Cannot \w+ this key.*/.exec(error.message)?.[0];
  return [
    await kv.get(['secret']).then(() => 'read', answer),
    await kv.set(['secret'], 1).then(() => 'written', answer),
  ];
}
