import { describe, expect, test } from 'vitest';
import { settled } from '../helpers/manual-clock.ts';
import { setups } from '../helpers/instances.ts';

describe.each(setups)("process: 'exactlyOnce' [$name]", ({ start }) => {
  test('stores a message of the same content once in 5 minutes, and names the one that stands', async () => {
    const { hf, clock } = await start();
    const channel = hf.channel<{ id: number; tags: string[] }>('mail', { process: 'exactlyOnce' });
    const first = await channel.produce({ id: 1, tags: ['a'] });
    const second = await channel.produce({ id: 1, tags: ['a'] });
    expect(second).toEqual({ ...first, deduplicated: true });
    expect(await channel.produce({ id: 2, tags: ['a'] })).toMatchObject({ deduplicated: false });
    await clock.advance(299_999);
    expect(await channel.produce({ id: 1, tags: ['a'] })).toMatchObject({ deduplicated: true, id: first.id });
    await clock.advance(1);
    expect(await channel.produce({ id: 1, tags: ['a'] })).toMatchObject({ deduplicated: false });
    expect(await channel.inspect()).toMatchObject({ ready: 3, totals: { deduplicated: 2 } });
  });

  test('deduplicationInterval sets the window', async () => {
    const { hf, clock } = await start();
    const channel = hf.channel<string>('mail', { process: 'exactlyOnce', deduplicationInterval: '1s' });
    await channel.produce('a');
    await clock.advance(1_000);
    expect(await channel.produce('a')).toMatchObject({ deduplicated: false });
  });

  test('dedupeKey takes the place of the content, and is never mixed up with it', async () => {
    const { hf } = await start();
    const channel = hf.channel<string>('mail', { process: 'exactlyOnce' });
    const { id } = await channel.produce('first', { dedupeKey: 'order-1' });
    expect(await channel.produce('second', { dedupeKey: 'order-1' })).toMatchObject({ deduplicated: true, id });
    expect(await channel.produce('first', { dedupeKey: 'order-2' })).toMatchObject({ deduplicated: false });
    expect(await channel.produce('order-1')).toMatchObject({ deduplicated: false });
  });

  test('produceAll() finds duplicates, also within itself', async () => {
    const { hf } = await start();
    const channel = hf.channel<string>('mail', { process: 'exactlyOnce' });
    const receipts = await channel.produceAll(['a', 'b', 'a']);
    expect(receipts.map(({ deduplicated }) => deduplicated)).toEqual([false, false, true]);
    expect(receipts[2]?.id).toBe(receipts[0]?.id);
    expect(await channel.inspect()).toMatchObject({ ready: 2 });
  });

  test('request() of a duplicate waits for the result of the message that stands', async () => {
    const { hf } = await start();
    const channel = hf.channel<number, number>('double', { process: 'exactlyOnce' });
    let runs = 0;
    await channel.consume((number) => {
      runs += 1;
      return number * 2;
    });
    expect(await Promise.all([channel.request(21), channel.request(21)])).toEqual([42, 42]);
    expect(await channel.request(21)).toBe(42);
    expect(runs).toBe(1);
  });
});

describe.each(setups)('dedupe [$name]', ({ start }) => {
  test("window: 'untilSettled' opens the key when the message has ended", async () => {
    const { hf } = await start();
    const channel = hf.channel<string>('mail', { dedupe: { window: 'untilSettled' } });
    await channel.produce('a');
    expect(await channel.produce('a')).toMatchObject({ deduplicated: true });
    const consumer = await channel.consume(() => {});
    await settled();
    await consumer.close();
    expect(await channel.produce('a')).toMatchObject({ deduplicated: false });
  });

  test("mode: 'replace' debounces: the last message comes, its delay counts", async () => {
    const { hf, clock } = await start();
    const channel = hf.channel<number>('saves', { dedupe: { window: '1h', mode: 'replace' } });
    const seen: number[] = [];
    await channel.consume((number) => void seen.push(number));
    for (const number of [1, 2, 3]) {
      await channel.produce(number, { dedupeKey: 'document', delay: '5s' });
      await clock.advance(3_000);
    }
    expect(seen).toEqual([]);
    await clock.advance(2_000);
    expect(seen).toEqual([3]);
  });

  test("mode: 'keepLast' runs the first and the last, one after the other", async () => {
    const { hf } = await start();
    const channel = hf.channel<number>('saves', { dedupe: { window: 'untilSettled', mode: 'keepLast' } });
    const seen: number[] = [];
    let finish = (): void => {};
    await channel.consume(
      (number) =>
        new Promise<void>((resolve) => {
          seen.push(number);
          finish = resolve;
        }),
      { concurrency: 5 },
    );
    for (const number of [1, 2, 3]) await channel.produce(number, { dedupeKey: 'document' });
    await settled();
    expect(seen).toEqual([1]);
    finish();
    await settled();
    expect(seen).toEqual([1, 3]);
    finish();
    await settled();
  });
});
