/** Messages with groups beside messages without: what taking turns costs, and what a million groups do. */
import { type GroupOptions, type Holdfast, open } from '#holdfast/index.js';
import type { Case, Group, Measurement } from '../case.ts';
import {
  channelOf,
  fill,
  fillEach,
  measureBoth,
  measureDrain,
  measureOpen,
  type OptionsOf,
  type Payload,
  type PayloadChannel,
  warmUp,
} from '../workloads.ts';

const BACKLOG = 100_000;
const MILLION = 1_000_000;
const KEYS = 1_000;
const CONCURRENCY = 50;

/** What the messages of a case have: nothing, a group that takes any number at a time, or one in order. */
const KINDS: readonly { readonly name: string; readonly groups?: GroupOptions; readonly optionsOf?: OptionsOf }[] = [
  { name: 'no groups' },
  { name: '1000 groups', groups: { concurrency: Infinity }, optionsOf: (k) => ({ group: `key ${k % KEYS}` }) },
  { name: '1000 groups in order', optionsOf: (k) => ({ group: `key ${k % KEYS}` }) },
];

export const jobs: Group = {
  name: 'jobs',
  onlyByName: true,
  cases: [
    ...KINDS.map(({ name, groups, optionsOf }): Case => ({
      name: `drain, ${name}`,
      prepare: (folder) =>
        using(folder, groups, (channel) =>
          optionsOf === undefined ? fill(channel, BACKLOG) : fillEach(channel, BACKLOG, optionsOf),
        ),
      run: (folder) => measuring(folder, groups, (channel) => measureDrain(channel, CONCURRENCY, BACKLOG)),
    })),
    ...KINDS.map(({ name, groups, optionsOf }): Case => ({
      name: `both at once, ${name}`,
      run: (folder) => measuring(folder, groups, (channel) => measureBoth(channel, 1_000, CONCURRENCY, optionsOf)),
    })),
    {
      name: 'a million messages waiting, no groups',
      prepare: (folder) => using(folder, undefined, (channel) => fill(channel, MILLION)),
      preparedOnce: true,
      run: (folder) => measureOpen(() => open(`file:${folder}`), MILLION),
    },
    {
      name: 'a million messages waiting, each in a group of its own',
      prepare: (folder) =>
        using(folder, undefined, (channel) => fillEach(channel, MILLION, (k) => ({ group: `key ${k}` }))),
      preparedOnce: true,
      run: (folder) => measureOpen(() => open(`file:${folder}`), MILLION),
    },
    { name: 'a million messages that are gone, no groups', run: (folder) => measureGone(folder, () => undefined) },
    {
      name: 'a million messages that are gone, each in a group of its own',
      run: (folder) => measureGone(folder, (k) => ({ group: `key ${k}` })),
    },
  ],
};

/** The memory that a process has more when a million messages have come and gone in rounds than after the first of them. */
async function measureGone(folder: string, optionsOf: OptionsOf): Promise<Measurement> {
  return using(folder, undefined, async (channel) => {
    const round = 50_000;
    let first = 0;
    for (let handled = 0; handled < MILLION; handled += round) {
      await fillEach(channel, round, (k) => optionsOf(handled + k));
      await measureDrainOf(channel, round);
      if (handled === 0) first = process.memoryUsage.rss();
    }
    const { groups } = await channel.inspect();
    if (groups !== 0) throw new Error(`Cannot trust the figure: ${groups} groups are left`);
    const rssBytes = process.memoryUsage.rss();
    return { messages: MILLION, rssBytes, addedBytes: rssBytes - first };
  });
}

async function measureDrainOf(channel: PayloadChannel, count: number): Promise<void> {
  let handled = 0;
  let reached = (): void => {};
  const done = new Promise<void>((resolve) => {
    reached = resolve;
  });
  const add = (_: Payload): void => {
    handled += 1;
    if (handled === count) reached();
  };
  const consumer = await channel.consume(add, { concurrency: CONCURRENCY });
  await done;
  await consumer.drain();
}

async function measuring(
  folder: string,
  groups: GroupOptions | undefined,
  work: (channel: PayloadChannel) => Promise<Measurement>,
): Promise<Measurement> {
  return using(folder, groups, async (channel, holdfast) => {
    await warmUp(holdfast);
    return work(channel);
  });
}

async function using<T extends Measurement | void>(
  folder: string,
  groups: GroupOptions | undefined,
  work: (channel: PayloadChannel, holdfast: Holdfast) => Promise<T>,
): Promise<T> {
  const holdfast = await open(`file:${folder}`);
  const channel = channelOf(holdfast);
  if (groups !== undefined) await channel.configure({ groups });
  const done = await work(channel, holdfast);
  await holdfast.close();
  return done;
}
