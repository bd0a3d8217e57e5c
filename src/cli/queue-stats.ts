/** What BullMQ's queues hold, in the words of channels. */
import { clientOf } from '../api/client-of.ts';
import type { Holdfast } from '../api/holdfast.ts';
import { type BullAnswer, type BullQueueView, bullQueueName } from '../model/bull.ts';
import type { ChannelView } from '../model/views.ts';

type Counts = Pick<
  ChannelView,
  'ready' | 'delayed' | 'leased' | 'waiting' | 'completed' | 'dead' | 'cancelled' | 'consumers' | 'paused'
>;

export interface QueueStats extends Counts {
  /** With its prefix, such as `bull:mail`. */
  readonly queue: string;
  readonly backlog: number;
  readonly oldestReadyMs: number | null;
}

/** How many queues one request asks for. */
const PAGE = 1_000;

/** All queues by name; or those of this name, with or without its prefix. */
export async function readQueues(hf: Holdfast, name: string | undefined): Promise<QueueStats[]> {
  const stats: QueueStats[] = [];
  for (let after: number | null = 0; after !== null;) {
    const page = await readPage(hf, after);
    stats.push(...page.queues.map(statsOf));
    after = page.next;
  }
  return stats
    .filter(({ queue }) => name === undefined || queue === name || bullQueueName(queue) === name)
    .sort((a, b) => (a.queue < b.queue ? -1 : 1));
}

async function readPage(hf: Holdfast, after: number): Promise<BullAnswer<'queues'>> {
  const client = clientOf(hf);
  if (client === undefined) throw new TypeError('Cannot look: the instance is of another copy of the package');
  // It concerns no queue, but has to name one.
  const ask = { queue: 'bull', method: 'queues', args: { after, limit: PAGE } } as const;
  return new Promise((resolve, reject) => {
    client.askBull(ask, 0, { resolve: (value) => resolve(value as BullAnswer<'queues'>), reject });
  });
}

function statsOf({ queue, counts, workers, paused, oldestReadyMs }: BullQueueView): QueueStats {
  const { wait, prioritized, delayed, active, 'waiting-children': waiting, completed, failed } = counts;
  const ready = wait + prioritized;
  const backlog = ready + delayed + active + waiting;
  return {
    queue,
    ready,
    delayed,
    leased: active,
    waiting,
    completed,
    dead: failed,
    cancelled: 0,
    consumers: workers,
    backlog,
    oldestReadyMs,
    paused,
  };
}
