/** Many schedules: what they take while they wait, and what their ticks cost. */
import { type Holdfast, open, type ScheduleRule } from '#holdfast/index.js';
import type { Case, Group, Measurement } from '../case.ts';
import { startStopwatch } from '../stopwatch.ts';

const WAITING = 50_000;
const TICKING = 10_000;
/** How many upserts are under way at a time. */
const IN_FLIGHT = 500;
const MEASURED_MS = 15_000;

const PAYLOAD = { text: 'x'.repeat(1_000) };

export const schedules: Group = {
  name: 'schedules',
  onlyByName: true,
  cases: [
    waiting('50000 intervals waiting', () => ({ every: '1d' })),
    waiting('50000 patterns waiting', () => ({ cron: '30 2 * * *', timeZone: 'Europe/Berlin' })),
    ticking('ticks of 10000 intervals', { every: '10s' }),
    ticking('ticks of 10000 patterns', { cron: '*/10 * * * * *' }),
  ],
};

function waiting(name: string, ruleOf: (i: number) => ScheduleRule): Case {
  return {
    name,
    prepare: async (folder) => {
      const holdfast = await openFolder(folder);
      await make(holdfast, WAITING, ruleOf);
      await holdfast.close();
    },
    preparedOnce: true,
    run: measureWaiting,
  };
}

function ticking(name: string, rule: ScheduleRule): Case {
  return {
    name,
    run: async (folder) => {
      const holdfast = await openFolder(folder);
      await make(holdfast, TICKING, () => rule);
      const measured = await measureTicks(holdfast);
      await holdfast.close();
      return measured;
    },
  };
}

/** The memory of a process with an empty store, and with one that has the schedules. */
async function measureWaiting(folder: string): Promise<Measurement> {
  const empty = await openFolder(`${folder}-empty`);
  await empty.schedules.list();
  const before = process.memoryUsage.rss();
  const startedAt = performance.now();
  const holdfast = await openFolder(folder);
  const { schedules: listed } = await holdfast.schedules.list({ limit: 1 });
  const openMs = performance.now() - startedAt;
  const rssBytes = process.memoryUsage.rss();
  await Promise.all([holdfast.close(), empty.close()]);
  if (listed.length !== 1) throw new Error('Cannot trust the figure: no schedules are there');
  return { messages: WAITING, openMs, rssBytes, addedBytes: rssBytes - before };
}

/** Ticks for a while, whose messages nobody takes. */
async function measureTicks(holdfast: Holdfast): Promise<Measurement> {
  const channel = holdfast.channel('ticks');
  const produced = async (): Promise<number> => (await channel.inspect()).totals.produced;
  const before = await produced();
  const stopwatch = startStopwatch();
  await new Promise((resolve) => setTimeout(resolve, MEASURED_MS));
  return stopwatch.stop((await produced()) - before);
}

async function make(holdfast: Holdfast, count: number, ruleOf: (i: number) => ScheduleRule): Promise<void> {
  const channel = holdfast.channel<typeof PAYLOAD>('ticks');
  for (let from = 0; from < count; from += IN_FLIGHT) {
    const keys = Array.from({ length: Math.min(IN_FLIGHT, count - from) }, (_, i) => from + i);
    await Promise.all(keys.map((i) => channel.schedule(`customer/${i}/digest`, ruleOf(i), PAYLOAD)));
  }
}

/** In this thread, whose memory is the process's. */
function openFolder(folder: string): Promise<Holdfast> {
  return open(`file:${folder}`, { thread: false });
}
