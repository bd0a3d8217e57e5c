import { deserialize, serialize } from 'node:v8';
import { describe, expect, test } from 'vitest';
import { decode } from '#holdfast/codec/bson.js';
import type { KvCommit, Reply } from '#holdfast/model/command.js';
import { KV_ENCODING, type KvCheck, type KvEffects, type KvMutation, type KvValue } from '#holdfast/model/kv.js';
import { grantOf } from '#holdfast/model/scopes.js';
import { blockOf, type Delivered, type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { messageOf, viewOf } from '../helpers/machine-views.ts';

/** A key of one part, a text; see `kv-key.ts`. */
const keyOf = (text: string): Uint8Array => Buffer.from(`\u0002${text}\0`);
const bytes = (text: string): KvValue => ({ encoding: KV_ENCODING.bytes, bytes: Buffer.from(text) });
const v8 = (value: unknown): KvValue => ({ encoding: KV_ENCODING.v8, bytes: serialize(value) });

function u64(value: bigint): KvValue {
  const number = Buffer.alloc(8);
  number.writeBigUInt64LE(value);
  return { encoding: KV_ENCODING.u64, bytes: number };
}

const set = (key: string, value: KvValue = bytes(key), expireInMs?: number): KvMutation => ({
  kind: 'set',
  key: keyOf(key),
  value,
  expireInMs,
  isStamped: false,
});
const remove = (key: string): KvMutation => ({ kind: 'delete', key: keyOf(key) });
const sum = (key: string, value: KvValue): KvMutation => ({ kind: 'sum', key: keyOf(key), value, limits: undefined });

function commit(client: MachineClient, mutations: readonly KvMutation[], more: Partial<KvCommit> = {}): Reply {
  return client.ask({ kind: 'kvCommit', checks: [], produced: [], ...more, mutations });
}

function versionOf(reply: Reply): number {
  if (reply.kind !== 'kvCommitted') throw new Error(`Not committed: ${JSON.stringify(reply)}`);
  return reply.version;
}

function read(client: MachineClient, ...keys: string[]): unknown[] {
  const reply = client.ask({ kind: 'kvRead', keys: keys.map(keyOf), ranges: [] });
  if (reply.kind !== 'kvRead') throw new Error(`Not read: ${JSON.stringify(reply)}`);
  return reply.entries.map((entry) => entry && shown(entry));
}

function shown({ encoding, bytes: content }: KvValue): unknown {
  if (encoding === KV_ENCODING.u64) return Buffer.from(content).readBigUInt64LE();
  return encoding === KV_ENCODING.v8 ? deserialize(content) : Buffer.from(content).toString();
}

function check(key: string, version: number): KvCheck {
  return { key: keyOf(key), version };
}

function list(client: MachineClient, limit: number, reverse = false): { keys: string[]; isEnd: boolean } {
  const range = { from: keyOf(''), to: Uint8Array.of(3), limit, reverse };
  const reply = client.ask({ kind: 'kvRead', keys: [], ranges: [range] });
  if (reply.kind !== 'kvRead') throw new Error(`Not read: ${JSON.stringify(reply)}`);
  const [page = { entries: [], isEnd: true }] = reply.pages;
  return { keys: page.entries.map(({ key }) => Buffer.from(key).toString().slice(1, -1)), isEnd: page.isEnd };
}

/** A message under a lease. */
function held(
  run: MachineRun,
  policy: Parameters<MachineClient['declare']>[1] = {},
): [MachineClient, Delivered, number] {
  const worker = run.client('worker');
  const ref = worker.declare('mail', policy);
  worker.produce(ref);
  worker.window(1, ref, 10);
  const [lease] = worker.take();
  worker.started([lease as Delivered]);
  return [worker, lease as Delivered, ref];
}

const ack = { kind: 'ack', result: undefined } as const;

describe('kvCommit', () => {
  test('writes and deletes, each commit with a higher version, also behind a restart', () => {
    const run = new MachineRun();
    const client = run.client('a');
    const first = versionOf(commit(client, [set('x'), set('y')]));
    expect(read(client, 'x', 'y', 'z')).toEqual(['x', 'y', undefined]);
    run.reload();
    const second = versionOf(commit(client, [remove('x'), set('z')]));
    expect(second).toBeGreaterThan(first);
    expect(read(client, 'x', 'y', 'z')).toEqual([undefined, 'y', 'z']);
    expect(versionOf(commit(client, []))).toBeGreaterThan(second);
  });

  test('happens when all checks hold, and else not at all', () => {
    const run = new MachineRun();
    const client = run.client('a');
    const version = versionOf(commit(client, [set('x')]));
    for (const checks of [[check('x', 0)], [check('x', version), check('y', version)], [check('x', version + 1)]]) {
      expect(commit(client, [set('x', bytes('other'))], { checks })).toEqual({ kind: 'kvConflict' });
    }
    expect(read(client, 'x')).toEqual(['x']);
    const checks = [check('x', version), check('y', 0)];
    expect(commit(client, [set('x', bytes('other'))], { checks })).toMatchObject({ kind: 'kvCommitted' });
    expect(read(client, 'x')).toEqual(['other']);
  });

  test('sees what the same batch has written before it', () => {
    const run = new MachineRun();
    const { machine, context } = run;
    const { session } = run.client('a');
    const view = {
      get: () => ({ value: undefined }),
      range: () => undefined,
      part: () => undefined,
      pack: () => undefined,
    };
    const effects = { mutations: [sum('n', u64(2n)), sum('n', u64(3n))], produced: [] };
    const first = machine.apply(
      session,
      { request: 1, command: { kind: 'kvCommit', checks: [check('n', 0)], ...effects } },
      context,
      view,
    );
    const version = versionOf(first as Reply);
    const again = { kind: 'kvCommit', checks: [check('n', version)], ...effects } as const;
    expect(machine.apply(session, { request: 2, command: again }, context, view)).toMatchObject({
      kind: 'kvCommitted',
    });
    expect(machine.apply(session, { request: 3, command: again }, context, view)).toEqual({ kind: 'kvConflict' });
    const reader = run.client('b');
    expect(read(reader, 'n')).toEqual([10n]);
  });

  test('is applied once, and a resend gets the first answer', () => {
    const run = new MachineRun();
    const client = run.client('a');
    const reply = commit(client, [sum('n', u64(1n))]);
    const command = { kind: 'kvCommit', checks: [], mutations: [sum('n', u64(1n))], produced: [] } as const;
    expect(run.apply(client.session, client.lastRequest, command)).toEqual(reply);
    run.reload();
    expect(run.apply(client.session, client.lastRequest, command)).toEqual(reply);
    expect(read(client, 'n')).toEqual([1n]);
  });

  test('appends its versionstamp to a key', () => {
    const run = new MachineRun();
    const client = run.client('a');
    const stamped = { ...set('log'), isStamped: true } as KvMutation;
    const version = versionOf(commit(client, [stamped]));
    expect(list(client, 10).keys).toEqual([`log\0\u0002${version.toString(16).padStart(16, '0')}0000`]);
  });

  test('produces in the same commit, or not at all', () => {
    const run = new MachineRun();
    const client = run.client('a');
    const ref = client.declare('mail', { maxBacklog: 2 });
    const produced = (count: number): KvCommit['produced'] => {
      const ids = Array.from({ length: count }, () => run.newId());
      return [
        {
          kind: 'produce',
          ref,
          blocks: [
            blockOf(
              ids,
              ids.map(() => ({})),
            ),
          ],
        },
      ];
    };
    expect(commit(client, [set('x')], { produced: produced(1), checks: [check('x', 9)] })).toEqual({
      kind: 'kvConflict',
    });
    expect(commit(client, [set('x')], { produced: produced(3) })).toMatchObject({
      kind: 'refused',
      code: 'BACKLOG_FULL',
    });
    expect(read(client, 'x')).toEqual([undefined]);
    expect(viewOf(client, 'mail')).toMatchObject({ ready: 0 });
    expect(commit(client, [set('x')], { produced: produced(2) })).toMatchObject({ kind: 'kvCommitted' });
    expect(viewOf(client, 'mail')).toMatchObject({ ready: 2 });
    const unknown = produced(1).map((part) => ({ ...part, ref: 77 }));
    expect(commit(client, [set('y')], { produced: unknown })).toMatchObject({ kind: 'refused', code: 'PROTOCOL' });
    expect(read(client, 'x', 'y')).toEqual(['x', undefined]);
  });
});

describe('numbers', () => {
  const cases: readonly [string, KvValue | undefined, KvMutation, unknown][] = [
    ['sum of two', u64(5n), sum('n', u64(6n)), 11n],
    ['sum wraps around', u64(2n ** 64n - 1n), sum('n', u64(3n)), 2n],
    ['sum of a KvU64 and a bigint', u64(5n), sum('n', v8(2n)), 7n],
    ['sum of a KvU64 and the largest bigint', u64(5n), sum('n', v8(2n ** 64n - 1n)), 4n],
    ['sum of numbers', v8(1.5), sum('n', v8(2)), 3.5],
    ['sum of whole numbers', v8(2 ** 30), sum('n', v8(-1)), 2 ** 30 - 1],
    ['sum of negative ones', v8(-7), sum('n', v8(-8)), -15],
    ['sum that is too large for 31 bits', v8(2 ** 30), sum('n', v8(2 ** 30)), 2 ** 31],
    ['sum of bigints', v8(10n ** 30n), sum('n', v8(-1n)), 10n ** 30n - 1n],
    ['sum that is zero', v8(-5n), sum('n', v8(5n)), 0n],
    ['sum with an absent one', undefined, sum('n', v8(-3n)), -3n],
    ['min', u64(5n), { kind: 'min', key: keyOf('n'), value: u64(4n) }, 4n],
    ['min that stays', u64(5n), { kind: 'min', key: keyOf('n'), value: u64(6n) }, 5n],
    ['max', u64(5n), { kind: 'max', key: keyOf('n'), value: u64(2n ** 63n) }, 2n ** 63n],
    ['max of an absent one', undefined, { kind: 'max', key: keyOf('n'), value: u64(1n) }, 1n],
    [
      'clamped sum',
      v8(9),
      { ...sum('n', v8(9)), limits: { min: undefined, max: serialize(10), isClamped: true } } as KvMutation,
      10,
    ],
    [
      'sum within bounds',
      v8(9n),
      { ...sum('n', v8(-9n)), limits: { min: serialize(0n), max: undefined, isClamped: false } } as KvMutation,
      0n,
    ],
  ];

  test.each(cases)('%s', (_name, before, mutation, after) => {
    const client = new MachineRun().client('a');
    if (before !== undefined) commit(client, [set('n', before, 1_000)]);
    expect(commit(client, [mutation])).toMatchObject({ kind: 'kvCommitted' });
    expect(read(client, 'n')).toEqual([after]);
  });

  const refusals: readonly [string, KvValue | undefined, KvMutation][] = [
    ["Failed to perform 'sum' mutation on a non-U64 value in the database", bytes('5'), sum('n', u64(6n))],
    ["Failed to perform 'sum' mutation on a non-U64 value in the database", v8('5'), sum('n', u64(6n))],
    ["Failed to perform 'sum' mutation on a non-U64 value in the database", v8(5), sum('n', u64(6n))],
    ["Failed to perform 'sum' mutation on a non-U64 value in the database", v8(5n), sum('n', u64(6n))],
    [
      "Failed to perform 'min' mutation on a non-U64 value in the database",
      v8(5),
      { kind: 'min', key: keyOf('n'), value: u64(4n) },
    ],
    ["Failed to perform 'max' mutation on a non-U64 operand", u64(5n), { kind: 'max', key: keyOf('n'), value: v8(4) }],
    ['Some of the parameters are not valid V8 values', u64(5n), sum('n', v8('4'))],
    ['Cannot sum Number with BigInt', v8(5), sum('n', v8(4n))],
    ['Cannot sum KvU64 with Number', u64(5n), sum('n', v8(4))],
    ['Cannot sum KvU64 with BigInt', u64(5n), sum('n', v8(2n ** 64n))],
    ['Cannot sum KvU64 with BigInt', u64(5n), sum('n', v8(-1n))],
    [
      'The result of a Sum operation would exceed its range limit',
      v8(5),
      { ...sum('n', v8(4)), limits: { min: undefined, max: serialize(8), isClamped: false } } as KvMutation,
    ],
    [
      'Min/max parameters have different types than the operand',
      v8(5),
      { ...sum('n', v8(4)), limits: { min: serialize(0n), max: undefined, isClamped: false } } as KvMutation,
    ],
  ];

  test.each(refusals)('refuses with "%s", and changes nothing', (message, before, mutation) => {
    const client = new MachineRun().client('a');
    if (before !== undefined) commit(client, [set('n', before)]);
    const stood = read(client, 'n');
    expect(commit(client, [set('other'), mutation])).toEqual({ kind: 'refused', code: 'WRONG_TYPE', message });
    expect(read(client, 'n', 'other')).toEqual([...stood, undefined]);
  });
});

describe('kvRead', () => {
  test('lists in the order of the keys, both ways, up to the limit', () => {
    const client = new MachineRun().client('a');
    commit(
      client,
      ['d', 'a', 'c', 'b'].map((key) => set(key)),
    );
    expect(list(client, 10)).toEqual({ keys: ['a', 'b', 'c', 'd'], isEnd: true });
    expect(list(client, 3)).toEqual({ keys: ['a', 'b', 'c'], isEnd: false });
    expect(list(client, 3, true)).toEqual({ keys: ['d', 'c', 'b'], isEnd: false });
  });
});

describe('kvRead of more than one answer takes', () => {
  test('ends a page at about 4 MiB, and says where to go on', () => {
    const client = new MachineRun().client('a');
    const large: KvValue = { encoding: KV_ENCODING.bytes, bytes: new Uint8Array(1_500_000) };
    for (const key of ['a', 'b', 'c', 'd', 'e']) commit(client, [set(key, large)]);
    const range = { from: keyOf(''), to: Uint8Array.of(3), limit: 10, reverse: false };
    const reply = client.ask({ kind: 'kvRead', keys: [], ranges: [range, range] });
    if (reply.kind !== 'kvRead') throw new Error('Not read');
    expect(reply.pages.map(({ entries, isEnd }) => [entries.length, isEnd])).toEqual([
      [3, false],
      [0, false],
    ]);
    expect(reply.pages.map(({ last }) => last && Buffer.from(last).toString())).toEqual(['\u0002c\0', undefined]);
  });

  test('refuses keys whose entries do not fit into one answer', () => {
    const client = new MachineRun().client('a');
    const large: KvValue = { encoding: KV_ENCODING.bytes, bytes: new Uint8Array(4 * 1024 * 1024) };
    const names = Array.from({ length: 17 }, (_, i) => `large ${i}`);
    for (const name of names) commit(client, [set(name, large)]);
    const readAll = (keys: readonly string[]): Reply =>
      client.ask({ kind: 'kvRead', keys: keys.map(keyOf), ranges: [] });
    expect(readAll(names.slice(1))).toMatchObject({ kind: 'kvRead' });
    expect(readAll(names)).toMatchObject({ kind: 'refused', code: 'TOO_MANY' });
  });

  test('says where to go on although all that was looked at has expired', () => {
    const run = new MachineRun();
    const client = run.client('a');
    commit(client, [set('a', bytes('a'), 10), set('b', bytes('b'), 10), set('c')]);
    run.now += 10;
    const range = { from: keyOf(''), to: Uint8Array.of(3), limit: 2, reverse: false };
    const reply = client.ask({ kind: 'kvRead', keys: [], ranges: [range] });
    expect(reply).toMatchObject({ pages: [{ entries: [], isEnd: false, last: Uint8Array.from(keyOf('b')) }] });
  });
});

describe('expiry', () => {
  test('hides an entry at its time, and deletes it', () => {
    const run = new MachineRun();
    const client = run.client('a');
    commit(client, [set('x', bytes('x'), 1_000), set('y', bytes('y'), 2_000), set('z')]);
    run.now += 999;
    expect(read(client, 'x')).toEqual(['x']);
    run.now += 1;
    expect(read(client, 'x', 'y', 'z')).toEqual([undefined, 'y', 'z']);
    expect(list(client, 9).keys).toEqual(['y', 'z']);
    const version = versionOf(commit(client, [set('a')], { checks: [check('x', 0)] }));
    expect(version).toBeGreaterThan(0);
    run.advance(0);
    run.reload();
    run.advance(1_000);
    expect(list(client, 9).keys).toEqual(['a', 'z']);
    expect(run.kinds).not.toContain(14);
    expect(run.machine.nextWake().machine).toBeGreaterThan(run.now + 100_000);
  });

  test('goes by what was written last', () => {
    const run = new MachineRun();
    const client = run.client('a');
    commit(client, [set('longer', bytes('1'), 1_000), set('ever', bytes('1'), 1_000), set('n', u64(1n), 1_000)]);
    commit(client, [set('longer', bytes('2'), 5_000), set('ever', bytes('2')), sum('n', u64(1n))]);
    run.advance(4_000);
    expect(read(client, 'longer', 'ever', 'n')).toEqual(['2', '2', 2n]);
    run.advance(1_000);
    expect(read(client, 'longer', 'ever', 'n')).toEqual([undefined, '2', 2n]);
  });

  test('deletes a crowd step by step', () => {
    const run = new MachineRun();
    const client = run.client('a');
    for (let i = 0; i < 3; i++) {
      commit(
        client,
        Array.from({ length: 500 }, (_, n) => set(`${i}/${n}`, bytes('x'), 1_000 + i)),
      );
    }
    run.advance(1_001);
    expect(list(client, 2_000).keys).toHaveLength(500);
    run.advance(1);
    expect(list(client, 2_000).keys).toHaveLength(0);
    expect(run.kinds).not.toContain(13);
  });
});

describe('kvWatch', () => {
  const watch = (client: MachineClient, number: number, ...keys: string[]): Reply =>
    client.ask({ kind: 'kvWatch', watch: number, keys: keys.map(keyOf) });

  test('reads, and tells once of the next change', () => {
    const run = new MachineRun();
    const [client, other] = [run.client('a'), run.client('b')];
    commit(other, [set('x')]);
    expect(watch(client, 7, 'x', 'y')).toMatchObject({ entries: [{}, undefined] });
    commit(other, [set('z')]);
    expect(run.notices).toEqual([]);
    commit(other, [set('y'), set('x')]);
    commit(other, [remove('y')]);
    expect(run.notices).toEqual([{ session: 'a', notice: { kind: 'kvChanged', watch: 7 } }]);
    watch(client, 7, 'x');
    watch(client, 7);
    watch(other, 1, 'x');
    other.die();
    run.advance(60_000);
    commit(client, [set('x')]);
    expect(run.notices).toHaveLength(1);
  });

  test('refuses more keys than a session may watch, and counts those that it watches no more as free', () => {
    const client = new MachineRun().client('a');
    const keys = Array.from({ length: 100 }, (_, i) => String(i));
    for (let i = 0; i < 100; i++) expect(watch(client, i, ...keys).kind).toBe('kvRead');
    expect(watch(client, 100, 'one more')).toMatchObject({ kind: 'refused', code: 'TOO_MANY' });
    watch(client, 7);
    expect(watch(client, 100, ...keys).kind).toBe('kvRead');
    commit(client, [set('5')]);
    expect(watch(client, 101, ...keys).kind).toBe('kvRead');
  });

  test('tells when an entry expires', () => {
    const run = new MachineRun();
    const client = run.client('a');
    commit(client, [set('x', bytes('x'), 50)]);
    watch(client, 1, 'x');
    run.advance(50);
    expect(run.notices).toMatchObject([{ notice: { kind: 'kvChanged', watch: 1 } }]);
    expect(read(client, 'x')).toEqual([undefined]);
  });
});

describe('settle with effects', () => {
  const effects = (mutations: readonly KvMutation[], ...checks: KvCheck[]): KvEffects => ({ checks, mutations });

  test('commits them with the ack', () => {
    const run = new MachineRun();
    const [worker, lease] = held(run);
    expect(worker.settle(lease, ack, undefined, effects([sum('n', u64(1n))], check('n', 0)))).toEqual({
      kind: 'settled',
      lost: [],
      conflicts: [],
    });
    expect(viewOf(worker, 'mail')).toMatchObject({ completed: 1 });
    expect(read(worker, 'n')).toEqual([1n]);
  });

  test('leaves the lease and changes nothing when what was read does not hold', () => {
    const run = new MachineRun();
    const [worker, lease] = held(run);
    const version = versionOf(commit(worker, [set('n', u64(5n))]));
    for (const outcome of [
      ack,
      { kind: 'nack', failure: { name: 'Error', message: 'x', stack: undefined }, delayMs: 0 } as const,
    ]) {
      const reply = worker.settle(lease, outcome, undefined, effects([sum('n', u64(1n))], check('n', version - 1)));
      expect(reply).toEqual({ kind: 'settled', lost: [], conflicts: [0] });
    }
    expect(viewOf(worker, 'mail')).toMatchObject({ leased: 1 });
    run.reload();
    expect(worker.settle(lease, ack, undefined, effects([sum('n', u64(1n))], check('n', version)))).toMatchObject({
      conflicts: [],
    });
    expect(read(worker, 'n')).toEqual([6n]);
  });

  test('has no effect without the lease, nor with another outcome than an ack', () => {
    const run = new MachineRun();
    const [worker, lease] = held(run, { backoff: { kind: 'fixed', delayMs: 0, jitter: 0 } });
    worker.settle(
      lease,
      { kind: 'nack', failure: { name: 'Error', message: 'x', stack: undefined }, delayMs: 0 },
      undefined,
      effects([set('x')]),
    );
    expect(worker.settle(lease, ack, undefined, effects([set('y')]))).toMatchObject({ lost: [0] });
    expect(read(worker, 'x', 'y')).toEqual([undefined, undefined]);
  });

  test('fails the attempt, with the reason, when a mutation cannot be', () => {
    const run = new MachineRun();
    const [worker, lease] = held(run, { maxAttempts: 1 });
    commit(worker, [set('n', bytes('text'))]);
    const ids = [run.newId()];
    const produced = [{ kind: 'produce' as const, ref: 1, blocks: [blockOf(ids, [{}])] }];
    worker.settle(lease, ack, produced, effects([set('x'), sum('n', u64(1n))]));
    expect(viewOf(worker, 'mail')).toMatchObject({ dead: 1, ready: 0, leased: 0, totals: { produced: 1 } });
    expect(messageOf(worker, lease.id)).toMatchObject({ failure: { name: 'WRONG_TYPE' } });
    expect(read(worker, 'x')).toEqual([undefined]);
  });
});

describe('undelivered keys', () => {
  const undelivered = [keyOf('lost'), keyOf('also')];

  test('get the message in the commit that gives it up', () => {
    const run = new MachineRun();
    const client = run.client('a');
    const ref = client.declare('mail', { maxAttempts: 2, backoff: { kind: 'fixed', delayMs: 10, jitter: 0 } });
    client.produce(ref, { undelivered }, 'payload');
    client.produce(ref);
    client.window(1, ref, 2);
    for (let attempt = 0; attempt < 2; attempt++) {
      for (const lease of client.take()) {
        client.started([lease]);
        expect(read(client, 'lost', 'also')).toEqual([undefined, undefined]);
        client.nack(lease, 10);
      }
      run.advance(10);
    }
    const reply = client.ask({ kind: 'kvRead', keys: undelivered, ranges: [] });
    if (reply.kind !== 'kvRead') throw new Error('Not read');
    expect(reply.entries.map((entry) => entry && decode(entry.bytes))).toEqual(['payload', 'payload']);
    expect(viewOf(client, 'mail')).toMatchObject({ dead: 2, waiting: 0 });
  });

  test('are written after a crash between the last attempt and that commit', () => {
    const run = new MachineRun();
    const client = run.client('a');
    const ref = client.declare('mail', { maxAttempts: 1 });
    const id = client.produce(ref, { undelivered });
    client.window(1, ref, 1);
    client.nack(client.take()[0] as Delivered);
    expect(viewOf(client, 'mail')).toMatchObject({ waiting: 1, dead: 0 });
    run.reload();
    run.run();
    expect(viewOf(client, 'mail')).toMatchObject({ waiting: 0, dead: 1 });
    expect(read(client, 'lost')[0]).toBeDefined();
    expect(messageOf(client, id)).toMatchObject({ state: 'dead', attempts: 1, failure: { message: 'boom' } });
    expect(messageOf(client, id)?.history.map(({ what }) => what)).toContain('claimed');
  });

  test('are written when the time to live is over, and when its process keeps dying', () => {
    const run = new MachineRun();
    const client = run.client('a');
    const ref = client.declare('mail', { timeToLiveMs: 100, maxDeaths: 1 });
    client.produce(ref, { undelivered: [keyOf('expired')] });
    run.advance(100);
    expect(read(client, 'expired')[0]).toBeDefined();
    const worker = run.client('worker', 'elsewhere');
    worker.declare('mail', { timeToLiveMs: 100, maxDeaths: 1 });
    client.produce(ref, { undelivered: [keyOf('died')] });
    worker.window(1, 1, 1);
    worker.started(worker.take());
    worker.die();
    run.advance(0);
    expect(read(client, 'died')[0]).toBeDefined();
    expect(viewOf(client, 'mail')).toMatchObject({ dead: 2, waiting: 0 });
  });

  test('are not written for a message that is cancelled or purged meanwhile', () => {
    const run = new MachineRun();
    const client = run.client('a');
    const ref = client.declare('mail', { maxAttempts: 1 });
    client.produce(ref, { undelivered });
    client.window(1, ref, 1);
    client.nack(client.take()[0] as Delivered);
    client.ask({ kind: 'control', channel: 'mail', action: 'purge', settings: undefined });
    run.run();
    expect(viewOf(client, 'mail')).toMatchObject({ waiting: 0, ready: 0 });
  });
});

describe('rights', () => {
  const withScopes = (run: MachineRun, ...scopes: string[]): MachineClient =>
    run.client('limited', 'elsewhere', { accessToken: 'a'.repeat(12), grant: grantOf(scopes) });

  test('count for the keys below their prefix alone', () => {
    const run = new MachineRun();
    const client = withScopes(run, 'kv:users:r,w', 'kv:logs/web:w');
    const key = (...parts: string[]): Uint8Array => Buffer.concat(parts.map(keyOf));
    const may = (kind: 'r' | 'w', at: Uint8Array): boolean => {
      const reply =
        kind === 'r'
          ? client.ask({ kind: 'kvRead', keys: [at], ranges: [] })
          : commit(client, [{ kind: 'delete', key: at }]);
      return reply.kind !== 'refused';
    };
    expect([may('r', key('users')), may('r', key('users', '7')), may('w', key('users', '7'))]).toEqual([
      true,
      true,
      true,
    ]);
    expect([may('r', key('users2')), may('w', key('user'))]).toEqual([false, false]);
    expect([may('w', key('logs', 'web', '1')), may('r', key('logs', 'web', '1')), may('w', key('logs'))]).toEqual([
      true,
      false,
      false,
    ]);
    const ranges = (from: Uint8Array, to: Uint8Array): Reply =>
      client.ask({ kind: 'kvRead', keys: [], ranges: [{ from, to, limit: 1, reverse: false }] });
    expect(
      ranges(Buffer.concat([key('users'), Buffer.of(0)]), Buffer.concat([key('users'), Buffer.of(255)])).kind,
    ).toBe('kvRead');
    expect(ranges(key('users'), key('v')).kind).toBe('refused');
    expect(client.ask({ kind: 'kvWatch', watch: 1, keys: [key('x')] })).toMatchObject({ code: 'FORBIDDEN' });
    expect(commit(client, [], { checks: [check('logs', 0)] })).toMatchObject({ code: 'FORBIDDEN' });
  });

  test('count for what a handler says that it read: whether that holds is told to nobody else', () => {
    const run = new MachineRun();
    const trusted = run.client('trusted');
    const version = versionOf(commit(trusted, [set('secret')]));
    const client = withScopes(run, 'channel:mail:produce,consume');
    const ref = client.declare('mail', { maxAttempts: 9 });
    client.window(1, ref, 1);
    const nack = { kind: 'nack', failure: { name: 'Error', message: 'x', stack: undefined }, delayMs: 0 } as const;
    for (const outcome of [ack, nack]) {
      for (const guess of [version, version + 1]) {
        client.produce(ref);
        const [lease] = client.take();
        const effects = { checks: [check('secret', guess)], mutations: [] };
        expect(client.settle(lease as Delivered, outcome, undefined, effects)).toMatchObject({
          lost: [],
          conflicts: [],
        });
        expect(messageOf(trusted, (lease as Delivered).id)).toMatchObject({
          attempts: 1,
          failure: { name: 'FORBIDDEN' },
        });
        trusted.ask({ kind: 'control', channel: 'mail', action: 'purge', settings: undefined });
        run.run();
      }
    }
  });

  test('count for the keys of undelivered messages and for effects', () => {
    const run = new MachineRun();
    const client = withScopes(run, 'channel:mail:produce,consume', 'kv:mine:w');
    const ref = client.declare('mail', { maxAttempts: 1 });
    expect(client.tryProduce(ref, { undelivered: [keyOf('other')] })).toMatchObject({ code: 'FORBIDDEN' });
    expect(client.tryProduce(ref, { undelivered: [keyOf('mine')] })).toMatchObject({ kind: 'produced' });
    client.window(1, ref, 1);
    const [lease] = client.take();
    client.settle(lease as Delivered, ack, undefined, { checks: [], mutations: [set('other')] });
    run.run();
    expect(read(run.client('trusted'), 'other', 'mine').map((value) => value !== undefined)).toEqual([false, true]);
  });
});
