import { describe, expect, test } from 'vitest';
import { KIND, Layout } from '#holdfast/machine/layout.js';
import { openPack, itemOf } from '#holdfast/machine/pack.js';
import { LATE_MS, MAX_LATE_TICKS } from '#holdfast/machine/ticks.js';
import { BlockReader, BlockWriter, idSecond, type ItemOptions, type Tick } from '#holdfast/model/block.js';
import { encode } from '#holdfast/codec/bson.js';
import type { Reply } from '#holdfast/model/command.js';
import { grantOf } from '#holdfast/model/scopes.js';
import {
  type ScheduleRule,
  type ScheduleSettings,
  type ScheduleView,
  type SchedulePage,
  SEED_BYTES,
  tickId,
} from '#holdfast/model/schedule.js';
import { messageIdText } from '#holdfast/model/message-id.js';
import { applyWrites } from '#holdfast/store/memory.js';
import { type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { messageOf, viewOf } from '../helpers/machine-views.ts';

const SECOND = 1_000;
const MINUTE = 60_000;
const HOUR = 3_600_000;
const EVERY_MINUTE: ScheduleRule = { cron: '* * * * *', timeZone: 'UTC' };
const SEED = Uint8Array.from({ length: SEED_BYTES }, (_, i) => 17 * i);

interface Upsert extends Partial<ScheduleSettings> {
  readonly key?: string;
  readonly immediately?: boolean;
  readonly options?: ItemOptions;
  readonly value?: unknown;
}

class Bench {
  readonly run = new MachineRun();
  readonly client: MachineClient = this.run.client('client');
  readonly ref = this.client.declare('mail');
  /** How many writes have been looked at. */
  #seen = 0;

  upsert(rule: ScheduleRule, upsert: Upsert = {}, client = this.client, ref = this.ref): Reply {
    const { key = 'key', immediately = false, options = {}, value = 'hello', ...settings } = upsert;
    const id = this.run.newId();
    const block = new BlockWriter(1, idSecond(id));
    block.add(id, encode(value), options);
    return client.ask({
      kind: 'upsertSchedule',
      key,
      ref,
      settings: {
        rule,
        startAt: undefined,
        endAt: undefined,
        limit: undefined,
        jitterMs: 0,
        missed: 'one',
        overlap: 'allow',
        ...settings,
      },
      immediately,
      template: block.finish(),
      seed: SEED,
    });
  }

  manage(action: 'pause' | 'resume' | 'remove' | 'run', key = 'key', client = this.client): Reply {
    const id = action === 'run' ? this.run.newId() : undefined;
    return client.ask({ kind: 'manageSchedule', key, action, id });
  }

  view(key = 'key'): ScheduleView {
    return valueOf(this.client.ask({ kind: 'inspect', what: 'schedule', key })) as ScheduleView;
  }

  list(after = '', limit = 100, client = this.client, channel?: string): SchedulePage {
    return valueOf(client.ask({ kind: 'inspect', what: 'schedules', after, limit, channel })) as SchedulePage;
  }

  /** The ticks that were produced since they were asked for last. */
  ticks(): Tick[] {
    this.run.flush();
    const ticks: Tick[] = [];
    const layout = new Layout('test');
    for (const write of this.run.writes.slice(this.#seen)) {
      if (write.kind !== 'put' || layout.kindOf(write.key) !== KIND.pack) continue;
      const pack = openPack(write.value);
      for (const index of pack.indexes) {
        const tick = BlockReader.scheduleOf(itemOf(pack, index) as Uint8Array);
        if (tick !== undefined) ticks.push(tick);
      }
    }
    this.#seen = this.run.writes.length;
    return ticks;
  }

  /** Their times, as seconds from a moment. */
  times(from: number): number[] {
    return this.ticks().map(({ at }) => (at - from) / SECOND);
  }

  /** No broker is there for so long. */
  beAway(ms: number): void {
    this.run.now += ms;
    this.run.wall += ms;
    this.run.reload();
  }
}

function bytesOf(value: unknown): Uint8Array {
  return Uint8Array.from(encode(value));
}

function valueOf(reply: Reply): unknown {
  if (reply.kind !== 'value') throw new Error(`The answer is ${JSON.stringify(reply)}`);
  return reply.value;
}

describe('ticks', () => {
  test('come at the times of a cron pattern, not a millisecond earlier, and tell which they are', () => {
    const bench = new Bench();
    const { run, client, ref } = bench;
    const start = run.wall;
    expect(bench.upsert(EVERY_MINUTE)).toEqual({ kind: 'value', value: start + MINUTE });
    run.advance(MINUTE - 1);
    expect(bench.ticks()).toEqual([]);
    run.advance(1);
    expect(bench.ticks()).toEqual([{ key: 'key', at: start + MINUTE, manual: false }]);
    client.window(1, ref, 5);
    const [delivered] = client.takeIds();
    expect(delivered).toBe(messageIdText(tickId(SEED, start + MINUTE)));
    expect(messageOf(client, delivered as string)).toMatchObject({
      payload: bytesOf('hello'),
      schedule: { key: 'key', at: start + MINUTE, manual: false },
    });
    run.advance(10 * MINUTE);
    expect(bench.times(start)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11].map((minute) => minute * 60));
    expect(viewOf(client, 'mail').totals.produced).toBe(11);
  });

  test('come at intervals from when the schedule was made, or from its start', () => {
    const bench = new Bench();
    const start = bench.run.now;
    bench.upsert({ everyMs: 250 }, { limit: 3 });
    bench.upsert({ everyMs: 100 }, { key: 'aligned', startAt: start - 30, limit: 3 });
    bench.upsert({ everyMs: 100 }, { key: 'later', startAt: start + 450, limit: 2 });
    bench.run.advance(2_000);
    expect(bench.ticks().map(({ key, at }) => `${key} ${at - start}`)).toEqual([
      'aligned 70',
      'aligned 170',
      'key 250',
      'aligned 270',
      'later 450',
      'key 500',
      'later 550',
      'key 750',
    ]);
    expect(['key', 'aligned', 'later'].map((key) => bench.view(key).state)).toEqual(['ended', 'ended', 'ended']);
  });

  test('of a millisecond come all', () => {
    const bench = new Bench();
    const start = bench.run.now;
    bench.upsert({ everyMs: 1 }, { missed: 'all' });
    bench.run.advance(300);
    expect(bench.ticks().map(({ at }) => at - start)).toEqual(Array.from({ length: 300 }, (_, i) => i + 1));
  });

  test('at once only when the schedule is new or has another rule', () => {
    const bench = new Bench();
    const start = bench.run.now;
    bench.upsert({ everyMs: SECOND }, { immediately: true });
    bench.run.advance(0);
    expect(bench.times(start)).toEqual([0]);
    bench.run.advance(500);
    bench.upsert({ everyMs: SECOND }, { immediately: true });
    bench.run.advance(600);
    expect(bench.times(start)).toEqual([1]);
    bench.upsert({ everyMs: 2 * SECOND }, { immediately: true });
    bench.run.advance(2_500);
    expect(bench.times(start)).toEqual([1.1, 3.1]);
  });

  test('keep to start, end and limit', () => {
    const bench = new Bench();
    const start = bench.run.wall;
    bench.upsert(EVERY_MINUTE, { startAt: start + 2 * MINUTE, endAt: start + 4 * MINUTE });
    bench.upsert(EVERY_MINUTE, { key: 'limited', limit: 2 });
    bench.run.advance(HOUR);
    expect(bench.ticks().map(({ key, at }) => `${key} ${(at - start) / MINUTE}`)).toEqual([
      'limited 1',
      'key 2',
      'limited 2',
      'key 3',
      'key 4',
    ]);
    expect(bench.view()).toMatchObject({ state: 'ended', nextAt: undefined, ticks: 3, lastAt: start + 4 * MINUTE });
  });

  test('are later by chance within the jitter, and none is lost for it', () => {
    const bench = new Bench();
    const { run } = bench;
    const start = run.wall;
    bench.upsert(EVERY_MINUTE, { jitterMs: 3 * MINUTE, missed: 'skip' });
    const delays: number[] = [];
    for (let minute = 0; minute < 60; minute++) {
      for (let second = 0; second < 60; second++) {
        run.advance(SECOND);
        for (const { at } of bench.ticks()) delays.push(run.wall - at);
      }
    }
    expect(delays.length).toBeGreaterThanOrEqual(57);
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...delays)).toBeLessThanOrEqual(3 * MINUTE + SECOND);
    expect(Math.max(...delays) - Math.min(...delays)).toBeGreaterThan(MINUTE);
    expect(bench.view()).toMatchObject({ skippedAt: undefined, lastAt: start + delays.length * MINUTE });
  });

  test('take the options of the message along, and are not duplicates of each other', () => {
    const bench = new Bench();
    const { client, run } = bench;
    const ref = client.declare('once', { dedupe: { windowMs: HOUR, mode: 'reject' }, maxBacklog: 1, maxAttempts: 1 });
    const options = { priority: -7, group: 'g', name: 'n', cost: 3, lifo: true };
    bench.upsert({ everyMs: SECOND }, { options, limit: 2 }, client, ref);
    run.advance(5 * SECOND);
    expect(viewOf(client, 'once').ready).toBe(2);
    const id = bench.view().lastId as string;
    expect(messageOf(client, id)).toMatchObject({ priority: -7, group: 'g', name: 'n', state: 'ready' });
  });

  test('with a dedupe key are duplicates of each other', () => {
    const bench = new Bench();
    const { client, run } = bench;
    const ref = client.declare('once', { dedupe: { windowMs: 2_500, mode: 'reject' } });
    bench.upsert({ everyMs: SECOND }, { options: { dedupe: new Uint8Array(16) }, overlap: 'skip' }, client, ref);
    run.advance(3 * SECOND);
    expect(viewOf(client, 'once')).toMatchObject({ ready: 1, totals: { produced: 1 } });
  });
});

