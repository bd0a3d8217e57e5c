/** What is measured, apart from where: producing, draining, both, latency, and opening. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Channel, Holdfast, ProduceOptions } from '#holdfast/index.js';
import type { Measurement } from './case.ts';
import { percentile, startStopwatch } from './stopwatch.ts';

/** A message of about 100 bytes: a number that tells it from all others, a time, and filling. */
export interface Payload {
  readonly k: number;
  readonly t: number;
  readonly p: string;
}

export type PayloadChannel = Channel<Payload>;

/** What the message with this number is produced with. */
export type OptionsOf = (k: number) => ProduceOptions | undefined;

/** The filling, chosen so that `{ k, t, p }` takes about 100 bytes as JSON. */
const FILLING = 'x'.repeat(64);

/** How long producing is measured. */
const MEASURE_MS = 2_000;

/**
 * Before that the process produces and consumes until its code is compiled: few and many at a time, because these
 * take different ways. A process that makes a few hundred commits a second gets there after about five seconds.
 */
const WARM_UP: readonly { readonly inFlight: number; readonly ms: number }[] = [
  { inFlight: 1_000, ms: 1_500 },
  { inFlight: 1, ms: 5_000 },
];

const BULK = 1_000;

/** A consumer of fast handlers holds this many messages beyond its concurrency, and settles them together. */
export const PREFETCHED = 2_000;

export const LATENCY_PER_SECOND = 500;
const LATENCY_MESSAGES = 2_100;
const LATENCY_DROPPED = 100;

export function channelOf(holdfast: Holdfast): PayloadChannel {
  return holdfast.channel<Payload>('bench');
}

/** The message with this number. */
export function payload(k: number): Payload {
  return { k, t: Date.now(), p: FILLING };
}

/** Produces and consumes for a while on a channel of its own, so that no figure is one of cold code. */
export async function warmUp(holdfast: Holdfast): Promise<void> {
  const channel = holdfast.channel<Payload>('warm-up');
  const tally = new Tally();
  const consumer = await channel.consume(({ k }) => tally.add(k), { concurrency: 50 });
  let produced = 0;
  for (const { inFlight, ms } of WARM_UP) {
    produced += await produceFor(channel, inFlight, ms, produced);
    await tally.reached(produced);
  }
  await consumer.drain();
}

/** Keeps `inFlight` produces under way, each awaited until it is durable. */
export async function measureProduce(channel: PayloadChannel, inFlight: number): Promise<Measurement> {
  const watch = startStopwatch();
  return watch.stop(await produceFor(channel, inFlight, MEASURE_MS));
}

/** One `produceAll` of 1,000 after the other. */
export async function measureProduceAll(channel: PayloadChannel): Promise<Measurement> {
  const watch = startStopwatch();
  let produced = 0;
  for (const endsAt = performance.now() + MEASURE_MS; performance.now() < endsAt; produced += BULK) {
    const from = produced;
    await channel.produceAll(Array.from({ length: BULK }, (_, i) => payload(from + i)));
  }
  return watch.stop(produced);
}

/** Fills the channel with waiting messages, numbered from 0. */
export async function fill(channel: PayloadChannel, count: number): Promise<void> {
  for (let from = 0; from < count; from += BULK) {
    const size = Math.min(BULK, count - from);
    await channel.produceAll(Array.from({ length: size }, (_, i) => payload(from + i)));
  }
}

/** As `fill`, with options for each message. */
export async function fillEach(channel: PayloadChannel, count: number, optionsOf: OptionsOf): Promise<void> {
  for (let from = 0; from < count; from += BULK) {
    const size = Math.min(BULK, count - from);
    await Promise.all(Array.from({ length: size }, (_, i) => channel.produce(payload(from + i), optionsOf(from + i))));
  }
}

/** Drains `count` waiting messages with an empty handler, until the last ack is durable. */
export async function measureDrain(channel: PayloadChannel, concurrency: number, count: number): Promise<Measurement> {
  const tally = new Tally();
  const watch = startStopwatch();
  const consumer = await channel.consume(({ k }) => tally.add(k), { concurrency });
  await tally.reached(count);
  await consumer.drain();
  const measured = watch.stop(count);
  await checkAllHandled(channel, tally, count);
  return measured;
}

