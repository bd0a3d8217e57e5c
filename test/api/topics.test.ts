import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import { type Channel, type Holdfast, type MessageHappened, restore } from 'holdfast';
import { newFolder, openUntilEnd, startInMemory, timelessSetups } from '../helpers/instances.ts';

interface Order {
  readonly id: number;
}

/** The messages that wait in a channel. */
async function waiting<Message>(channel: Channel<Message>): Promise<Message[]> {
  return (await channel.list('ready', { limit: 100 })).map(({ message }) => message);
}

describe.each(timelessSetups)('topic() [$name]', ({ start }) => {
  test('reaches every channel that is subscribed at the commit, each with a message and a life of its own', async () => {
    const { hf } = await start();
    const orders = hf.topic<Order>('orders');
    expect(await orders.publish({ id: 0 })).toMatchObject({ topic: 'orders', subscriptions: 0, deduplicated: 0 });
    const [mail, stock] = [await orders.subscribe<string>('mail', { attempts: 1 }), await orders.subscribe('stock')];
    expectTypeOf(mail).toEqualTypeOf<Channel<Order, Order, string>>();
    const receipt = await orders.publish({ id: 1 });
    expect(receipt).toMatchObject({ subscriptions: 2, deduplicated: 0, durability: hf.durability });
    const late = await orders.subscribe('late');
    await orders.publish({ id: 2 });
    expect(await waiting(mail)).toEqual([{ id: 1 }, { id: 2 }]);
    expect(await waiting(stock)).toEqual([{ id: 1 }, { id: 2 }]);
    expect(await waiting(late)).toEqual([{ id: 2 }]);
    const ids = await Promise.all([mail, stock].map(async (channel) => (await channel.list('ready'))[0]?.id ?? ''));
    expect(new Set(ids).size).toBe(2);
    expect(ids[0]).toBe(receipt.id);
    for (const [i, channel] of [mail, stock].entries())
      expect(await channel.get(ids[i] ?? '')).toMatchObject({ message: { id: 1 } });

    const failing = await mail.consume(({ id }) => {
      if (id === 1) throw new Error('no');
      return 'sent';
    });
    const seen: string[] = [];
    const consumer = await stock.consume((_, { id }) => void seen.push(id));
    const ended = hf.events({ after: 0, kinds: ['acked', 'failed'] });
    for (let i = 0; i < 4; i++) await ended.next();
    await Promise.all([failing.drain(), consumer.drain()]);
    expect(await mail.inspect()).toMatchObject({ completed: 1, dead: 1 });
    expect(await stock.inspect()).toMatchObject({ completed: 2, dead: 0 });
    expect(seen[0]).toBe(ids[1]);
    expect(await mail.result((await mail.list('completed'))[0]?.id ?? '')).toBe('sent');
    expect(await late.inspect()).toMatchObject({ ready: 1, totals: { produced: 1 } });
  });

  test('events name the message of each channel', async () => {
    const { hf } = await start();
    const orders = hf.topic<Order>('orders');
    const channels = [await orders.subscribe('a'), await orders.subscribe('b'), await orders.subscribe('c')];
    const events = hf.events({ kinds: ['produced'] });
    await orders.publish({ id: 1 });
    for (const channel of channels) {
      const { value } = await events.next();
      expect(value).toMatchObject({ channel: channel.name, id: (await channel.list('ready'))[0]?.id });
    }
  });

  test('knows who is subscribed, until they are no more', async () => {
    const { hf } = await start();
    const orders = hf.topic<Order>('orders');
    await orders.subscribe('stock');
    await orders.subscribe('mail');
    await orders.subscribe('mail', { attempts: 7 });
    const listed = await orders.subscriptions();
    expect(listed).toEqual([
      { channel: 'mail', subscribedAt: expect.any(Number) },
      { channel: 'stock', subscribedAt: expect.any(Number) },
    ]);
    expect(await hf.topicNames()).toEqual(['orders']);
    expect(await orders.unsubscribe('mail')).toBe(true);
    expect(await orders.unsubscribe('mail')).toBe(false);
    expect(await orders.unsubscribe('nobody')).toBe(false);
    expect(await orders.publish({ id: 1 })).toMatchObject({ subscriptions: 1 });
    await orders.unsubscribe('stock');
    expect(await hf.topicNames()).toEqual([]);
    expect(await waiting(hf.channel('stock'))).toEqual([{ id: 1 }]);
  });

  test('delays, priorities, groups and keys are those of the publish, and rules those of the subscription', async () => {
    const { hf } = await start();
    const orders = hf.topic<Order>('orders');
    const once = await orders.subscribe('once', { process: 'exactlyOnce' });
    const always = await orders.subscribe('always', { attempts: 9 });
    await orders.publish({ id: 1 }, { priority: 5 });
    expect(await orders.publish({ id: 1 }, { priority: 5 })).toMatchObject({ subscriptions: 1, deduplicated: 1 });
    await orders.publish({ id: 2 }, { priority: -1, group: 'g', name: 'second' });
    await orders.publish({ id: 3 }, { dedupeKey: 'k' });
    expect(await orders.publish({ id: 4 }, { dedupeKey: 'k' })).toMatchObject({ subscriptions: 1, deduplicated: 1 });
    await orders.publish({ id: 5 }, { delay: '1h' });
    expect((await always.list('ready')).map(({ message, name, group }) => [message.id, name, group])).toContainEqual([
      2,
      'second',
      'g',
    ]);
    expect((await waiting(once)).map(({ id }) => id).sort((a, b) => a - b)).toEqual([1, 2, 3]);
    expect((await waiting(always)).map(({ id }) => id).sort((a, b) => a - b)).toEqual([1, 1, 2, 3, 4]);
    expect(await always.inspect()).toMatchObject({ delayed: 1 });
    expect(await once.inspect()).toMatchObject({ delayed: 1, totals: { produced: 4, deduplicated: 2 } });
  });

  test('publishes to all or to none: one that is full refuses it by name', async () => {
    const { hf } = await start();
    const orders = hf.topic<Order>('orders');
    const [free, full] = [await orders.subscribe('free'), await orders.subscribe('full', { maxBacklog: 1 })];
    await orders.publish({ id: 1 });
    const refused = { code: 'BACKLOG_FULL', message: expect.stringContaining('its subscription "full" holds as many') };
    await expect(orders.publish({ id: 2 })).rejects.toMatchObject(refused);
    await expect(hf.kv.atomic().produce(orders, { id: 2 }).commit()).rejects.toMatchObject(refused);
    expect([await waiting(free), await waiting(full)]).toEqual([[{ id: 1 }], [{ id: 1 }]]);
  });

  test('commits with an ack, with entries of KV, and with a transaction', async () => {
    const { hf } = await start();
    const orders = hf.topic<Order>('orders');
    const [mail, full] = [await orders.subscribe('mail'), await orders.subscribe('full', { maxBacklog: 1 })];
    await hf.kv.atomic().set(['a'], 1).produce(orders, { id: 1 }).commit();
    expect(
      await hf.kv
        .atomic()
        .check({ key: ['a'], versionstamp: null })
        .produce(orders, { id: 9 })
        .commit(),
    ).toEqual({ ok: false });
    const carts = hf.channel<Order>('carts', { attempts: 1 });
    const consumer = await carts.consume(({ id }, { tx }) => {
      tx.produce(orders, { id });
      if (id === 3) throw new Error('no');
    });
    await carts.request({ id: 2 });
    await expect(carts.request({ id: 3 })).rejects.toMatchObject({ code: 'DEAD' });
    await consumer.drain();
    await orders.unsubscribe('full');
    await hf.transact((tx) => tx.produce(orders, { id: 4 }));
    expect(await waiting(mail)).toEqual([{ id: 1 }, { id: 2 }, { id: 4 }]);
    // A follow-up is not held back by a full backlog.
    expect(await waiting(full)).toEqual([{ id: 1 }, { id: 2 }]);
  });

  test('checks messages by its schema, when they are published and when they are consumed', async () => {
    const { hf } = await start();
    const orders = hf.topic('orders', { schema: z.object({ at: z.string().transform((text) => new Date(text)) }) });
    const mail = await orders.subscribe('mail');
    await expect(orders.publish({ at: 5 } as never)).rejects.toMatchObject({ code: 'INVALID_MESSAGE' });
    const seen = new Promise<Date>((resolve) => void mail.consume(({ at }) => resolve(at)));
    await orders.publish({ at: '2030-01-01' });
    expect(await seen).toEqual(new Date('2030-01-01'));
  });
});

