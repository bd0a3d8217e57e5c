// Uses all of KV and its queue at the place that is named, and says what came of it.
import { isDeepStrictEqual } from 'node:util';
import { KvU64, openKv } from '../../../dist/doors/deno/index.js';
import { clonable } from './values.mjs';

const kv = await openKv(process.argv[2]);

await kv.set(['values'], clonable());
await kv.set(['bytes'], Uint8Array.of(1, 2));
const { value } = await kv.get(['values']);
const { value: bytes } = await kv.get(['bytes']);

for (const id of [3, 1, 2]) await kv.set(['list', id], { id });
const listed = [];
for await (const { key } of kv.list({ prefix: ['list'] }, { reverse: true })) listed.push(key[1]);
const many = (await kv.getMany([['list', 1], ['none']])).map((entry) => entry.value);

const seen = await kv.get(['list', 1]);
const swap = () =>
  kv
    .atomic()
    .check(seen)
    .set(['list', 1], 'new')
    .mutate({ type: 'sum', key: ['n'], value: new KvU64(5n) });
const commits = [(await swap().commit()).ok, (await swap().commit()).ok];
await kv.delete(['list', 2]);

const reader = kv.watch([['watched']]).getReader();
const watched = [(await reader.read()).value[0].value];
await kv.set(['watched'], 'a');
watched.push((await reader.read()).value[0].value);
await reader.cancel();

const report = {
  isSame: isDeepStrictEqual(value, clonable()) && value.itself === value,
  bytes: [...bytes],
  listed,
  many,
  commits,
  sum: String((await kv.get(['n'])).value.value),
  left: (await kv.get(['list', 2])).value,
  watched,
  refusal: await kv.set(['a'], { a: [() => 1] }).catch((error) => `${error.constructor.name}: ${error.message}`),
};

const heard = [];
const listening = kv.listenQueue((message) => {
  heard.push(message);
  if (heard.length === 3) kv.close();
});
await kv.enqueue({ first: 1n });
await kv.atomic().enqueue('second').enqueue('third', { delay: 10 }).commit();
await listening;
console.log(JSON.stringify({ ...report, heard: heard.map((each) => String(each.first ?? each)) }));
