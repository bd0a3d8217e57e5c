/**
 * A process that handles transfers with the API of Deno: `node transfer-loop.mjs FOLDER`. The sample of the manual, and
 * beyond it the transfer is tried again until its commit is `ok`.
 */
import * as Deno from 'holdfast/deno';

const kv = await Deno.openKv(process.argv[2]);

await kv.listenQueue(async (msg) => {
  for (;;) {
    const nonce = await kv.get(['nonces', msg.nonce]);
    if (nonce.value === null) return;
    const bob = await kv.get(['balance', 'bob']);
    const liz = await kv.get(['balance', 'liz']);
    const { ok } = await kv
      .atomic()
      .check(nonce, bob, liz)
      .delete(nonce.key)
      .sum(['processed_count'], 1n)
      .set(bob.key, bob.value - msg.change)
      .set(liz.key, liz.value + msg.change)
      .commit();
    if (ok) return;
  }
});
