/** Everything in one process on a local disk, with full durability and the broker in its own thread. */
import { type Holdfast, open } from '#holdfast/index.js';
import type { Case, Group, Measurement } from '../case.ts';
import { appendLimit, commitLimit, syncLatency } from '../limits.ts';
import {
  channelOf,
  fill,
  LATENCY_PER_SECOND,
  measureBoth,
  measureDrain,
  measureLatency,
  measureOpen,
  measureProduce,
  measureProduceAll,
  type PayloadChannel,
  PREFETCHED,
  warmUp,
} from '../workloads.ts';

const BACKLOG = 100_000;
const MILLION = 1_000_000;

export const embedded: Group = {
  name: 'embedded',
  cases: [
    {
      name: 'produce awaited',
      run: (folder) => measuring(folder, (channel) => measureProduce(channel, 1)),
      limits: [appendLimit(1), commitLimit],
    },
    {
      name: 'produce 100 in flight',
      run: (folder) => measuring(folder, (channel) => measureProduce(channel, 100)),
      limits: [appendLimit(100)],
    },
    {
      name: 'produce 1000 in flight',
      run: (folder) => measuring(folder, (channel) => measureProduce(channel, 1_000)),
      limits: [appendLimit(1_000)],
    },
    {
      name: 'produceAll 1000',
      run: (folder) => measuring(folder, measureProduceAll),
      limits: [appendLimit(1_000)],
    },
    drainAt(1),
    drainAt(50),
    drainAt(200),
    {
      name: 'both at once',
      run: (folder) => measuring(folder, (channel) => measureBoth(channel, 1_000, 50)),
      limits: [appendLimit(1_000)],
    },
    {
      name: 'latency 500/s',
      run: (folder) => measuring(folder, measureLatency),
      limits: [syncLatency(LATENCY_PER_SECOND)],
    },
    {
      name: 'million waiting',
      prepare: (folder) => using(folder, (channel) => fill(channel, MILLION)),
      preparedOnce: true,
      run: (folder) => measureOpen(() => openFolder(folder), MILLION),
    },
  ],
};

function drainAt(concurrency: number): Case {
  return {
    name: `drain concurrency ${concurrency}`,
    prepare: (folder) => using(folder, (channel) => fill(channel, BACKLOG)),
    run: (folder) => measuring(folder, (channel) => measureDrain(channel, concurrency, BACKLOG)),
    limits: [appendLimit(PREFETCHED + concurrency)],
  };
}

function openFolder(folder: string): Promise<Holdfast> {
  return open(`file:${folder}`);
}

async function measuring(
  folder: string,
  work: (channel: PayloadChannel) => Promise<Measurement>,
): Promise<Measurement> {
  return using(folder, async (channel, holdfast) => {
    await warmUp(holdfast);
    return work(channel);
  });
}

async function using<T extends Measurement | void>(
  folder: string,
  work: (channel: PayloadChannel, holdfast: Holdfast) => Promise<T>,
): Promise<T> {
  const holdfast = await openFolder(folder);
  const done = await work(channelOf(holdfast), holdfast);
  await holdfast.close();
  return done;
}
