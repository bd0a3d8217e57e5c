import { fileURLToPath } from 'node:url';
import { type Holdfast, KvU64 } from 'holdfast';
import { expect, test } from 'vitest';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';
import { talking, type Talking } from '../network/processes.ts';
import { sendTransfer, standing } from './bank.ts';

// The money transfer of Deno's manual, corrected: with several listeners, some of which are killed, the printed one would
// lose a transfer at each conflict, for it does not look at what its commit gives.

const WORKERS = 3;
const TRANSFERS = 120;
const KILLED_AT = [10, 30, 60, 90];
const timeoutMs = 120_000;

test(
  'a transfer that is tried until it is ok happens once, whatever is killed',
  async () => {
    const { folder, hf, workers } = await startBank('transfer-loop');
    for (let n = 0; n < TRANSFERS; n++) await sendTransfer(hf, n);
    await killAsTheyGo(hf, workers, () => startWorker('transfer-loop', folder));
    expect(await standing(hf)).toEqual({ ...after(TRANSFERS), nonces: 0 });
    await untilAllEnded(hf, 'kv/queue');
    // A transfer that was committed and not acknowledged is delivered again, and does nothing then.
    expect(await standing(hf)).toEqual({ ...after(TRANSFERS), nonces: 0 });
  },
  timeoutMs,
);

test(
  'a transfer that commits with its ack happens once, whatever is killed',
  async () => {
    const { folder, hf, workers } = await startBank('transfer-tx');
    // Messages and their count commit together here as well.
    const transfers = hf.channel<{ change: number }>('transfer');
    for (let change = 0; change < TRANSFERS; change++) {
      await hf.kv.atomic().produce(transfers, { change }).sum(['enqueued_count'], 1n).commit();
    }
    await killAsTheyGo(hf, workers, () => startWorker('transfer-tx', folder));
    await untilAllEnded(hf, 'transfer');
    expect(await standing(hf)).toEqual({ ...after(TRANSFERS), nonces: 0 });
    expect(await transfers.inspect()).toMatchObject({ totals: { completed: TRANSFERS } });
  },
  timeoutMs,
);

const START = 10_000;

function after(count: number): Omit<Awaited<ReturnType<typeof standing>>, 'nonces'> {
  const moved = (count * (count - 1)) / 2;
  return { bob: START - moved, liz: START + moved, processed: BigInt(count), enqueued: BigInt(count) };
}

type Program = 'transfer-loop' | 'transfer-tx';

function startWorker(program: Program, folder: string): Talking {
  return talking([fileURLToPath(new URL(`programs/${program}.mjs`, import.meta.url)), folder], {});
}

/** Workers on a folder with two accounts. The first of them leads it, so that a kill hits the leader as well. */
async function startBank(program: Program): Promise<{ folder: string; hf: Holdfast; workers: Talking[] }> {
  const folder = newFolder();
  const first = await openUntilEnd(`file:${folder}`);
  await first.kv
    .atomic()
    .set(['balance', 'bob'], START)
    .set(['balance', 'liz'], START)
    .set(['processed_count'], new KvU64(0n))
    .commit();
  await first.close();
  const workers = Array.from({ length: WORKERS }, () => startWorker(program, folder));
  return { folder, hf: await openUntilEnd(`file:${folder}`, { log: () => {} }), workers };
}

/** Kills a worker whenever so many transfers are done, the oldest first, and starts another; resolves when all are done. */
async function killAsTheyGo(hf: Holdfast, workers: Talking[], start: () => Talking): Promise<void> {
  const kills = [...KILLED_AT];
  for await (const [count] of hf.kv.watch<[KvU64]>([['processed_count']])) {
    const done = Number(count.value?.value);
    while (done >= (kills[0] ?? Infinity)) {
      kills.shift();
      await workers.shift()?.end('SIGKILL');
      workers.push(start());
    }
    if (done >= TRANSFERS) break;
  }
  expect(kills).toEqual([]);
}

/** Resolves when the channel has no message that waits or is being handled. */
async function untilAllEnded(hf: Holdfast, name: string): Promise<void> {
  const channel = hf.channel(name);
  for await (const _ of hf.events({ after: 0, channel: name })) {
    const counts = await channel.inspect();
    if (counts?.ready === 0 && counts.delayed === 0 && counts.leased === 0) return;
  }
}
