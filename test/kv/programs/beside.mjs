// Opens the folder that is named beside another process, reads what that wrote, and writes and says what it hears.
import { isDeepStrictEqual } from 'node:util';
import { openKv } from '../../../dist/doors/deno/index.js';
import { clonable } from './values.mjs';

const kv = await openKv(process.argv[2]);
await kv.set(['own'], clonable());
console.log('opened');
await kv.listenQueue(async (message) => {
  const { value } = await kv.get(['others']);
  console.log(
    JSON.stringify({ heard: isDeepStrictEqual(message, clonable()), read: isDeepStrictEqual(value, clonable()) }),
  );
});
