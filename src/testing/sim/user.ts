/** The user of a worker: now and then calls something, never waiting for the answer before the next. */
import type { ProduceOptions } from '../../api/options.ts';
import type { Chance } from './chance.ts';
import { addFlow } from './flow-work.ts';
import { workOnEntries } from './kv-work.ts';
import { workOnSchedules } from './schedule-work.ts';
import { changeLives } from './life-work.ts';
import { workOnTopics } from './topic-work.ts';
import type { Content, OpenChannel, Workplace, World } from './world.ts';

export async function useWorker(worker: Workplace): Promise<void> {
  const { sim, process, chance } = worker;
  for (;;) {
    await process.sleep(Math.min(chance.until(sim.scenario.actionMs), 60_000));
    if (sim.isHealed) return;
    if (worker.client === undefined) continue;
    const open = chance.oneOf([...worker.channels.values()].slice(0, -2));
    act(worker, open).catch((error: unknown) => sim.tolerate(error));
  }
}

async function act(worker: Workplace, open: OpenChannel): Promise<void> {
  const { sim, chance } = worker;
  const { channel } = open;
  if (sim.scenario.flowShare > 0 && chance.happens(sim.scenario.flowShare)) return addFlow(worker, open);
  if (chance.happens(sim.scenario.kvShare)) return workOnEntries(worker, open);
  const { scheduleShare } = sim.scenario;
  if (scheduleShare > 0 && chance.happens(scheduleShare)) return workOnSchedules(worker, open);
  if (sim.scenario.topicShare > 0 && chance.happens(sim.scenario.topicShare)) return workOnTopics(worker);
  switch (chance.whole(0, 39)) {
    case 0:
    case 1:
      return produceSome(worker, open, chance.whole(2, 6));
    case 2:
    case 3:
    case 4:
      return worker.produce(open, [content(sim, chance, open)], undefined, true);
    case 5:
    case 6:
      return manage(worker, open, 'cancel');
    case 7:
      return manage(worker, open, 'promote');
    case 8:
      return manage(worker, open, 'redrive');
    case 9:
      await channel.redrive();
      return sim.managed(worker, 'redrive all', channel.name, undefined, 'done');
    case 10:
      return rest(worker, open);
    case 11:
      if (chance.happens(0.4)) sim.managed(worker, 'purge', channel.name, undefined, String(await channel.purge()));
      return undefined;
    case 12:
    case 13:
      return changeConsumer(worker, open);
    case 14:
      return look(worker, open);
    case 15:
    case 16:
      if (open.plan.groups.length > 0) return restGroup(worker, open);
      return changeLives(worker, open);
    case 17:
    case 18:
    case 19:
    case 20:
    case 21:
    case 22:
      return changeLives(worker, open);
    default:
      return produceSome(worker, open, 1);
  }
}

async function produceSome(worker: Workplace, open: OpenChannel, count: number): Promise<void> {
  const { sim, chance } = worker;
  const contents = Array.from({ length: count }, () => content(sim, chance, open));
  await worker.produce(open, contents, options(sim, chance, open), false);
}

/** The content of a message; where equal content means the same message, it often comes again. */
function content(sim: World, chance: Chance, { plan }: OpenChannel): Content {
  const fate = chance.happens(0.03)
    ? 'throws'
    : chance.happens(sim.scenario.faults.deadlyHandlers / 2)
      ? 'kills'
      : undefined;
  if (plan.keys !== 'content' || chance.happens(0.5)) return sim.newContent(fate);
  return { n: -chance.whole(1, 4), fate: undefined, padding: '' };
}

function options(sim: World, chance: Chance, { plan }: OpenChannel): ProduceOptions | undefined {
  const { wallMs } = sim.time;
  const chosen: ProduceOptions = {
    ...(chance.happens(0.15) ? { delay: chance.whole(0, 40_000) } : {}),
    ...(plan.priorities && chance.happens(0.5) ? { priority: chance.whole(-2, 2) } : {}),
    ...(chance.happens(0.05) ? { lifo: true } : {}),
    ...(chance.happens(0.05) ? { attempts: chance.whole(1, 3) } : {}),
    ...(plan.groups.length > 0 && chance.happens(0.85) ? { group: chance.oneOf(plan.groups) } : {}),
    ...(plan.isLimited && chance.happens(0.3) ? { cost: chance.oneOf([2, 3, 12]) } : {}),
    ...(plan.keys === 'key' ? { dedupeKey: `key ${chance.whole(1, 5)}` } : {}),
  };
  if (chosen.delay === undefined && chance.happens(0.07))
    return { ...chosen, dueAt: wallMs + chance.whole(-5_000, 40_000) };
  return Object.keys(chosen).length === 0 ? undefined : chosen;
}

async function manage(
  worker: Workplace,
  { channel }: OpenChannel,
  action: 'cancel' | 'promote' | 'redrive',
): Promise<void> {
  const { sim, chance } = worker;
  const id = sim.someId(channel.name, chance);
  if (id === undefined) return;
  let outcome = 'done';
  try {
    await channel[action](id);
  } catch (error) {
    outcome = sim.tolerate(error);
  }
  sim.managed(worker, action, channel.name, id, outcome);
}

async function rest(worker: Workplace, { channel }: OpenChannel): Promise<void> {
  const { sim, process, chance } = worker;
  await channel.pause();
  sim.managed(worker, 'pause', channel.name, undefined, 'done');
  await process.sleep(chance.between(500, 15_000));
  await channel.resume();
  sim.managed(worker, 'resume', channel.name, undefined, 'done');
}

async function restGroup(worker: Workplace, { channel, plan }: OpenChannel): Promise<void> {
  const { sim, process, chance } = worker;
  const group = channel.group(chance.oneOf(plan.groups));
  await group.pause();
  sim.managed(worker, 'pause a group', channel.name, undefined, group.key);
  await process.sleep(chance.between(500, 15_000));
  await group.resume();
  sim.managed(worker, 'resume a group', channel.name, undefined, group.key);
}

async function changeConsumer(worker: Workplace, open: OpenChannel): Promise<void> {
  const { chance, sim } = worker;
  const { consumer } = open;
  if (consumer === undefined) return worker.consume(open);
  open.consumer = undefined;
  sim.reached('a consumer is drained or closed');
  await (chance.happens(0.5) ? consumer.drain() : consumer.close());
  return undefined;
}

async function look(worker: Workplace, { channel }: OpenChannel): Promise<void> {
  const { sim, chance } = worker;
  await channel.inspect();
  const id = sim.someId(channel.name, chance);
  if (id !== undefined) await channel.get(id);
  await channel.list(chance.oneOf(['ready', 'delayed', 'leased', 'completed', 'dead', 'cancelled'] as const), {
    limit: 5,
  });
}
