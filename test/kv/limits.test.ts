import { describe, expect, test } from 'vitest';
import type { HoldfastKv, KvKey, KvOptions } from 'holdfast';
import { KvU64 } from 'holdfast';
import { startInMemory } from '../helpers/instances.ts';

/** What is refused, where and how: the words are those of Deno 2.9.6, to the letter. */
type Refusal = readonly [name: string, act: (kv: HoldfastKv) => unknown, error: Error];

const text = (length: number): string => 'a'.repeat(length);
const many = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));
const any = <T>(value: unknown): T => value as T;

const BAD_PART = new TypeError('expected string, number, bigint, ArrayBufferView, boolean');
const TOO_LONG_TO_WRITE = new TypeError('Key too large for write (max 2048 bytes)');
const TOO_LONG_TO_READ = new TypeError('Key too large for read (max 2049 bytes)');
const EMPTY = new TypeError('key cannot be empty');
const stamp = (kv: HoldfastKv): KvKey => ['a', kv.commitVersionstamp()];

const later: readonly Refusal[] = [
  ['get of a part that is none', (kv) => kv.get([any(null)]), BAD_PART],
  [
    'get of no key',
    (kv) => kv.get(any('x')),
    new TypeError('serde_v8 error: invalid type; expected: array, got: string'),
  ],
  ['get of a versionstamp', (kv) => kv.get(stamp(kv)), BAD_PART],
  ['get of a long key', (kv) => kv.get([text(2_047)]), TOO_LONG_TO_READ],
  ['getMany of a long key', (kv) => kv.getMany([[text(2_048)]]), TOO_LONG_TO_READ],
  [
    'getMany of no list',
    (kv) => kv.getMany(any<KvKey[]>('x')),
    new TypeError('serde_v8 error: invalid type; expected: array, got: string'),
  ],
  [
    'get with another consistency',
    (kv) => kv.get(['a'], { consistency: any('x') }),
    new TypeError('unknown variant `x`, expected `strong` or `eventual`'),
  ],
  ['getMany of 11 keys', (kv) => kv.getMany(many(11, (i) => [i])), new TypeError('Too many ranges (max 10)')],
  ['set of an empty key', (kv) => kv.set([], 1), EMPTY],
  ['set of a versionstamp alone', (kv) => kv.set([kv.commitVersionstamp()], 1), EMPTY],
  ['set of a versionstamp within', (kv) => kv.set([kv.commitVersionstamp(), 1], 1), BAD_PART],
  ['set of a long key', (kv) => kv.set([text(2_047)], 1), TOO_LONG_TO_WRITE],
  [
    'set of 65,537 bytes',
    (kv) => kv.set(['a'], new Uint8Array(65_537)),
    new TypeError('Value too large (max 65536 bytes)'),
  ],
  ['set of 65,531 characters', (kv) => kv.set(['a'], text(65_531)), new TypeError('Value too large (max 65536 bytes)')],
  ['set of a long key and value', (kv) => kv.set([text(3_000)], new Uint8Array(65_537)), TOO_LONG_TO_WRITE],
  ['set of a function', (kv) => kv.set(['a'], () => 1), new TypeError('() => 1 could not be cloned.')],
  ['delete of an empty key', (kv) => kv.delete([]), EMPTY],
  ['delete of a versionstamp', (kv) => kv.delete(stamp(kv)), BAD_PART],
  ['sum of a versionstamp', (kv) => kv.atomic().sum(stamp(kv), 1n).commit(), BAD_PART],
  ['check of an empty key', (kv) => kv.atomic().check({ key: [], versionstamp: null }).commit(), EMPTY],
  ...['', 'x', '0000000000000001000'].map((versionstamp): Refusal => [
    `check of the versionstamp "${versionstamp}"`,
    (kv) =>
      kv
        .atomic()
        .check({ key: ['a'], versionstamp })
        .commit(),
    new TypeError('Invalid check'),
  ]),
  [
    'check of a number',
    (kv) =>
      kv
        .atomic()
        .check({ key: ['a'], versionstamp: any(1) })
        .commit(),
    new TypeError('serde_v8 error: invalid type; expected: string, got: Number'),
  ],
  [
    '101 checks',
    (kv) =>
      kv
        .atomic()
        .check(...many(101, (i) => ({ key: [i], versionstamp: null })))
        .commit(),
    new TypeError('Too many checks (max 100)'),
  ],
  ['1,001 mutations', (kv) => atomicOf(kv, 1_001).commit(), new TypeError('Too many mutations (max 1000)')],
  [
    '1,000 mutations and a message',
    (kv) => atomicOf(kv, 1_000).enqueue(1).commit(),
    new TypeError('Too many mutations (max 1000)'),
  ],
  [
    '819,201 bytes',
    (kv) => filled(kv, 32_637).commit(),
    new TypeError('Total mutation size too large (max 819200 bytes)'),
  ],
  [
    '81,921 bytes of keys that get values',
    (kv) => keysOf(kv, 41, 'set').commit(),
    new TypeError('Total key size too large (max 81920 bytes)'),
  ],
  [
    'a message of 65,537 bytes',
    (kv) => kv.enqueue(text(65_531)),
    new TypeError('enqueue payload too large (max 65536 bytes)'),
  ],
  ['a message that is a function', (kv) => kv.enqueue(() => 1), new TypeError('() => 1 could not be cloned.')],
  ['expireIn of -1', (kv) => kv.set(['a'], 1, { expireIn: -1 }), expireIn('-1')],
  ['expireIn of 1.5', (kv) => kv.set(['a'], 1, { expireIn: 1.5 }), expireIn('1.5')],
  ['expireIn of NaN', (kv) => kv.set(['a'], 1, { expireIn: Number.NaN }), expireIn('NaN')],
  ['expireIn of null', (kv) => kv.set(['a'], 1, { expireIn: any(null) }), expireIn('null')],
  [
    'expireIn of 2^53',
    (kv) => kv.set(['a'], 1, { expireIn: 2 ** 53 }),
    new TypeError('Invalid mutation: expireIn is too large: 9007199254740992'),
  ],
  [
    'a delay that is no number',
    (kv) => kv.enqueue(1, { delay: any('5') }),
    new TypeError('serde_v8 error: invalid type; expected: integer, got: string'),
  ],
  [
    'a schedule that is no list',
    (kv) => kv.enqueue(1, { backoffSchedule: any({}) }),
    new TypeError('serde_v8 error: invalid type; expected: array, got: unknown'),
  ],
  [
    'keys of an undelivered message that are no list',
    (kv) => kv.enqueue(1, { keysIfUndelivered: any('x') }),
    new TypeError('serde_v8 error: invalid type; expected: array, got: string'),
  ],
  ['a delay of -1', (kv) => kv.enqueue(1, { delay: -1 }), new TypeError('Delay must be >= 0: received -1')],
  ['a delay of NaN', (kv) => kv.enqueue(1, { delay: Number.NaN }), new TypeError('Delay cannot be NaN')],
  [
    'a delay of more than 30 days',
    (kv) => kv.enqueue(1, { delay: 2_592_000_001 }),
    new TypeError('Delay cannot be greater than 30 days: received 2592000001'),
  ],
  [
    '6 intervals',
    (kv) => kv.enqueue(1, { backoffSchedule: [1, 2, 3, 4, 5, 6] }),
    new TypeError('Invalid backoffSchedule, max 5 intervals allowed'),
  ],
  ...[-1, 3_600_001, Number.NaN, Infinity].map((interval): Refusal => [
    `an interval of ${interval}`,
    (kv) => kv.enqueue(1, { backoffSchedule: [1, interval] }),
    new TypeError('Invalid backoffSchedule, interval at index 1 is invalid'),
  ]),
  [
    '11 keys of an undelivered message',
    (kv) => kv.enqueue(1, { keysIfUndelivered: many(11, (i) => [i]) }),
    new TypeError('Too many keys in keysIfUndelivered (max 10)'),
  ],
  ['an empty key of an undelivered message', (kv) => kv.enqueue(1, { keysIfUndelivered: [[]] }), EMPTY],
  [
    'a long key of an undelivered message',
    (kv) => kv.enqueue(1, { keysIfUndelivered: [[text(2_047)]] }),
    TOO_LONG_TO_WRITE,
  ],
  ['a list of a long prefix', (kv) => kv.list({ prefix: [text(2_047)] }).next(), TOO_LONG_TO_READ],
  [
    'a list from another prefix',
    (kv) => kv.list({ prefix: ['a'], start: ['b'] }).next(),
    new TypeError('Start key is not in the keyspace defined by prefix'),
  ],
  [
    'a list of more than 1,000 at a time',
    (kv) => kv.list({ prefix: [] }, { batchSize: 1_001 }).next(),
    new TypeError('Too many entries (max 1000)'),
  ],
  [
    'a list from no cursor',
    (kv) => kv.list({ prefix: ['a'] }, { cursor: '!' }).next(),
    new TypeError('invalid cursor'),
  ],
  [
    'a list with another consistency',
    (kv) => kv.list({ prefix: [] }, { consistency: any('x') }).next(),
    new TypeError('unknown variant `x`, expected `strong` or `eventual`'),
  ],
  [
    'a listener that is none',
    (kv) => kv.listenQueue(any(1)),
    new TypeError('Cannot listen: the handler must be a function'),
  ],
];

