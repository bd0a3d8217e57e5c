import { describe, expect, test } from 'vitest';
import { KIND } from '#holdfast/machine/layout.js';
import { ByteWriter } from '#holdfast/model/bytes.js';
import { noteProduced, createProduceTimes, producedAt } from '#holdfast/machine/produce-times.js';
import { bucketOf, countOf, type Histogram, meanMs } from '#holdfast/model/histogram.js';
import { type ChannelMetrics, NO_TOTALS, summarizeMetrics } from '#holdfast/model/metrics.js';
import { DEFAULT_SETTINGS } from '#holdfast/model/policy.js';
import { grantOf } from '#holdfast/model/scopes.js';
import { applyWrites } from '#holdfast/store/memory.js';
import { dedupe, type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { metricsOf, viewOf } from '../helpers/machine-views.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

interface Setup {
  readonly run: MachineRun;
  readonly client: MachineClient;
  readonly mail: number;
}

/** A machine whose minute has just begun, and a channel with failures that are tried again at once. */
function start(policy: Parameters<MachineClient['declare']>[1] = {}): Setup {
  const run = new MachineRun();
  const client = run.client('client');
  const mail = client.declare('mail', { backoff: { kind: 'fixed', delayMs: 0, jitter: 0 }, ...policy });
  return { run, client, mail };
}

function mailOf(client: MachineClient, asked: Parameters<typeof metricsOf>[1] = {}): ChannelMetrics {
  const [metrics] = metricsOf(client, { channel: 'mail', stepMs: MINUTE_MS, ...asked });
  if (metrics === undefined) throw new Error('There are no metrics of "mail"');
  return metrics;
}

/** What is not 0 of the counts of each minute. */
function countsOf({ points, from }: ChannelMetrics): unknown[] {
  return points.map(({ at, counts }) => [
    (at - from) / MINUTE_MS,
    Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0)),
  ]);
}

/** The only time in a histogram, as the bucket that it is in. */
function onlyBucket({ first, counts }: Histogram): number {
  expect(counts).toEqual([1]);
  return first;
}

