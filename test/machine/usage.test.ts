import { describe, expect, test } from 'vitest';
import { encode } from '#holdfast/codec/bson.js';
import { createChannel } from '#holdfast/machine/channel.js';
import type { Session, Usage } from '#holdfast/machine/memory.js';
import { createSession } from '#holdfast/machine/session.js';
import { createState } from '#holdfast/machine/state.js';
import { MAX_USAGE_ROWS, OF_REST, usageOf as usageRow } from '#holdfast/machine/usage.js';
import { KV_ENCODING, type KvMutation } from '#holdfast/model/kv.js';
import { encodeKvKey } from '#holdfast/model/kv-key.js';
import { DEFAULT_SETTINGS } from '#holdfast/model/policy.js';
import { EVERYTHING, grantOf } from '#holdfast/model/scopes.js';
import { NO_USAGE, type UsageRow } from '#holdfast/model/usage.js';
import { type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { listOf, messageOf, usageOf } from '../helpers/machine-views.ts';

const DAY_MS = 86_400_000;
const ANN = '0000000000a1';
const BOB = '0000000000b2';

/** How many bytes the value takes as a payload. */
const size = (value: unknown): number => encode(value).length;

function withToken(run: MachineRun, accessToken: string): MachineClient {
  return run.client(`client of ${accessToken}`, undefined, { accessToken, grant: EVERYTHING });
}

function rowOf(client: MachineClient, asked: Parameters<typeof usageOf>[1]): Partial<UsageRow> {
  const rows = usageOf(client, asked);
  expect(rows.length).toBe(1);
  const { reads, writes, messages, bytesRead, bytesWritten } = rows[0] as UsageRow;
  return { reads, writes, messages, bytesRead, bytesWritten };
}

const setOf = (key: string, bytes: Uint8Array): KvMutation => ({
  kind: 'set',
  key: encodeKvKey([key]),
  value: { encoding: KV_ENCODING.bytes, bytes },
  expireInMs: undefined,
  isStamped: false,
});

describe('usage', () => {
  test('has messages that were stored, and settles, with their bytes, by token and channel', () => {
    const run = new MachineRun();
    const [ann, bob] = [withToken(run, ANN), withToken(run, BOB)];
    const mail = ann.declare('mail');
    ann.produceSome(mail, [{}, {}], 'hello');
    ann.produce(ann.declare('other'), {}, 'another');
    const consumed = bob.declare('mail');
    bob.window(1, consumed, 10);
    const leases = bob.take();
    expect(leases.length).toBe(2);
    bob.settle(leases[0] as never, { kind: 'ack', result: encode('done') });
    bob.settle(leases[1] as never, { kind: 'release' });
    // A settle that does not hold is none.
    bob.settle(leases[0] as never, { kind: 'ack', result: encode('done') });
    expect(usageOf(ann).map(({ day, token, of, channel }) => [day, token, of, channel])).toEqual([
      ['2030-01-01', ANN, 'channel', 'mail'],
      ['2030-01-01', ANN, 'channel', 'other'],
      ['2030-01-01', BOB, 'channel', 'mail'],
    ]);
    const written = { ...NO_USAGE, messages: 2, writes: 2, bytesWritten: 2 * size('hello') };
    expect(rowOf(ann, { token: ANN, channel: 'mail' })).toEqual(written);
    expect(rowOf(ann, { token: BOB })).toEqual({ ...NO_USAGE, writes: 2, bytesWritten: size('done') });
  });

  test('has what was delivered and shown', () => {
    const run = new MachineRun();
    const ann = withToken(run, ANN);
    const id = ann.produce(ann.declare('mail'), {}, 'hello');
    messageOf(ann, id);
    messageOf(ann, '00000000-0000-7000-8000-000000000000');
    listOf(ann, 'mail', 'ready');
    listOf(ann, 'mail', 'dead');
    expect(rowOf(ann, { token: ANN })).toMatchObject({ reads: 2, bytesRead: 2 * size('hello') });
  });

  test('has reads and writes of KV in a row of their own', () => {
    const run = new MachineRun();
    const client = run.client('client');
    const [a, b] = [encodeKvKey(['a']), encodeKvKey(['b'])];
    const value = new Uint8Array(100);
    client.ask({
      kind: 'kvCommit',
      checks: [],
      mutations: [setOf('a', value), { kind: 'delete', key: b }],
      produced: [],
    });
    const missed = [{ key: a, version: 0 }];
    client.ask({ kind: 'kvCommit', checks: missed, mutations: [setOf('b', value)], produced: [] });
    expect(rowOf(client, {})).toEqual({ ...NO_USAGE, writes: 2, bytesWritten: a.length + 100 + b.length });
    client.ask({
      kind: 'kvRead',
      keys: [a, b],
      ranges: [{ from: a, to: encodeKvKey(['z']), limit: 10, reverse: false }],
    });
    client.ask({ kind: 'kvWatch', watch: 1, keys: [a] });
    expect(rowOf(client, {})).toMatchObject({ reads: 4, bytesRead: 100 + (a.length + 100) + 100 });
    expect(usageOf(client)).toMatchObject([{ token: 'embedded', of: 'kv', channel: undefined }]);
    expect(usageOf(client, { channel: 'mail' })).toEqual([]);
  });

  test('has effects and messages that come with an ack, and none where it is refused', () => {
    const run = new MachineRun();
    const client = run.client('client');
    const [mail, next] = [client.declare('mail'), client.declare('next')];
    client.window(1, mail, 1);
    client.produce(mail);
    const [lease] = client.take();
    const effects = { checks: [], mutations: [setOf('a', new Uint8Array(10))] };
    client.settle(lease as never, { kind: 'ack', result: undefined }, [], effects);
    client.produce(mail);
    const [other] = client.take();
    client.settle(
      other as never,
      { kind: 'nack', failure: { name: 'E', message: '', stack: undefined }, delayMs: 9 },
      [],
      effects,
    );
    expect(usageOf(client)).toMatchObject([
      { of: 'kv', writes: 1, bytesWritten: encodeKvKey(['a']).length + 10 },
      { channel: 'mail', messages: 2, writes: 4 },
    ]);
    client.produce(next);
    expect(rowOf(client, { channel: 'next' })).toMatchObject({ messages: 1, writes: 1 });
  });

  test('goes on over restarts, in records of each broker, and while one is loading', () => {
    const run = new MachineRun();
    const client = run.client('client');
    const mail = client.declare('mail');
    client.produce(mail, {}, 'a');
    run.reload();
    client.produce(mail, {}, 'b');
    run.reload(undefined, () => void client.produce(mail, {}, 'c'));
    const rows = usageOf(client);
    expect(rows.map(({ messages }) => messages)).toEqual([1, 1, 1]);
    expect(new Set(rows.map(({ channel }) => channel))).toEqual(new Set(['mail']));
  });

  test('is kept by day, for 93 days', () => {
    const run = new MachineRun();
    const client = run.client('client');
    const mail = client.declare('mail');
    const first = run.now;
    client.produce(mail);
    run.advance(2 * DAY_MS);
    client.produceSome(mail, [{}, {}]);
    const all = { from: first, to: run.now };
    expect(usageOf(client, all).map(({ day, messages }) => [day, messages])).toEqual([
      ['2030-01-01', 1],
      ['2030-01-03', 2],
    ]);
    expect(usageOf(client).map(({ messages }) => messages)).toEqual([2]);
    expect(usageOf(client, { to: first }).map(({ messages }) => messages)).toEqual([1]);
    run.advance(92 * DAY_MS);
    client.produce(mail);
    expect(usageOf(client, { from: first }).map(({ day }) => day)).toEqual(['2030-01-03', '2030-04-05']);
  });

  test('counts the channels that there is no room for together, for each token', () => {
    const state = createState('test');
    const [ann, bob] = [createSession(1, 'a', 'host', ANN), createSession(2, 'b', 'host', BOB)];
    const rowIn = (session: Session, number: number): Usage => {
      const channel = createChannel(number, `mail/${number}`, DEFAULT_SETTINGS);
      return usageRow(state, session, channel, { usage: undefined });
    };
    const rows = Array.from({ length: MAX_USAGE_ROWS }, (_, i) => rowIn(ann, i + 1));
    expect(new Set(rows).size).toBe(MAX_USAGE_ROWS);
    const rest = rowIn(ann, MAX_USAGE_ROWS + 1);
    expect(rest).toMatchObject({ token: ANN, channel: OF_REST });
    expect(rowIn(ann, MAX_USAGE_ROWS + 2)).toBe(rest);
    expect(rowIn(bob, 1)).toMatchObject({ token: BOB, channel: OF_REST });
    expect(rowIn(ann, 1)).toBe(rows[0]);
    // The next day has room again.
    state.now += DAY_MS;
    expect(rowIn(bob, 1)).toMatchObject({ token: BOB, channel: 1, day: 1 });
  });

  test('takes server:admin', () => {
    const run = new MachineRun();
    const grant = grantOf(['channel:*:produce,consume,read,admin']);
    const client = run.client('client', undefined, { accessToken: ANN, grant });
    const command = { kind: 'inspect', what: 'usage', from: undefined, to: undefined } as const;
    const rest = { token: undefined, channel: undefined, after: undefined };
    expect(client.ask({ ...command, ...rest })).toMatchObject({ kind: 'refused', code: 'FORBIDDEN' });
  });
});
