import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ItemOptions } from '#holdfast/model/block.js';
import type { Rate, SettingsPatch } from '#holdfast/model/policy.js';
import { type Delivered, type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { groupOf, viewOf } from '../helpers/machine-views.ts';
import { brokenRate, type Passed } from '../helpers/rates.ts';

const NAME = 'jobs';

interface Started {
  readonly run: MachineRun;
  readonly client: MachineClient;
  readonly ref: number;
}

function start(settings: SettingsPatch): Started {
  const run = new MachineRun();
  const client = run.client('client');
  return { run, client, ref: client.declare(NAME, {}, settings) };
}

function produce({ client, ref }: Started, count: number, options: ItemOptions = {}): string[] {
  return client.produceSome(
    ref,
    Array.from({ length: count }, () => options),
  );
}

function configure(client: MachineClient, settings: SettingsPatch): void {
  client.ask({ kind: 'control', channel: NAME, action: 'configure', settings });
}

function bucket(count: number, perMs: number, burst: number = count): Rate {
  return { kind: 'bucket', count, perMs, burst };
}

describe('the concurrency of a channel', () => {
  test('holds over all sessions', () => {
    const started = start({ concurrency: 3 });
    const { run, client, ref } = started;
    const other = run.client('other');
    other.window(1, other.declare(NAME), 10);
    client.window(1, ref, 10);
    produce(started, 10);
    const [mine, theirs] = [client.take(), other.take()];
    expect(mine.length + theirs.length).toBe(3);
    run.reload();
    expect(client.take()).toEqual([]);
    client.ack(mine[0] as Delivered);
    expect(client.take()).toHaveLength(1);
    expect(viewOf(client, NAME).leased).toBe(3);
  });

  test('counts at once when it is changed, up and down', () => {
    const started = start({ concurrency: 1 });
    const { client, ref } = started;
    produce(started, 10);
    client.window(1, ref, 10);
    const held = client.take();
    configure(client, { concurrency: 4 });
    held.push(...client.take());
    expect(held).toHaveLength(4);
    configure(client, { concurrency: 2 });
    for (const lease of held.splice(0, 2)) client.ack(lease);
    expect(client.take()).toEqual([]);
    client.ack(held.shift() as Delivered);
    expect(client.take()).toHaveLength(1);
    configure(client, { concurrency: 0 });
    expect(client.take()).toHaveLength(5);
  });

  test('keeps suspects within it as well', () => {
    const started = start({ concurrency: 1 });
    const { run } = started;
    produce(started, 2);
    const worker = run.client('worker');
    worker.window(1, worker.declare(NAME), 5);
    expect(worker.take()).toHaveLength(1);
    run.reload('another host');
    run.advance(60_000);
    const clients = ['one', 'two'].map((name) => run.client(name));
    for (const client of clients) client.window(1, client.declare(NAME), 5);
    expect(clients.flatMap((client) => client.take())).toHaveLength(1);
  });

  test('leaves nothing to be fetched in advance', () => {
    const started = start({ concurrency: 5 });
    const { client, ref } = started;
    produce(started, 10);
    client.note({ kind: 'window', consumer: 1, ref, size: 10, handlers: 2 });
    expect(client.take()).toHaveLength(2);
    configure(client, { concurrency: 0 });
    client.note({ kind: 'window', consumer: 1, ref, size: 10, handlers: 2 });
    expect(client.take()).toHaveLength(8);
  });
});

describe('the rate of a channel', () => {
  test('as a bucket lets its burst through at once, and then messages evenly', () => {
    const started = start({ rate: bucket(4, 1_000, 2) });
    const { run, client, ref } = started;
    produce(started, 10);
    client.window(1, ref, 10);
    const at: number[] = client.take().map(() => 0);
    for (let ms = 0; ms < 1_000; ms += 10) {
      run.advance(10);
      at.push(...client.take().map(() => ms + 10));
    }
    expect(at).toEqual([0, 0, 250, 500, 750, 1_000]);
  });

  test('as a window lets its count through in each, which the first message begins', () => {
    const started = start({ rate: { kind: 'window', count: 3, perMs: 1_000 } });
    const { run, client, ref } = started;
    client.window(1, ref, 100);
    run.advance(700);
    const at: number[] = [];
    for (let ms = 0; ms <= 2_500; ms += 100) {
      if (ms % 500 === 0) produce(started, 4);
      at.push(...client.take().map(() => ms));
      run.advance(100);
    }
    expect(at).toEqual([0, 0, 0, 1_000, 1_000, 1_000, 2_000, 2_000, 2_000]);
  });

  test('counts costs; what costs more than there is room for goes alone and keeps the others waiting', () => {
    const started = start({ rate: bucket(10, 1_000) });
    const { run, client, ref } = started;
    produce(started, 1, { cost: 25 });
    produce(started, 1);
    client.window(1, ref, 10);
    expect(client.take()).toHaveLength(1);
    run.advance(1_599);
    expect(client.take()).toEqual([]);
    run.advance(1);
    expect(client.take()).toHaveLength(1);
    produce(started, 1, { cost: 25 });
    run.advance(999);
    expect(client.take()).toEqual([]);
    run.advance(1);
    expect(client.take()).toHaveLength(1);
  });

  test('is not filled up by a restart', () => {
    for (const rate of [bucket(2, 60_000), { kind: 'window', count: 2, perMs: 60_000 } as const]) {
      const started = start({ rate });
      const { run, client, ref } = started;
      produce(started, 5);
      client.window(1, ref, 10);
      expect(client.take()).toHaveLength(2);
      run.reload();
      run.advance(29_000);
      run.reload();
      expect(client.take()).toEqual([]);
      expect(viewOf(client, NAME).heldMs).toBeGreaterThan(0);
    }
  });

  test('counts at once when it is changed', () => {
    const started = start({ rate: bucket(1, 3_600_000) });
    const { client, ref } = started;
    produce(started, 5);
    client.window(1, ref, 10);
    expect(client.take()).toHaveLength(1);
    configure(client, { rate: bucket(3, 3_600_000) });
    expect(client.take()).toHaveLength(2);
    configure(client, { rate: null });
    expect(client.take()).toHaveLength(2);
  });
});

describe('the rate of a group', () => {
  test('is each group’s own, and is not filled up by a restart or by its being empty for a while', () => {
    const started = start({ groups: { rate: { kind: 'window', count: 1, perMs: 10_000 } } });
    const { run, client, ref } = started;
    client.window(1, ref, 10);
    produce(started, 1, { group: 'a' });
    client.ack(client.take()[0] as Delivered);
    expect(groupOf(client, NAME, 'a')).toMatchObject({ backlog: 0 });
    run.reload();
    produce(started, 1, { group: 'a' });
    produce(started, 1, { group: 'b' });
    expect(client.take()).toHaveLength(1);
    run.advance(9_999);
    expect(client.take()).toEqual([]);
    run.advance(1);
    expect(client.take()).toHaveLength(1);
  });
});

describe('a hold', () => {
  test.each(['channel', 'group'] as const)(
    'of the %s keeps all of it back for so long, over a restart, uncounted',
    (what) => {
      const started = start({ groups: { concurrency: 0, ordered: false } });
      const { run, client, ref } = started;
      produce(started, 2, { group: 'a' });
      produce(started, 1, { group: 'b' });
      client.window(1, ref, 1);
      const [lease] = client.take() as [Delivered];
      client.started([lease]);
      client.settle(lease, { kind: 'hold', delayMs: 5_000, what });
      client.window(1, ref, 10);
      const early = client.take();
      expect(early).toHaveLength(what === 'channel' ? 0 : 1);
      for (const each of early) client.ack(each);
      run.reload();
      run.advance(4_999);
      expect(client.take()).toEqual([]);
      run.advance(1);
      const late = client.take();
      expect(late.map(({ attempt }) => attempt)).toEqual(what === 'channel' ? [1, 1, 1] : [1, 1]);
      expect(late.map(({ id }) => id)).toContain(lease.id);
    },
  );

  test('of a group by a message without one is a hold of the channel', () => {
    const started = start({});
    const { run, client, ref } = started;
    produce(started, 2);
    client.window(1, ref, 1);
    client.settle(client.take()[0] as Delivered, { kind: 'hold', delayMs: 5_000, what: 'group' });
    expect(client.take()).toEqual([]);
    expect(viewOf(client, NAME).heldMs).toBe(5_000);
    run.advance(5_000);
    expect(client.take()).toHaveLength(1);
  });

  test('is never made shorter by another', () => {
    const started = start({});
    const { run, client, ref } = started;
    produce(started, 2);
    client.window(1, ref, 2);
    const [first, second] = client.take() as [Delivered, Delivered];
    client.settle(first, { kind: 'hold', delayMs: 5_000, what: 'channel' });
    client.settle(second, { kind: 'hold', delayMs: 1_000, what: 'channel' });
    run.advance(4_999);
    expect(client.take()).toEqual([]);
  });
});

describe('a rate', () => {
  const rates = fc.oneof(
    fc.record({
      kind: fc.constant('bucket' as const),
      count: fc.integer({ min: 1, max: 7 }),
      perMs: fc.integer({ min: 1, max: 3_000 }),
      burst: fc.integer({ min: 1, max: 9 }),
    }),
    fc.record({
      kind: fc.constant('window' as const),
      count: fc.integer({ min: 1, max: 7 }),
      perMs: fc.integer({ min: 1, max: 3_000 }),
    }),
  );
  const steps = fc.array(
    fc.oneof(
      fc.record({ produce: fc.array(fc.constantFrom(1, 1, 1, 2, 3, 12), { minLength: 1, maxLength: 6 }) }),
      fc.record({ advance: fc.integer({ min: 1, max: 2_000 }) }),
      fc.record({ end: fc.constantFrom('ack', 'nack', 'release') }),
      fc.record({ restart: fc.constant(true) }),
    ),
    { minLength: 5, maxLength: 40, size: 'max' },
  );

  test.each(['channel', 'group'] as const)(
    'of a %s holds for any interleaving, and lets everything through in the end',
    (of) => {
      fc.assert(
        fc.property(rates, steps, (rate, taken) => {
          const started = start(of === 'channel' ? { rate } : { groups: { concurrency: 0, ordered: false, rate } });
          const { run, client, ref } = started;
          client.window(1, ref, 1_000);
          const costs = new Map<string, number>();
          const passed: Passed[] = [];
          const held: Delivered[] = [];
          // The machine stops at each moment at which it has something to do, so the time is looked at there.
          const look = (): void => {
            for (const delivered of client.take()) {
              passed.push({ at: run.now, cost: costs.get(delivered.id) ?? 1 });
              held.push(delivered);
            }
          };
          const advance = (ms: number): void => {
            const until = run.now + ms;
            for (;;) {
              const next = run.machine.nextWake().machine;
              if (next > until) break;
              run.advance(Math.max(0, next - run.now));
              look();
            }
            run.advance(until - run.now);
            look();
          };
          let produced = 0;
          for (const each of taken) {
            if ('produce' in each) {
              const ids = client.produceSome(
                ref,
                each.produce.map((cost) => ({ cost, ...(of === 'group' ? { group: 'g' } : {}) })),
              );
              ids.forEach((id, i) => costs.set(id, each.produce[i] as number));
              produced += ids.length;
            } else if ('advance' in each) advance(each.advance);
            else if ('restart' in each) run.reload();
            else {
              const lease = held.shift();
              if (lease === undefined) continue;
              if (each.end === 'ack') client.ack(lease);
              else if (each.end === 'nack') client.nack(lease, 100);
              else client.settle(lease, { kind: 'release' });
            }
            look();
            const broken = brokenRate(rate, passed);
            if (broken !== undefined) throw new Error(broken);
          }
          for (let rounds = 0; rounds < 1_000 && viewOf(client, NAME).ready > 0; rounds++) advance(rate.perMs);
          expect(viewOf(client, NAME).ready).toBe(0);
          expect(produced).toBe(costs.size);
          expect(brokenRate(rate, passed)).toBeUndefined();
        }),
        { numRuns: 150 },
      );
    },
  );
});
