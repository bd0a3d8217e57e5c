/** A worker that takes one message and never ends its work: `holder.js URL CHANNEL`, until it is killed. */
import { open } from '#holdfast/index.js';

const [url, name = ''] = process.argv.slice(2);

process.once('disconnect', () => process.exit(1));
const holdfast = await open(url);
await holdfast.channel<number>(name).consume((message) => {
  process.send?.(message);
  return new Promise<void>(() => {});
});
