/** Cases of the API's conformance suite: topics. */
import assert from 'node:assert/strict';
import { type ApiCase, assertLike, hasCode, messagesIn, until } from './api-conformance-tools.ts';

export const topicCases: ApiCase[] = [
  [
    'publish() reaches the channels that are subscribed, those of other instances included',
    async ({ hf, open, nameOf, channel }) => {
      const other = await open();
      const orders = hf.topic<number>(nameOf('orders'));
      const theirs = other.topic<number>(nameOf('orders'));
      const mails = await orders.subscribe(nameOf('mail'));
      await theirs.subscribe(nameOf('stock'), { process: 'exactlyOnce' });
      const receipt = await theirs.publish(1);
      assertLike(receipt, { topic: nameOf('orders'), subscriptions: 2, deduplicated: 0 });
      assertLike(await orders.publish(1), { subscriptions: 1, deduplicated: 1 });
      const stock = channel<number>('stock', { process: 'exactlyOnce' });
      assert.deepEqual([await messagesIn(mails, 'ready'), await messagesIn(stock, 'ready')], [[1, 1], [1]]);
      const seen: string[] = [];
      const consumers = [await mails.consume((_, { id }) => void seen.push(id)), await stock.consume(() => {})];
      await until(async () => (await mails.inspect()).completed === 2, 'the mails to be sent');
      await until(async () => (await stock.inspect()).completed === 1, 'the stock to be taken');
      assert.ok(seen.includes(receipt.id));
      await Promise.all(consumers.map((consumer) => consumer.drain()));
      assert.equal(await theirs.unsubscribe(nameOf('mail')), true);
      const names = (await orders.subscriptions()).map((one) => one.channel);
      assert.deepEqual(names, [nameOf('stock')]);
      assert.ok((await other.topicNames()).includes(nameOf('orders')));
    },
  ],
  [
    'what is published commits with the entries and the ack that it comes with, or not at all',
    async ({ hf, nameOf, channel }) => {
      const orders = hf.topic<number>(nameOf('orders'));
      const [mails, full] = [
        await orders.subscribe(nameOf('mail')),
        await orders.subscribe(nameOf('full'), { maxBacklog: 1 }),
      ];
      const key = [nameOf('order')];
      await hf.transact((tx) => {
        tx.set(key, 1);
        tx.produce(orders, 1);
      });
      const refused = hf.kv.atomic().set(key, 2).produce(orders, 2).commit();
      await assert.rejects(refused, hasCode('BACKLOG_FULL'));
      await assert.rejects(orders.publish(3), hasCode('BACKLOG_FULL'));
      assert.equal((await hf.kv.get(key)).value, 1);
      const carts = channel<number>('carts');
      const consumer = await carts.consume((n, { tx }) => tx.produce(orders, n));
      await carts.request(4);
      await consumer.drain();
      assert.deepEqual(
        [await messagesIn(mails, 'ready'), await messagesIn(full, 'ready')],
        [
          [1, 4],
          [1, 4],
        ],
      );
    },
  ],
];
