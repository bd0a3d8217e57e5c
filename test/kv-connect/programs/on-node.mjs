/** `node on-node.mjs URL TOKEN PLACE`: does the scenario with the package of Deno that is installed there. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { run } from './scenario.mjs';

const [, , url, accessToken, place] = process.argv;
const { openKv, KvU64 } = createRequire(join(place, 'package.json'))('@deno/kv');
let kv;
try {
  kv = await openKv(url, { accessToken });
  await kv.get(['opened']);
} catch (error) {
  console.log(JSON.stringify({ failed: error.message }));
  process.exit();
}
const report = await run(kv, KvU64);
await kv.set(['from', 'client'], { by: '@deno/kv', at: new Date(5), map: new Map([[1n, new Set(['a'])]]) });
const { ok } = await kv.enqueue({ hello: new Map([['a', 2n]]) }, { delay: 10 });
const undelivered = await kv
  .atomic()
  .enqueue('undelivered', { keysIfUndelivered: [['undelivered']] })
  .commit();
kv.close();
console.log(JSON.stringify({ report, enqueued: [ok, undelivered.ok] }));
