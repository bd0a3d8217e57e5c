/** What users do with schedules. */
import type { ScheduleOptions, ScheduleRule } from '../../api/schedule-options.ts';
import type { Chance } from './chance.ts';
import { everySeconds } from './schedule-ledger.ts';
import type { OpenChannel, Workplace } from './world.ts';

/** Schedules are few, so that clients meet. */
const KEYS = 3;

export async function workOnSchedules(worker: Workplace, open: OpenChannel): Promise<void> {
  const { chance, sim } = worker;
  const { schedules } = worker.holdfast ?? {};
  if (schedules === undefined) return;
  const key = `tick ${chance.whole(1, KEYS)}`;
  const call = chance.whole(0, 9);
  if (call >= 4) {
    const rule = drawRule(chance);
    const options = drawOptions(chance, rule);
    const content = sim.newContent(undefined);
    const upserted = open.channel.schedule(key, rule, content, options);
    return record(worker, 'upsert schedule', open.channel.name, key, upserted);
  }
  const actions = ['pause', 'resume', 'remove', 'runNow'] as const;
  const action = actions[call] ?? 'resume';
  return record(worker, `${action} schedule`, '', key, schedules[action](key));
}

async function record(
  worker: Workplace,
  action: string,
  channel: string,
  key: string,
  call: Promise<unknown>,
): Promise<void> {
  const { sim } = worker;
  let outcome = 'done';
  try {
    await sim.awaited(worker, call);
  } catch (error) {
    outcome = sim.tolerate(error);
  }
  sim.managed(worker, action, channel, key, outcome);
}

function drawRule(chance: Chance): ScheduleRule {
  if (chance.happens(0.4)) return { cron: everySeconds(chance.oneOf([2, 5, 10, 20])) };
  return { every: chance.oneOf([700, 3_000, 10_000, 25_000]) };
}

function drawOptions(chance: Chance, rule: ScheduleRule): ScheduleOptions {
  const missed = chance.oneOf(['skip', 'one', 'all'] as const);
  return {
    missed,
    overlap: chance.oneOf(['allow', 'allow', 'skip', 'queue'] as const),
    // The clock jumps by a day at a time, and all ticks of that would have to come.
    limit: missed === 'all' ? chance.whole(1, 60) : chance.whole(1, 200),
    ...(chance.happens(0.3) ? { jitter: chance.whole(0, 600) } : {}),
    // At once is no time of a pattern.
    ...(rule.cron === undefined && chance.happens(0.3) ? { immediately: true } : {}),
    ...(chance.happens(0.2) ? { priority: chance.whole(-1, 1) } : {}),
  };
}
