// Opens KV on Deno, which is started without any permission.
import { openKv } from '../../../dist/doors/deno/index.js';

const refusal = (path) =>
  openKv(path).then(
    () => 'opened',
    (error) => `${error.constructor.name}: ${error.message}`,
  );

const kv = await openKv(':memory:');
await kv.set(['a'], 1);
const { value } = await kv.get(['a']);
const refused = [await refusal(''), await refusal(':foo')];
kv.close();
const closed = await kv.get(['a']).catch((error) => error);
console.log(JSON.stringify({ value, refused, isOfDeno: closed instanceof Deno.errors.BadResource }));
