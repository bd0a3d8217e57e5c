/** What users do with topics: have channels subscribed and unsubscribed, and publish. */
import { messageIdText } from '../../model/message-id.ts';
import type { Topic } from '../../api/topic.ts';
import { canonical } from './commit-content.ts';
import { type ProducedMessage, TOPIC_CHANNEL } from './records.ts';
import type { Content, Workplace } from './world.ts';

/** There is one topic. */
const TOPIC = 'news';

/** More channels than any scenario has. */
const MOST_COPIES = 8;

export async function workOnTopics(worker: Workplace): Promise<void> {
  const { chance, holdfast, sim } = worker;
  if (holdfast === undefined) return;
  const topic = holdfast.topic<Content>(TOPIC);
  // Where nothing deduplicates, every channel that is subscribed has every message.
  const able = [...worker.channels.values()].filter(({ plan }) => plan.keys === 'none');
  switch (chance.whole(0, 9)) {
    case 0:
    case 1: {
      const { plan } = chance.oneOf(able);
      await topic.subscribe(plan.name, plan.options);
      return;
    }
    case 2:
      if (await topic.unsubscribe(chance.oneOf(able).plan.name)) sim.reached('a channel is unsubscribed');
      return;
    case 3:
      return transact(worker, topic);
    default:
      return publish(worker, topic);
  }
}

/** Publishes with the ack of this lease. */
export function publishWithAck(
  worker: Workplace,
  produce: (topic: Topic<Content>, content: Content) => void,
  token: number,
): void {
  const { sim, holdfast } = worker;
  if (holdfast === undefined) return;
  const content = sim.newContent(undefined);
  const [id = ''] = worker.captureBytes(() => produce(holdfast.topic<Content>(TOPIC), content));
  sim.called(worker, TOPIC_CHANNEL, copiesOf(id, content), { token });
}

async function publish(worker: Workplace, topic: Topic<Content>): Promise<void> {
  const { sim, chance } = worker;
  const content = sim.newContent(chance.happens(0.05) ? 'throws' : undefined);
  const options = chance.happens(0.2) ? { delay: chance.whole(0, 10_000) } : undefined;
  let publishing: ReturnType<Topic<Content>['publish']> | undefined;
  const [id = ''] = worker.captureBytes(() => {
    publishing = topic.publish(content, options);
  });
  const op = sim.called(worker, TOPIC_CHANNEL, copiesOf(id, content), undefined);
  try {
    const receipt = await publishing;
    sim.published(op, receipt?.subscriptions ?? 0);
    sim.answered(worker, op, 'acked', undefined, []);
  } catch (error) {
    sim.answeredWith(worker, op, error);
  }
}

/** Publishes in a transaction, which reads nothing and so runs once. */
async function transact(worker: Workplace, topic: Topic<Content>): Promise<void> {
  const { sim, holdfast } = worker;
  if (holdfast === undefined) return;
  let op = 0;
  try {
    await holdfast.transact((tx) => {
      const content = sim.newContent(undefined);
      const [id = ''] = worker.captureBytes(() => tx.produce(topic, content));
      op = sim.called(worker, TOPIC_CHANNEL, copiesOf(id, content), undefined);
    });
    sim.answered(worker, op, 'acked', undefined, []);
  } catch (error) {
    sim.answeredWith(worker, op, error);
  }
}

/** All messages that a publish may make. */
function copiesOf(id: Uint8Array | string, content: Content): ProducedMessage[] {
  if (typeof id === 'string') return [];
  return Array.from({ length: MOST_COPIES }, (_, copy) => {
    const bytes = Buffer.from(id);
    bytes.writeUInt32BE((bytes.readUInt32BE(12) + copy) % 2 ** 32, 12);
    return { id: messageIdText(bytes), key: messageIdText(id), content: canonical(content) };
  });
}
