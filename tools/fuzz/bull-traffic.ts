/** Commands for BullMQ's queues: each method, with arguments that may and may not make sense together. */
import {
  type BullAdd,
  type BullArgs,
  BULL_CHILDREN,
  type BullCommand,
  type BullImport,
  type BullMethod,
  BULL_STATES,
  type BullTake,
} from '#holdfast/model/bull.js';
import { callersNow } from '#holdfast/model/clock.js';
import type { Dice } from './dice.ts';

/** Few, so that clients meet, and what a broker keeps of them does not grow with the run. */
const QUEUES = ['bull:a', 'bull:ä€😀', 'other:prefix:b'] as const;
const IDS = [...Array.from({ length: 20 }, (_, i) => String(i)), 'own', 'a:b', '__proto__', '😀'];
const TOKENS = ['token', 'other', '0', ''] as const;
const NAMES = ['job', '', 'ä€😀', 'constructor'] as const;
const ODD_TIMES = [0, -1, 1, 2 ** 31, 2 ** 53, 1e300, -1e300, 0.5] as const;
const EVENTS_KEPT = 100;

const SOME_FLAGS = ['lifo', 'waitsForChildren'] as const;

export class BullTraffic {
  readonly #dice: Dice;
  readonly #makers: { readonly [M in BullMethod]: () => BullArgs<M> };
  readonly #methods: readonly BullMethod[];

