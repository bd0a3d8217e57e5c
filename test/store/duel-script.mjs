/**
 * One of several processes that depose each other: takes the lead, makes commits until it has made some or has been
 * deposed, and takes the lead again, for as long as its second argument says, in milliseconds. Tells what was
 * acknowledged:
 *
 *     ack <name> <n>          commit n, under the key n, with the name of the process and a count as its value
 *     fenced <outcome>
 */
import { writeSync } from 'node:fs';
import { openLmdbStore } from '#holdfast/store/lmdb.js';

const [path, durationMs, name] = process.argv.slice(2);
const LAST = new Uint8Array(Buffer.from('last'));
const endsAt = Date.now() + Number(durationMs);

let made = 0;
while (Date.now() < endsAt) {
  const store = await openLmdbStore({ path });
  try {
    const outcome = await store.acquire(name, await store.leader());
    if ('won' in outcome) await lead(store, outcome.won);
  } catch (error) {
    if (error.code !== 'FENCED') throw error;
    say(`fenced ${error.outcome}`);
  } finally {
    await store.close();
  }
}

async function lead(store, epoch) {
  const [last] = await store.get(epoch, [LAST]);
  let number = Number(Buffer.from(last ?? '0').toString());
  for (let i = 0; i < 400; i++) {
    number += 1;
    const value = `${name} ${made++}`;
    const writes = [put(LAST, String(number)), put(new Uint8Array(Buffer.from(`key ${number}`)), value)];
    await store.commit(epoch, BigInt(number), writes);
    say(`ack ${number} ${value}`);
  }
}

function put(key, text) {
  return { kind: 'put', key, value: new Uint8Array(Buffer.from(text)) };
}

function say(line) {
  writeSync(1, `${line}\n`);
}
