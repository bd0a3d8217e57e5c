import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ChannelSettings, GroupRules, Rate } from '#holdfast/model/policy.js';
import { type Delivered, type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { viewOf } from '../helpers/machine-views.ts';
import { brokenRate, type Passed } from '../helpers/rates.ts';

const NAME = 'jobs';
const POLICY = { maxAttempts: 3, maxDeaths: 2 };
const GROUPS = ['a', 'b', 'c', ''] as const;

type Item = { readonly group: (typeof GROUPS)[number]; readonly priority: number; readonly cost: number };

type Step =
  | { readonly produce: readonly Item[] }
  | { readonly settle: 'ack' | 'nack' | 'wait' | 'release' | 'snooze' | 'hold'; readonly nth: number }
  | { readonly start: number }
  | { readonly die: number }
  | { readonly join: number }
  | { readonly pause: string }
  | { readonly resume: string }
  | { readonly most: number }
  | { readonly restart: boolean }
  | { readonly advance: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      produce: fc.array(
        fc.record({
          group: fc.constantFrom(...GROUPS),
          priority: fc.constantFrom(0, 0, 0, -1, 2),
          cost: fc.constantFrom(1, 1, 3),
        }),
        { minLength: 1, maxLength: 5 },
      ),
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      settle: fc.constantFrom('ack', 'ack', 'nack', 'wait', 'release', 'snooze', 'hold'),
      nth: fc.nat(5),
    }),
  },
  { weight: 4, arbitrary: fc.record({ start: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ die: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ join: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ pause: fc.constantFrom('a', 'b') }) },
  { weight: 1, arbitrary: fc.record({ resume: fc.constantFrom('a', 'b') }) },
  { weight: 1, arbitrary: fc.record({ most: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ restart: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ advance: fc.constantFrom(1, 300, 2_000, 31_000) }) },
);

const rates: fc.Arbitrary<Rate | null> = fc.constantFrom<Rate | null>(
  null,
  { kind: 'bucket', count: 2, perMs: 1_000, burst: 3 },
  { kind: 'window', count: 3, perMs: 1_500 },
);
const settings: fc.Arbitrary<Pick<ChannelSettings, 'concurrency' | 'rate'> & { readonly groups: Partial<GroupRules> }> =
  fc.record({
    concurrency: fc.constantFrom(0, 0, 1, 3),
    rate: fc.constantFrom(null, null, { kind: 'bucket' as const, count: 5, perMs: 1_000, burst: 4 }),
    groups: fc
      .record({ ordered: fc.boolean(), concurrency: fc.constantFrom(0, 2, 3), rate: rates })
      .map(({ ordered, concurrency, rate }) => ({ ordered, concurrency: ordered ? 1 : concurrency, rate })),
  });

interface Known extends Item {
  readonly rank: number;
  /** It was handed out, and has not ended since; one that was given back unseen has not begun. */
  hasBegun: boolean;
  deliveries: number;
  hasEnded: boolean;
  lease: { readonly token: number; readonly worker: MachineClient; hasStarted: boolean } | undefined;
}

/** A run of steps beside what is known of every message, which is written down without a look into the machine. */
class Watched {
  readonly run = new MachineRun();
  #operator: MachineClient;
  #ref: number;
  readonly #known = new Map<string, Known>();
  readonly #passed = new Map<string, Passed[]>();
  readonly #channelPassed: Passed[] = [];
  readonly #paused = new Set<string>();
  readonly #given: { concurrency: number; rate: Rate | null; groups: Partial<GroupRules> };
  #workers: MachineClient[] = [];
  #names = 0;

  constructor(given: Watched['settings']) {
    this.#given = { ...given, groups: { ...given.groups } };
    this.#operator = this.run.client('operator');
    this.#ref = this.#operator.declare(NAME, POLICY, given);
    this.#join(2);
  }

  get settings(): { concurrency: number; rate: Rate | null; groups: Partial<GroupRules> } {
    return this.#given;
  }

  take(taken: Step): void {
    this.#do(taken);
    this.#look();
  }