describe('a clock that is set', () => {
  test('back: no time of a pattern comes twice; intervals go on', () => {
    const bench = new Bench();
    const { run } = bench;
    const start = run.wall;
    bench.upsert(EVERY_MINUTE);
    bench.upsert({ everyMs: 90 * SECOND }, { key: 'every' });
    run.advance(5 * MINUTE);
    bench.ticks();
    run.wall -= 3 * MINUTE;
    run.run();
    run.advance(3 * MINUTE);
    expect(bench.ticks().map(({ key, at }) => `${key} ${(at - start) / SECOND}`)).toEqual(['every 360', 'every 450']);
    run.advance(MINUTE);
    expect(bench.ticks().map(({ key, at }) => `${key} ${(at - start) / SECOND}`)).toEqual(['every 540', 'key 360']);
  });

  test('back, with another rule: it begins behind the ticks that have come', () => {
    const bench = new Bench();
    const start = bench.run.wall;
    bench.upsert(EVERY_MINUTE);
    bench.run.advance(10 * MINUTE);
    bench.ticks();
    bench.run.wall -= 5 * MINUTE;
    bench.upsert({ cron: '*/2 * * * *', timeZone: 'UTC' });
    bench.run.advance(8 * MINUTE);
    expect(bench.times(start)).toEqual([12 * 60]);
  });

  test('ahead: what was passed over has been missed', () => {
    const bench = new Bench();
    const { run } = bench;
    const start = run.wall;
    bench.upsert(EVERY_MINUTE);
    bench.upsert({ everyMs: 10 * MINUTE }, { key: 'every' });
    run.advance(90 * SECOND);
    bench.ticks();
    run.wall += HOUR;
    run.run();
    expect(bench.times(start)).toEqual([61 * 60]);
    run.advance(MINUTE);
    expect(bench.times(start)).toEqual([62 * 60]);
  });
});

