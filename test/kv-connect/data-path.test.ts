import { serialize } from 'node:v8';
import { describe, expect, test } from 'vitest';
import { KvU64 } from 'holdfast';
import type { AtomicWrite, Enqueue } from '#holdfast/doors/kv-connect/messages.js';
import { untilTrue } from '../helpers/until-true.ts';
import { keyOf, mutation, RawKv, startKvServer } from './server.ts';

const TYPE = { set: 1, delete: 2, sum: 3, max: 4, min: 5, suffix: 9 } as const;
const NONE = new Uint8Array();

function u64(value: bigint): { readonly data: Uint8Array; readonly encoding: number } {
  const data = new Uint8Array(8);
  new DataView(data.buffer).setBigUint64(0, value, true);
  return { data, encoding: 2 };
}

function v8(value: unknown): { readonly data: Uint8Array; readonly encoding: number } {
  return { data: serialize(value), encoding: 1 };
}

const ENQUEUE: Enqueue = { payload: NONE, deadlineMs: 0, keysIfUndelivered: [], backoffSchedule: [] };

const REFUSED: readonly (readonly [name: string, write: Partial<AtomicWrite>, text: string])[] = [
  ['an empty key', { mutations: [mutation('', 'x', { key: NONE })] }, 'key cannot be empty'],
  ['a key that is too long', { mutations: [mutation('k'.repeat(2_047), 'x')] }, 'A key exceeds the key size limit.'],
  [
    'the key of a check that is too long',
    { checks: [{ key: keyOf('k'.repeat(2_048)), versionstamp: NONE }] },
    'A key exceeds the key size limit.',
  ],
  [
    'a value that is too long',
    { mutations: [mutation('a', 'x'.repeat(65_537))] },
    'A value exceeds the value size limit.',
  ],
  [
    'more than it may hold',
    { mutations: Array.from({ length: 13 }, (_, i) => mutation(`${i}`, 'x'.repeat(65_000))) },
    'The total size of the atomic write is too large.',
  ],
  [
    'too many checks',
    { checks: Array.from({ length: 101 }, () => ({ key: keyOf('a'), versionstamp: NONE })) },
    'Too many checks included in atomic write.',
  ],
  [
    'too many mutations and messages',
    {
      mutations: Array.from({ length: 600 }, () => mutation('a', 'x')),
      enqueues: Array.from({ length: 401 }, () => ENQUEUE),
    },
    'Too many mutations / enqueues included in atomic write.',
  ],
  ['no value', { mutations: [mutation('a', 'x', { value: undefined })] }, 'Invalid mutation kind or arguments.'],
  ['an unknown kind', { mutations: [mutation('a', 'x', { mutationType: 6 })] }, 'Invalid mutation kind or arguments.'],
  [
    'an unknown encoding',
    { mutations: [mutation('a', 'x', { value: { data: NONE, encoding: 4 } })] },
    'The value encoding 4 is unknown.',
  ],
  [
    'a KvU64 of 7 bytes',
    { mutations: [mutation('a', 'x', { value: { data: new Uint8Array(7), encoding: 2 } })] },
    'Invalid mutation kind or arguments.',
  ],
  ['an impossible expiry', { mutations: [mutation('a', 'x', { expireAtMs: -2 })] }, 'Invalid mutation expire at.'],
  [
    'a sum of what is no number',
    { mutations: [mutation('a', 'x', { mutationType: TYPE.sum })] },
    'Some of the parameters are not valid V8 values',
  ],
  [
    'a message that is too long',
    { enqueues: [{ ...ENQUEUE, payload: new Uint8Array(65_537) }] },
    'A value exceeds the value size limit.',
  ],
  [
    'too many keys of a message',
    { enqueues: [{ ...ENQUEUE, keysIfUndelivered: Array.from({ length: 11 }, () => keyOf('a')) }] },
    'Too many dead letter keys for a single queue message.',
  ],
  [
    'too many intervals',
    { enqueues: [{ ...ENQUEUE, backoffSchedule: Array.from({ length: 11 }, () => 1) }] },
    'Too many backoff intervals for a single queue message.',
  ],
  [
    'an interval that is too long',
    { enqueues: [{ ...ENQUEUE, backoffSchedule: [3_600_001] }] },
    'A backoff interval exceeds the maximum allowed backoff interval.',
  ],
  [
    'a message due in more than 30 days',
    { enqueues: [{ ...ENQUEUE, deadlineMs: Date.now() + 31 * 86_400_000 }] },
    'Invalid mutation enqueue deadline.',
  ],
];