  #do(taken: Step): void {
    if ('produce' in taken) return this.#produce(taken.produce);
    if ('settle' in taken) return this.#settle(taken.settle, taken.nth);
    if ('start' in taken) {
      const held = this.#held[taken.start];
      if (held?.lease === undefined) return;
      held.lease.hasStarted = true;
      return held.lease.worker.started([this.#leaseOf(held)]);
    }
    if ('die' in taken) {
      const worker = this.#workers[taken.die % Math.max(1, this.#workers.length)];
      if (worker !== undefined) this.#die(worker);
      return;
    }
    if ('join' in taken) return this.#workers.length < 4 ? this.#join(taken.join) : undefined;
    if ('pause' in taken) return this.#pause(taken.pause, true);
    if ('resume' in taken) return this.#pause(taken.resume, false);
    if ('most' in taken) return this.#change(taken.most);
    if ('restart' in taken) return this.#restart(taken.restart);
    this.#advance(taken.advance);
  }

  #produce(items: readonly Item[]): void {
    const options = items.map(({ group, ...rest }) => ({ ...rest, ...(group === '' ? {} : { group }) }));
    const before = this.#known.size;
    // The known messages come first: what is handed out at once is looked at afterwards.
    const ids = this.#operator.produceSome(this.#ref, options);
    ids.forEach((id, i) =>
      this.#known.set(id, {
        ...(items[i] as Item),
        rank: before + i,
        hasBegun: false,
        deliveries: 0,
        hasEnded: false,
        lease: undefined,
      }),
    );
  }

  readonly #seqs = new Map<Known, number>();

  #leaseOf(known: Known): { readonly seq: number; readonly token: number } {
    return { seq: this.#seqs.get(known) as number, token: known.lease?.token ?? 0 };
  }

  get #held(): Known[] {
    return [...this.#known.values()].filter(({ lease }) => lease !== undefined);
  }

  #settle(how: Extract<Step, { settle: unknown }>['settle'], nth: number): void {
    const held = this.#held;
    const known = held[nth % Math.max(1, held.length)];
    if (known?.lease === undefined) return;
    const { worker, hasStarted } = known.lease;
    const lease = this.#leaseOf(known);
    known.lease = undefined;
    if (how === 'ack') known.hasEnded = true;
    else if (how === 'release' && !hasStarted) {
      known.deliveries -= 1;
      if (known.deliveries === 0) known.hasBegun = false;
    }
    if (how === 'ack') worker.ack(lease);
    else if (how === 'nack') worker.nack(lease, 0);
    else if (how === 'wait') worker.nack(lease, 700);
    else if (how === 'release') worker.settle(lease, { kind: 'release' });
    else if (how === 'snooze') worker.settle(lease, { kind: 'snooze', delayMs: 900 });
    else worker.settle(lease, { kind: 'hold', delayMs: 400, what: 'group' });
    this.#findDead();
  }

  /** Those that are given up have ended. */
  #findDead(): void {
    const command = { kind: 'inspect', what: 'list', channel: NAME, state: 'dead', offset: 0, limit: 100 } as const;
    const reply = this.#operator.ask(command);
    for (const { id } of reply.kind === 'value' ? (reply.value as { id: Uint8Array | string }[]) : []) {
      const known = this.#known.get(String(id));
      if (known !== undefined) Object.assign(known, { hasEnded: true, lease: undefined });
    }
  }

  #die(worker: MachineClient): void {
    this.#workers = this.#workers.filter((each) => each !== worker);
    for (const known of this.#held) if (known.lease?.worker === worker) known.lease = undefined;
    worker.die();
    this.#findDead();
  }

  #join(size: number): void {
    const worker = this.run.client(`worker ${this.#names++}`);
    this.#workers.push(worker);
    worker.window(1, worker.declare(NAME), size);
    this.#look();
  }

  #pause(group: string, paused: boolean): void {
    if (paused) this.#paused.add(group);
    else this.#paused.delete(group);
    const action = paused ? 'pause' : 'resume';
    this.#look();
    this.#operator.ask({ kind: 'controlGroup', channel: NAME, group, action, rules: undefined });
  }

  /** Only where no order is promised: one that has begun under other rules need not have been the first. */
  #change(most: number): void {
    if (this.#given.groups.ordered === true) return;
    this.#given.groups = { ...this.#given.groups, concurrency: most };
    this.#operator.ask({
      kind: 'control',
      channel: NAME,
      action: 'configure',
      settings: { groups: { concurrency: most } },
    });
  }

  #restart(isElsewhere: boolean): void {
    if (!isElsewhere) return this.run.reload();
    // Broker and clients were one process, and are gone together.
    this.#workers = [];
    for (const known of this.#held) known.lease = undefined;
    this.run.reload(`host ${this.#names}`);
    this.#operator = this.run.client(`operator ${this.#names}`);
    this.#ref = this.#operator.declare(NAME, POLICY);
    this.#join(3);
    this.#findDead();
  }

  #advance(ms: number): void {
    const until = this.run.now + ms;
    this.#look();
    for (;;) {
      const next = this.run.machine.nextWake().machine;
      if (next > until) break;
      this.run.advance(Math.max(0, next - this.run.now));
      this.#look();
    }
    this.run.advance(until - this.run.now);
    this.#look();
  }

  #look(): void {
    this.run.flush();
    for (const delivered of this.run.delivered.splice(0)) this.#begin(delivered);
    this.#checkConcurrency();
  }

  #begin({ id, seq, token, session }: Delivered): void {
    const known = this.#known.get(id) as Known;
    const worker = this.#workers.find(({ name }) => name === session) as MachineClient;
    const { group, cost } = known;
    const others = [...this.#known.values()].filter((each) => each.group === group && !each.hasEnded);
    if (this.#paused.has(group)) throw new Error(`S19: "${group}" is paused`);
    if (group !== '' && this.#given.groups.ordered === true) {
      const begun = others.filter((each) => each.hasBegun);
      if (begun.some((each) => each !== known)) throw new Error(`S9: another message of "${group}" has begun`);
      const first = others.toSorted((x, y) => x.priority - y.priority || x.rank - y.rank)[0];
      if (begun.length === 0 && first !== known) throw new Error(`S9: ${known.rank} before ${first?.rank}`);
    }
    Object.assign(known, { hasBegun: true, lease: { token, worker, hasStarted: false } });
    known.deliveries += 1;
    this.#seqs.set(known, seq);
    this.#pass(this.#channelPassed, cost, this.#given.rate);
    if (group === '') return;
    const passed = this.#passed.get(group) ?? [];
    this.#passed.set(group, passed);
    this.#pass(passed, cost, this.#given.groups.rate ?? null);
  }

  #pass(passed: Passed[], cost: number, rate: Rate | null): void {
    passed.push({ at: this.run.now, cost });
    const broken = rate === null ? undefined : brokenRate(rate, passed);
    if (broken !== undefined) throw new Error(`S12: ${broken}`);
  }

  #checkConcurrency(): void {
    const held = this.#held;
    const { concurrency, groups } = this.#given;
    if (concurrency !== 0 && held.length > concurrency) throw new Error(`S13: ${held.length} of ${concurrency}`);
    for (const group of GROUPS) {
      const most = group === '' ? 0 : (groups.concurrency ?? 1);
      const running = held.filter((each) => each.group === group).length;
      // What ran when the limit was lowered goes on.
      if (most !== 0 && running > Math.max(most, this.#before.get(group) ?? 0)) {
        throw new Error(`S13: ${running} of ${most} in "${group}"`);
      }
      this.#before.set(group, running);
    }
  }

  readonly #before = new Map<string, number>();

  /** Everything comes to its end as soon as there is somebody to do it. */
  drain(): void {
    for (const group of this.#paused) this.#pause(group, false);
    this.#join(4);
    for (let rounds = 0; rounds < 400 && this.#open > 0; rounds++) {
      for (const known of this.#held) {
        const { lease } = known;
        if (lease === undefined) continue;
        const key = this.#leaseOf(known);
        Object.assign(known, { lease: undefined, hasEnded: true });
        lease.worker.ack(key);
        this.#look();
      }
      this.#advance(6_000);
    }
    expect(this.#open).toBe(0);
    this.#advance(600_000);
    expect(viewOf(this.#operator, NAME)).toMatchObject({ ready: 0, delayed: 0, leased: 0, waiting: 0, groups: 0 });
  }

  get #open(): number {
    const { ready, delayed, leased, waiting } = viewOf(this.#operator, NAME);
    return ready + delayed + leased + waiting;
  }
}

test('groups keep their order and their limits, whatever happens, and come to their end', () => {
  fc.assert(
    fc.property(settings, fc.array(step, { minLength: 5, maxLength: 60, size: 'max' }), (given, steps) => {
      const watched = new Watched(given);
      for (const taken of steps) watched.take(taken);
      watched.drain();
    }),
    { numRuns: 300 },
  );
});
