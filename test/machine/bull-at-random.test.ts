import { expect, test } from 'vitest';
import { KIND } from '#holdfast/machine/layout.js';
import type { BullAdd } from '#holdfast/model/bull.js';
import { seededRandom } from '#holdfast/model/random.js';
import { BullRun, TAKE } from '../helpers/bull-run.ts';

const STATES = ['wait', 'prioritized', 'delayed', 'active', 'waiting-children', 'completed', 'failed'] as const;

/** Does anything that can be done with a queue, as chance has it. */
class Chaos {
  readonly #run: BullRun;
  readonly #random: ReturnType<typeof seededRandom>;
  readonly #ids: string[] = ['none'];
  readonly #most: number;

  /** @param most jobs are added up to so many at a time, with long data where these are several */
  constructor(run: BullRun, seed: number, most: number = 1) {
    this.#run = run;
    this.#most = most;
    this.#random = seededRandom(seed);
  }

  #below(most: number): number {
    return Math.floor(this.#random.fraction() * most);
  }

  #one<T>(of: readonly T[]): T {
    return of[this.#below(of.length)] as T;
  }

  #maybe<T extends object>(of: T): T | object {
    return this.#below(3) === 0 ? of : {};
  }

  step(): void {
    const bull = this.#run;
    const { now } = bull.run;
    const id = this.#one(this.#ids);
    const held = { id, token: TAKE.token, now };
    const state = this.#one(STATES);
    const acts: readonly (() => unknown)[] = [
      () => this.#add(),
      () => this.#add(),
      () => this.#add(),
      () => bull.claim(this.#maybe({ limiter: { max: 5, duration: 50 } })),
      () => bull.claim(),
      () =>
        bull.finish(id, {
          keep: this.#maybe({ count: this.#below(4) }),
          metricsSize: 2,
          ...this.#maybe({ take: TAKE }),
          // A short value stands in the state of a job, a long one in a record of its own.
          ...this.#maybe({ value: JSON.stringify('long'.repeat(1_000)) }),
        }),
      () =>
        bull.ask('reprocess', {
          id,
          state: this.#one(['completed', 'failed']),
          lifo: false,
          resetsMade: this.#below(2) === 0,
          resetsStarted: this.#below(2) === 0,
        }),
      () => bull.ask('updateData', { id, data: '{"changed":true}' }),
      () => bull.fail(id, { keep: this.#maybe({ age: 1 }) }),
      () =>
        bull.ask('moveToDelayed', {
          ...held,
          delay: this.#below(50),
          skipsAttempt: false,
          ...this.#maybe({ take: TAKE }),
        }),
      () => bull.ask('moveToWaitingChildren', held),
      () => bull.ask('moveToWait', { id, token: TAKE.token }),
      () => bull.ask('retry', { ...held, lifo: this.#below(2) === 0 }),
      () => bull.ask('promote', { id }),
      () => bull.ask('moveJobsToWait', { state: this.#one(['completed', 'failed', 'delayed']), count: 2, until: null }),
      () => bull.ask('moveStalled', { maxStalled: 1, intervalMs: 5 }),
      () => bull.ask('changePriority', { id, priority: this.#below(3), lifo: this.#below(2) === 0 }),
      () => bull.ask('changeDelay', { id, delay: this.#below(50), now }),
      () => bull.ask('remove', { id, children: this.#below(2) === 0 }),
      () => bull.ask('removeUnprocessedChildren', { id }),
      () => bull.ask('updateProgress', { id, progress: '1' }),
      () => bull.ask('addLog', { id, line: 'line', keep: this.#below(3) }),
      () => bull.ask('pause', { paused: this.#below(4) === 0 }),
      () => this.#below(8) === 0 && bull.ask('drain', { delayed: true }),
      () => this.#below(4) === 0 && bull.ask('clean', { state, until: now - 20, limit: this.#below(3) }),
      () => this.#schedule(),
      () => bull.run.advance(this.#below(40)),
    ];
    this.#one(acts)();
  }

  #add(): void {
    const bull = this.#run;
    const rest: Partial<BullAdd> = {
      ...this.#maybe({ delay: this.#below(60) }),
      ...this.#maybe({ priority: this.#below(3) }),
      ...this.#maybe({ id: `own-${this.#below(9)}` }),
      ...this.#maybe({
        dedupe: {
          id: this.#one(['a', 'b']),
          ...this.#maybe({ ttl: 30 }),
          ...this.#maybe({ replace: true }),
          ...this.#maybe({ keepLastIfActive: true }),
        },
      }),
    };
    const parent = this.#one(this.#ids);
    const flags = this.#one([{}, { fpof: true }, { cpof: true }, { idof: true }, { rdof: true }]);
    const below = {
      parentKey: `${bull.queue}:${parent}`,
      parent: JSON.stringify({ id: parent, queueKey: bull.queue, ...flags }),
    };
    const waits = this.#maybe({ waitsForChildren: true });
    const others = Array.from({ length: this.#most === 1 ? 0 : this.#below(this.#most) }, () => ({
      data: JSON.stringify('data'.repeat(this.#below(1_000))),
    }));
    for (const outcome of bull.tryAdd(...others, { ...rest, ...this.#maybe(below), ...waits })) {
      if (typeof outcome === 'string') this.#ids.push(outcome);
    }
  }

  #schedule(): void {
    const bull = this.#run;
    const { now } = bull.run;
    const opts = { data: '{}', templateOpts: '{}', jobOpts: '{}' };
    const fields = { name: 'tick', every: 10 + this.#below(2) * 10 };
    if (this.#below(3) === 0) bull.ask('removeScheduler', { id: 's' });
    else bull.ask('addScheduler', { id: 's', now, nextAt: null, fields, ...opts });
  }
}

/** What holds of every queue at any time. */
function check(bull: BullRun): void {
  const all = bull.ask('ranges', { states: STATES, start: 0, end: -1, asc: true });
  const ids = all.flat();
  expect(new Set(ids).size).toBe(ids.length);
  STATES.forEach((state, i) => {
    for (const id of all[i] ?? []) {
      expect(bull.ask('state', { id })).toBe(state);
    }
  });
}

/** These have found something once. */
const FOUND = [532, 703, 786, 1071];

test.each([
  ...[...FOUND, ...Array.from({ length: 40 }, (_, i) => i + 1)].map((seed) => [seed, 1] as const),
  ...Array.from({ length: 20 }, (_, i) => [i + 1, 20] as const),
])('whatever happens, a restart changes nothing that can be seen (seed %i, %i jobs at a time)', (seed, most) => {
  const bull = new BullRun();
  const chaos = new Chaos(bull, seed, most);
  for (let round = 0; round < 6; round++) {
    for (let i = 0; i < 60; i++) chaos.step();
    check(bull);
    const before = bull.seen();
    bull.run.reload();
    expect(bull.seen()).toEqual(before);
  }
  bull.ask('pause', { paused: true });
  while (bull.ask('obliterate', { count: 1_000, force: true }) === 1);
  expect(bull.run.kinds).not.toContain(KIND.bull);
});
