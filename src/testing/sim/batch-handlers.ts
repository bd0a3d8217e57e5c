/** Handlers of many messages at a time, which do what such handlers do. */
import type { BatchContext, BatchHandler, BatchMessage } from '../../api/batch.ts';
import { deadLetter, type HandlerOutcome, retry, snooze } from '../../api/outcomes.ts';
import { canonical } from './commit-content.ts';
import { die, failure } from './handlers.ts';
import { workOnEntriesWithAck } from './kv-work.ts';
import { publishWithAck } from './topic-work.ts';
import type { Content, Load, OpenChannel, Workplace } from './world.ts';

type Item = BatchMessage<Content>;

export function batchHandlerOf(worker: Workplace, open: OpenChannel, load: Load): BatchHandler<Content, unknown> {
  const { sim, process } = worker;
  /** The messages of each batch that is not settled, as far as the handler knows. */
  const handled = new Map<number, readonly number[]>();
  return async (batch, context) => {
    load.running += 1;
    const { wallMs: wall, nowMs: at } = sim.time;
    const tokens = batch.map(({ token }) => token);
    const hasLost = (token: number): boolean => (handled.get(token) ?? []).some((other) => !tokens.includes(other));
    for (const { id, token, attempt, message } of batch) {
      const content = canonical(message);
      const { name } = process;
      const isRerun = hasLost(token);
      const started = { at, wall, process: name, channel: open.plan.name, id, token, attempt, content, isRerun };
      sim.record({ kind: 'handler.started', ...started });
      if (isRerun) sim.reached('a batch has lost a message');
    }
    for (const token of tokens) handled.set(token, tokens);
    let results: (string | undefined)[] = [];
    try {
      results = await handle(worker, open, batch, context);
    } finally {
      load.running -= 1;
      const how = results.length === 0 ? 'threw' : 'returned';
      batch.forEach(({ token }, i) => {
        if (!process.isAlive) return;
        const { nowMs } = sim.time;
        sim.record({ kind: 'handler.ended', at: nowMs, process: process.name, token, how, result: results[i] });
      });
    }
  };
}

/** @returns the results of those that it has completed */
async function handle(
  worker: Workplace,
  open: OpenChannel,
  batch: readonly Item[],
  context: BatchContext,
): Promise<(string | undefined)[]> {
  const { sim, process, chance } = worker;
  if (!sim.isHealed) {
    if (batch.some(({ message }) => message.fate === 'kills') || chance.happens(sim.scenario.faults.deadlyHandlers))
      return die(worker);
    if (chance.happens(0.5)) await process.sleep(chance.until(chance.happens(0.1) ? 6_000 : 400));
  }
  const isTogether = !sim.isHealed && (await addEffects(worker, open, batch, context));
  if (!sim.isHealed && chance.happens(0.08)) throw failure('The batch threw by chance');
  return batch.map((item, i) => {
    // The first one stands for the effects of all: what is known of them is known by its ack.
    const outcome = isTogether && i === 0 ? undefined : outcomeOf(worker, item);
    if (outcome instanceof Error) item.fail(outcome);
    else item.settle(outcome ?? answerOf(item));
    return outcome === undefined ? canonical(answerOf(item)) : undefined;
  });
}

async function addEffects(
  worker: Workplace,
  open: OpenChannel,
  batch: readonly Item[],
  context: BatchContext,
): Promise<boolean> {
  const { sim, chance } = worker;
  const [first] = batch as readonly [Item];
  const target = open.plan.followUps === undefined ? undefined : worker.channels.get(open.plan.followUps);
  let added = false;
  if (target !== undefined && chance.happens(0.5)) {
    added = true;
    const content = sim.newContent(undefined);
    const [id = ''] = worker.capture(() => context.tx.produce(target.channel, content));
    const key = target.plan.keys === 'none' ? '' : canonical(content);
    sim.called(worker, target.plan.name, [{ id, key, content: canonical(content) }], { token: first.token });
  }
  if (sim.scenario.topicShare > 0 && chance.happens(0.2)) {
    added = true;
    publishWithAck(worker, (topic, content) => context.tx.produce(topic, content), first.token);
  }
  if (chance.happens(sim.scenario.kvShare)) {
    added = true;
    await workOnEntriesWithAck(worker, context);
  }
  const other = batch[1];
  if (added && other !== undefined && chance.happens(0.4)) {
    const cancelled = open.channel.cancel(other.id).then(
      () => 'done',
      (error: unknown) => sim.tolerate(error),
    );
    sim.managed(worker, 'cancel', open.plan.name, other.id, await cancelled);
  }
  return added;
}

function outcomeOf({ sim, chance }: Workplace, { message }: Item): HandlerOutcome | Error | undefined {
  if (sim.isHealed) return undefined;
  if (message.fate === 'throws') return failure('It always throws');
  switch (chance.whole(0, 24)) {
    case 0:
    case 1:
      return failure('It failed by chance');
    case 2:
      return retry({ delay: chance.whole(0, 5_000), reason: 'It asked for a retry' });
    case 3:
      return snooze(chance.whole(0, 8_000));
    case 4:
      return chance.happens(0.5) ? deadLetter('It asked for a dead letter') : undefined;
    default:
      return undefined;
  }
}

function answerOf({ message }: Item): unknown {
  return { answer: message.n };
}