const atOnce: readonly Refusal[] = [
  [
    'a list of nothing',
    (kv) => kv.list(any({})),
    new TypeError(`Selector must specify either 'prefix' or both 'start' and 'end' key`),
  ],
  [
    'a list of too much',
    (kv) => kv.list(any({ prefix: ['a'], start: ['a', 1], end: ['a', 2] })),
    new TypeError(`Selector can not specify both 'start' and 'end' key when specifying 'prefix'`),
  ],
  ...[0, -1, 1.5, Infinity].map((limit): Refusal => [
    `a list of ${limit}`,
    (kv) => kv.list({ prefix: [] }, { limit }),
    new Error(`Limit must be a positive integer: received ${limit}`),
  ]),
  [
    'a list of 0 at a time',
    (kv) => kv.list({ prefix: [] }, { batchSize: 0 }),
    new Error('batchSize must be a positive integer: received 0'),
  ],
  [
    'a cursor before the first entry',
    (kv) => kv.list({ prefix: [] }).cursor,
    new Error('Cannot get cursor before first iteration'),
  ],
  ['a watch of 11 keys', (kv) => kv.watch(many(11, (i) => [i])), new TypeError('Too many keys (max 10)')],
  ['a watch of a part that is none', (kv) => kv.watch([[any(null)]]), BAD_PART],
  [
    'a mutation of no kind',
    (kv) => kv.atomic().mutate(any({ key: ['a'], type: 'x' })),
    new TypeError('Invalid mutation type'),
  ],
  [
    'a mutation that sets nothing',
    (kv) => kv.atomic().mutate(any({ key: ['a'], type: 'set' })),
    new TypeError(`Invalid mutation 'set' without value`),
  ],
  [
    'a sum of nothing',
    (kv) => kv.atomic().mutate(any({ key: ['a'], type: 'sum' })),
    new TypeError(`Invalid mutation 'sum' without value`),
  ],
  [
    'a mutation that deletes a value',
    (kv) => kv.atomic().mutate(any({ key: ['a'], type: 'delete', value: 1 })),
    new TypeError(`Invalid mutation 'delete' with value`),
  ],
  [
    'a sum of a number',
    (kv) => kv.atomic().sum(['a'], any(1)),
    new TypeError('Value must be a bigint: received number'),
  ],
  [
    'a sum below 0',
    (kv) => kv.atomic().sum(['a'], -1n),
    new RangeError('Value must be a positive bigint: received -1'),
  ],
  [
    'a max of more than 64 bits',
    (kv) => kv.atomic().max(['a'], 2n ** 64n),
    new RangeError('Value must fit in a 64-bit unsigned integer'),
  ],
  [
    'an atomic set of a function',
    (kv) => kv.atomic().set(['a'], () => 1),
    new TypeError('() => 1 could not be cloned.'),
  ],
  ['an atomic set for -1 ms', (kv) => kv.atomic().set(['a'], 1, { expireIn: -1 }), expireIn('-1')],
  [
    'an atomic enqueue of 6 intervals',
    (kv) => kv.atomic().enqueue(1, { backoffSchedule: many(6, () => 1) }),
    new TypeError('Invalid backoffSchedule, max 5 intervals allowed'),
  ],
  [
    'an atomic operation that is awaited',
    (kv) => any<{ then: () => void }>(kv.atomic()).then(),
    new TypeError(`'Deno.AtomicOperation' is not a promise: did you forget to call 'commit()'`),
  ],
];