describe('metrics', () => {
  test('have what happened in each minute, and in no other', () => {
    const { run, client, mail } = start({ maxAttempts: 2 });
    client.window(1, mail, 10);
    client.produceSome(mail, [{}, {}, {}]);
    const [a, b, c] = client.take();
    if (a === undefined || b === undefined || c === undefined) throw new Error('Nothing was delivered');
    client.ack(a);
    run.advance(MINUTE_MS);
    client.nack(b);
    client.settle(c, { kind: 'fail', failure: { name: 'Error', message: 'no', stack: undefined } });
    run.advance(2 * MINUTE_MS);
    client.nack(client.take()[0] ?? b);
    const from = run.now - 3 * MINUTE_MS;
    expect(countsOf(mailOf(client, { from }))).toEqual([
      [0, { produced: 3, completed: 1 }],
      [1, { dead: 1, redelivered: 1, failed: 2 }],
      [3, { dead: 1, failed: 1 }],
    ]);
    const whole = mailOf(client, { from, stepMs: undefined });
    expect(countsOf(whole)).toEqual([[0, { produced: 3, completed: 1, dead: 2, redelivered: 1, failed: 3 }]]);
    expect(whole.points[0]?.counts).toEqual(viewOf(client, 'mail').totals);
    expect(countsOf(mailOf(client, { from, stepMs: 2 * MINUTE_MS }))).toEqual([
      [0, { produced: 3, completed: 1, dead: 1, redelivered: 1, failed: 2 }],
      [2, { dead: 1, failed: 1 }],
    ]);
  });

  test('count what was cancelled, purged, deduplicated, expired and could not be decoded', () => {
    const { run, client, mail } = start({ timeToLiveMs: 5_000, dedupe: { windowMs: 1_000, mode: 'reject' } });
    client.produceSome(mail, [dedupe('a'), dedupe('a'), {}]);
    run.advance(10_000);
    const id = client.produce(mail);
    const bytes = Buffer.from(id.replaceAll('-', ''), 'hex');
    client.ask({ kind: 'manage', id: bytes, action: 'cancel' });
    client.produce(mail);
    client.ask({ kind: 'control', channel: 'mail', action: 'purge', settings: undefined });
    run.run();
    client.window(1, mail, 1);
    client.produce(mail);
    const [lease] = client.take();
    if (lease === undefined) throw new Error('Nothing was delivered');
    client.settle(lease, { kind: 'undecodable', failure: { name: 'Error', message: 'no', stack: undefined } });
    expect(mailOf(client).points[0]?.counts).toEqual({
      ...NO_TOTALS,
      produced: 5,
      deduplicated: 1,
      expired: 2,
      dead: 2,
      cancelled: 1,
      purged: 1,
      failed: 1,
      redelivered: 1,
    });
  });

  test('measure from ready to start, and from start to end', () => {
    const { run, client, mail } = start();
    client.produce(mail);
    run.advance(300);
    client.window(1, mail, 1);
    run.advance(50);
    const [lease] = client.take();
    if (lease === undefined) throw new Error('Nothing was delivered');
    client.started([lease]);
    run.advance(2_000);
    // A start that is told again is the same one.
    client.started([lease]);
    client.ack(lease);
    const [point] = mailOf(client).points;
    expect(onlyBucket(point?.latency as Histogram)).toBe(bucketOf(350));
    expect(onlyBucket(point?.handling as Histogram)).toBe(bucketOf(2_000));
  });

  test('measure a message that ends as it begins, and none that was given back unhandled', () => {
    const { run, client, mail } = start();
    client.window(1, mail, 2);
    client.produceSome(mail, [{}, {}]);
    run.advance(40);
    const [first, second] = client.take();
    if (first === undefined || second === undefined) throw new Error('Nothing was delivered');
    client.ack(first);
    client.settle(second, { kind: 'release' });
    const [point] = mailOf(client).points;
    expect(onlyBucket(point?.latency as Histogram)).toBe(bucketOf(40));
    expect(onlyBucket(point?.handling as Histogram)).toBe(0);
  });

  test('measure a delayed message from when it is due, and one that is tried again from then', () => {
    const { run, client, mail } = start();
    client.window(1, mail, 1);
    client.produce(mail, { delayMs: 5_000 });
    run.advance(5_000);
    run.advance(10);
    const [first] = client.take();
    if (first === undefined) throw new Error('Nothing was delivered');
    client.nack(first, 1_000);
    run.advance(1_000);
    run.advance(30);
    const [again] = client.take();
    if (again === undefined) throw new Error('Nothing was delivered again');
    client.ack(again);
    const { latency } = mailOf(client);
    expect(countOf(latency)).toBe(2);
    expect(meanMs(latency)).toBe(20);
  });

  test('measure handlers that run out of time', () => {
    const { run, client, mail } = start({ timeoutMs: 3_000 });
    client.window(1, mail, 1);
    client.produce(mail);
    client.started(client.take());
    run.advance(10_000);
    // The broker waits a second longer than the client.
    expect(onlyBucket(mailOf(client).handling)).toBe(bucketOf(4_000));
    expect(viewOf(client, 'mail').totals.failed).toBe(1);
  });

  test('are kept for a day, and cost a channel without any nothing', () => {
    const { run, client, mail } = start();
    client.declare('unused');
    client.produce(mail);
    run.advance(MINUTE_MS);
    for (let minute = 0; minute < 1_500; minute += 50) {
      client.produce(mail);
      run.advance(50 * MINUTE_MS);
    }
    const kept = countsOf(mailOf(client, { from: run.now - 2 * DAY_MS })).length;
    expect(kept).toBe(28);
    expect([...run.disk.entries.items(rangeOfMinutes)].length).toBe(28);
    run.advance(2 * DAY_MS);
    expect([...run.disk.entries.items(rangeOfMinutes)].length).toBe(0);
    expect(mailOf(client).points).toEqual([]);
    expect(metricsOf(client, { channel: 'unused' })[0]).toMatchObject({ points: [], latency: { counts: [] } });
  });

  test('survive a restart, those of the minute under way too, and are removed behind it', () => {
    const { run, client, mail } = start();
    client.window(1, mail, 5);
    client.produceSome(mail, [{}, {}]);
    client.take().forEach((lease) => client.ack(lease));
    run.advance(MINUTE_MS);
    client.produce(mail);
    client.take().forEach((lease) => client.ack(lease));
    const before = mailOf(client);
    run.reload();
    expect(mailOf(client)).toEqual(before);
    client.produce(mail);
    expect(countsOf(mailOf(client, { from: run.now - MINUTE_MS }))).toEqual([
      [0, { produced: 2, completed: 2 }],
      [1, { produced: 2, completed: 1 }],
    ]);
    expect(countOf(mailOf(client).handling)).toBe(3);
    run.advance(MINUTE_MS);
    run.reload();
    run.advance(2 * DAY_MS);
    expect([...run.disk.entries.items(rangeOfMinutes)].length).toBe(0);
    expect(countOf(mailOf(client).handling)).toBe(3);
  });

  test('count what happens while a broker is loading', () => {
    const { run, client, mail } = start();
    client.produce(mail);
    run.reload(undefined, () => void client.produce(mail));
    expect(countsOf(mailOf(client)).at(-1)).toEqual([59, { produced: 2 }]);
  });

  test('write the start of a handler a minute later, when no commit comes before', () => {
    const { run, client, mail } = start();
    client.window(1, mail, 1);
    client.produce(mail);
    const leases = client.take();
    const commits = run.writes.length;
    client.started(leases);
    run.advance(MINUTE_MS - 1);
    expect(run.writes.length).toBe(commits);
    run.advance(1);
    expect(run.writes.length).toBeGreaterThan(commits);
    run.reload('another host');
    expect(countOf(mailOf(run.client('other')).latency)).toBe(1);
  });

  test('do not measure a handler whose start was under another broker', () => {
    const { run, client, mail } = start();
    client.window(1, mail, 1);
    client.produce(mail);
    const leases = client.take();
    client.started(leases);
    run.reload();
    leases.forEach((lease) => client.ack(lease));
    expect(countOf(mailOf(client).handling)).toBe(0);
    expect(viewOf(client, 'mail').totals.completed).toBe(1);
  });

  test('come a page at a time, for the channels that the session may read', () => {
    const run = new MachineRun();
    const client = run.client('client');
    for (let i = 0; i < 5; i++) client.produce(client.declare(`mail/${i}`));
    client.produce(client.declare('other'));
    const grant = grantOf(['channel:mail/*:read']);
    const reader = run.client('reader', undefined, { accessToken: '', grant });
    const names = (asked: Parameters<typeof metricsOf>[1]): string[] =>
      metricsOf(reader, asked).map(({ channel }) => channel);
    expect(names({ limit: 2 })).toEqual(['mail/0', 'mail/1']);
    expect(names({ after: 2, limit: 100 })).toEqual(['mail/2', 'mail/3', 'mail/4']);
    const ask = (channel: string | undefined) =>
      reader.ask({
        kind: 'inspect',
        what: 'metrics',
        channel,
        after: 0,
        limit: 2,
        from: undefined,
        to: undefined,
        stepMs: undefined,
      });
    expect(ask(undefined)).toMatchObject({ kind: 'value', value: { next: 2 } });
    expect(ask('other')).toMatchObject({ kind: 'refused', code: 'FORBIDDEN' });
    expect(ask('mail/none')).toMatchObject({ kind: 'value', value: { channels: [], next: undefined } });
  });

  test('concern at most 20,000 minutes in one answer', () => {
    const run = new MachineRun();
    const client = run.client('client');
    for (let i = 0; i < 20; i++) client.produce(client.declare(`mail/${i}`));
    const day = metricsOf(client, { from: run.now - DAY_MS, limit: 1_000 });
    expect(day.length).toBe(13);
    expect(metricsOf(client, { limit: 1_000 }).length).toBe(20);
  });

  test('give a rate by the time that was asked for, up to now', () => {
    const { run, client, mail } = start();
    client.produceSome(mail, [{}, {}, {}]);
    run.advance(30_000);
    const metrics = mailOf(client, { from: run.now - 90_000 });
    expect(metrics.to - metrics.from).toBe(90_000);
    expect(summarizeMetrics(metrics).perSecond.produced).toBeCloseTo(3 / 90);
    expect(mailOf(client, { to: run.now - DAY_MS * 3 })).toMatchObject({ points: [] });
  });
});

