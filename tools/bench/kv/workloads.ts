/**
 * What is measured of KV, in words that Deno's own KV understands too: no import of Node, nothing but standard functions.
 * The same file runs on Holdfast, on Deno and on the package `@deno/kv`.
 */

/** The part of `Deno.Kv` that is measured. */
export interface MeasuredKv {
  get(key: readonly string[]): Promise<{ readonly value: unknown }>;
  set(key: readonly (string | number)[], value: unknown): Promise<unknown>;
  enqueue(value: unknown): Promise<unknown>;
  atomic(): { enqueue(value: unknown): unknown; commit(): Promise<{ readonly ok: boolean }> };
  listenQueue(handler: (value: { readonly k: number }) => void): Promise<void>;
  close(): unknown;
}

export interface Figures {
  readonly messages: number;
  readonly perSecond?: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
}

const IN_FLIGHT = 100;
const MEASURE_MS = 3_000;

/** The first calls are of cold code. */
const WARM_UP_MS = 2_000;

const BACKLOG = 100_000;
const BACKLOG_ATOMIC = 500;

/** A backlog that takes longer than this is measured by what was handled in it. */
const DRAIN_MS = 30_000;

const LATENCY_PER_SECOND = 200;
const LATENCY_MESSAGES = 1_000;
const LATENCY_DROPPED = 100;
const GETS = 5_000;

const FILLING = 'x'.repeat(64);

const message = (k: number): { k: number; p: string } => ({ k, p: FILLING });

/** All that is measured, by name. */
export const WORKLOADS: Readonly<Record<string, (kv: MeasuredKv) => Promise<Figures>>> = {
  async enqueue(kv) {
    await keepCalling((k) => kv.enqueue(message(k)), WARM_UP_MS);
    return rate(await keepCalling((k) => kv.enqueue(message(k)), MEASURE_MS));
  },

  async set(kv) {
    await keepCalling((k) => kv.set(['warm-up', k % 1_000], message(k)), WARM_UP_MS);
    return rate(await keepCalling((k) => kv.set(['set', k], message(k)), MEASURE_MS));
  },

  async get(kv) {
    for (let k = 0; k < 100; k++) await kv.set(['get', String(k)], message(k));
    const taken: number[] = [];
    for (let k = 0; k < GETS * 2; k++) {
      const startedAt = performance.now();
      await kv.get(['get', String(k % 100)]);
      taken.push(performance.now() - startedAt);
    }
    return { messages: GETS, ...percentiles(taken.slice(GETS)) };
  },

  async drain(kv) {
    for (let k = 0; k < BACKLOG; k += BACKLOG_ATOMIC) {
      const atomic = kv.atomic();
      for (let i = 0; i < BACKLOG_ATOMIC; i++) atomic.enqueue(message(k + i));
      if (!(await atomic.commit()).ok) throw new Error('Cannot measure: the backlog was refused');
    }
    const handled = new Set<number>();
    const startedAt = performance.now();
    await new Promise<void>((resolve) => {
      const limit = setTimeout(resolve, DRAIN_MS);
      void kv.listenQueue(({ k }) => {
        handled.add(k);
        if (handled.size < BACKLOG) return;
        clearTimeout(limit);
        resolve();
      });
    });
    return rate({ calls: handled.size, ms: performance.now() - startedAt });
  },

  async latency(kv) {
    const calledAt: number[] = [];
    const taken: number[] = [];
    const done = new Promise<void>((resolve) => {
      void kv.listenQueue(({ k }) => {
        taken.push(performance.now() - (calledAt[k] as number));
        if (taken.length === LATENCY_MESSAGES) resolve();
      });
    });
    const startedAt = performance.now();
    for (let k = 0; k < LATENCY_MESSAGES; k++) {
      const waitMs = startedAt + (k * 1_000) / LATENCY_PER_SECOND - performance.now();
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      calledAt[k] = performance.now();
      void kv.enqueue(message(k));
    }
    await done;
    return { messages: LATENCY_MESSAGES, ...percentiles(taken.slice(LATENCY_DROPPED)) };
  },
};

interface Calls {
  readonly calls: number;
  readonly ms: number;
}

/** Keeps calls under way, each awaited until it is durable. */
async function keepCalling(call: (k: number) => Promise<unknown>, forMs: number): Promise<Calls> {
  const startedAt = performance.now();
  let calls = 0;
  const lane = async (): Promise<void> => {
    while (performance.now() - startedAt < forMs) await call(calls++);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  return { calls, ms: performance.now() - startedAt };
}

function rate({ calls, ms }: Calls): Figures {
  return { messages: calls, perSecond: (calls * 1_000) / ms };
}

function percentiles(taken: number[]): { p50Ms: number; p99Ms: number } {
  const sorted = taken.sort((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number;
  return { p50Ms: at(0.5), p99Ms: at(0.99) };
}