describe('atomic_write', () => {
  test('does all kinds of mutations, which an instance sees, and sees those of an instance', async () => {
    const server = await startKvServer();
    const { kv } = server.hf;
    const raw = await RawKv.open(server);
    const { output } = await raw.write({
      mutations: [
        mutation('v8', '', { value: v8({ deep: [1n, new Date(5)] }) }),
        mutation('bytes', 'abc'),
        mutation('sum', '', { value: u64(5n), mutationType: TYPE.sum }),
        mutation('max', '', { value: u64(7n), mutationType: TYPE.max }),
        mutation('min', '', { value: u64(9n), mutationType: TYPE.min }),
        mutation('log', 'x', { mutationType: TYPE.suffix }),
        mutation('gone', 'x'),
        mutation('gone', '', { mutationType: TYPE.delete, value: undefined }),
      ],
    });
    expect(output.status).toBe(1);
    expect(output.versionstamp).toHaveLength(10);
    const versionstamp = Buffer.from(output.versionstamp).toString('hex');
    expect(await kv.get(['v8'])).toEqual({ key: ['v8'], value: { deep: [1n, new Date(5)] }, versionstamp });
    expect((await kv.get(['bytes'])).value).toEqual(Uint8Array.from(Buffer.from('abc')));
    expect((await kv.get(['sum'])).value).toEqual(new KvU64(5n));
    expect((await kv.get(['log', versionstamp])).value).toEqual(Uint8Array.from(Buffer.from('x')));
    expect((await kv.get(['gone'])).value).toBe(null);

    await raw.write({
      mutations: [
        mutation('sum', '', { value: u64(2n ** 64n - 1n), mutationType: TYPE.sum }),
        mutation('max', '', { value: u64(3n), mutationType: TYPE.max }),
        mutation('min', '', { value: u64(3n), mutationType: TYPE.min }),
      ],
    });
    const numbers = await kv.getMany<[KvU64, KvU64, KvU64]>([['sum'], ['max'], ['min']]);
    expect(numbers.map(({ value }) => value?.value)).toEqual([4n, 7n, 3n]);

    await kv.set(['native'], new KvU64(1n));
    expect(await raw.get('native')).toMatchObject({ encoding: 2, value: Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0) });
  });

  test('sums numbers and bigints within bounds, and says why it does not', async () => {
    const server = await startKvServer();
    const raw = await RawKv.open(server);
    const sum = (by: unknown, more: object = {}): ReturnType<RawKv['write']> =>
      raw.write({ mutations: [mutation('n', '', { value: v8(by), mutationType: TYPE.sum, ...more })] });
    await sum(40);
    await sum(5, { sumMax: serialize(42), sumClamp: true });
    expect((await server.hf.kv.get(['n'])).value).toBe(42);
    expect(await sum(1, { sumMax: serialize(42) })).toMatchObject({
      status: 400,
      text: 'The result of a Sum operation would exceed its range limit',
    });
    expect(await sum(-50, { sumMin: serialize(0) })).toMatchObject({ status: 400 });
    expect(await sum(1n)).toMatchObject({ status: 400, text: 'Cannot sum Number with BigInt' });
    expect((await server.hf.kv.get(['n'])).value).toBe(42);
  });

  test('checks versions, and changes nothing where one does not hold', async () => {
    const server = await startKvServer();
    const raw = await RawKv.open(server);
    const key = keyOf('a');
    const check = async (versionstamp: Uint8Array): Promise<number> =>
      (await raw.write({ checks: [{ key, versionstamp }], mutations: [mutation('b', 'x')] })).output.status;
    expect(await check(new Uint8Array(10).fill(1))).toBe(2);
    expect(await raw.get('b')).toBe(undefined);
    expect(await check(NONE)).toBe(1);
    const { output } = await raw.write({ mutations: [mutation('a', '1')] });
    expect(await check(NONE)).toBe(2);
    expect(await check(output.versionstamp)).toBe(1);
    expect(await raw.write({ checks: [{ key, versionstamp: Uint8Array.of(1) }] })).toMatchObject({
      status: 400,
      text: 'Invalid versionstamp.',
    });
  });

  test('ends an entry at its time', async () => {
    const server = await startKvServer();
    const raw = await RawKv.open(server);
    await raw.write({
      mutations: [
        mutation('past', 'x', { expireAtMs: 1 }),
        mutation('soon', 'x', { expireAtMs: Date.now() + 300 }),
        mutation('late', 'x', { expireAtMs: Date.now() + 3_600_000 }),
        mutation('never', 'x', { expireAtMs: -1 }),
      ],
    });
    expect(await raw.get('past')).toBe(undefined);
    await untilTrue(async () => (await raw.get('soon')) === undefined);
    expect((await raw.read([{}])).output.ranges[0]?.values.map(({ key }) => Buffer.from(key).toString())).toEqual([
      '\u0002late\0',
      '\u0002never\0',
    ]);
  });

  test('refuses what it may not hold, says why, and changes nothing', async () => {
    const raw = await RawKv.open(await startKvServer());
    for (const [name, write, text] of REFUSED) {
      const first = { mutations: [mutation('first', 'x'), ...(write.mutations ?? [])] };
      expect(await raw.write({ ...write, ...first }), name).toMatchObject({ status: 400, text });
      expect(await raw.get('first'), name).toBe(undefined);
    }
    expect(await raw.write({ mutations: [mutation('first', 'x')] })).toMatchObject({ output: { status: 1 } });
  });

  test('refuses what is no message, and what is longer than one can be', async () => {
    const raw = await RawKv.open(await startKvServer());
    const broken = await raw.post('atomic_write', Uint8Array.of(0x0a, 5));
    expect([broken.status, await broken.text()]).toEqual([400, 'Request protobuf is invalid: it ends within a field.']);
    expect((await raw.post('atomic_write', new Uint8Array(2 * 1024 * 1024 + 1))).status).toBe(413);
    expect((await raw.post('snapshot_read', new Uint8Array(64 * 1024 + 1))).status).toBe(413);
  });
});