const wrongTypes: readonly Refusal[] = [
  ['sum of a text', (kv) => kv.atomic().sum(['text'], 1n).commit(), notU64('sum')],
  ['min of a text', (kv) => kv.atomic().min(['text'], 1n).commit(), notU64('min')],
  [
    'min with a number',
    (kv) =>
      kv
        .atomic()
        .mutate(any({ key: ['u64'], type: 'min', value: 1 }))
        .commit(),
    new TypeError(`Failed to perform 'min' mutation on a non-U64 operand`),
  ],
  [
    'sum with a text',
    (kv) =>
      kv
        .atomic()
        .mutate(any({ key: ['number'], type: 'sum', value: 'x' }))
        .commit(),
    new TypeError('Some of the parameters are not valid V8 values'),
  ],
  [
    'sum of a number with a bigint',
    (kv) =>
      kv
        .atomic()
        .mutate({ key: ['number'], type: 'sum', value: 1n })
        .commit(),
    new TypeError('Cannot sum Number with BigInt'),
  ],
  [
    'a sum with bounds of another type',
    (kv) =>
      kv
        .atomic()
        .mutate({ key: ['number'], type: 'sum', value: 1, max: 5n })
        .commit(),
    new TypeError('Min/max parameters have different types than the operand'),
  ],
  [
    'a sum beyond its bounds',
    (kv) =>
      kv
        .atomic()
        .mutate({ key: ['number'], type: 'sum', value: -9, min: 0 })
        .commit(),
    new TypeError('The result of a Sum operation would exceed its range limit'),
  ],
];

