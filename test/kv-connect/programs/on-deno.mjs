/** `deno run on-deno.mjs URL`: does the scenario with Deno's own client and says the report. */
import { run } from './scenario.mjs';

let kv;
try {
  kv = await Deno.openKv(Deno.args[0]);
  await kv.get(['opened']);
} catch (error) {
  console.log(JSON.stringify({ failed: error.message }));
  Deno.exit();
}
const report = await run(kv, Deno.KvU64);
const { versionstamp } = await kv.set(['stamped', kv.commitVersionstamp()], 1);
const stamped = (await kv.get(['stamped', versionstamp])).value;
await kv.set(['from', 'client'], { by: 'Deno', at: new Date(5), map: new Map([[1n, new Set(['a'])]]) });
const enqueued = await kv.enqueue(1).then(
  () => 'enqueued',
  (error) => error.message,
);
kv.close();
console.log(JSON.stringify({ report, stamped, enqueued }));
