/** Leads the store in the folder that is its argument and commits until it is killed; says `ack <i>` behind each commit. */
import { writeSync } from 'node:fs';
import { openLmdbStore } from '#holdfast/store/lmdb.js';

const store = await openLmdbStore({ path: process.argv[2] });
const { won: epoch } = await store.acquire('endless', await store.leader());
for (let i = 0; ; i++) {
  const value = new Uint8Array(Buffer.from(String(i)));
  const small = { kind: 'put', key: new Uint8Array(Buffer.from(`small ${i % 50}`)), value };
  const large = { kind: 'put', key: new Uint8Array(Buffer.from('large')), value: Buffer.alloc(20_000, value) };
  await store.commit(epoch, BigInt(i), [{ kind: 'put', key: Uint8Array.of(0), value }, small, large]);
  writeSync(1, `ack ${i}\n`);
}
