/** The part of the API's conformance suite that is about KV. */
import assert from 'node:assert/strict';
import { BadResource } from '../api/kv/core.ts';
import type { HoldfastKv, KvEntryMaybe } from '../api/kv/types.ts';
import { KvU64 } from '../api/kv/u64.ts';
import { type ApiCase, assertLike, until } from './api-conformance-tools.ts';

export const kvCases: readonly ApiCase[] = [
  [
    'kv: what is set is read, with the versionstamp of its commit, until it is deleted',
    async ({ hf: { kv }, nameOf, open }) => {
      const key = [nameOf('entry'), 1];
      assert.deepEqual(await kv.get(key), { key, value: null, versionstamp: null });
      const first = await kv.set(key, { at: new Date(5), tags: new Set(['a']) });
      const value = { at: new Date(5), tags: new Set(['a']) };
      assert.deepEqual(await kv.get(key), { key, value, versionstamp: first.versionstamp });
      const second = await kv.set(key, 'other');
      assert.ok(second.versionstamp > first.versionstamp);
      assert.equal((await (await open()).kv.get(key)).value, 'other');
      await kv.delete(key);
      assert.deepEqual(await kv.getMany([key, key]), [
        { key, value: null, versionstamp: null },
        { key, value: null, versionstamp: null },
      ]);
    },
  ],
  [
    'kv: what is asked for in one tick is done in its order',
    async ({ hf: { kv }, nameOf }) => {
      const key = [nameOf('order')];
      const [before, , between, many, , after] = await Promise.all([
        kv.get(key),
        kv.set(key, 1),
        kv.get(key),
        kv.getMany([key]),
        kv.set(key, 2),
        kv.get(key),
      ]);
      assert.deepEqual([before.value, between.value, many[0]?.value, after.value], [null, 1, 1, 2]);
    },
  ],
  [
    'kv: values of 64 KiB come back, however many are read at once',
    async ({ hf: { kv }, nameOf }) => {
      const keys = Array.from({ length: 40 }, (_, i) => [nameOf('large'), i]);
      const valueOf = (i: number): Uint8Array => new Uint8Array(65_536).fill(i);
      await Promise.all(keys.map((key, i) => kv.set(key, valueOf(i))));
      const entries = await Promise.all(keys.map((key) => kv.get(key)));
      entries.forEach(({ value }, i) => assert.deepEqual(value, valueOf(i)));
      let listed = 0;
      for await (const { value } of kv.list({ prefix: [nameOf('large')] })) assert.deepEqual(value, valueOf(listed++));
      assert.equal(listed, 40);
    },
  ],
  [
    'kv: list() gives what its selector covers, in order, a batch at a time',
    async ({ hf: { kv }, nameOf }) => {
      const name = nameOf('list');
      await Promise.all([0, 1, 2, 3, 4, 5, 6].map((i) => kv.set([name, i], i)));
      await Promise.all([kv.set([name], 'the prefix itself'), kv.set([`${name}x`, 1], 'another')]);
      const all = async (...list: Parameters<HoldfastKv['list']>): Promise<unknown[]> => {
        const values: unknown[] = [];
        for await (const { key, value } of kv.list(...list)) {
          assert.deepEqual(key, [name, value]);
          values.push(value);
        }
        return values;
      };
      assert.deepEqual(await all({ prefix: [name] }), [0, 1, 2, 3, 4, 5, 6]);
      assert.deepEqual(await all({ prefix: [name] }, { reverse: true, batchSize: 2 }), [6, 5, 4, 3, 2, 1, 0]);
      assert.deepEqual(await all({ prefix: [name] }, { limit: 3, batchSize: 2 }), [0, 1, 2]);
      assert.deepEqual(await all({ prefix: [name], start: [name, 4] }), [4, 5, 6]);
      assert.deepEqual(await all({ prefix: [name], end: [name, 2] }), [0, 1]);
      assert.deepEqual(await all({ start: [name, 2], end: [name, 5] }, { reverse: true }), [4, 3, 2]);
    },
  ],
  [
    'kv: a list goes on where the cursor of another one stood',
    async ({ hf: { kv }, nameOf }) => {
      const name = nameOf('cursor');
      await Promise.all([0, 1, 2, 3, 4].map((i) => kv.set([name, i], i)));
      for (const reverse of [false, true]) {
        const seen: number[] = [];
        let cursor = '';
        do {
          const list = kv.list<number>({ prefix: [name] }, { limit: 2, reverse, cursor });
          for await (const { value } of list) seen.push(value);
          cursor = list.cursor;
        } while (cursor !== '');
        assert.deepEqual(seen, reverse ? [4, 3, 2, 1, 0] : [0, 1, 2, 3, 4]);
      }
    },
  ],
  [
    'kv: an atomic operation does all of it when its checks hold, else nothing',
    async ({ hf: { kv }, nameOf }) => {
      const [one, two] = [[nameOf('one')], [nameOf('two')]];
      const made = await kv.atomic().check({ key: one, versionstamp: null }).set(one, 1).set(two, 2).commit();
      assert.ok(made.ok);
      const entries = await kv.getMany([one, two]);
      assert.deepEqual(
        entries.map(({ versionstamp }) => versionstamp),
        [made.versionstamp, made.versionstamp],
      );
      const refused = await kv.atomic().check({ key: one, versionstamp: null }).delete(one).set(two, 3).commit();
      assert.deepEqual(refused, { ok: false });
      assert.deepEqual(await kv.getMany([one, two]), entries);
      const [read] = entries;
      if (read === undefined) throw new Error('There is no entry');
      assert.ok((await kv.atomic().check(read).delete(one).commit()).ok);
      assert.equal((await kv.get(one)).value, null);
    },
  ],
  [
    'kv: numbers are added, and compared, where they are',
    async ({ hf: { kv }, nameOf }) => {
      const [count, plain, big] = [[nameOf('count')], [nameOf('plain')], [nameOf('big')]];
      await kv.atomic().sum(count, 5n).sum(count, 2n).commit();
      assert.deepEqual((await kv.get(count)).value, new KvU64(7n));
      await kv.atomic().min(count, 3n).max(plain, 9n).commit();
      assert.deepEqual((await kv.get(count)).value, new KvU64(3n));
      assert.deepEqual((await kv.get(plain)).value, new KvU64(9n));
      await kv
        .atomic()
        .sum(count, 2n ** 64n - 1n)
        .commit();
      assert.deepEqual((await kv.get(count)).value, new KvU64(2n));
      await kv.set(plain, 1.5);
      await kv.atomic().mutate({ type: 'sum', key: plain, value: 2 }, { type: 'sum', key: big, value: -5n }).commit();
      assert.deepEqual([(await kv.get(plain)).value, (await kv.get(big)).value], [3.5, -5n]);
      const bounded = { type: 'sum', key: big, value: 100n, max: 50n } as const;
      await assert.rejects(
        kv.atomic().set(count, 'changed').mutate(bounded).commit(),
        new TypeError('The result of a Sum operation would exceed its range limit'),
      );
      assert.deepEqual((await kv.get(count)).value, new KvU64(2n));
      await kv
        .atomic()
        .mutate({ ...bounded, clamp: true })
        .commit();
      assert.equal((await kv.get(big)).value, 50n);
    },
  ],
  [
    'kv: increments of several instances are all counted',
    async ({ hf, nameOf, open }) => {
      const key = [nameOf('counter')];
      const increment = async ({ kv }: { kv: HoldfastKv }): Promise<void> => {
        for (;;) {
          const entry = await kv.get<number>(key);
          const done = await kv
            .atomic()
            .check(entry)
            .set(key, (entry.value ?? 0) + 1)
            .commit();
          if (done.ok) return;
        }
      };
      const instances = [hf, await open(), await open()];
      await Promise.all(Array.from({ length: 60 }, (_, i) => increment(instances[i % 3] ?? hf)));
      assert.equal((await hf.kv.get(key)).value, 60);
    },
  ],
  [
    'kv: commitVersionstamp() becomes a part of the key',
    async ({ hf: { kv }, nameOf }) => {
      const name = nameOf('stamped');
      const stamps = [
        await kv.set([name, kv.commitVersionstamp()], 'a'),
        await kv.set([name, kv.commitVersionstamp()], 'b'),
      ];
      const listed: unknown[] = [];
      for await (const { key, value } of kv.list({ prefix: [name] })) listed.push([key, value]);
      assert.deepEqual(
        listed,
        stamps.map(({ versionstamp }, i) => [[name, versionstamp], i === 0 ? 'a' : 'b']),
      );
    },
  ],
  [
    'kv: messages to channels and to queues commit with the rest, or not at all',
    async ({ hf: { kv }, channel, nameOf }) => {
      const mails = channel<string>('mail');
      const key = [nameOf('sent')];
      const send = (): ReturnType<HoldfastKv['atomic']> =>
        kv.atomic().check({ key, versionstamp: null }).set(key, true).produce(mails, 'hello', { priority: 3 });
      assert.ok((await send().commit()).ok);
      assert.deepEqual(await send().commit(), { ok: false });
      assertLike(await mails.inspect(), { ready: 1 });
      assertLike((await mails.list('ready'))[0], { message: 'hello', priority: 3 });
      assert.throws(() => kv.atomic().produce(mails, (() => 1) as never), TypeError);
    },
  ],
  [
    'kv: watch() gives what is there, and what other instances write',
    async ({ hf: { kv }, nameOf, open }) => {
      const keys = [
        [nameOf('watched'), 1],
        [nameOf('watched'), 2],
      ] as const;
      const reader = kv.watch<unknown[]>([...keys]).getReader();
      assert.deepEqual(valuesOf((await reader.read()).value), [null, null]);
      const other = (await open()).kv;
      let next = reader.read();
      await other.set(keys[1], 'written');
      assert.deepEqual(valuesOf((await next).value), [null, 'written']);
      next = reader.read();
      await other.set([nameOf('unwatched')], 1);
      await other.delete(keys[1]);
      assert.deepEqual(valuesOf((await next).value), [null, null]);
      // What nobody has taken yet is seen as one change.
      for (let i = 0; i < 20; i++) await other.set(keys[0], i);
      let latest: unknown;
      for (let reads = 0; latest !== 19; reads++) {
        assert.ok(reads < 20);
        [latest] = valuesOf((await reader.read()).value);
      }
      next = reader.read();
      await reader.cancel();
      assert.ok((await next).done);
    },
  ],
  [
    'kv: a queue hands what is enqueued to listeners, of other instances too, in order',
    async ({ hf, nameOf, open, runsOnce }) => {
      const listener = await open();
      const seen: unknown[] = [];
      const heard = listener.kv
        .queue(nameOf('jobs'))
        .listenQueue((message) => void seen.push(message), { concurrency: 1 });
      const queue = hf.kv.queue(nameOf('jobs'));
      const messages = Array.from({ length: 50 }, (_, i) => ({ i, at: new Date(i), by: 1n }));
      for (const message of messages) assert.ok((await queue.enqueue(message)).ok);
      await until(() => seen.length >= messages.length, 'the messages');
      if (runsOnce) assert.deepEqual(seen, messages);
      await listener.close();
      await heard;
    },
  ],
  [
    'kv: what is given up is found under its keys, and nowhere before',
    async ({ hf: { kv }, nameOf, runsOnce }) => {
      const queue = kv.queue(nameOf('failing'));
      const keys = [
        [nameOf('undelivered'), 1],
        [nameOf('undelivered'), 2],
      ];
      let attempts = 0;
      const heard = queue.listenQueue(
        () => {
          attempts += 1;
          throw new Error('boom');
        },
        { onError: () => {} },
      );
      await queue.enqueue({ to: 'ann' }, { backoffSchedule: [0, 1], keysIfUndelivered: keys });
      const found = async (): Promise<KvEntryMaybe<unknown>[]> => kv.getMany<unknown[]>(keys);
      await until(async () => (await found()).every(({ versionstamp }) => versionstamp !== null), 'the message');
      const [one, two] = await found();
      assert.deepEqual([one?.value, two?.value], [{ to: 'ann' }, { to: 'ann' }]);
      assert.equal(one?.versionstamp, two?.versionstamp);
      if (runsOnce) assert.equal(attempts, 3);
      kv.close();
      await heard;
    },
  ],
  [
    'kv: close() ends watches and listeners, waits for running handlers, and leaves the instance open',
    async ({ hf, channel, nameOf, runsOnce }) => {
      const { kv } = hf;
      const queue = kv.queue(nameOf('closing'));
      const reader = kv.watch([[nameOf('watched')]]).getReader();
      await reader.read();
      const started: unknown[] = [];
      let finish = (): void => {};
      const finished = new Promise<void>((resolve) => {
        finish = resolve;
      });
      let isOver = false;
      const heard = queue
        .listenQueue(async (message) => {
          started.push(message);
          await finished;
        })
        .then(() => {
          isOver = true;
        });
      await queue.enqueue('job');
      await until(() => started.length > 0, 'the handler to start');
      kv.close();
      assert.ok((await reader.read()).done);
      await assert.rejects(kv.get([1]), BadResource);
      const jobs = channel('jobs');
      await jobs.inspect();
      assert.equal(isOver, false);
      finish();
      await heard;
      assert.throws(() => kv.close(), BadResource);
      const found = await hf.channel(`kv/queue/${nameOf('closing')}`).inspect();
      if (runsOnce) assertLike(found, { completed: 1, leased: 0 });
    },
  ],
];

function valuesOf(entries: readonly KvEntryMaybe<unknown>[] | undefined): unknown[] {
  return (entries ?? []).map(({ value }) => value);
}
