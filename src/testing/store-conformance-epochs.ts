/** The part of the store conformance suite that is about epochs, fencing and the life of a store object. */
import assert from 'node:assert/strict';
import type { Epoch, Leader, Write } from '../model/records.ts';
import type { Store } from '../store/store.ts';
import { ALL, bytes, collect, hasCode, put, type CaseBody } from './store-conformance-tools.ts';

const OTHER_NONCE = 'f'.repeat(32);

export const epochCases: readonly CaseBody[] = [
  [
    'leader() is undefined before anybody has acquired the store',
    async ({ open }) => {
      assert.equal(await (await open()).leader(), undefined);
    },
  ],
  [
    'acquire() makes epoch 1 with a nonce of 32 hexadecimal digits',
    async ({ open }) => {
      const store = await open();
      const epoch = won(await store.acquire('first', undefined));
      assert.equal(epoch.number, 1);
      assert.match(epoch.nonce, /^[0-9a-f]{32}$/);
      assert.deepEqual(await store.leader(), { epoch, address: 'first', leaseRuns: true });
    },
  ],
  [
    'acquire() takes over from the leader it has seen, with the next number and a fresh nonce',
    async ({ open }) => {
      const [first, second] = [await open(), await open()];
      const before = won(await first.acquire('first', undefined));
      const after = won(await second.acquire('second', await second.leader()));
      assert.equal(after.number, 2);
      assert.notEqual(after.nonce, before.nonce);
      assert.deepEqual(leaderPart(await first.leader()), { epoch: after, address: 'second' });
    },
  ],
  [
    'acquire() lost to another leader names it and changes nothing',
    async ({ open }) => {
      const [first, second] = [await open(), await open()];
      const seen = await second.leader();
      const epoch = won(await first.acquire('first', undefined));
      const outcome = await second.acquire('second', seen);
      assert.ok('lost' in outcome);
      assert.deepEqual(leaderPart(outcome.lost), { epoch, address: 'first' });
      assert.deepEqual(leaderPart(await second.leader()), { epoch, address: 'first' });
      await first.commit(epoch, 1n, [put('still', 'leads')]);
    },
  ],
  [
    'acquire() compares the nonce, not only the number',
    async ({ lead, open }) => {
      const { epoch } = await lead();
      const forged: Leader = { epoch: { ...epoch, nonce: OTHER_NONCE }, address: 'test', leaseRuns: true };
      assert.ok('lost' in (await (await open()).acquire('second', forged)));
    },
  ],
  [
    'acquire() raced by many has exactly one winner, and the losers name it',
    async ({ open }) => {
      for (const racers of [2, 5]) {
        const stores = await Promise.all(Array.from({ length: racers }, open));
        const seen = await Promise.all(stores.map((store) => store.leader()));
        const outcomes = await Promise.all(stores.map((store, i) => store.acquire(`racer ${i}`, seen[i])));
        const winners = outcomes.flatMap((outcome) => ('won' in outcome ? [outcome.won] : []));
        const losers = outcomes.flatMap((outcome) => ('lost' in outcome ? [outcome.lost.epoch] : []));
        assert.equal(winners.length, 1);
        for (const named of losers) assert.deepEqual(named, winners[0]);
      }
    },
  ],
  [
    'acquire() is durable when it has resolved',
    async ({ open }) => {
      const store = await open();
      const epoch = won(await store.acquire('first', undefined));
      await store.close();
      const reopened = await open();
      assert.deepEqual(leaderPart(await reopened.leader()), { epoch, address: 'first' });
      await reopened.commit(epoch, 1n, [put('key', 'value')]);
    },
  ],
  [
    'every call under a stale epoch is FENCED and changes nothing',
    async ({ lead }) => {
      const old = await lead();
      await old.store.commit(old.epoch, 1n, [put('kept', 'as it was')]);
      const current = await lead();
      await assertFenced(old.store, old.epoch);
      await assertFenced(current.store, old.epoch);
      assert.deepEqual(await collect(current.store, current.epoch, ALL), [['kept', 'as it was']]);
      assert.equal(await current.store.resolve(current.epoch, 1n), 'applied');
    },
  ],
  [
    'an epoch with the right number and another nonce is FENCED',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      await assertFenced(store, { ...epoch, nonce: OTHER_NONCE });
      await assertFenced(store, { ...epoch, number: epoch.number + 1 });
    },
  ],
  [
    'every epoch is FENCED before anybody has acquired the store',
    async ({ open }) => {
      await assertFenced(await open(), { number: 1, nonce: OTHER_NONCE });
    },
  ],
  [
    'FENCED leaves the store object usable',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      await assertFenced(store, { ...epoch, nonce: OTHER_NONCE });
      await store.commit(epoch, 1n, [put('key', 'value')]);
      await store.renew(epoch);
      assert.deepEqual(await collect(store, epoch, ALL), [['key', 'value']]);
    },
  ],
  [
    'range() is FENCED at the first chunk that is read after the epoch became stale',
    async ({ lead, open }) => {
      const { store, epoch } = await lead();
      const writes: Write[] = Array.from({ length: 3_000 }, (_, i) => put(String(i).padStart(6, '0'), 'value'));
      await store.commit(epoch, 1n, writes);
      const other = await open();
      let chunks = 0;
      await assert.rejects(async () => {
        for await (const _ of store.range(epoch, ALL)) {
          if (chunks++ === 0) won(await other.acquire('other', await other.leader()));
        }
      }, hasCode('FENCED'));
      assert.equal(chunks, 1);
    },
  ],
  [
    'close() may be called twice, and every call behind it throws CLOSED',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      await store.close();
      await store.close();
      await assert.rejects(store.leader(), hasCode('CLOSED'));
      await assert.rejects(store.acquire('again', undefined), hasCode('CLOSED'));
      await assert.rejects(store.renew(epoch), hasCode('CLOSED'));
      await assert.rejects(store.commit(epoch, 1n, []), hasCode('CLOSED'));
      await assert.rejects(store.resolve(epoch, 1n), hasCode('CLOSED'));
      await assert.rejects(store.get(epoch, [bytes('key')]), hasCode('CLOSED'));
      await assert.rejects(collect(store, epoch, ALL), hasCode('CLOSED'));
      await assert.rejects(store.freeBytes(), hasCode('CLOSED'));
    },
  ],
  [
    'close() during a commit lets the commit settle first',
    async ({ lead }) => {
      const { store, epoch } = await lead();
      const commit = store.commit(epoch, 1n, [put('key', 'value')]);
      await Promise.all([commit, store.close()]);
      const after = await lead();
      assert.deepEqual(await collect(after.store, after.epoch, ALL), [['key', 'value']]);
    },
  ],
  [
    'freeBytes() is a number above zero',
    async ({ open }) => {
      assert.ok((await (await open()).freeBytes()) > 0);
    },
  ],
  [
    'durability is one of the three promises',
    async ({ open }) => {
      assert.ok(['memory', 'disk', 'replicated'].includes((await open()).durability));
    },
  ],
];

function won(outcome: { won: Epoch } | { lost: Leader }): Epoch {
  assert.ok('won' in outcome, 'the race is lost');
  return outcome.won;
}

function leaderPart(leader: Leader | undefined): Pick<Leader, 'epoch' | 'address'> | undefined {
  return leader && { epoch: leader.epoch, address: leader.address };
}

async function assertFenced(store: Store, epoch: Epoch): Promise<void> {
  const stale = hasCode('FENCED', 'aborted');
  await assert.rejects(store.commit(epoch, 9n, [put('kept', 'overwritten'), put('new', 'written')]), stale);
  await assert.rejects(store.commit(epoch, 9n, []), stale);
  await assert.rejects(store.renew(epoch), stale);
  await assert.rejects(store.resolve(epoch, 1n), stale);
  await assert.rejects(store.get(epoch, [bytes('kept')]), stale);
  await assert.rejects(store.get(epoch, []), stale);
  await assert.rejects(collect(store, epoch, ALL), stale);
}