describe('the records of a channel', () => {
  test('of a version before are one, without minutes or with them, and counts go on from there', () => {
    for (const version of [2, 3]) {
      const { run, client, mail } = start();
      client.produce(mail);
      run.advance(MINUTE_MS);
      const [head, counters] = [...run.disk.entries.items(rangeOf(KIND.channel))];
      if (head === undefined || counters === undefined) throw new Error('A channel has two records');
      const minute = Math.floor((run.now - MINUTE_MS) / MINUTE_MS);
      applyWrites(run.disk, [
        { kind: 'put', key: head.key, value: oneRecord(version, minute) },
        { kind: 'delete', key: counters.key },
      ]);
      run.reload();
      expect(viewOf(client, 'mail')).toMatchObject({ ready: 1, totals: { produced: 1, failed: 0, expired: 0 } });
      const before = version === 2 ? [] : [[58, { produced: 1 }]];
      expect(countsOf(mailOf(client))).toEqual(before);
      client.produce(mail);
      expect(countsOf(mailOf(client))).toEqual([...before, [59, { produced: 1 }]]);
      run.reload();
      expect(countsOf(mailOf(client))).toEqual([...before, [59, { produced: 1 }]]);
    }
  });
});

/** The only record of a channel that has produced one message, as it was before version 4. */
function oneRecord(version: number, minute: number): Uint8Array {
  const record = new ByteWriter();
  record.u8(version);
  record.text('mail');
  for (const number of [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]) record.varint(number);
  for (let i = 0; i < 4; i++) record.f64(-1);
  record.text(JSON.stringify({ concurrency: 0, rate: null, groups: DEFAULT_SETTINGS.groups }));
  for (let i = 0; i < 3; i++) record.f64(0);
  if (version === 2) return record.finish();
  for (const total of [0, 0]) record.varint(total);
  record.varint(minute);
  for (const total of [1, 0, 0, 0, 0, 0, 0, 0, 0]) record.varint(total);
  for (const histogram of [0, 0, 0, 0]) record.varint(histogram);
  for (const bound of [0, 0]) record.varint(bound);
  return record.finish();
}

