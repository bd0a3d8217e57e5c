/** Cases of the API's conformance suite: handlers of many messages at a time. */
import assert from 'node:assert/strict';
import { deadLetter } from '../api/outcomes.ts';
import { type ApiCase, assertLike, until } from './api-conformance-tools.ts';

export const batchCases: ApiCase[] = [
  [
    'a batch gives each of its messages an outcome',
    async ({ channel, runsOnce }) => {
      const mails = channel<number, string>('mail', { attempts: 1 });
      const receipts = await mails.produceAll([1, 2, 3]);
      const sizes: number[] = [];
      await mails.consumeBatch(
        (batch) => {
          sizes.push(batch.length);
          for (const mail of batch) {
            if (mail.message === 2) mail.fail(new Error('not two'));
            if (mail.message === 3) mail.settle(deadLetter('nor three'));
          }
          return batch.map(({ message }) => `sent ${message}`);
        },
        { size: 3, wait: '10s' },
      );
      const idOf = (i: number): string => receipts[i]?.id ?? '';
      assert.equal(await mails.result(idOf(0)), 'sent 1');
      await until(async () => (await mails.inspect()).dead === 2, 'the others to be dead');
      assertLike(await mails.get(idOf(1)), { failure: { message: 'not two' } });
      assertLike(await mails.get(idOf(2)), { failure: { message: 'nor three' } });
      if (runsOnce) assert.deepEqual(sizes, [3]);
    },
  ],
  [
    'the effects of a batch commit with its ends, once, whatever becomes of single messages',
    async ({ hf, channel, nameOf }) => {
      const [mails, sums] = [channel<number>('mail'), channel<number>('sums')];
      const key = [nameOf('sum')];
      const receipts = await mails.produceAll([1, 2, 3, 4]);
      let runs = 0;
      const consumer = await mails.consumeBatch(
        async (batch, { tx }) => {
          runs += 1;
          const { value } = await tx.get<number>(key);
          const sum = batch.reduce((total, { message }) => total + message, value ?? 0);
          tx.set(key, sum);
          tx.produce(sums, sum);
          if (runs === 1) await mails.cancel(receipts[3]?.id ?? '');
        },
        { size: 4, wait: '10s' },
      );
      await until(async () => (await mails.inspect()).completed === 3, 'the batch to be completed');
      await consumer.drain();
      assert.equal((await hf.kv.get(key)).value, 6);
      assertLike(await mails.inspect(), { completed: 3, cancelled: 1 });
      const produced = (await sums.list('ready')).map(({ message }) => message);
      assert.equal(produced.at(-1), 6);
    },
  ],
];
