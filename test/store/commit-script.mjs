/**
 * The process that the fault tests break: opens the store in the folder that is its argument, makes a fixed
 * series of commits, and tells on standard output, line by line, what it knows:
 *
 *     try 7 <digest>       commit 7 begins; the digest is of the contents behind it
 *     ack 7                commit 7 has resolved
 *     error <code> <outcome> <message>
 *     reopened <digest> <answer>   what the same process finds behind the error, and what `resolve` says of the commit
 *
 * Every kind of write occurs, whole folds of the log, and commits that are too large for it.
 */
import { createHash } from 'node:crypto';
import { writeSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { openLmdbStore } from '#holdfast/store/lmdb.js';
import { openMemoryStore } from '#holdfast/store/memory.js';

const COMMITS = 50;
const ALL = { from: new Uint8Array(), to: Uint8Array.of(0xff, 0xff) };

const model = openMemoryStore();
const { won: modelEpoch } = await model.acquire('model', undefined);

let tried = -1n;
let opened;
try {
  const { store, epoch } = await open();
  for (; tried < COMMITS - 1;) {
    tried++;
    const writes = writesOf(Number(tried));
    await model.commit(modelEpoch, tried, writes);
    say(`try ${tried} ${await digestOf(model, modelEpoch)}`);
    await store.commit(epoch, tried, writes);
    say(`ack ${tried}`);
    // As a broker does, which has other things to do between two commits; the log is folded meanwhile.
    await setImmediate();
  }
} catch (error) {
  say(`error ${error.code} ${error.outcome} ${error.message}`);
  await opened?.close();
  const { store, epoch } = await open();
  const answer = tried < 0n ? 'none' : await store.resolve(epoch, tried);
  say(`reopened ${await digestOf(store, epoch)} ${answer}`);
}
await opened.close();

async function open() {
  opened = await openLmdbStore({ path: process.argv[2] });
  const { won } = await opened.acquire('script', await opened.leader());
  return { store: opened, epoch: won };
}

/** About 60 KiB a commit, so that a segment of the log is full after the 17th, the 34th and so on; bulk in between. */
function writesOf(i) {
  const writes = [put('last', 8, i)];
  for (let j = 0; j < 10; j++) writes.push(put(`record ${(i + j) % 11}`, 5_500 + i, i));
  writes.push({ kind: 'delete', key: bytes(`record ${(i * 7) % 11}`) });
  if (i % 6 === 5) writes.push(put(`large ${i % 4}`, 40_000 + i, i));
  if (i % 10 === 9) writes.push({ kind: 'clear', from: bytes('record 3'), to: bytes('record 5') });
  // So many keys are folded in shares.
  for (let j = 0; j < 150; j++) writes.push(put(`small ${(i * 150 + j) % 3_000}`, 20, i));
  if (i === 3 || i === 40) for (let j = 0; j < 300; j++) writes.push(put(`bulk ${(j * 7) % 500}`, 2_000, i));
  return writes;
}

function put(key, length, fill) {
  return { kind: 'put', key: bytes(key), value: new Uint8Array(length).fill(fill) };
}

function bytes(text) {
  return new Uint8Array(Buffer.from(text));
}

async function digestOf(store, epoch) {
  const hash = createHash('sha256');
  for await (const chunk of store.range(epoch, ALL)) {
    for (const { key, value } of chunk) hash.update(`${key.length} ${value.length} `).update(key).update(value);
  }
  return hash.digest('hex');
}

function say(line) {
  writeSync(1, `${line}\n`);
}
