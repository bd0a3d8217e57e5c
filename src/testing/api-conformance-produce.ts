/** The part of the API's conformance suite that is about producing. */
import assert from 'node:assert/strict';
import { systemClock } from '../model/clock.ts';
import { type ApiCase, assertLike, hasCode, messagesIn, until } from './api-conformance-tools.ts';

export const produceCases: readonly ApiCase[] = [
  [
    'produce() stores a message and says where and how safely',
    async ({ hf, channel, nameOf }) => {
      const mails = channel<string>('mail');
      const { id, ...receipt } = await mails.produce('hello');
      assert.match(id, /^[0-9a-f-]{36}$/);
      assert.deepEqual(receipt, { channel: nameOf('mail'), deduplicated: false, durability: hf.durability });
      assertLike(await mails.get(id), { id, message: 'hello', state: 'ready' });
      assert.ok((await hf.channelNames()).includes(nameOf('mail')));
    },
  ],
  [
    'produce() with a name and a group shows both, of a message that waits and of one that has ended',
    async ({ channel }) => {
      const mails = channel<string>('labelled');
      const { id } = await mails.produce('hello', { name: 'welcome', group: 'tenant ü', cost: 3, delay: '1h' });
      assertLike(await mails.get(id), { state: 'delayed', message: 'hello', name: 'welcome', group: 'tenant ü' });
      await mails.cancel(id);
      assertLike(await mails.get(id), { state: 'cancelled', name: 'welcome', group: 'tenant ü' });
      const plain = await mails.produce('hello');
      assertLike(await mails.get(plain.id), { name: undefined, group: undefined });
    },
  ],
  [
    'produce() keeps the order of calls that were not awaited',
    async ({ channel }) => {
      const numbered = channel<number>('numbers');
      const numbers = Array.from({ length: 3_000 }, (_, i) => i);
      await Promise.all(numbers.map((number) => numbered.produce(number)));
      const last = await numbered.list('ready', { offset: 2_900, limit: 100 });
      assert.deepEqual(
        last.map(({ message }) => message),
        numbers.slice(2_900),
      );
    },
  ],
  [
    'produce() takes every value that the codec knows, and gives it back as it was',
    async ({ channel }) => {
      const values = channel<unknown>('values');
      for (const value of VALUES) {
        const { id } = await values.produce(value);
        assert.deepEqual((await values.get(id))?.message, value);
      }
    },
  ],
  [
    'produce() refuses what cannot be stored without loss, and stores nothing',
    async ({ channel }) => {
      const values = channel<unknown>('values');
      const circular: Record<string, unknown> = {};
      circular['self'] = circular;
      const bad = [() => {}, Symbol('x'), circular, new (class Own {})(), /regex/, { deep: [new Error('x')] }];
      for (const value of bad) await assert.rejects(values.produce(value), TypeError);
      assertLike(await values.inspect(), { ready: 0, totals: { produced: 0 } });
    },
  ],
  [
    'produce() refuses a payload above 4 MiB before anything is written, and takes one just below',
    async ({ channel }) => {
      const large = channel<Uint8Array>('large');
      await assert.rejects(large.produce(new Uint8Array(4 * 1024 * 1024)), RangeError);
      assertLike(await large.inspect(), { ready: 0 });
      const payload = new Uint8Array(4 * 1024 * 1024 - 100).fill(7);
      const { id } = await large.produce(payload);
      assert.ok(Buffer.from((await large.get(id))?.message ?? []).equals(payload));
    },
  ],
  [
    'produce() refuses a payload above maxPayloadBytes',
    async ({ channel }) => {
      const small = channel<string>('small', { maxPayloadBytes: 100 });
      await assert.rejects(small.produce('x'.repeat(100)), RangeError);
      await small.produce('x'.repeat(50));
    },
  ],
  [
    'produce() of many long messages at once stores them all, and a consumer gets them all',
    async ({ channel, runsOnce }) => {
      const long = channel<Uint8Array>('long');
      const count = runsOnce ? 40 : 5;
      const payloads = Array.from({ length: count }, (_, i) => new Uint8Array(1024 * 1024).fill(i));
      await Promise.all(payloads.map((payload) => long.produce(payload)));
      const seen = new Set<number>();
      await long.consume((payload) => void seen.add(payload[500_000] ?? -1), { concurrency: 100, prefetch: 100 });
      await until(async () => (await long.inspect()).completed === count, 'all messages to complete');
      assert.equal(seen.size, count);
    },
  ],
  [
    'produce() with priority, lifo and delay changes the order',
    async ({ channel }) => {
      const mails = channel<string>('mail');
      await mails.produce('late', { delay: '1h' });
      await mails.produce('normal');
      await mails.produce('urgent', { priority: -1 });
      await mails.produce('front', { lifo: true });
      assert.deepEqual(await messagesIn(mails, 'ready'), ['urgent', 'front', 'normal']);
      assert.deepEqual(await messagesIn(mails, 'delayed'), ['late']);
    },
  ],
  [
    'a delayed message comes by itself, and not too early',
    async ({ channel }) => {
      const mails = channel<string>('mail');
      const seenAt: number[] = [];
      await mails.consume(() => void seenAt.push(systemClock.monotonicMs()));
      const producedAt = systemClock.monotonicMs();
      await mails.produce('late', { delay: 200 });
      await until(() => seenAt.length > 0, 'the delayed message');
      const tookMs = (seenAt[0] ?? 0) - producedAt;
      assert.ok(tookMs >= 200, `It came after ${tookMs} ms`);
    },
  ],
  [
    'produceAll() stores all in their order and gives a receipt for each',
    async ({ channel }) => {
      const numbers = channel<number>('numbers');
      const receipts = await numbers.produceAll([1, 2, 3]);
      const found = await Promise.all(receipts.map(async ({ id }) => (await numbers.get(id))?.message));
      assert.deepEqual(found, [1, 2, 3]);
      assert.deepEqual(await numbers.produceAll([]), []);
    },
  ],
  [
    'produceAll() stores none when there is not room for all',
    async ({ channel }) => {
      const numbers = channel<number>('numbers', { maxBacklog: 3 });
      await numbers.produce(0);
      await assert.rejects(numbers.produceAll([1, 2, 3]), hasCode('BACKLOG_FULL'));
      assertLike(await numbers.inspect(), { ready: 1 });
      await numbers.produceAll([1, 2]);
    },
  ],
  [
    'produceAll() stores none when one of them cannot be stored',
    async ({ channel }) => {
      const values = channel<unknown>('values');
      await assert.rejects(values.produceAll([1, () => {}, 3]), TypeError);
      assertLike(await values.inspect(), { ready: 0 });
    },
  ],
  [
    'produceAll() refuses more than 10,000 messages or 8 MiB, and what is no array',
    async ({ channel }) => {
      const values = channel<unknown>('values');
      const many = Array.from({ length: 10_001 }, () => 1);
      await assert.rejects(values.produceAll(many), /more than 10000 messages/);
      const third = new Uint8Array(3 * 1024 * 1024);
      await assert.rejects(values.produceAll([third, third, third]), /fit into one commit/);
      await assert.rejects(values.produceAll('abc' as never), /give the messages as an array/);
      assertLike(await values.inspect(), { ready: 0 });
      assert.equal((await values.produceAll(many.slice(1))).length, 10_000);
    },
  ],
  [
    "onFull: 'wait' waits for room, in no other way noticed",
    async ({ channel }) => {
      const narrow = channel<number>('narrow', { maxBacklog: 2, onFull: 'wait' });
      const produced = [0, 1, 2, 3, 4].map((number) => narrow.produce(number));
      const all = narrow.produceAll([5, 6]);
      await until(async () => (await narrow.inspect())?.ready === 2, 'the channel to be full');
      const seen: number[] = [];
      await narrow.consume((number) => void seen.push(number));
      await Promise.all([...produced, all]);
      await until(async () => (await narrow.inspect()).completed === 7, 'all messages to complete');
      assert.deepEqual(new Set(seen), new Set([0, 1, 2, 3, 4, 5, 6]));
    },
  ],
  [
    "onFull: 'wait' ends with the instance",
    async ({ hf, channel }) => {
      const narrow = channel<number>('narrow', { maxBacklog: 1, onFull: 'wait' });
      await narrow.produce(1);
      const waiting = assert.rejects(narrow.produce(2), hasCode('CLOSED'));
      await narrow.inspect();
      await hf.close();
      await waiting;
    },
  ],
  [
    "process: 'exactlyOnce' stores a message of the same content once, and names the one that stands",
    async ({ channel }) => {
      const mails = channel<object>('mail', { process: 'exactlyOnce' });
      const first = await mails.produce({ id: 1, tags: ['a'] });
      assert.deepEqual(await mails.produce({ id: 1, tags: ['a'] }), { ...first, deduplicated: true });
      assertLike(await mails.produce({ id: 2, tags: ['a'] }), { deduplicated: false });
      const receipts = await mails.produceAll([{ id: 3 }, { id: 4 }, { id: 3 }]);
      assert.deepEqual(
        receipts.map(({ deduplicated }) => deduplicated),
        [false, false, true],
      );
      assertLike(await mails.inspect(), { ready: 4, totals: { deduplicated: 2 } });
    },
  ],
  [
    'dedupeKey takes the place of the content, and is never mixed up with it',
    async ({ channel }) => {
      const mails = channel<string>('mail', { process: 'exactlyOnce' });
      const { id } = await mails.produce('first', { dedupeKey: 'order-1' });
      assertLike(await mails.produce('second', { dedupeKey: 'order-1' }), { deduplicated: true, id });
      assertLike(await mails.produce('first', { dedupeKey: 'order-2' }), { deduplicated: false });
      assertLike(await mails.produce('order-1'), { deduplicated: false });
    },
  ],
];

const VALUES: readonly unknown[] = [
  new Map<unknown, unknown>([
    ['a', 1],
    [{ b: 2 }, new Set([1n, 2n ** 80n])],
  ]),
  new Set(['a', undefined, null]),
  { deep: { when: new Date(5), not: undefined, bytes: new Uint8Array([1, 2]), floats: new Float64Array([0.5]) } },
  123n,
  'text',
  0,
  -0,
  Number.NaN,
  Infinity,
  null,
  undefined,
  true,
  [],
  [1, [2, [3]]],
  new Date(0),
  new Uint8Array(0),
];