  constructor(dice: Dice) {
    this.#dice = dice;
    this.#makers = this.#allMakers();
    const methods = Object.keys(this.#makers) as BullMethod[];
    // What moves jobs on comes more often than what looks at them, and than what removes everything.
    const often = ['add', 'claim', 'finish'].flatMap((method) => Array<BullMethod>(12).fill(method as BullMethod));
    this.#methods = [...methods, ...often];
  }

  next(): BullCommand {
    const method = this.#dice.pick(this.#methods);
    return { kind: 'bull', queue: this.#dice.pick(QUEUES), method, asks: this.#asks(method) };
  }

  #asks(method: BullMethod): BullCommand['asks'] {
    return Array.from({ length: 1 + this.#dice.below(3) }, () => this.#makers[method]());
  }

  #allMakers(): { readonly [M in BullMethod]: () => BullArgs<M> } {
    const { below, chance, pick } = this.#dice;
    const flag = (): boolean => chance(0.5);
    const id = (): string => pick(IDS);
    const ofJob = (): { id: string } => ({ id: id() });
    const now = (): number => this.#time();
    const held = (): { id: string; token: string; now: number } => ({ id: id(), token: pick(TOKENS), now: now() });
    const take = (): BullTake => this.#take();
    const range = (): { start: number; end: number; asc: boolean } => {
      return { start: below(20) - 10, end: below(40) - 20, asc: flag() };
    };
    const maybeTake = (): { take?: BullTake } => (flag() ? { take: take() } : {});
    const reason = { failedReason: 'boom', stacktrace: '["at line 1"]' };
    const ended = (): 'completed' | 'failed' => pick(['completed', 'failed'] as const);
    const schedulerFields = (): Record<string, string> => {
      return pick([
        { name: 'tick', every: '1000' },
        { name: 'tick', pattern: '* * * * *' },
        { limit: '3' },
        {},
      ] as const);
    };
    return {
      add: () => ({ jobs: Array.from({ length: 1 + below(3) }, () => this.#add()) }),
      addScheduler: () => ({
        ...ofJob(),
        now: now(),
        nextAt: flag() ? null : now(),
        fields: pick([
          { name: 'tick', every: 1_000 + below(3) * 500 },
          { name: 'tick', pattern: '* * * * *' },
        ] as const),
        data: '{}',
        templateOpts: '{}',
        jobOpts: pick(['{}', '{"priority":2}', '{"repeat":{"every":1000,"offset":3}}']),
      }),
      updateScheduler: () => ({ ...ofJob(), now: now(), nextAt: now(), jobOpts: '{}', producerId: id() }),
      removeScheduler: ofJob,
      importJobs: () => ({ jobs: [this.#import()], nextJob: below(30) }),
      importScheduler: () => ({ ...ofJob(), fields: schedulerFields(), nextAt: now() }),
      claim: () => ({ now: now(), take: take() }),
      finish: () => ({
        ...held(),
        state: ended(),
        value: pick(['null', '1', '"x"', 'not JSON', `"${'long'.repeat(500)}"`]),
        keep: pick([{}, { count: 0 }, { count: 3 }, { count: -1, age: 1 }, { age: 0, limit: 1 }]),
        attempts: below(3),
        metricsSize: pick([0, 3]),
        ...(flag() && { fields: reason }),
        ...maybeTake(),
      }),
      moveToDelayed: () => ({ ...held(), delay: this.#delay(), skipsAttempt: flag(), ...maybeTake() }),
      moveToWaitingChildren: () => ({ ...held(), ...(flag() && { childKey: `${pick(QUEUES)}:${id()}` }) }),
      moveToWait: () => ({ id: id(), token: pick(TOKENS) }),
      retry: () => ({ ...held(), lifo: flag(), ...(flag() && { fields: reason }) }),
      reprocess: () => ({ ...ofJob(), state: ended(), lifo: flag(), resetsMade: flag(), resetsStarted: flag() }),
      promote: ofJob,
      moveJobsToWait: () => ({
        state: pick(['completed', 'failed', 'delayed'] as const),
        count: below(5),
        until: flag() ? null : now(),
      }),
      moveStalled: () => ({ maxStalled: below(3), intervalMs: below(50) }),
      extendLocks: () => ({
        ids: [id(), id()],
        tokens: flag() ? ['token'] : ['token', 'other'],
        lockMs: this.#delay(),
      }),
      pause: () => ({ paused: chance(0.2) }),
      drain: () => ({ delayed: flag() }),
      clean: () => ({ state: pick(BULL_STATES), until: now(), limit: below(5) }),
      obliterate: () => ({ count: below(100), force: flag() }),
      trimEvents: () => ({ length: below(EVENTS_KEPT) }),
      updateData: () => ({ ...ofJob(), data: '{"changed":true}' }),
      updateProgress: () => ({ ...ofJob(), progress: pick(['1', '{"at":2}']) }),
      addLog: () => ({ ...ofJob(), line: pick(['a line', '', 'ä€😀']), keep: 1 + below(3) }),
      clearLogs: () => ({ ...ofJob(), keep: below(3) }),
      changeDelay: () => ({ ...ofJob(), now: now(), delay: this.#delay() }),
      changePriority: () => ({ ...ofJob(), priority: below(4), lifo: flag() }),
      remove: () => ({ ...ofJob(), children: flag() }),
      removeUnprocessedChildren: ofJob,
      removeChildDependency: () => ({ ...ofJob(), parentKey: `${pick(QUEUES)}:${id()}` }),
      removeDedupe: () => ({ dedupeId: pick(['d', 'e']), ...(flag() && { jobId: id() }) }),
      setMeta: () => ({
        values: {
          [pick(['concurrency', 'max', 'duration', 'opts.maxLenEvents', '__proto__'])]: pick(['1', '5', 'x', '-1']),
        },
      }),
      removeMeta: () => ({ fields: ['concurrency', 'max', 'duration'] }),
      setRateLimit: () => ({ ms: pick([0, 5, 50, -1]) }),
      removeRateLimit: () => ({}),
      publish: () => ({ fields: pick([['event', 'own'], ['event'], []] as const), maxLength: below(EVENTS_KEPT) }),
      state: ofJob,
      finished: ofJob,
      maxed: () => ({}),
      job: ofJob,
      dedupeJob: () => ({ dedupeId: pick(['d', 'e']) }),
      logs: () => ({ ...ofJob(), ...range() }),
      rateLimitTtl: () => ({ max: below(3) }),
      counts: () => ({ states: [...BULL_STATES, 'unknown'], ...(flag() && { until: now() }) }),
      countsPerPriority: () => ({ priorities: [0, 1, 2, -3] }),
      ranges: () => ({ states: [...BULL_STATES, 'unknown'], ...range() }),
      childCounts: ofJob,
      children: () => ({ ...ofJob(), of: pick(BULL_CHILDREN), start: below(3), limit: below(5), jobs: flag() }),
      scheduler: ofJob,
      schedulers: range,
      schedulerCount: () => ({}),
      metrics: () => ({ of: ended(), start: below(3), end: below(6) - 3 }),
      meta: () => ({}),
      queues: () => ({ after: below(5), limit: 1 + below(1_000) }),
      clients: () => ({}),
      events: () => ({ after: pick(['$', '0-0', '', 'x', `${callersNow()}-0`]), waiter: below(5) }),
      wait: () => ({ waiter: below(5), stop: flag() }),
      nameClient: () => ({ number: below(5), name: flag() ? null : pick(NAMES) }),
    };
  }

  #add(): BullAdd {
    const { below, chance, pick } = this.#dice;
    const parent = pick(IDS);
    const queueKey = pick(QUEUES);
    const policy = pick([{}, { fpof: true }, { cpof: true }, { idof: true }, { rdof: true }]);
    return {
      // Numbers of the queue are drawn seldom, since those ids are never used again.
      id: chance(0.1) ? '' : pick(IDS),
      name: pick(NAMES),
      data: pick(['{}', '{"n":1}', '"ä€😀"', `"${'x'.repeat(500)}"`]),
      opts: pick(['{}', '{"attempts":3}']),
      timestamp: this.#time(),
      ...(chance(0.3) && { delay: this.#delay() }),
      ...(chance(0.3) && { priority: below(4) }),
      ...(chance(0.2) && { [pick(SOME_FLAGS)]: true }),
      ...(chance(0.1) && { queue: pick(QUEUES) }),
      ...(chance(0.2) && {
        parentKey: `${queueKey}:${parent}`,
        parent: JSON.stringify({ id: parent, queueKey, ...policy }),
      }),
      ...(chance(0.2) && {
        dedupe: {
          id: pick(['d', 'e']),
          ...(chance(0.5) && { ttl: this.#delay() }),
          ...(chance(0.3) && { replace: true }),
          ...(chance(0.3) && { extend: true }),
          ...(chance(0.3) && { reschedule: true }),
          ...(chance(0.3) && { keepLastIfActive: true }),
        },
      }),
    };
  }

  #import(): BullImport {
    const { below, chance, pick } = this.#dice;
    return {
      id: pick(IDS),
      name: pick(NAMES),
      data: '{}',
      opts: '{}',
      state: pick(['wait', 'prioritized', 'delayed', 'waiting-children', 'failed'] as const),
      at: this.#time(),
      timestamp: this.#time(),
      delay: below(100),
      priority: below(4),
      attemptsMade: below(3),
      attemptsStarted: below(3),
      stalledCounter: below(2),
      ...(chance(0.3) && { logs: ['one', 'two'] }),
      ...(chance(0.3) && { failedReason: 'boom', stacktrace: '[]', finishedOn: this.#time() }),
      ...(chance(0.3) && { dedupe: { id: 'd', stands: chance(0.5) } }),
    };
  }

  #take(): BullTake {
    const { below, chance, pick } = this.#dice;
    return {
      token: pick(TOKENS),
      lockMs: this.#delay(),
      maxStalled: below(3),
      ...(chance(0.3) && { name: pick(NAMES) }),
      ...(chance(0.2) && { limiter: { max: below(5), duration: below(100) } }),
    };
  }

  /** About now by the caller's clock, or any time at all. */
  #time(): number {
    return this.#dice.chance(0.05) ? this.#dice.pick(ODD_TIMES) : callersNow();
  }

  #delay(): number {
    return this.#dice.pick([0, 5, 50, 30_000, -1]);
  }
}
