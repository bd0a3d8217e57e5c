/** What the disk alone can do: the bytes of a batch appended to a plain file, and one sync for the batch. */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openLmdbStore } from '#holdfast/store/lmdb.js';
import type { Limit } from './case.ts';
import { percentile } from './stopwatch.ts';

/** The bytes of a message: a payload of about 100 and its id, order, state and lengths. */
const RECORD_BYTES = 180;

const MEASURE_MS = 700;
const LATENCY_SECONDS = 4;

/** Appends batches of so many messages. */
export function appendLimit(batch: number): (folder: string) => Promise<Limit> {
  return async (folder) => {
    const bytes = new Uint8Array(batch * RECORD_BYTES).fill(0x2a);
    const file = openSync(join(folder, 'plain-file'), 'a');
    try {
      const syncs = await countPerSecond(() => {
        writeSync(file, bytes);
        fdatasyncSync(file);
      });
      const name = `append ${batch === 1 ? '' : `${batch} x `}${RECORD_BYTES} bytes + fdatasync`;
      return { name, perSecond: syncs * batch };
    } finally {
      closeSync(file);
    }
  };
}

/** How long one append and its sync take when so many a second are asked for. */
export function syncLatency(perSecond: number): (folder: string) => Promise<Limit> {
  return async (folder) => {
    const bytes = new Uint8Array(RECORD_BYTES).fill(0x2a);
    const file = openSync(join(folder, 'plain-file'), 'a');
    try {
      const latencies: number[] = [];
      const startedAt = performance.now();
      for (let i = 0; i < perSecond * LATENCY_SECONDS; i++) {
        const waitMs = startedAt + (i * 1_000) / perSecond - performance.now();
        if (waitMs > 0) await sleep(waitMs);
        const from = performance.now();
        writeSync(file, bytes);
        fdatasyncSync(file);
        latencies.push(performance.now() - from);
      }
      const name = `append ${RECORD_BYTES} bytes + fdatasync, ${perSecond} a second`;
      return { name, p50Ms: percentile(latencies, 0.5), p99Ms: percentile(latencies, 0.99) };
    } finally {
      closeSync(file);
    }
  };
}

/** Commits of the embedded store with one new record each, under its epoch, one after the other. */
export async function commitLimit(folder: string): Promise<Limit> {
  const store = await openLmdbStore({ path: join(folder, 'store-alone') });
  try {
    const outcome = await store.acquire('bench', await store.leader());
    if ('lost' in outcome) throw new Error('Cannot lead a new store: somebody else does');
    let commits = 0;
    const perSecond = await countPerSecond(async () => {
      commits += 1;
      const key = new Uint8Array(16);
      new DataView(key.buffer).setUint32(12, commits);
      const value = new Uint8Array(RECORD_BYTES - key.length).fill(0x2a);
      await store.commit(outcome.won, BigInt(commits), [{ kind: 'put', key, value }]);
    });
    return { name: 'fenced commit of one record', perSecond };
  } finally {
    await store.close();
  }
}

async function countPerSecond(once: () => void | Promise<void>): Promise<number> {
  const startedAt = performance.now();
  let count = 0;
  while (performance.now() - startedAt < MEASURE_MS) {
    await once();
    count += 1;
  }
  return (count * 1_000) / (performance.now() - startedAt);
}
