import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KIND } from '#holdfast/machine/layout.js';
import type { ItemOptions } from '#holdfast/model/block.js';
import { parseMessageId } from '#holdfast/model/message-id.js';
import type { SettingsPatch, Policy } from '#holdfast/model/policy.js';
import type { Write } from '#holdfast/model/records.js';
import { STATES } from '#holdfast/model/states.js';
import { dedupe, type Delivered, failureOf, type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { listOf, messageOf, metricsOf, viewOf } from '../helpers/machine-views.ts';

const CHANNELS: readonly {
  readonly name: string;
  readonly policy: Partial<Policy>;
  readonly settings?: SettingsPatch;
  readonly group?: string;
}[] = [
  { name: 'plain', policy: { maxAttempts: 2, backoff: { kind: 'fixed', delayMs: 700, jitter: 0 } } },
  {
    name: 'strict',
    policy: { maxBacklog: 6, timeToLiveMs: 4_000, timeoutMs: 2_000, deadLetter: 'dead letters', maxAttempts: 2 },
    settings: { completed: { count: undefined, ageMs: 5_000 }, dead: { count: undefined, ageMs: undefined } },
  },
  { name: 'debounced', policy: { dedupe: { windowMs: 3_000, mode: 'replace' } } },
  { name: 'kept last', policy: { dedupe: { windowMs: 0, mode: 'keepLast' } } },
  { name: 'last and dead', policy: { dedupe: { windowMs: 3_000, mode: 'keepLast' }, deadLetter: 'dead letters' } },
  { name: 'dead letters', policy: {} },
  { name: 'in order', policy: { maxAttempts: 2 }, group: 'a' },
  {
    name: 'limited',
    policy: { maxAttempts: 2 },
    settings: { concurrency: 2, rate: { kind: 'bucket', count: 3, perMs: 2_000, burst: 4 } },
  },
  {
    name: 'limited group',
    policy: {},
    settings: {
      groups: { concurrency: 2, ordered: false, rate: { kind: 'window', count: 3, perMs: 2_000 }, maxBacklog: 4 },
    },
    group: 'b',
  },
];

const RUNS = 150;

/** Whose turn it is among several groups is forgotten with the machine, so all messages of a channel are of one. */
function inGroup({
  produce,
  channel: index,
}: {
  readonly produce: readonly ItemOptions[];
  readonly channel: number;
}): ItemOptions[] {
  const { group } = CHANNELS[index] as (typeof CHANNELS)[number];
  return produce.map((options) => (group === undefined ? options : { ...options, group }));
}

type Step =
  | { readonly produce: readonly ItemOptions[]; readonly channel: number }
  | { readonly settle: 'ack' | 'nack' | 'release' | 'snooze' | 'fail' | 'undecodable'; readonly nth: number }
  | { readonly start: number }
  | { readonly control: 'pause' | 'resume' | 'purge' | 'redrive'; readonly channel: number }
  | { readonly manage: 'cancel' | 'promote' | 'redrive'; readonly nth: number }
  | { readonly window: number; readonly channel: number }
  | { readonly advance: number };

const channel = fc.nat(CHANNELS.length - 1);
const item: fc.Arbitrary<ItemOptions> = fc.record(
  {
    delayMs: fc.constantFrom(500, 3_000),
    priority: fc.constantFrom(-1, 2),
    lifo: fc.boolean(),
    dedupe: fc.constantFrom('a', 'b').map((key) => dedupe(key).dedupe),
    cost: fc.constantFrom(2, 200),
  },
  { requiredKeys: [] },
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ produce: fc.array(item, { minLength: 1, maxLength: 4 }), channel }) },
  {
    weight: 10,
    arbitrary: fc.record({
      settle: fc.constantFrom('ack', 'ack', 'nack', 'release', 'snooze', 'fail', 'undecodable'),
      nth: fc.nat(5),
    }),
  },
  { weight: 3, arbitrary: fc.record({ start: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ control: fc.constantFrom('pause', 'resume', 'purge', 'redrive'), channel }) },
  { weight: 3, arbitrary: fc.record({ manage: fc.constantFrom('cancel', 'promote', 'redrive'), nth: fc.nat(30) }) },
  { weight: 3, arbitrary: fc.record({ window: fc.nat(3), channel }) },
  { weight: 4, arbitrary: fc.record({ advance: fc.constantFrom(1, 400, 1_000, 6_000) }) },
);
const steps = fc.array(fc.record({ step, restart: fc.boolean(), during: fc.boolean() }), {
  minLength: 5,
  maxLength: 60,
  size: 'max',
});

