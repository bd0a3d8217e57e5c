/** Another process that enqueues: `sender.js FOLDER COUNT`, one message with its time every 20 ms. */
import { openKv } from '#holdfast/doors/deno/index.js';

const [, , folder = '', count = '1'] = process.argv;
const kv = await openKv(folder);
for (let sent = 0; sent < Number(count); sent++) {
  await kv.enqueue({ k: performance.timeOrigin + performance.now() });
  await new Promise((resolve) => setTimeout(resolve, 20));
}
kv.close();