describe('missed ticks', () => {
  test('skip leaves them out, unless a tick is late by no more than a minute', () => {
    const bench = new Bench();
    const start = bench.run.wall;
    bench.upsert({ cron: '0 * * * *', timeZone: 'UTC' }, { missed: 'skip' });
    bench.beAway(90 * MINUTE);
    expect(bench.ticks()).toEqual([]);
    expect(bench.view()).toMatchObject({ nextAt: start + 2 * HOUR, skippedAt: start + HOUR, ticks: 0 });
    bench.beAway(30 * MINUTE + LATE_MS);
    expect(bench.times(start)).toEqual([7_200]);
    bench.beAway(HOUR + 1);
    expect(bench.ticks()).toEqual([]);
  });

  test('one has the last of them come', () => {
    const bench = new Bench();
    const start = bench.run.wall;
    bench.upsert({ cron: '*/10 * * * *', timeZone: 'UTC' });
    bench.beAway(59 * MINUTE);
    expect(bench.times(start)).toEqual([50 * 60]);
    bench.run.advance(MINUTE);
    expect(bench.times(start)).toEqual([60 * 60]);
    expect(bench.view()).toMatchObject({ skippedAt: start + 10 * MINUTE, ticks: 2 });
  });

  test('one does not go beyond the end', () => {
    const bench = new Bench();
    const start = bench.run.wall;
    bench.upsert(EVERY_MINUTE, { endAt: start + 5 * MINUTE });
    bench.beAway(HOUR);
    expect(bench.times(start)).toEqual([300]);
    expect(bench.view().state).toBe('ended');
  });

  test('all has every one come, in order and once, in steps, and with the limit', () => {
    const bench = new Bench();
    const start = bench.run.wall;
    bench.upsert({ everyMs: SECOND }, { missed: 'all', limit: 2_000 });
    bench.beAway(HOUR);
    expect(bench.times(start)).toEqual(Array.from({ length: 2_000 }, (_, i) => i + 1));
    expect(bench.view().state).toBe('ended');
  });

  test('all goes on with the last one after very many', () => {
    const bench = new Bench();
    const start = bench.run.wall;
    bench.upsert({ everyMs: SECOND }, { missed: 'all' });
    bench.beAway(20_000 * SECOND);
    const times = bench.times(start);
    expect(times).toHaveLength(MAX_LATE_TICKS + 1);
    expect(times.slice(-2)).toEqual([MAX_LATE_TICKS, 20_000]);
    expect(bench.view().skippedAt).toBe(start + (MAX_LATE_TICKS + 1) * SECOND);
  });

  test('one schedule that has much to make up for does not hold up the others', () => {
    const bench = new Bench();
    bench.upsert({ everyMs: SECOND }, { missed: 'all' });
    bench.upsert({ everyMs: 3_000 * SECOND }, { key: 'rare' });
    bench.run.now += 3_000 * SECOND;
    bench.run.wall += 3_000 * SECOND;
    for (let i = 0; i < 3; i++) bench.run.step();
    const keys = bench.ticks().map(({ key }) => key);
    expect(keys).toContain('rare');
    expect(keys.length).toBeLessThan(1_000);
  });
});

