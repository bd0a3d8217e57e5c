/** Handlers of many messages at a time, beside those of one, and messages that go to many channels. */
import { type Consumer, type Holdfast, open } from '#holdfast/index.js';
import type { Case, Group, Measurement } from '../case.ts';
import { startStopwatch } from '../stopwatch.ts';
import { channelOf, fill, type Payload, payload, type PayloadChannel, warmUp } from '../workloads.ts';

const BACKLOG = 50_000;
const WITH_EFFECTS = 10_000;
const PUBLISHED_TO_ALL = 20_000;

type Consume = (channel: PayloadChannel, count: (messages: number) => void) => Promise<Consumer>;

export const talk: Group = {
  name: 'talk',
  onlyByName: true,
  cases: [
    draining('drain, one by one', BACKLOG, (channel, count) => channel.consume(() => count(1))),
    draining('drain, batches of 100', BACKLOG, (channel, count) =>
      channel.consumeBatch((batch) => count(batch.length), { size: 100 }),
    ),
    draining('drain with an entry each, 100 at a time', WITH_EFFECTS, (channel, count) =>
      channel.consume(
        (_, { tx }) => {
          tx.sum(['n'], 1n);
          count(1);
        },
        { concurrency: 100 },
      ),
    ),
    draining('drain with an entry each, batches of 100', WITH_EFFECTS, (channel, count) =>
      channel.consumeBatch(
        (batch, { tx }) => {
          tx.sum(['n'], BigInt(batch.length));
          count(batch.length);
        },
        { size: 100 },
      ),
    ),
    ...[1, 10, 100, 1_000].map(publishing),
  ],
};

function draining(name: string, messages: number, consume: Consume): Case {
  return {
    name,
    prepare: (folder) => using(folder, (hf) => fill(channelOf(hf), messages)),
    run: (folder) =>
      using(folder, async (hf) => {
        await warmUp(hf);
        const watch = startStopwatch();
        let left = messages;
        let finish = (): void => {};
        const handled = new Promise<void>((resolve) => {
          finish = resolve;
        });
        const consumer = await consume(channelOf(hf), (count) => {
          left -= count;
          if (left === 0) finish();
        });
        await handled;
        await consumer.drain();
        return watch.stop(messages);
      }),
  };
}

/** Counts the messages in all channels. */
function publishing(subscriptions: number): Case {
  return {
    name: `publish to ${subscriptions} channels`,
    run: (folder) =>
      using(folder, async (hf) => {
        await warmUp(hf);
        const topic = hf.topic<Payload>('bench');
        for (let i = 0; i < subscriptions; i++) await topic.subscribe(`bench/${i}`);
        const count = Math.max(20, PUBLISHED_TO_ALL / subscriptions);
        const watch = startStopwatch();
        await Promise.all(Array.from({ length: count }, (_, k) => topic.publish(payload(k))));
        return watch.stop(count * subscriptions);
      }),
  };
}

async function using<T extends Measurement | void>(folder: string, work: (hf: Holdfast) => Promise<T>): Promise<T> {
  const hf = await open(`file:${folder}`);
  const done = await work(hf);
  await hf.close();
  return done;
}