describe('KV refuses in the words of Deno', () => {
  test.each(later)('%s, later', async (_name, act, error) => {
    const { kv } = (await startInMemory()).hf;
    const promise = act(kv);
    expect(promise).toBeInstanceOf(Promise);
    await expect(promise).rejects.toThrow(error);
    await expect(promise).rejects.toMatchObject({ constructor: error.constructor });
    expect((await kv.list({ prefix: [] }).next()).done).toBe(true);
  });

  test.each(atOnce)('%s, at once', async (_name, act, error) => {
    const { kv } = (await startInMemory()).hf;
    const thrown = thrownBy(() => act(kv));
    expect(thrown).toEqual(error);
    expect(thrown).toMatchObject({ constructor: error.constructor });
  });

  test.each(wrongTypes)('%s, after a look at what is there', async (_name, act, error) => {
    const { kv } = (await startInMemory()).hf;
    await kv.atomic().set(['text'], 'x').set(['number'], 5).set(['u64'], new KvU64(5n)).commit();
    const before = await kv.getMany([['text'], ['number'], ['u64']]);
    await expect(act(kv)).rejects.toThrow(error);
    await expect(kv.getMany([['text'], ['number'], ['u64']])).resolves.toEqual(before);
  });
});

describe('KV takes as much as Deno', () => {
  test.each<[string, (kv: HoldfastKv) => Promise<unknown>]>([
    ['a key of 2,048 bytes', (kv) => kv.set([text(2_046)], 1)],
    ['a value of 65,536 bytes', (kv) => kv.set(['a'], new Uint8Array(65_536))],
    ['65,530 characters', (kv) => kv.set(['a'], text(65_530))],
    ['a message of 65,530 characters', (kv) => kv.enqueue(text(65_530))],
    ['a delay of 30 days', (kv) => kv.enqueue(1, { delay: 2_592_000_000 })],
    ['a delay that is not whole', (kv) => kv.enqueue(1, { delay: 1.5, backoffSchedule: [1.5] })],
    [
      '100 checks',
      (kv) =>
        kv
          .atomic()
          .check(...many(100, (i) => ({ key: [i], versionstamp: null })))
          .commit(),
    ],
    ['1,000 mutations', (kv) => atomicOf(kv, 1_000).commit()],
    ['819,200 bytes', (kv) => filled(kv, 32_636).commit()],
    ['81,920 bytes of keys', (kv) => keysOf(kv, 40, 'set').commit()],
    ['any keys that are deleted', (kv) => keysOf(kv, 100, 'delete').commit()],
    ['an expiry of 140,000 years', (kv) => kv.set(['a'], 1, { expireIn: 2 ** 52 })],
    ['nothing at all', (kv) => kv.atomic().commit()],
    ['undefined', (kv) => kv.set(['a'], undefined)],
    [
      'a mutation without a number for expireIn',
      (kv) =>
        kv
          .atomic()
          .mutate(any({ key: ['a'], type: 'set', value: 1, expireIn: null }))
          .commit(),
    ],
  ])('%s', async (_name, act) => {
    const { kv } = (await startInMemory()).hf;
    expect(await act(kv)).toEqual({ ok: true, versionstamp: expect.stringMatching(/^[0-9a-f]{16}0000$/) });
  });

  test('and reads that are empty', async () => {
    const { kv } = (await startInMemory()).hf;
    expect(await kv.get([])).toEqual({ key: [], value: null, versionstamp: null });
    expect(await kv.get([text(2_046)])).toMatchObject({ value: null });
    expect(await kv.getMany([])).toEqual([]);
    expect(await kv.list({ prefix: [text(2_046)] }).next()).toEqual({ done: true, value: undefined });
    const never = { key: ['a'], versionstamp: 'ffffffffffffffffffff' };
    expect(await kv.atomic().check(never).commit()).toEqual({ ok: false });
  });
});

