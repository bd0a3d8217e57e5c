/** What the broker's own thread costs and gives: the same cases with the thread and without (decision 0003). */
import { open } from '#holdfast/index.js';
import type { Case, Group, Measurement } from '../case.ts';
import { channelOf, measureBoth, measureLatency, measureProduce, type PayloadChannel, warmUp } from '../workloads.ts';

const WORK: readonly (readonly [name: string, measure: (channel: PayloadChannel) => Promise<Measurement>])[] = [
  ['produce awaited', (channel) => measureProduce(channel, 1)],
  ['produce 1000 in flight', (channel) => measureProduce(channel, 1_000)],
  ['both at once', (channel) => measureBoth(channel, 1_000, 50)],
  ['latency 500/s', measureLatency],
];

export const thread: Group = {
  name: 'thread',
  onlyByName: true,
  cases: WORK.flatMap(([name, measure]) => [caseOf(name, measure, true), caseOf(name, measure, false)]),
};

function caseOf(name: string, measure: (channel: PayloadChannel) => Promise<Measurement>, ownThread: boolean): Case {
  return {
    name: `${name}, ${ownThread ? 'own thread' : 'in line'}`,
    async run(folder) {
      const holdfast = await open(`file:${folder}`, { thread: ownThread });
      await warmUp(holdfast);
      const measured = await measure(channelOf(holdfast));
      await holdfast.close();
      return measured;
    },
  };
}