describe('overlap', () => {
  function start(overlap: 'skip' | 'queue', missed: ScheduleSettings['missed'] = 'one'): Bench {
    const bench = new Bench();
    bench.client.window(1, bench.ref, 10);
    bench.upsert({ everyMs: 10 * SECOND }, { overlap, missed });
    return bench;
  }

  test('skip leaves out the ticks that come while the message has not ended', () => {
    const bench = start('skip');
    const { run, client } = bench;
    const from = run.now;
    run.advance(25 * SECOND);
    expect(bench.times(from)).toEqual([10]);
    expect(bench.view()).toMatchObject({ skippedAt: from + 20 * SECOND, ticks: 1 });
    const [lease] = client.take();
    client.nack(lease as never, 10 * SECOND);
    run.advance(6 * SECOND);
    expect(bench.ticks()).toEqual([]);
    run.advance(5 * SECOND);
    client.ack(client.take()[0] as never);
    run.advance(5 * SECOND);
    expect(bench.times(from)).toEqual([40]);
  });

  test('queue has them come one after the other, whatever is done about missed ones', () => {
    for (const missed of ['skip', 'one', 'all'] as const) {
      const bench = start('queue', missed);
      const { run, client } = bench;
      const from = run.now;
      run.advance(35 * SECOND);
      expect(bench.times(from)).toEqual([10]);
      for (const time of [20, 30]) {
        client.ack(client.take()[0] as never);
        run.advance(0);
        expect(bench.times(from)).toEqual([time]);
      }
      client.ack(client.take()[0] as never);
      run.advance(4 * SECOND);
      expect(bench.ticks()).toEqual([]);
      run.advance(SECOND);
      expect(bench.times(from)).toEqual([40]);
    }
  });

  test('of both goes on after a restart, and behind a message that is dead, purged or moved', () => {
    const ends = [
      (bench: Bench): void =>
        void bench.client.settle(bench.client.take()[0] as never, { kind: 'fail', failure: FAILURE }),
      (bench: Bench): void => {
        bench.client.settle(bench.client.take()[0] as never, { kind: 'release' });
        bench.client.window(1, bench.ref, 0);
        bench.client.settle(bench.client.take()[0] as never, { kind: 'release' });
        bench.client.ask({ kind: 'control', channel: 'mail', action: 'purge', settings: undefined });
      },
    ];
    for (const end of ends) {
      const bench = start('queue');
      const from = bench.run.now;
      bench.run.advance(25 * SECOND);
      bench.run.reload();
      expect(bench.times(from)).toEqual([10]);
      end(bench);
      bench.run.advance(0);
      expect(bench.times(from)).toEqual([20]);
    }
    const moved = new Bench();
    const ref = moved.client.declare('moving', { deadLetter: 'dead', maxAttempts: 1 });
    moved.client.window(1, ref, 10);
    moved.upsert({ everyMs: 10 * SECOND }, { overlap: 'queue' }, moved.client, ref);
    const from = moved.run.now;
    moved.run.advance(25 * SECOND);
    moved.client.nack(moved.client.take()[0] as never);
    moved.run.advance(0);
    expect(moved.times(from)).toEqual([10, 20]);
  });

  test('a message that is redriven is no tick that runs, nor after a restart', () => {
    const bench = start('skip');
    const { run, client } = bench;
    const from = run.now;
    run.advance(10 * SECOND);
    client.settle(client.take()[0] as never, { kind: 'fail', failure: FAILURE });
    client.ask({ kind: 'control', channel: 'mail', action: 'redrive', settings: undefined });
    run.run();
    expect(client.take()).toHaveLength(1);
    run.reload();
    run.advance(10 * SECOND);
    expect(bench.times(from)).toEqual([10, 20]);
  });

  test('that is no longer forbidden lets the next tick come', () => {
    const bench = start('queue');
    const from = bench.run.now;
    bench.run.advance(25 * SECOND);
    bench.upsert({ everyMs: 10 * SECOND }, { overlap: 'allow', missed: 'all' });
    bench.run.advance(0);
    expect(bench.times(from)).toEqual([10, 20]);
  });
});