describe('topic()', () => {
  test('subscriptions outlive the broker, and so do their messages, backup and restore included', async () => {
    const [folder, other] = [newFolder(), newFolder()];
    const first = await openUntilEnd(`file:${folder}`);
    const mail = await first.topic<Order>('orders').subscribe('mail', { attempts: 1 });
    await first.topic<Order>('orders').subscribe('stock');
    await first.topic<Order>('orders').publish({ id: 1 });
    const ids = await Promise.all(
      [mail, first.channel<Order>('stock')].map(async (one) => (await one.list('ready'))[0]?.id),
    );
    const parts: Uint8Array[] = [];
    for await (const part of first.backup()) parts.push(part.slice());
    await first.close();
    const file = join(newFolder(), 'backup');
    await writeFile(file, Buffer.concat(parts));
    await restore(file, join(other, 'restored'));
    for (const url of [`file:${folder}`, `file:${join(other, 'restored')}`]) {
      const hf = await openUntilEnd(url);
      expect(await hf.topicNames()).toEqual(['orders']);
      expect(await hf.topic<Order>('orders').publish({ id: 2 })).toMatchObject({ subscriptions: 2 });
      const consumed: (string | undefined)[] = [];
      for (const name of ['mail', 'stock']) {
        const channel = hf.channel<Order>(name);
        expect(await waiting(channel)).toEqual([{ id: 1 }, { id: 2 }]);
        const consumer = await channel.consume((_, { id }) => void consumed.push(id));
        const drained = channel.events({ after: 0, kinds: ['drained'] });
        await drained.next();
        await consumer.drain();
      }
      expect(consumed.filter((id) => ids.includes(id))).toEqual(ids);
      await hf.close();
    }
  });

  test('keeps a payload once, until the last of its messages has gone', async () => {
    const { hf, clock } = await startInMemory();
    const orders = hf.topic<{ text: string }>('orders');
    const channels = await Promise.all(
      Array.from({ length: 20 }, (_, i) => orders.subscribe(`c${i}`, { retain: { completed: { count: 0 } } })),
    );
    await orders.publish({ text: 'x'.repeat(100_000) });
    let bytes = 0;
    for await (const part of hf.backup()) bytes += part.length;
    expect(bytes).toBeLessThan(150_000);
    for (const channel of channels.slice(0, 19)) {
      const consumer = await channel.consume(() => {});
      await channel.events({ after: 0, kinds: ['drained'] }).next();
      await consumer.drain();
    }
    await clock.advance(120_000);
    const last = channels[19] as (typeof channels)[0];
    expect((await waiting(last))[0]?.text).toHaveLength(100_000);
    expect(await last.get((await last.list('ready'))[0]?.id ?? '')).toMatchObject({ state: 'ready' });
    await last.purge();
    await clock.advance(1);
    bytes = 0;
    for await (const part of hf.backup()) bytes += part.length;
    expect(bytes).toBeLessThan(60_000);
  });

  test('a subscription that is made while others publish gets all of what comes after it, and all of nothing before', async () => {
    const hf = await openUntilEnd('memory:');
    const orders = hf.topic<Order>('orders');
    await orders.subscribe('all');
    const publishing = Array.from({ length: 200 }, (_, id) => orders.publish({ id }));
    const late = await orders.subscribe('late');
    publishing.push(...Array.from({ length: 200 }, (_, id) => orders.publish({ id: id + 200 })));
    await Promise.all(publishing);
    expect(await late.inspect()).toMatchObject({ ready: 200 });
    expect(await hf.admin.inspect('all')).toMatchObject({ ready: 400 });
  });

  test('a dead message of one subscription is redriven alone', async () => {
    const hf = await openUntilEnd('memory:');
    const orders = hf.topic<Order>('orders');
    const dead = await orders.subscribe('dead', { attempts: 1, deadLetter: 'letters' });
    const other = await orders.subscribe('other');
    await orders.publish({ id: 1 });
    const events = hf.events({ kinds: ['moved'] });
    const consumer = await dead.consume(() => {
      throw new Error('no');
    });
    const { value } = await events.next();
    await consumer.drain();
    const [letter] = await hf.channel<Order>('letters').list('ready');
    expect([letter?.message, letter?.id]).toEqual([{ id: 1 }, (value as MessageHappened).id]);
    expect(await waiting(other)).toEqual([{ id: 1 }]);
  });

  test('refuses what cannot be', async () => {
    const hf = await openUntilEnd('memory:');
    const orders = hf.topic<Order>('orders');
    expect(() => hf.topic('')).toThrow(RangeError);
    expect(() => hf.topic('orders', { attempts: 5 } as object)).toThrow('known are schema, maxPayloadBytes');
    await expect(orders.publish({ id: 1 }, { attempts: 5 } as object)).rejects.toThrow(
      'Cannot use "attempts" as an option of "publish"',
    );
    await expect(orders.subscribe('')).rejects.toThrow(RangeError);
    await expect(orders.subscribe('mail', { schema: 5 } as object)).rejects.toThrow();
    await expect(hf.transact((tx) => tx.produce(orders, { id: 1 }, { timeout: 5 }))).rejects.toThrow(TypeError);
    const others: Holdfast = await openUntilEnd('memory:');
    await expect(others.transact((tx) => tx.produce(orders, { id: 1 }))).rejects.toThrow(
      'the topic is of another instance',
    );
  });

  test('a full group of a subscription refuses a publish, and holds no follow-up back', async () => {
    const hf = await openUntilEnd('memory:');
    const orders = hf.topic<Order>('orders');
    const mail = await orders.subscribe('mail', { groups: { maxBacklog: 1 } });
    await orders.publish({ id: 1 }, { group: 'g' });
    await expect(orders.publish({ id: 2 }, { group: 'g' })).rejects.toMatchObject({ code: 'BACKLOG_FULL' });
    await expect(hf.transact((tx) => tx.produce(mail, { id: 3 }, { group: 'g' }))).rejects.toMatchObject({
      code: 'BACKLOG_FULL',
    });
    const carts = hf.channel<Order>('carts');
    const consumer = await carts.consume(({ id }, { tx }) => {
      tx.produce(orders, { id }, { group: 'g' });
      tx.produce(mail, { id: id + 1 }, { group: 'g' });
    });
    await carts.request({ id: 4 });
    await consumer.drain();
    expect((await waiting(mail)).map(({ id }) => id)).toEqual([1, 4, 5]);
  });
});