/** A run of steps, and what can be seen of it from outside. */
class Driven {
  readonly run = new MachineRun();
  readonly client: MachineClient;
  readonly refs: readonly number[];
  readonly ids: string[] = [];
  #held: Delivered[] = [];

  constructor() {
    this.client = this.run.client('client');
    this.refs = CHANNELS.map(({ name, policy, settings }) => this.client.declare(name, policy, settings));
    for (const [i, ref] of this.refs.entries()) this.client.window(i + 1, ref, 2);
  }

  /** Takes a step and gives what it answered and delivered, without the numbers of a broker: those of a later one are higher. */
  take(taken: Step): unknown {
    return this.#outcomeOf(this.#do(taken));
  }

  /** As `take`, in the middle of a load where that is possible, and else behind it. */
  takeWhileLoading(taken: Step): unknown {
    let answer: { readonly done: unknown } | undefined;
    this.run.reload(undefined, () => {
      if ('produce' in taken && this.client.isServed(this.refs[taken.channel] as number)) {
        answer = { done: this.#do(taken) };
      }
    });
    return this.#outcomeOf(answer === undefined ? this.#do(taken) : answer.done);
  }

  #outcomeOf(answer: unknown): unknown {
    this.run.run();
    const delivered = this.client.take();
    this.#held.push(...delivered);
    return { answer, delivered: delivered.map(({ token: _token, seq: _seq, ...rest }) => rest) };
  }

  get visible(): unknown {
    return {
      channels: CHANNELS.map(({ name }) => viewOf(this.client, name)),
      minutes: CHANNELS.map(({ name }) =>
        metricsOf(this.client, { channel: name, stepMs: 60_000 }).flatMap(({ points }) =>
          points.map(({ at, counts }) => ({ at, counts })),
        ),
      ),
      lists: CHANNELS.map(({ name }) => STATES.map((state) => listOf(this.client, name, state))),
      messages: this.ids.map((id) => messageOf(this.client, id)),
    };
  }

  #do(taken: Step): unknown {
    const { client } = this;
    if ('produce' in taken)
      return this.ids.push(...client.produceSome(this.refs[taken.channel] as number, inGroup(taken)));
    if ('settle' in taken) return this.#settle(taken.settle, taken.nth);
    if ('start' in taken) return client.started(this.#held.slice(taken.start, taken.start + 1));
    if ('control' in taken) {
      const { name } = CHANNELS[taken.channel] as (typeof CHANNELS)[number];
      return client.ask({ kind: 'control', channel: name, action: taken.control, settings: undefined });
    }
    if ('manage' in taken) {
      const id = this.ids[taken.nth];
      return id && client.ask({ kind: 'manage', id: parseMessageId(id), action: taken.manage });
    }
    if ('window' in taken) return client.window(taken.channel + 1, this.refs[taken.channel] as number, taken.window);
    return this.run.advance(taken.advance);
  }

  #settle(kind: Extract<Step, { settle: unknown }>['settle'], nth: number): unknown {
    const [lease] = this.#held.splice(nth % Math.max(1, this.#held.length), 1);
    if (lease === undefined) return undefined;
    const failure = failureOf(kind);
    if (kind === 'ack') return this.client.ack(lease);
    if (kind === 'nack') return this.client.nack(lease);
    if (kind === 'release') return this.client.settle(lease, { kind });
    if (kind === 'snooze') return this.client.settle(lease, { kind, delayMs: 1_500 });
    return this.client.settle(lease, { kind, failure });
  }
}

/** A write as a text, which compares quickly. */
function textOf(write: Write): string {
  return Object.entries(write)
    .map(([field, value]) => `${field} ${typeof value === 'string' ? value : Buffer.from(value).toString('hex')}`)
    .join(' ');
}

