import { describe, expect, test } from 'vitest';
import { HoldfastError } from 'holdfast';
import { settled, until } from '../helpers/manual-clock.ts';
import { setups, timelessSetups } from '../helpers/instances.ts';

const NOBODY = '01900000-0000-7000-8000-000000000000';

describe.each(timelessSetups)('managing a channel [$name]', ({ start }) => {
  test('pause() and resume() hold messages back and let them go', async () => {
    const { hf } = await start();
    const channel = hf.channel<number>('mail');
    const seen: number[] = [];
    await channel.consume((number) => void seen.push(number));
    await channel.pause();
    await channel.produce(1);
    expect(await channel.inspect()).toMatchObject({ paused: true, ready: 1 });
    expect(seen).toEqual([]);
    await channel.resume();
    await until(() => seen.length === 1);
  });

  test('purge() deletes what waits and says how much', async () => {
    const { hf } = await start();
    const channel = hf.channel<number>('mail');
    await channel.produceAll([1, 2, 3]);
    await channel.produce(4, { delay: '1h' });
    expect(await channel.purge()).toBe(4);
    expect(await channel.inspect()).toMatchObject({ ready: 0, delayed: 0, totals: { purged: 4 } });
  });

  test('cancel(), promote() and redrive() of one message', async () => {
    const { hf } = await start();
    const channel = hf.channel<number>('mail', { attempts: 1 });
    const delayed = await channel.produce(1, { delay: '1h' });
    await channel.promote(delayed.id);
    expect(await channel.get(delayed.id)).toMatchObject({ state: 'ready' });
    await expect(channel.promote(delayed.id)).rejects.toMatchObject({ code: 'WRONG_STATE' });
    await channel.cancel(delayed.id);
    await expect(channel.cancel(delayed.id)).rejects.toMatchObject({ code: 'WRONG_STATE' });
    await expect(channel.redrive(delayed.id)).rejects.toMatchObject({ code: 'WRONG_STATE' });
    for (const action of ['cancel', 'promote', 'redrive'] as const) {
      await expect(channel[action](NOBODY)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    }
    expect(await channel.get(NOBODY)).toBeUndefined();
  });

  test('redrive() brings all dead messages back, with new attempts', async () => {
    const { hf } = await start();
    const channel = hf.channel<number>('mail', { attempts: 1 });
    const receipts = await channel.produceAll([1, 2, 3]);
    let broken = true;
    const seen: number[] = [];
    await channel.consume((number) => {
      if (broken) throw new Error('boom');
      seen.push(number);
    });
    for (const { id } of receipts) await channel.result(id).catch(() => {});
    broken = false;
    expect(await channel.redrive()).toBe(3);
    await until(() => seen.length === 3);
    expect(seen).toEqual([1, 2, 3]);
  });

  test('retain() changes what is kept of the past', async () => {
    const { hf } = await start();
    const channel = hf.channel<number>('mail');
    const receipts = await channel.produceAll([1, 2, 3]);
    await channel.consume(() => {});
    for (const { id } of receipts) await channel.result(id);
    await channel.retain({ completed: { count: 0 }, dead: false });
    expect((await channel.inspect()).settings).toEqual({
      completed: { count: 0, ageMs: undefined },
      dead: { count: undefined, ageMs: undefined },
    });
  });

  test('list() gives live messages in their order, ended ones the newest first, a part at a time', async () => {
    const { hf } = await start();
    const channel = hf.channel<number>('mail');
    const receipts = await channel.produceAll([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const numbers = async (state: 'ready' | 'cancelled', options = {}): Promise<number[]> =>
      (await channel.list(state, options)).map(({ message }) => message);
    expect(await numbers('ready')).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(await numbers('ready', { offset: 7, limit: 2 })).toEqual([7, 8]);
    expect(await numbers('ready', { offset: 10 })).toEqual([]);
    for (const { id } of receipts.slice(0, 4)) await channel.cancel(id);
    expect(await numbers('cancelled')).toEqual([3, 2, 1, 0]);
    expect(await numbers('cancelled', { offset: 1, limit: 2 })).toEqual([2, 1]);
  });
});

describe.each(timelessSetups)('request() and result() [$name]', ({ start }) => {
  test('give what the handler returned, lossless', async () => {
    const { hf } = await start();
    const channel = hf.channel<number, Map<string, bigint> | undefined>('ask');
    await channel.consume((number) => (number === 0 ? undefined : new Map([['n', BigInt(number)]])));
    expect(await channel.request(5)).toEqual(new Map([['n', 5n]]));
    expect(await channel.request(0)).toBeUndefined();
    const { id } = await channel.produce(7);
    expect(await channel.result(id)).toEqual(new Map([['n', 7n]]));
    expect(await channel.result(id)).toEqual(new Map([['n', 7n]]));
  });

  test('reject with DEAD and the error of the handler, or when the message was cancelled', async () => {
    const { hf } = await start();
    const channel = hf.channel<number>('ask', { attempts: 1 });
    await channel.consume(() => {
      throw new RangeError('too far');
    });
    const error = (await channel.request(5).catch((thrown: unknown) => thrown)) as HoldfastError;
    expect(error).toBeInstanceOf(HoldfastError);
    expect(error).toMatchObject({ code: 'DEAD', cause: { name: 'RangeError', message: 'too far' } });
    const { id } = await channel.produce(1, { delay: '1h' });
    const waiting = channel.result(id).catch((thrown: unknown) => thrown);
    await channel.cancel(id);
    expect(await waiting).toMatchObject({ code: 'DEAD' });
    await expect(channel.result(NOBODY)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('a signal ends the waiting, and the message goes on', async () => {
    const { hf } = await start();
    const channel = hf.channel<number, string>('ask');
    const controller = new AbortController();
    const waiting = channel.request(1, { signal: controller.signal }).catch((thrown: unknown) => thrown);
    await until(() => true);
    while ((await channel.inspect()).ready === 0) await settled(1);
    controller.abort();
    expect(await waiting).toBe(controller.signal.reason);
    expect(await channel.inspect()).toMatchObject({ ready: 1 });
    await expect(channel.request(2, { signal: controller.signal })).rejects.toBe(controller.signal.reason);
    expect(await channel.inspect()).toMatchObject({ ready: 1 });
  });

  test('a request that waits when the instance closes is rejected', async () => {
    const { hf } = await start();
    const channel = hf.channel<number>('ask');
    const waiting = channel.request(1).catch((thrown: unknown) => thrown);
    while ((await channel.inspect()).ready === 0) await settled(1);
    await hf.close();
    expect(await waiting).toMatchObject({ code: 'CLOSED' });
  });
});

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
