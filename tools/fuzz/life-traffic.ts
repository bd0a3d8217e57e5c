/** Commands that change, look for and repeat messages: updates, bulks, searches, rules of groups, and schedules. */
import { encode } from '#holdfast/codec/bson.js';
import type { Command } from '#holdfast/model/command.js';
import { BULK_ACTIONS, type MessageFilter } from '#holdfast/model/filter.js';
import type { Change } from '#holdfast/model/life.js';
import type { Rate } from '#holdfast/model/policy.js';
import { MISSED, OVERLAP, SEED_BYTES } from '#holdfast/model/schedule.js';
import { STATES } from '#holdfast/model/states.js';
import type { Dice } from './dice.ts';

/** Few, so that clients meet, and what a broker keeps of them does not grow with the run. */
export const GROUPS = ['g', 'h', 'ä€😀'] as const;
const SCHEDULES = ['s', 't', 'u'] as const;

/** A schedule never ticks often, for nobody may take what it produces. */
const RULES = [{ cron: '* * * * * *', timeZone: 'Europe/Berlin' }, { everyMs: 1_000 }] as const;

const RATES: readonly (Rate | null)[] = [
  null,
  { kind: 'bucket', count: 5, perMs: 50, burst: 5 },
  { kind: 'window', count: 5, perMs: 50 },
];

/** What these commands need that other traffic knows. */
export interface Known {
  readonly channel: () => string;
  readonly ref: () => number;
  readonly id: () => Uint8Array;
  readonly number: () => number;
  readonly block: () => Uint8Array;
}

export class LifeTraffic {
  readonly #dice: Dice;
  readonly #known: Known;

  constructor(dice: Dice, known: Known) {
    this.#dice = dice;
    this.#known = known;
  }

  update(): Command {
    const { below, chance } = this.#dice;
    const payload = chance(0.5) ? { codec: 1, bytes: encode({ new: below(100) }) } : undefined;
    return { kind: 'update', id: this.#known.id(), payload, ...this.#change() };
  }

  bulk(): Command {
    const { below, chance, pick } = this.#dice;
    const change = this.#change();
    return {
      kind: 'bulk',
      channel: this.#known.channel(),
      action: pick(BULK_ACTIONS),
      filter: this.#filter(),
      limit: chance(0.5) ? 1 + below(100) : undefined,
      ...change,
    };
  }

  stopBulk(): Command {
    return { kind: 'stopBulk', bulk: this.#dice.chance(0.9) ? this.#dice.below(50) : this.#known.number() };
  }

  group(): Command {
    const { chance, pick } = this.#dice;
    const rules = {
      concurrency: pick([0, 1, 3]),
      weight: pick([1, 5]),
      maxBacklog: pick([0, 20]),
      rate: pick(RATES),
    };
    return {
      kind: 'controlGroup',
      channel: this.#known.channel(),
      group: pick(GROUPS),
      action: pick(['pause', 'resume', 'resume', 'configure'] as const),
      rules: chance(0.3) ? {} : rules,
    };
  }

  inspect(): Command {
    const { below, chance, pick } = this.#dice;
    const channel = chance(0.5) ? this.#known.channel() : undefined;
    switch (below(4)) {
      case 0:
        return {
          kind: 'inspect',
          what: 'bulks',
          bulk: chance(0.5) ? below(50) : undefined,
          channel,
          tell: chance(0.5),
        };
      case 1:
        return { kind: 'inspect', what: 'schedule', key: pick(SCHEDULES) };
      case 2:
        return { kind: 'inspect', what: 'schedules', after: pick(['', 's']), limit: 1 + below(2_000), channel };
      default:
        return {
          kind: 'inspect',
          what: 'search',
          channel,
          filter: this.#filter(),
          order: pick(['newest', 'oldest'] as const),
          after: undefined,
          limit: 1 + below(100),
        };
    }
  }

  schedule(): Command {
    const { bytes, chance, pick } = this.#dice;
    if (chance(0.4)) {
      const action = pick(['pause', 'resume', 'remove', 'run'] as const);
      return {
        kind: 'manageSchedule',
        key: pick(SCHEDULES),
        action,
        id: action === 'run' ? this.#known.id() : undefined,
      };
    }
    return {
      kind: 'upsertSchedule',
      key: pick(SCHEDULES),
      ref: this.#known.ref(),
      settings: {
        rule: chance(0.01) ? { cron: '61 * * * *', timeZone: 'Nowhere' } : pick(RULES),
        startAt: pick([undefined, 0, this.#moment()]),
        endAt: pick([undefined, undefined, this.#moment()]),
        limit: pick([undefined, 1, 5]),
        jitterMs: pick([0, 0, 500]),
        missed: pick(MISSED),
        overlap: pick(OVERLAP),
      },
      immediately: chance(0.2),
      template: this.#known.block(),
      seed: bytes(SEED_BYTES),
    };
  }

  #change(): Change {
    const { below, chance, pick } = this.#dice;
    return {
      delayMs: chance(0.4) ? below(1_000) : undefined,
      dueAt: chance(0.1) ? this.#moment() : undefined,
      priority: chance(0.3) ? pick([-2_097_152, -1, 0, 3]) : undefined,
      lifo: chance(0.2) ? true : undefined,
    };
  }

  /** Mostly one that is near. */
  #moment(): number {
    const { below, chance } = this.#dice;
    return chance(0.02) ? this.#known.number() : Date.now() + below(20_000) - 10_000;
  }

  #filter(): MessageFilter {
    const { below, chance, pick } = this.#dice;
    const states = STATES.filter(() => chance(0.5));
    return {
      states: states.length > 0 || chance(0.01) ? states : ['ready'],
      ...(chance(0.2) && { name: pick(['n', 'ä']) }),
      ...(chance(0.2) && { group: pick(GROUPS) }),
      ...(chance(0.2) && { producedAfter: this.#moment(), endedBefore: this.#moment() }),
      ...(chance(0.2) && { minAttempts: below(3), maxAttempts: below(3) }),
      ...(chance(0.2) && { failure: pick(['Error', 'x'.repeat(1_024)]) }),
      ...(chance(0.2) && { text: pick(['n', '€']) }),
    };
  }
}