describe('enqueues', () => {
  test('reach listeners with their payload as it is, in their order, those of a failed check never', async () => {
    const server = await startKvServer();
    const raw = await RawKv.open(server);
    const heard: unknown[] = [];
    void server.hf.kv.listenQueue((message: unknown) => void heard.push(message), { concurrency: 1 });
    await raw.write({
      checks: [{ key: keyOf('a'), versionstamp: new Uint8Array(10).fill(1) }],
      enqueues: [{ ...ENQUEUE, payload: serialize('never') }],
    });
    const messages = [{ a: 1 }, 2n, new Map([[1, 'x']]), null];
    const { output } = await raw.write({
      mutations: [mutation('b', 'x')],
      enqueues: messages.map((message, i) => ({
        ...ENQUEUE,
        payload: serialize(message),
        backoffSchedule: i % 2 === 0 ? [] : [100, 200, 400, 800],
      })),
    });
    expect(output.status).toBe(1);
    await untilTrue(() => heard.length === messages.length);
    expect(heard).toEqual(messages);
  });

  test('wait for their time', async () => {
    const server = await startKvServer();
    const raw = await RawKv.open(server);
    const heard: number[] = [];
    void server.hf.kv.listenQueue(() => void heard.push(Date.now()));
    const deadlineMs = Date.now() + 400;
    await raw.write({ enqueues: [{ ...ENQUEUE, payload: serialize(1), deadlineMs }] });
    await untilTrue(() => heard.length === 1);
    expect(heard[0]).toBeGreaterThanOrEqual(deadlineMs);
  });

  test('are tried as often as their schedule says, then written under their keys', async () => {
    const server = await startKvServer();
    const raw = await RawKv.open(server);
    let attempts = 0;
    void server.hf.kv.listenQueue(
      () => {
        attempts += 1;
        throw new Error('no');
      },
      { onError: () => {} },
    );
    const payload = serialize({ job: 1 });
    await raw.write({
      enqueues: [{ ...ENQUEUE, payload, backoffSchedule: [10, 20], keysIfUndelivered: [keyOf('a'), keyOf('b')] }],
    });
    await untilTrue(async () => (await raw.get('b')) !== undefined);
    expect(attempts).toBe(3);
    expect((await server.hf.kv.getMany([['a'], ['b']])).map(({ value }) => value)).toEqual([{ job: 1 }, { job: 1 }]);
  });

  test('have the schedule of Deno when they have none', async () => {
    const server = await startKvServer();
    const raw = await RawKv.open(server);
    await raw.write({ enqueues: [{ ...ENQUEUE, payload: serialize(1) }] });
    const attempts: number[] = [];
    void server.hf.kv.listenQueue(
      () => {
        attempts.push(Date.now());
        if (attempts.length < 3) throw new Error('no');
      },
      { onError: () => {} },
    );
    await untilTrue(() => attempts.length === 3);
    const [first = 0, second = 0, third = 0] = attempts;
    expect(second - first).toBeGreaterThanOrEqual(99);
    expect(third - second).toBeGreaterThanOrEqual(999);
  });
});