/** Produces for two seconds while a consumer is open; the rate counts until the last message is handled. */
export async function measureBoth(
  channel: PayloadChannel,
  inFlight: number,
  concurrency: number,
  optionsOf?: OptionsOf,
): Promise<Measurement> {
  const tally = new Tally();
  const watch = startStopwatch();
  const consumer = await channel.consume(({ k }) => tally.add(k), { concurrency });
  const produced = await produceFor(channel, inFlight, MEASURE_MS, 0, optionsOf);
  await tally.reached(produced);
  await consumer.drain();
  const measured = watch.stop(produced);
  await checkAllHandled(channel, tally, produced);
  return measured;
}

/** From the call of `produce` to the start of the handler, at a steady rate far below what is possible. */
export async function measureLatency(channel: PayloadChannel): Promise<Measurement> {
  const calledAt = new Float64Array(LATENCY_MESSAGES);
  const latencies = new Float64Array(LATENCY_MESSAGES);
  const tally = new Tally();
  const consumer = await channel.consume(
    ({ k }) => {
      latencies[k] = performance.now() - (calledAt[k] as number);
      tally.add(k);
    },
    { concurrency: 50 },
  );
  const watch = startStopwatch();
  const startedAt = performance.now();
  const receipts: Promise<unknown>[] = [];
  for (let k = 0; k < LATENCY_MESSAGES; k++) {
    const waitMs = startedAt + (k * 1_000) / LATENCY_PER_SECOND - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    calledAt[k] = performance.now();
    receipts.push(channel.produce(payload(k)));
  }
  await Promise.all(receipts);
  await tally.reached(LATENCY_MESSAGES);
  await consumer.drain();
  const { messages, cpuMicrosPerMessage } = watch.stop(LATENCY_MESSAGES);
  await checkAllHandled(channel, tally, LATENCY_MESSAGES);
  const counted = [...latencies.subarray(LATENCY_DROPPED)];
  return { messages, p50Ms: percentile(counted, 0.5), p99Ms: percentile(counted, 0.99), cpuMicrosPerMessage };
}

/** Opens a folder with `count` waiting messages and takes the memory that the process then has. */
export async function measureOpen(open: () => Promise<Holdfast>, count: number): Promise<Measurement> {
  const startedAt = performance.now();
  const holdfast = await open();
  const view = await channelOf(holdfast).inspect();
  const openMs = performance.now() - startedAt;
  const rssBytes = process.memoryUsage.rss();
  await holdfast.close();
  if (view.ready !== count) throw new Error(`Cannot trust the figure: ${view.ready} messages wait instead of ${count}`);
  return { messages: count, openMs, rssBytes };
}

/** @returns how many messages were produced, numbered from `first` on */
async function produceFor(
  channel: PayloadChannel,
  inFlight: number,
  ms: number,
  first: number = 0,
  optionsOf: OptionsOf = () => undefined,
): Promise<number> {
  const endsAt = performance.now() + ms;
  let produced = 0;
  const keepProducing = async (): Promise<void> => {
    while (performance.now() < endsAt) {
      const k = first + produced++;
      await channel.produce(payload(k), optionsOf(k));
    }
  };
  await Promise.all(Array.from({ length: inFlight }, keepProducing));
  return produced;
}

/** Counts handler calls, and the messages that they were for. */
class Tally {
  #seen = new Uint8Array(1 << 20);
  calls = 0;
  distinct = 0;
  #wanted = Infinity;
  #onReached: () => void = () => {};

  add(k: number): void {
    if (k >= this.#seen.length) {
      const larger = new Uint8Array(Math.max(k + 1, this.#seen.length * 2));
      larger.set(this.#seen);
      this.#seen = larger;
    }
    this.calls += 1;
    if (this.#seen[k] === 0) this.distinct += 1;
    this.#seen[k] = 1;
    if (this.distinct >= this.#wanted) this.#onReached();
  }

  /** Resolves when so many different messages were handled. */
  reached(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wanted = count;
      this.#onReached = resolve;
      if (this.distinct >= count) resolve();
    });
  }
}

/** A rate counts only when every message was handled, once, and nothing is left. */
async function checkAllHandled(channel: PayloadChannel, { calls, distinct }: Tally, count: number): Promise<void> {
  const { ready, leased, totals } = await channel.inspect();
  if (calls === count && distinct === count && totals.completed === count && ready + leased === 0) return;
  const found = `${calls} calls for ${distinct} messages, ${totals.completed} completed, ${ready + leased} left`;
  throw new Error(`Cannot trust the figure: of ${count} messages there were ${found}`);
}
