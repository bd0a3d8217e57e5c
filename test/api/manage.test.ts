import { describe, expect, test } from 'vitest';
import { settled } from '../helpers/manual-clock.ts';
import { setups } from '../helpers/instances.ts';

describe.each(setups)('tx.produce() [$name]', ({ start }) => {
  test('commits with the ack, to several channels, and not when the handler fails', async () => {
    const { hf, clock } = await start();
    const orders = hf.channel<number>('orders', { backoff: '1s' });
    const mails = hf.channel<string>('mails');
    const bills = hf.channel<string>('bills');
    await orders.consume((order, { tx, attempt }) => {
      tx.produce(mails, `mail ${order} ${attempt}`);
      tx.produce(bills, `bill ${order}`, { delay: '1h' });
      if (attempt === 1) throw new Error('boom');
    });
    await orders.produce(1);
    await settled();
    expect(await mails.inspect()).toMatchObject({ ready: 0 });
    await clock.advance(1_000);
    expect((await mails.list('ready')).map(({ message }) => message)).toEqual(['mail 1 2']);
    expect(await bills.inspect()).toMatchObject({ delayed: 1 });
  });

  test('does not happen when the message was cancelled meanwhile', async () => {
    const { hf } = await start();
    const orders = hf.channel<number>('orders');
    const mails = hf.channel<string>('mails');
    let finish = (): void => {};
    await orders.consume(async (_order, { tx }) => {
      tx.produce(mails, 'mail');
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
    });
    const { id } = await orders.produce(1);
    await settled();
    await orders.cancel(id);
    finish();
    await settled();
    expect(await mails.inspect()).toMatchObject({ ready: 0 });
  });

  test('refuses a channel of another instance, and what cannot be stored', async () => {
    const { hf } = await start();
    const other = await start();
    const orders = hf.channel<number>('orders', { attempts: 1 });
    const foreign = other.hf.channel<unknown>('mails');
    const own = hf.channel<unknown>('mails');
    await orders.consume((order, { tx }) => tx.produce(order === 1 ? foreign : own, order === 1 ? 1 : () => {}));
    const [first, second] = await orders.produceAll([1, 2]);
    await settled();
    expect((await orders.get(first?.id ?? ''))?.failure?.message).toContain('the channel is of another instance');
    expect(await orders.get(second?.id ?? '')).toMatchObject({ state: 'dead', failure: { name: 'TypeError' } });
    expect(await own.inspect()).toMatchObject({ ready: 0 });
    expect(await foreign.inspect()).toMatchObject({ ready: 0 });
  });

  test('follow-ups are not held back by a full backlog', async () => {
    const { hf } = await start();
    const orders = hf.channel<number>('orders', { maxBacklog: 1 });
    const seen: number[] = [];
    await orders.consume((order, { tx }) => {
      seen.push(order);
      if (order < 5) for (const next of [order + 1, order + 2]) tx.produce(orders, next);
    });
    await orders.produce(4);
    await settled();
    expect(seen).toEqual([4, 5, 6]);
  });
});