const FAILURE = { name: 'Error', message: 'boom', stack: undefined };

describe('an upsert', () => {
  test('of the same rule does not move the next tick, whatever else it changes', () => {
    const bench = new Bench();
    const start = bench.run.now;
    const first = bench.upsert({ everyMs: MINUTE });
    bench.run.advance(40 * SECOND);
    expect(bench.upsert({ everyMs: MINUTE }, { missed: 'all', value: 'other' })).toEqual(first);
    bench.run.advance(20 * SECOND);
    expect(bench.times(start)).toEqual([60]);
    expect(bench.view()).toMatchObject({ payload: bytesOf('other'), missed: 'all', ticks: 1, createdAt: start });
  });

  test('of another rule, or start, does', () => {
    const bench = new Bench();
    const start = bench.run.now;
    bench.upsert({ everyMs: MINUTE });
    bench.run.advance(40 * SECOND);
    expect(bench.upsert({ everyMs: 50 * SECOND })).toEqual({ kind: 'value', value: start + 90 * SECOND });
    expect(bench.upsert({ everyMs: 50 * SECOND }, { startAt: start })).toEqual({
      kind: 'value',
      value: start + 50 * SECOND,
    });
    expect(bench.upsert(EVERY_MINUTE)).toEqual({ kind: 'value', value: start + MINUTE });
    expect(bench.upsert({ cron: '* * * * *', timeZone: 'Asia/Kathmandu' })).toEqual({
      kind: 'value',
      value: start + MINUTE,
    });
  });

  test('that raises the limit, or moves the end, has an ended schedule go on; one that is at its end does not begin anew', () => {
    const bench = new Bench();
    const start = bench.run.now;
    bench.upsert({ everyMs: SECOND }, { limit: 1 });
    bench.run.advance(2_500);
    expect(bench.upsert({ everyMs: SECOND }, { limit: 1 })).toEqual({ kind: 'value', value: 0 });
    expect(bench.upsert({ everyMs: SECOND }, { limit: 2 })).toEqual({ kind: 'value', value: start + 3_000 });
    expect(bench.upsert({ everyMs: SECOND }, { endAt: start + 2_900 })).toEqual({ kind: 'value', value: 0 });
    expect(bench.upsert({ everyMs: SECOND }, { endAt: start + 3_100 })).toEqual({
      kind: 'value',
      value: start + 3_000,
    });
    bench.run.advance(HOUR);
    expect(bench.times(start)).toEqual([1, 3]);
  });

  test('moves the schedule to another channel', () => {
    const bench = new Bench();
    const other = bench.client.declare('other');
    bench.upsert({ everyMs: SECOND });
    bench.upsert({ everyMs: SECOND }, {}, bench.client, other);
    bench.run.advance(SECOND);
    expect([viewOf(bench.client, 'mail').ready, viewOf(bench.client, 'other').ready]).toEqual([0, 1]);
  });

  test('that comes again has its first answer, and no second effect', () => {
    const bench = new Bench();
    const { run, client } = bench;
    const answer = bench.upsert({ everyMs: SECOND });
    const request = client.lastRequest;
    run.reload();
    run.advance(10 * SECOND);
    const again = run.apply(client.session, request, {
      kind: 'manageSchedule',
      key: 'key',
      action: 'remove',
      id: undefined,
    });
    expect(again).toEqual(answer);
    expect(bench.view().ticks).toBe(10);
  });

  test('of a rule that this engine does not know is refused', () => {
    const bench = new Bench();
    expect(bench.upsert({ cron: 'x', timeZone: 'UTC' })).toMatchObject({ kind: 'refused', code: 'PROTOCOL' });
    expect(bench.upsert({ cron: '* * * * *', timeZone: 'Mars/Olympus' })).toMatchObject({
      kind: 'refused',
      message: expect.stringContaining('Cannot use "Mars/Olympus" as "timeZone"') as string,
    });
    expect(bench.list().schedules).toEqual([]);
  });
});

