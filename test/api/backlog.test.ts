import { createTestHoldfast } from 'holdfast/testing';
import { describe, expect, test } from 'vitest';

describe("onFull: 'reject'", () => {
  test('leaves nothing of what it refuses, and takes the next message when there is room', async () => {
    await using kit = await createTestHoldfast();
    const channel = kit.holdfast.channel<string>('narrow', { maxBacklog: 1, onFull: 'reject' });
    const [first, refused] = await Promise.allSettled([channel.produce('first'), channel.produce('refused')]);
    expect(first).toMatchObject({ status: 'fulfilled' });
    expect(refused).toMatchObject({ status: 'rejected', reason: { code: 'BACKLOG_FULL' } });
    const ready = await channel.list('ready');
    expect(ready.map(({ message }) => message)).toEqual(['first']);
    const seen: string[] = [];
    const consumer = await channel.consume((message) => void seen.push(message));
    await kit.clock.settle();
    await consumer.close();
    const { id } = await channel.produce('later');
    expect(await channel.get(id)).toMatchObject({ message: 'later', state: 'ready' });
    expect(seen).toEqual(['first']);
    expect(await channel.inspect()).toMatchObject({ ready: 1, completed: 1, totals: { produced: 2 } });
  });
});

describe("onFull: 'wait'", () => {
  test('stores what waited under the id of its receipt', async () => {
    await using kit = await createTestHoldfast();
    const channel = kit.holdfast.channel<string>('narrow', { maxBacklog: 1, onFull: 'wait' });
    const both = Promise.all([channel.produce('first'), channel.produce('second')]);
    await kit.clock.settle();
    expect(await channel.inspect()).toMatchObject({ ready: 1, totals: { produced: 1 } });
    await channel.consume(() => {});
    const [, second] = await both;
    await kit.clock.settle();
    expect(await channel.get(second.id)).toMatchObject({ message: 'second', state: 'completed' });
  });
});
