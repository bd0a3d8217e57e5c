import { randomUUID } from 'node:crypto';
import type { Holdfast, KvU64 } from 'holdfast';

/** The two accounts, the counts of transfers, and the nonces that are left of them. */
export interface Standing {
  readonly bob: unknown;
  readonly liz: unknown;
  readonly processed: bigint | undefined;
  readonly enqueued: bigint | undefined;
  readonly nonces: number;
}

/** Sends a transfer as the manual's sample does, and gives its nonce. */
export async function sendTransfer({ kv }: Holdfast, change: number): Promise<string> {
  const nonce = randomUUID();
  await kv
    .atomic()
    .check({ key: ['nonces', nonce], versionstamp: null })
    .enqueue({ nonce, change })
    .set(['nonces', nonce], true)
    .sum(['enqueued_count'], 1n)
    .commit();
  return nonce;
}

export async function standing({ kv }: Holdfast): Promise<Standing> {
  const [bob, liz, processed, enqueued] = await kv.getMany<[number, number, KvU64, KvU64]>([
    ['balance', 'bob'],
    ['balance', 'liz'],
    ['processed_count'],
    ['enqueued_count'],
  ]);
  let nonces = 0;
  for await (const _ of kv.list({ prefix: ['nonces'] })) nonces += 1;
  return {
    bob: bob.value,
    liz: liz.value,
    processed: processed.value?.value,
    enqueued: enqueued.value?.value,
    nonces,
  };
}
