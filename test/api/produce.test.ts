import { describe, expect, test } from 'vitest';
import { HoldfastError } from 'holdfast';
import { settled } from '../helpers/manual-clock.ts';
import { setups } from '../helpers/instances.ts';

describe.each(setups)('produce() with options [$name]', ({ start }) => {
  test('delay and dueAt deliver no earlier, priority and lifo change the order', async () => {
    const { hf, clock } = await start();
    const channel = hf.channel<string>('mail');
    await channel.produce('late', { delay: '10s' });
    await channel.produce('at', { dueAt: new Date(clock.wallMs() + 5_000) });
    await channel.produce('normal');
    await channel.produce('urgent', { priority: -1 });
    await channel.produce('front', { lifo: true });
    const order: string[] = [];
    await channel.consume((message) => void order.push(message));
    await settled();
    expect(order).toEqual(['urgent', 'front', 'normal']);
    await clock.advance(4_999);
    expect(order).toHaveLength(3);
    await clock.advance(1);
    expect(order.slice(3)).toEqual(['at']);
    await clock.advance(5_000);
    expect(order.slice(3)).toEqual(['at', 'late']);
  });

  test('rules of one message override those of its channel', async () => {
    const { hf, clock } = await start();
    const channel = hf.channel<string>('mail', { attempts: 1 });
    const twice = await channel.produce('twice', { attempts: 2, backoff: '1s' });
    const once = await channel.produce('once');
    await channel.consume(() => {
      throw new Error('boom');
    });
    await clock.advance(1_000);
    expect(await channel.get(twice.id)).toMatchObject({ state: 'dead', attempts: 2 });
    expect(await channel.get(once.id)).toMatchObject({ state: 'dead', attempts: 1 });
  });

  test('timeToLive ends a message that nobody claimed', async () => {
    const { hf, clock } = await start();
    const channel = hf.channel<string>('mail', { timeToLive: '1m' });
    const { id } = await channel.produce('old');
    await clock.advance(60_000);
    expect(await channel.get(id)).toMatchObject({ state: 'dead', failure: { name: 'Expired' } });
  });

  test("onFull: 'wait' waits for room, in no other way noticed", async () => {
    const { hf } = await start();
    const channel = hf.channel<number>('mail', { maxBacklog: 2, onFull: 'wait' });
    const stored: number[] = [];
    const produced = [0, 1, 2, 3, 4].map(async (number) => {
      await channel.produce(number);
      stored.push(number);
    });
    const all = channel.produceAll([5, 6]);
    await settled();
    expect(stored).toEqual([0, 1]);
    const order: number[] = [];
    await channel.consume((number) => void order.push(number));
    await Promise.all([...produced, all]);
    await settled();
    expect(order.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  test("onFull: 'wait' ends with the instance", async () => {
    const { hf } = await start();
    const channel = hf.channel<number>('mail', { maxBacklog: 1, onFull: 'wait' });
    await channel.produce(1);
    const waiting = channel.produce(2).catch((error: unknown) => error);
    await settled();
    await hf.close();
    expect(await waiting).toMatchObject({ code: 'CLOSED' });
    expect(await waiting).toBeInstanceOf(HoldfastError);
  });
});
