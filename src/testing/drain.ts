/** Waiting in a test until the work is done. */
import type { Holdfast } from '../api/holdfast.ts';
import type { ChannelView } from '../model/views.ts';
import { systemClock } from '../model/clock.ts';
import { breathe } from './settled.ts';
import type { TestClock } from './test-clock.ts';

/** What `drain` needs of a channel. */
export interface Drainable {
  readonly name: string;
  inspect(): Promise<ChannelView | undefined | null>;
}

export interface DrainOptions {
  /**
   * The clock of the instance: time then passes for as long as handlers run and wait for it, at most an hour.
   * @default time does not pass
   */
  readonly clock?: TestClock;
}

/** How long real work may take before `drain` gives up, in milliseconds. */
const PATIENCE_MS = 20_000;

/** How far a test clock may be moved on. */
const MOST_TIME_MS = 3_600_000;

/**
 * Resolves when no message is ready and no handler runs, in one channel or in all. Delayed messages stay delayed:
 * move the clock for them.
 *
 * ```ts
 * await orders.produceAll(manyOrders);
 * await drain(orders);
 * expect(charged).toHaveLength(manyOrders.length);
 * ```
 *
 * @throws Error when messages are ready and nobody takes them, or when handlers do not end
 */
export async function drain(target: Holdfast | Drainable, options: DrainOptions = {}): Promise<void> {
  const { clock } = options;
  const givesUpAt = systemClock.monotonicMs() + PATIENCE_MS;
  const startedAt = clock?.monotonicMs() ?? 0;
  for (;;) {
    await (clock === undefined ? breathe() : clock.settle());
    const busy = (await look(target)).filter(({ ready, leased, paused }) => leased > 0 || (ready > 0 && !paused));
    if (busy.length === 0) return;
    const alone = busy.find(({ consumers, leased }) => consumers === 0 && leased === 0);
    if (alone !== undefined)
      throw new Error(`Cannot drain "${alone.channel}": ${describe(alone)}, and it has no consumer`);
    const isLate = systemClock.monotonicMs() > givesUpAt;
    if (isLate) throw new Error(`Cannot drain: handlers do not end: ${busy.map(describe).join('; ')}`);
    if (clock === undefined || !busy.some(({ leased }) => leased > 0)) continue;
    const leftMs = startedAt + MOST_TIME_MS - clock.monotonicMs();
    if (leftMs <= 0 || !(await clock.advanceToNext(leftMs))) {
      throw new Error(`Cannot drain: handlers wait for something other than time: ${busy.map(describe).join('; ')}`);
    }
  }
}

async function look(target: Holdfast | Drainable): Promise<ChannelView[]> {
  const channels = 'inspect' in target ? [target] : (await target.channelNames()).map((name) => target.channel(name));
  const views = await Promise.all(channels.map((channel) => channel.inspect()));
  return views.filter((view) => view !== null && view !== undefined);
}

function describe({ channel, ready, leased }: ChannelView): string {
  return `${ready} ready and ${leased} running in "${channel}"`;
}