describe('pause, resume, remove and run', () => {
  test('a paused schedule has no ticks, and goes on with the next one', () => {
    const bench = new Bench();
    const start = bench.run.wall;
    bench.upsert(EVERY_MINUTE, { missed: 'all' });
    bench.run.advance(90 * SECOND);
    bench.manage('pause');
    bench.run.reload();
    expect(bench.view()).toMatchObject({ state: 'paused', nextAt: undefined });
    bench.run.advance(10 * MINUTE);
    expect(bench.times(start)).toEqual([60]);
    expect(bench.upsert(EVERY_MINUTE, { missed: 'all' })).toEqual({ kind: 'value', value: 0 });
    bench.manage('resume');
    bench.manage('resume');
    bench.run.advance(MINUTE);
    expect(bench.times(start)).toEqual([12 * 60]);
  });

  test('a removed one leaves nothing behind but its messages', () => {
    const bench = new Bench();
    const kinds = bench.run.kinds;
    bench.upsert({ everyMs: SECOND }, { overlap: 'skip' });
    expect(bench.run.kinds).toEqual([...kinds, KIND.template, KIND.schedule]);
    bench.run.advance(SECOND);
    expect(bench.manage('remove')).toEqual({ kind: 'done' });
    bench.run.advance(HOUR);
    expect(bench.ticks()).toHaveLength(1);
    expect(viewOf(bench.client, 'mail').ready).toBe(1);
    expect(bench.run.kinds).not.toContain(KIND.template);
    expect(bench.run.kinds).not.toContain(KIND.schedule);
    expect(bench.run.machine.nextWake()).toEqual({ machine: Infinity, wall: Infinity });
    expect(valueOf(bench.client.ask({ kind: 'inspect', what: 'schedule', key: 'key' }))).toBeNull();
    for (const action of ['pause', 'resume', 'remove', 'run'] as const) {
      expect(bench.manage(action)).toMatchObject({ kind: 'refused', code: 'NOT_FOUND' });
    }
  });

  test('a run is beside the rule: it moves nothing and counts for no limit', () => {
    const bench = new Bench();
    const start = bench.run.now;
    bench.upsert({ everyMs: MINUTE }, { limit: 1 });
    bench.run.advance(10 * SECOND);
    bench.manage('run');
    expect(bench.ticks()).toEqual([{ key: 'key', at: start + 10 * SECOND, manual: true }]);
    expect(bench.view()).toMatchObject({ ticks: 0, nextAt: start + MINUTE });
    bench.run.advance(MINUTE);
    bench.manage('run');
    expect(bench.ticks().map(({ manual }) => manual)).toEqual([false, true]);
  });

  test('a run is refused while a message runs that must be alone, and then is that message', () => {
    const bench = new Bench();
    bench.client.window(1, bench.ref, 10);
    bench.upsert({ everyMs: MINUTE }, { overlap: 'skip' });
    bench.manage('run');
    expect(bench.manage('run')).toMatchObject({ kind: 'refused', code: 'WRONG_STATE' });
    bench.run.advance(MINUTE);
    expect(bench.ticks().map(({ manual }) => manual)).toEqual([true]);
    bench.client.ack(bench.client.take()[0] as never);
    expect(bench.manage('run')).toEqual({ kind: 'done' });
  });
});

