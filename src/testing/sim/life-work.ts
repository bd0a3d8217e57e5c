/** What users do to messages that are stored: change, stop, begin anew, find; one by one, or many at once. */
import type { Bulk, BulkOptions } from '../../api/bulk.ts';
import type { FilterOptions } from '../../api/search.ts';
import type { BulkAction } from '../../model/filter.ts';
import type { State } from '../../model/states.ts';
import { canonical } from './commit-content.ts';
import type { OpenChannel, Running, Workplace } from './world.ts';

export async function changeLives(worker: Workplace, open: OpenChannel): Promise<void> {
  const { sim, chance } = worker;
  if (chance.happens(0.3)) return actOnMany(worker, open);
  if (chance.happens(0.15)) return look(open, worker);
  const running = [...worker.running];
  if (running.length > 0 && chance.happens(0.3)) return stop(worker, chance.oneOf(running));
  const id = sim.someId(open.channel.name, chance);
  if (id === undefined) return;
  const { channel } = open;
  switch (chance.whole(0, 4)) {
    case 0:
      return told(worker, open, 'retry', id, channel.retry(id, { attempts: chance.oneOf(['reset', 'keep'] as const) }));
    case 1:
      return told(worker, open, 'remove', id, channel.remove(id));
    default:
      return update(worker, open, id);
  }
}

/** Cancels a message whose handler runs here, which has some time to end. */
async function stop(worker: Workplace, { id, open }: Running): Promise<void> {
  const options = { reason: 'It was in the way', deadline: worker.chance.whole(1, 6_000) };
  return told(worker, open, 'cancel with a deadline', id, open.channel.cancel(id, options));
}

async function update(worker: Workplace, open: OpenChannel, id: string): Promise<void> {
  const { sim, chance, process } = worker;
  const changes = {
    ...(chance.happens(0.3) && { priority: chance.whole(-2, 2) }),
    ...(chance.happens(0.2) && { lifo: true }),
    ...(chance.happens(0.4) && { delay: chance.happens(0.3) ? 0 : chance.whole(0, 20_000) }),
  };
  if (chance.happens(0.4) && Object.keys(changes).length > 0) {
    return told(worker, open, 'update', id, open.channel.update(id, changes));
  }
  const message = sim.newContent(undefined);
  const content = canonical(message);
  sim.record({ kind: 'update.called', at: sim.time.nowMs, process: process.name, id, content });
  return told(worker, open, 'update', id, open.channel.update(id, { ...changes, message }));
}

/** Does something to many messages at once, and waits for its end, or not. */
async function actOnMany(worker: Workplace, open: OpenChannel): Promise<void> {
  const { sim, chance } = worker;
  const { channel } = open;
  const limit = chance.happens(0.4) ? { limit: chance.whole(1, 5) } : {};
  const begun = await begin(worker, open, limit);
  sim.managed(worker, `bulk ${begun.id}`, channel.name, undefined, 'done');
  // The next leader goes on with it.
  if (chance.happens(0.15) && sim.leader !== undefined && !sim.isHealed) sim.kill(sim.leader);
  if (chance.happens(0.25)) return begun.stop();
  if (chance.happens(0.5)) await begun.done();
}

function begin(worker: Workplace, open: OpenChannel, limit: { readonly limit?: number }): Promise<Bulk> {
  const { chance } = worker;
  const start = <Action extends BulkAction>(
    action: Action,
    states: readonly State[],
    options: BulkOptions<Action>,
    others: FilterOptions = {},
  ): Promise<Bulk> => open.channel.bulk(action, { state: states, ...others }, options);
  switch (chance.whole(0, 6)) {
    case 0:
      return start('cancel', ['ready', 'delayed', 'waiting'], limit);
    case 1:
      return start('promote', ['delayed'], limit);
    case 2:
      return start('update', ['ready', 'delayed'], { ...limit, delay: chance.whole(0, 9_000) });
    case 3:
      return start('remove', chance.oneOf([['completed'], ['dead', 'cancelled']] as const), limit);
    case 4:
      return start('retry', ['dead'], limit, chance.happens(0.5) ? { failure: 'threw' } : {});
    default:
      return start('retry', chance.oneOf([['dead'], ['cancelled'], ['completed']] as const), {
        ...limit,
        attempts: 'reset',
      });
  }
}

async function look({ channel }: OpenChannel, { chance, holdfast }: Workplace): Promise<void> {
  const options = { limit: chance.whole(1, 5), order: chance.oneOf(['newest', 'oldest'] as const) };
  const first = await channel.search({ ...options, ...(chance.happens(0.5) && { text: 'padding' }) });
  if (first.cursor !== undefined) await channel.search({ ...options, cursor: first.cursor });
  await holdfast?.admin.bulks();
}

async function told(
  worker: Workplace,
  { channel }: OpenChannel,
  action: string,
  id: string,
  done: Promise<void>,
): Promise<void> {
  const { sim } = worker;
  let outcome = 'done';
  try {
    await done;
  } catch (error) {
    outcome = sim.tolerate(error);
  }
  sim.managed(worker, action, channel.name, id, outcome);
}