describe('open() with kv', () => {
  test('lifts limits', async () => {
    const kv: KvOptions = {
      maxValueBytes: 4_194_304,
      maxChecks: 101,
      maxMutations: 1_001,
      maxKeys: 11,
      maxBatchSize: 1_001,
      maxBackoffIntervals: 6,
      maxKeysIfUndelivered: 11,
    };
    const { hf } = await startInMemory({ kv });
    const large = new Uint8Array(4_000_000).fill(7);
    await hf.kv.atomic().set(['a'], large).set(['b'], large).commit();
    // A matcher would look at each of the bytes by itself.
    expect(Buffer.compare((await hf.kv.get<Uint8Array>(['b'])).value as Uint8Array, large)).toBe(0);
    await atomicOf(hf.kv, 1_001)
      .check(...many(101, (i) => ({ key: ['c', i], versionstamp: null })))
      .commit();
    expect(await hf.kv.getMany(many(11, (i) => [i]))).toHaveLength(11);
    await hf.kv.enqueue(new Uint8Array(1_000_000), {
      backoffSchedule: [1, 2, 3, 4, 5, 6],
      keysIfUndelivered: many(11, (i) => [i]),
    });
    const list = hf.kv.list({ prefix: [] }, { batchSize: 1_001 });
    expect((await list.next()).done).toBe(false);
    await expect(hf.kv.set(['a'], new Uint8Array(4_194_305))).rejects.toThrow('Value too large (max 4194304 bytes)');
    await expect(hf.kv.atomic().set(['a'], large).set(['b'], large).set(['c'], large).commit()).rejects.toThrow(
      'Total mutation size too large (max 8388608 bytes)',
    );
  });

  test('lowers limits', async () => {
    const { hf } = await startInMemory({ kv: { maxValueBytes: 10, maxAtomicBytes: 100 } });
    await expect(hf.kv.set(['a'], new Uint8Array(11))).rejects.toThrow('Value too large (max 10 bytes)');
    await expect(keysOf(hf.kv, 1, 'delete').commit()).rejects.toThrow('Total mutation size too large (max 100 bytes)');
  });

  test('counts keys of undelivered messages where a commit could not hold them', async () => {
    const { hf } = await startInMemory({ kv: { maxKeysIfUndelivered: 10_000 } });
    const keysIfUndelivered = many(4_200, (i) => [text(2_000), i]);
    await expect(hf.kv.enqueue(1, { keysIfUndelivered })).rejects.toThrow(
      'Total mutation size too large (max 4194304 bytes)',
    );
  });

  test.each<[object, RegExp]>([
    [{ maxValueBytes: 4_194_305 }, /Cannot use 4194305 as "kv.maxValueBytes"/],
    [{ maxKeys: 0 }, /Cannot use 0 as "kv.maxKeys"/],
    [{ maxBytes: 1 }, /Cannot use "maxBytes" as an option of "kv"/],
  ])('refuses %j', async (kv, message) => {
    await expect(startInMemory({ kv })).rejects.toThrow(message);
  });
});

function expireIn(received: string): TypeError {
  return new TypeError(`expireIn must be a non-negative integer: received ${received}`);
}

function notU64(kind: string): TypeError {
  return new TypeError(`Failed to perform '${kind}' mutation on a non-U64 value in the database`);
}

function atomicOf(kv: HoldfastKv, mutations: number): ReturnType<HoldfastKv['atomic']> {
  const atomic = kv.atomic();
  for (let i = 0; i < mutations; i++) atomic.delete([i]);
  return atomic;
}

/** Twelve full values and one of these bytes: keys of 5 bytes, and one of 6, count twice. */
function filled(kv: HoldfastKv, bytes: number): ReturnType<HoldfastKv['atomic']> {
  const atomic = kv.atomic();
  for (let i = 0; i < 12; i++) atomic.set([Uint8Array.of(i, 1, 1)], new Uint8Array(65_536));
  return atomic.set([Uint8Array.of(99, 1, 1)], new Uint8Array(bytes));
}

/** Keys of 2,048 bytes. */
function keysOf(kv: HoldfastKv, count: number, what: 'set' | 'delete'): ReturnType<HoldfastKv['atomic']> {
  const atomic = kv.atomic();
  for (let i = 0; i < count; i++) {
    const key = [text(2_037), i];
    if (what === 'set') atomic.set(key, 1);
    else atomic.delete(key);
  }
  return atomic;
}

function thrownBy(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  return undefined;
}