describe('a restart', () => {
  test('keeps all of a schedule', () => {
    const bench = new Bench();
    const settings = { endAt: bench.run.now + HOUR, limit: 9, missed: 'all', overlap: 'queue' } as const;
    bench.upsert({ everyMs: MINUTE }, { ...settings, jitterMs: SECOND, startAt: bench.run.now });
    bench.upsert({ cron: '5 4 * * 1', timeZone: 'Australia/Lord_Howe' }, { key: 'cron' });
    bench.run.advance(3 * MINUTE);
    const before = [bench.view(), bench.view('cron')];
    bench.run.reload();
    expect([bench.view(), bench.view('cron')]).toEqual(before);
    expect(bench.list().schedules).toEqual(
      [before[1], before[0]].map((view) => ({ ...view, codec: undefined, payload: undefined })),
    );
  });

  test('between two ticks makes neither come twice nor never', () => {
    const bench = new Bench();
    const start = bench.run.now;
    bench.upsert({ everyMs: 700 }, { missed: 'all' });
    for (let i = 0; i < 50; i++) {
      bench.run.advance(333);
      bench.beAway(i * 7);
    }
    const times = bench.ticks().map(({ at }) => (at - start) / 700);
    expect(times).toEqual(times.map((_, i) => i + 1));
    expect(times.length).toBe(Math.floor((bench.run.now - start) / 700));
  });

  test('on an engine that does not know the time zone any more stops the schedule, and an upsert mends it', () => {
    const bench = new Bench();
    const start = bench.run.wall;
    bench.upsert(EVERY_MINUTE);
    const key = new Layout('test').key(KIND.schedule, 1);
    const value = Buffer.from(bench.run.disk.entries.get(key) as Uint8Array);
    value.fill('X', value.indexOf('UTC'), value.indexOf('UTC') + 3);
    applyWrites(bench.run.disk, [{ kind: 'put', key, value: Uint8Array.from(value) }]);
    bench.run.reload();
    bench.run.advance(5 * MINUTE);
    expect(bench.times(start)).toEqual([60]);
    expect(bench.view()).toMatchObject({ state: 'failed', failure: expect.stringContaining('XXX') as string });
    bench.upsert(EVERY_MINUTE);
    expect(bench.view()).toMatchObject({ state: 'live', failure: undefined, nextAt: start + 6 * MINUTE });
  });
});

describe('a store that is full', () => {
  test('holds ticks back until there is room', () => {
    const bench = new Bench();
    const start = bench.run.now;
    bench.upsert({ everyMs: SECOND }, { missed: 'all' });
    bench.run.machine.hold(true);
    bench.run.advance(3_500);
    expect(bench.ticks()).toEqual([]);
    const { machine } = bench.run.machine.nextWake();
    expect(machine).toBeGreaterThan(bench.run.now);
    expect(machine).toBeLessThanOrEqual(bench.run.now + SECOND);
    bench.run.machine.hold(false);
    bench.run.advance(0);
    expect(bench.times(start)).toEqual([1, 2, 3]);
  });
});