describe('snapshot_read', () => {
  test('reads ranges, both ways, up to their limits', async () => {
    const server = await startKvServer();
    const raw = await RawKv.open(server);
    await raw.write({ mutations: ['a', 'b', 'c', 'd'].map((key) => mutation(key, key)) });
    const { output } = await raw.read([
      { limit: 2 },
      { limit: 3, reverse: true },
      { start: keyOf('b'), end: keyOf('d') },
      { start: keyOf('d'), end: keyOf('b') },
      { start: keyOf('c'), end: Buffer.concat([keyOf('c'), Uint8Array.of(0)]) },
    ]);
    expect(output).toMatchObject({ readIsStronglyConsistent: true, status: 1 });
    const values = output.ranges.map((range) =>
      range.values.map(({ value }) => Buffer.from(value).toString()).join(''),
    );
    expect(values).toEqual(['ab', 'dcb', 'bc', '', 'c']);
    expect(output.ranges[4]?.values[0]?.versionstamp).toHaveLength(10);
  });

  test('goes on to the limit or the end where that takes more than the broker gives at once', async () => {
    const server = await startKvServer();
    const raw = await RawKv.open(server);
    const name = (i: number): string => String(i).padStart(3, '0');
    for (let from = 0; from < 160; from += 10) {
      const mutations = Array.from({ length: 10 }, (_, i) => mutation(name(from + i), name(from + i).padEnd(60_000)));
      await raw.write({ mutations });
    }
    const names = Array.from({ length: 160 }, (_, i) => name(i));
    const listed = (range: object): Promise<string[]> =>
      raw.list(range).then((values) => values.map((value) => value.trimEnd()));
    expect(await listed({ limit: 1_000 })).toEqual(names);
    expect(await listed({ limit: 150, reverse: true })).toEqual(names.toReversed().slice(0, 150));
    // Several ranges go on together, and end each for itself.
    const { output } = await raw.read([
      { limit: 100 },
      { start: keyOf('010'), end: Buffer.concat([keyOf('010'), Uint8Array.of(0)]), limit: 1 },
      { limit: 120, reverse: true },
    ]);
    const keys = output.ranges.map(({ values }) => values.map(({ key }) => Buffer.from(key).toString().slice(1, -1)));
    expect(keys).toEqual([names.slice(0, 100), ['010'], names.toReversed().slice(0, 120)]);
  });

  test('passes over what has expired, wherever a part of it ends', async () => {
    const server = await startKvServer();
    const raw = await RawKv.open(server);
    const expireAtMs = Date.now() + 200;
    for (let from = 0; from < 300; from += 100) {
      await raw.write({
        mutations: Array.from({ length: 100 }, (_, i) => mutation(`e${from + i}`, 'x', { expireAtMs })),
      });
    }
    await raw.write({ mutations: [mutation('z', 'stays')] });
    await untilTrue(async () => (await raw.get('e299')) === undefined);
    expect(await raw.list({ limit: 10 })).toEqual(['stays']);
  });

  test('refuses what it may not ask for, and says why', async () => {
    const raw = await RawKv.open(await startKvServer());
    for (const [name, ranges, text] of [
      [
        'too many ranges',
        Array.from({ length: 11 }, () => ({})),
        'Too many read ranges requested in one read request.',
      ],
      [
        'too many entries',
        [{ limit: 500 }, { limit: 501 }],
        'The total number of entries requested across read ranges in the read request is too large.',
      ],
      ['a limit of 0', [{ limit: 0 }], 'The read range limit of the snapshot read request is invalid.'],
      ['a limit below 0', [{ limit: -1 }], 'The read range limit of the snapshot read request is invalid.'],
      ['a key that is too long', [{ start: new Uint8Array(2_050) }], 'A key exceeds the key size limit.'],
    ] as const) {
      expect(await raw.read(ranges), name).toMatchObject({ status: 400, text });
    }
  });
});
