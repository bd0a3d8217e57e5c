/** Handlers that do what handlers do: succeed, throw, hang, give outcomes, take their time, kill their process. */
import type { Handler } from '../../api/attempt.ts';
import type { HandlerContext } from '../../api/handler-context.ts';
import { deadLetter, rateLimited, retry, snooze } from '../../api/outcomes.ts';
import { canonical } from './commit-content.ts';
import { workOnChildren } from './flow-work.ts';
import { workOnEntriesWithAck } from './kv-work.ts';
import { publishWithAck } from './topic-work.ts';
import type { Content, Load, OpenChannel, Workplace } from './world.ts';

export function handlerOf(worker: Workplace, open: OpenChannel, load: Load): Handler<Content, unknown> {
  const { sim, process } = worker;
  return async (content, context) => {
    const { id, channel, token, attempt } = context;
    load.running += 1;
    const running = { id, open };
    worker.running.add(running);
    sim.record({
      kind: 'handler.started',
      at: sim.time.nowMs,
      wall: sim.time.wallMs,
      process: process.name,
      channel,
      id,
      token,
      attempt,
      content: canonical(content),
    });
    let how = 'threw';
    let result: unknown;
    try {
      result = await handle(worker, open, content, context);
      how = 'returned';
      return result;
    } finally {
      load.running -= 1;
      worker.running.delete(running);
      const returned = how === 'returned' ? canonical(result) : undefined;
      const { name } = process;
      if (process.isAlive)
        sim.record({ kind: 'handler.ended', at: sim.time.nowMs, process: name, token, how, result: returned });
    }
  };
}

async function handle(
  worker: Workplace,
  open: OpenChannel,
  content: Content,
  context: HandlerContext,
): Promise<unknown> {
  const { sim, process, chance } = worker;
  const answer = { answer: content.n };
  const outcomeOfChildren = content.waits === true ? await workOnChildren(worker, context) : undefined;
  if (sim.isHealed) return answer;
  const { faults } = sim.scenario;
  if (content.fate === 'kills' || chance.happens(faults.deadlyHandlers)) return die(worker);
  if (chance.happens(faults.hangingHandlers)) {
    await hang(worker, context.signal);
    return answer;
  }
  if (chance.happens(0.5)) await process.sleep(chance.until(chance.happens(0.1) ? 6_000 : 400));
  if (content.fate === 'throws') throw failure('It always throws');
  if (outcomeOfChildren !== undefined && !chance.happens(0.1)) return outcomeOfChildren;
  if (open.plan.followUps !== undefined && chance.happens(0.4)) followUp(worker, open.plan.followUps, context);
  if (chance.happens(sim.scenario.topicShare / 2)) {
    publishWithAck(worker, (topic, published) => context.tx.produce(topic, published), context.token);
  }
  if (chance.happens(sim.scenario.kvShare)) await workOnEntriesWithAck(worker, context);
  return outcome(worker, context, answer);
}

async function outcome(worker: Workplace, context: HandlerContext, answer: unknown): Promise<unknown> {
  const { sim, chance, process } = worker;
  switch (chance.whole(0, 24)) {
    case 0:
    case 1:
    case 2:
      throw failure('It threw by chance');
    case 3:
      return retry({ delay: chance.whole(0, 5_000), reason: 'It asked for a retry' });
    case 4:
      return snooze(chance.whole(0, 8_000));
    case 5:
      return chance.happens(0.5) ? deadLetter('It asked for a dead letter') : answer;
    case 6:
    case 7:
      await context.progress({ done: chance.whole(0, 100) }).catch((error: unknown) => sim.tolerate(error));
      await context.log('A line').catch((error: unknown) => sim.tolerate(error));
      return answer;
    case 9: {
      const plan = worker.channels.get(context.channel)?.plan;
      if (plan === undefined || !(plan.isLimited || plan.groups.length > 0)) return answer;
      return rateLimited(chance.whole(0, 4_000), { of: chance.oneOf(['channel', 'group'] as const) });
    }
    case 8:
      await context.extend(chance.whole(1_000, 9_000)).catch((error: unknown) => sim.tolerate(error));
      await process.sleep(chance.between(0, 7_000));
      return answer;
    default:
      return answer;
  }
}

/** Produces with the ack; the messages must be there exactly if the ack is. */
function followUp(worker: Workplace, name: string, context: HandlerContext): void {
  const { sim, chance } = worker;
  const target = worker.channels.get(name);
  if (target === undefined) return;
  for (let left = chance.whole(1, 2); left > 0; left--) {
    const content = sim.newContent(undefined);
    const ids = worker.capture(() => context.tx.produce(target.channel, content));
    const key = target.plan.keys === 'none' ? '' : canonical(content);
    sim.called(worker, name, [{ id: ids[0] as string, key, content: canonical(content) }], { token: context.token });
  }
}

export function die({ sim, process }: Workplace): Promise<never> {
  sim.reached('a handler kills its process');
  sim.kill(process);
  return new Promise(() => {});
}

async function hang({ sim, process }: Workplace, signal: AbortSignal): Promise<void> {
  while (!sim.isHealed && !signal.aborted) await process.sleep(1_000);
}

/** An error without a stack, which would cost time and differ from machine to machine. */
export function failure(message: string): Error {
  const error = new Error(message);
  delete error.stack;
  return error;
}