describe('other work', () => {
  test('has its turn beside schedules that always have something due', () => {
    const bench = new Bench();
    const { run, client, ref } = bench;
    client.window(1, ref, 10);
    for (let i = 0; i < 5; i++) client.produce(ref);
    for (const lease of client.take()) client.settle(lease, { kind: 'fail', failure: FAILURE });
    client.window(1, ref, 0);
    bench.upsert({ everyMs: 1 }, { missed: 'all' });
    run.now += HOUR;
    run.wall += HOUR;
    client.ask({ kind: 'control', channel: 'mail', action: 'redrive', settings: undefined });
    for (let i = 0; i < 6; i++) run.step();
    expect(viewOf(client, 'mail').dead).toBe(0);
    expect(bench.ticks().length).toBeGreaterThan(250);
  });
});

describe('rights', () => {
  function withScopes(bench: Bench, ...scopes: string[]): { client: MachineClient; ref: number } {
    const client = bench.run.client(scopes.join(), 'host', { accessToken: '', grant: grantOf(scopes) });
    return { client, ref: client.declare('mail') };
  }

  test('a schedule takes admin and produce; a run produce; looking read', () => {
    const bench = new Bench();
    const producer = withScopes(bench, 'channel:mail:produce');
    const admin = withScopes(bench, 'channel:mail:admin');
    const both = withScopes(bench, 'channel:mail:produce,admin');
    const reader = withScopes(bench, 'channel:mail:read');
    const forbidden = { kind: 'refused', code: 'FORBIDDEN' };
    expect(bench.upsert(EVERY_MINUTE, {}, producer.client, producer.ref)).toMatchObject(forbidden);
    expect(bench.upsert(EVERY_MINUTE, {}, admin.client, admin.ref)).toMatchObject(forbidden);
    expect(bench.upsert(EVERY_MINUTE, {}, both.client, both.ref)).toMatchObject({ kind: 'value' });
    expect(bench.manage('run', 'key', admin.client)).toMatchObject(forbidden);
    expect(bench.manage('run', 'key', producer.client)).toEqual({ kind: 'done' });
    expect(bench.manage('pause', 'key', producer.client)).toMatchObject(forbidden);
    expect(bench.manage('pause', 'key', admin.client)).toEqual({ kind: 'done' });
    expect(producer.client.ask({ kind: 'inspect', what: 'schedule', key: 'key' })).toMatchObject(forbidden);
    expect(valueOf(reader.client.ask({ kind: 'inspect', what: 'schedule', key: 'key' }))).toMatchObject({ key: 'key' });
    expect(bench.list('', 10, producer.client).schedules).toEqual([]);
    expect(bench.list('', 10, reader.client).schedules).toHaveLength(1);
  });

  test('nobody takes over the schedule of a channel that is not theirs, or hears of it', () => {
    const bench = new Bench();
    bench.upsert(EVERY_MINUTE);
    const scopes = ['channel:other:produce,admin,read'];
    const client = bench.run.client('stranger', 'host', { accessToken: '', grant: grantOf(scopes) });
    const ref = client.declare('other');
    expect(bench.upsert({ everyMs: 1_000 }, {}, client, ref)).toMatchObject({ code: 'FORBIDDEN' });
    expect(bench.manage('remove', 'key', client)).toMatchObject({ code: 'NOT_FOUND' });
    expect(valueOf(client.ask({ kind: 'inspect', what: 'schedule', key: 'key' }))).toBeNull();
  });
});

describe('the list', () => {
  test('goes by the keys, a page at a time, and by channel', () => {
    const bench = new Bench();
    const other = bench.client.declare('other');
    const keys = Array.from({ length: 25 }, (_, i) => `key ${String(i).padStart(2, '0')}`);
    for (const key of keys.toReversed()) {
      bench.upsert(EVERY_MINUTE, { key }, bench.client, key.endsWith('7') ? other : bench.ref);
    }
    const pages: string[][] = [];
    for (let next: string | undefined = ''; next !== undefined;) {
      const page = bench.list(next, 10);
      pages.push(page.schedules.map(({ key }) => key));
      next = page.next;
    }
    expect(pages.map(({ length }) => length)).toEqual([10, 10, 5]);
    expect(pages.flat()).toEqual(keys);
    expect(bench.list('', 10, bench.client, 'other').schedules.map(({ key }) => key)).toEqual(['key 07', 'key 17']);
  });
});