describe('produce times', () => {
  test('say when a message was produced, to a fiftieth of its age, from few numbers', () => {
    const times = createProduceTimes();
    const at: number[] = [];
    let now = 1_000_000;
    for (let seq = 1; seq <= 100_000; seq++) {
      now += seq % 7 === 0 ? 1_000 : seq % 3 === 0 ? 0.4 : 0;
      at[seq] = now;
      noteProduced(times, seq, now);
    }
    expect(times.seqs.length).toBeLessThanOrEqual(4_096);
    for (let seq = 1; seq <= 100_000; seq += 11) {
      const found = producedAt(times, seq) as number;
      const exact = at[seq] as number;
      expect(found).toBeLessThanOrEqual(exact);
      expect(exact - found).toBeLessThanOrEqual((now - exact) * 0.02 + 0.001);
    }
  });

  test('do not know of messages that are older than all that was noted', () => {
    const times = createProduceTimes();
    noteProduced(times, 129, 50);
    expect([producedAt(times, 128), producedAt(times, 129), producedAt(times, 500)]).toEqual([undefined, 50, 50]);
  });
});

function rangeOf(kind: number): { readonly from: Uint8Array; readonly to: Uint8Array } {
  const start = [...Buffer.from('test\0')];
  return { from: Uint8Array.from([...start, kind]), to: Uint8Array.from([...start, kind + 1]) };
}

const rangeOfMinutes = rangeOf(KIND.minutes);
