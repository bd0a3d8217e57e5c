/**
 * A process that handles transfers with the native API: `node transfer-tx.mjs FOLDER`. No nonce is needed, for what the
 * handler does commits with its ack.
 */
import { open } from 'holdfast';

const hf = await open(`file:${process.argv[2]}`);

const consumer = await hf.channel('transfer').consume(
  async ({ change }, { tx }) => {
    const bob = await tx.get(['balance', 'bob']);
    const liz = await tx.get(['balance', 'liz']);
    tx.set(bob.key, bob.value - change);
    tx.set(liz.key, liz.value + change);
    tx.sum(['processed_count'], 1n);
  },
  { concurrency: 4 },
);
await consumer.stopped;