describe('a machine', () => {
  test('that is rebuilt from what it wrote, at any moment, cannot be told from one that never was', () => {
    fc.assert(
      fc.property(steps, (given) => {
        const steady = new Driven();
        const restarted = new Driven();
        for (const { step: taken, restart, during } of given) {
          const took = during ? restarted.takeWhileLoading(taken) : restarted.take(taken);
          expect(took).toEqual(steady.take(taken));
          if (restart) restarted.run.reload();
        }
        expect(restarted.visible).toEqual(steady.visible);
      }),
      { numRuns: RUNS },
    );
  });

  test('writes the same, byte for byte, for the same commands', () => {
    fc.assert(
      fc.property(steps, (given) => {
        const [first, second] = [new Driven(), new Driven()];
        for (const { step: taken } of given) expect(first.take(taken)).toEqual(second.take(taken));
        expect(first.run.writes.map(textOf)).toEqual(second.run.writes.map(textOf));
      }),
      { numRuns: RUNS },
    );
  });

  test('leaves nothing behind when the last message has gone', () => {
    fc.assert(
      fc.property(steps, (given) => {
        const driven = new Driven();
        const { run, client } = driven;
        for (const { step: taken, restart } of given) {
          driven.take(taken);
          if (restart) run.reload();
        }
        const nothing = { count: 0, ageMs: undefined };
        const settings = { completed: nothing, dead: nothing };
        for (const { name } of CHANNELS) {
          client.ask({ kind: 'control', channel: name, action: 'pause', settings: undefined });
          client.ask({ kind: 'control', channel: name, action: 'configure', settings });
        }
        for (const { seq, lease } of Array.from(client.session.held.values())) {
          client.settle({ seq, token: lease?.token ?? 0 }, { kind: 'release' });
        }
        for (const { name } of CHANNELS) {
          client.ask({ kind: 'control', channel: name, action: 'purge', settings: undefined });
        }
        run.advance(86_400_000);
        const allowed: number[] = [
          KIND.meta,
          KIND.channel,
          KIND.policy,
          KIND.session,
          KIND.journal,
          KIND.dedupe,
          KIND.usage,
        ];
        expect(run.kinds.filter((kind) => !allowed.includes(kind))).toEqual([]);
        run.reload();
        for (const { name } of CHANNELS) {
          expect(viewOf(client, name)).toMatchObject({
            ready: 0,
            delayed: 0,
            leased: 0,
            waiting: 0,
            completed: 0,
            dead: 0,
            cancelled: 0,
          });
        }
      }),
      { numRuns: RUNS },
    );
  });
});

describe('the journal', () => {
  test('is trimmed by age', () => {
    const driven = new Driven();
    const journals = (): number =>
      [...driven.run.disk.entries.items({ from: Uint8Array.of(0), to: Uint8Array.of(0xff) })].filter(
        ({ key }) => key['test\0'.length] === KIND.journal,
      ).length;
    for (let i = 0; i < 10; i++) driven.client.produce(driven.refs[0] as number);
    const before = journals();
    expect(before).toBeGreaterThan(5);
    driven.run.advance(86_400_000);
    driven.run.reload();
    driven.client.produce(driven.refs[0] as number);
    expect(journals()).toBeLessThan(4);
  });

  test('is not trimmed at its new end while the old one is still being loaded', () => {
    const run = new MachineRun();
    const client = run.client('client');
    const ref = client.declare('mail');
    const produceMany = (times: number): void => {
      for (let i = 0; i < times; i++) {
        client.produceSome(
          ref,
          Array.from({ length: 1_000 }, () => ({})),
        );
      }
    };
    const recordsFrom = (commit: number): number =>
      [...run.disk.entries.items({ from: Uint8Array.of(0), to: Uint8Array.of(0xff) })].filter(
        ({ key }) => key['test\0'.length] === KIND.journal && commitOf(key) >= commit,
      ).length;
    produceMany(100);
    client.ask({ kind: 'control', channel: 'mail', action: 'purge', settings: undefined });
    run.run();
    const newest = Math.max(
      ...[...run.disk.entries.items({ from: Uint8Array.of(0), to: Uint8Array.of(0xff) })]
        .filter(({ key }) => key['test\0'.length] === KIND.journal)
        .map(({ key }) => commitOf(key)),
    );
    run.reload('host', () => produceMany(60));
    expect(recordsFrom(newest + 1)).toBeGreaterThanOrEqual(60);
  });

  test('is trimmed by count', () => {
    const run = new MachineRun();
    const client = run.client('client');
    const ref = client.declare('mail');
    for (let i = 0; i < 120; i++) {
      client.produceSome(
        ref,
        Array.from({ length: 1_000 }, () => ({})),
      );
    }
    const records = [...run.disk.entries.items({ from: Uint8Array.of(0), to: Uint8Array.of(0xff) })].filter(
      ({ key }) => key['test\0'.length] === KIND.journal,
    );
    expect(records).toHaveLength(100);
  });
});

/** The commit in the key of a record of the journal; its lower half is enough here. */
function commitOf(key: Uint8Array): number {
  return new DataView(key.buffer, key.byteOffset, key.byteLength).getUint32('test\0'.length + 5);
}
