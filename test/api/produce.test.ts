import { describe, expect, test } from 'vitest';
import { HoldfastError } from 'holdfast';
import { settled } from '../helpers/manual-clock.ts';
import { setups, timelessSetups } from '../helpers/instances.ts';

describe.each(timelessSetups)('produce() [$name]', ({ start }) => {
  test('stores a message and says where and how safely', async () => {
    const { hf } = await start();
    const channel = hf.channel<string>('mail');
    const receipt = await channel.produce('hello');
    expect(receipt).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      channel: 'mail',
      deduplicated: false,
      durability: hf.durability,
    });
    expect(await channel.get(receipt.id)).toMatchObject({ id: receipt.id, message: 'hello', state: 'ready' });
    expect(await hf.channels()).toEqual(['mail']);
  });

  test('keeps the order of calls that were not awaited', async () => {
    const { hf } = await start();
    const channel = hf.channel<number>('numbers');
    const numbers = Array.from({ length: 3_000 }, (_, i) => i);
    await Promise.all(numbers.map((number) => channel.produce(number)));
    expect((await channel.list('ready', { offset: 2_900, limit: 100 })).map(({ message }) => message)).toEqual(
      numbers.slice(2_900),
    );
  });

  test('takes every value that the codec knows, and gives it back as it was', async () => {
    const { hf } = await start();
    const channel = hf.channel<unknown>('values');
    const values = [
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
    for (const value of values) {
      const { id } = await channel.produce(value);
      expect((await channel.get(id))?.message).toEqual(value);
    }
  });

  test('refuses what cannot be stored without loss, and stores nothing', async () => {
    const { hf } = await start();
    const channel = hf.channel<unknown>('values');
    const circular: Record<string, unknown> = {};
    circular['self'] = circular;
    for (const value of [() => {}, Symbol('x'), circular, new (class Own {})(), /regex/, { deep: [new Error('x')] }]) {
      await expect(channel.produce(value)).rejects.toThrow(TypeError);
    }
    expect(await channel.inspect()).toMatchObject({ ready: 0, totals: { produced: 0 } });
  });

  test('refuses a payload above 4 MiB before anything is written, and takes one just below', async () => {
    const { hf } = await start();
    const channel = hf.channel<Uint8Array>('large');
    await expect(channel.produce(new Uint8Array(4 * 1024 * 1024))).rejects.toThrow(RangeError);
    expect(await channel.inspect()).toMatchObject({ ready: 0 });
    const large = new Uint8Array(4 * 1024 * 1024 - 100).fill(7);
    const { id } = await channel.produce(large);
    expect(Buffer.from((await channel.get(id))?.message ?? []).equals(large)).toBe(true);
  });

  test('maxPayloadBytes lowers that limit', async () => {
    const { hf } = await start();
    const channel = hf.channel<string>('small', { maxPayloadBytes: 100 });
    await expect(channel.produce('x'.repeat(100))).rejects.toThrow(RangeError);
    await channel.produce('x'.repeat(50));
  });
});

describe.each(timelessSetups)('produceAll() [$name]', ({ start }) => {
  test('stores all in their order and gives a receipt for each', async () => {
    const { hf } = await start();
    const channel = hf.channel<number>('numbers');
    const receipts = await channel.produceAll([1, 2, 3]);
    expect(await Promise.all(receipts.map(async ({ id }) => (await channel.get(id))?.message))).toEqual([1, 2, 3]);
    expect(await channel.produceAll([])).toEqual([]);
  });

  test('stores none when there is not room for all', async () => {
    const { hf } = await start();
    const channel = hf.channel<number>('numbers', { maxBacklog: 3 });
    await channel.produce(0);
    await expect(channel.produceAll([1, 2, 3])).rejects.toMatchObject({ code: 'BACKLOG_FULL' });
    expect(await channel.inspect()).toMatchObject({ ready: 1 });
    await channel.produceAll([1, 2]);
  });

  test('stores none when one of them cannot be stored', async () => {
    const { hf } = await start();
    const channel = hf.channel<unknown>('values');
    await expect(channel.produceAll([1, () => {}, 3])).rejects.toThrow(TypeError);
    expect(await channel.inspect()).toMatchObject({ ready: 0 });
  });

  test('refuses more than 10,000 messages or 8 MiB, and what is no array', async () => {
    const { hf } = await start();
    const channel = hf.channel<unknown>('values');
    await expect(channel.produceAll(Array.from({ length: 10_001 }, () => 1))).rejects.toThrow(
      'more than 10000 messages',
    );
    const third = new Uint8Array(3 * 1024 * 1024);
    await expect(channel.produceAll([third, third, third])).rejects.toThrow('fit into one commit');
    await expect(channel.produceAll('abc' as never)).rejects.toThrow('give the messages as an array');
    expect(await channel.inspect()).toMatchObject({ ready: 0 });
    expect(await channel.produceAll(Array.from({ length: 10_000 }, () => 1))).toHaveLength(10_000);
  });
});

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
