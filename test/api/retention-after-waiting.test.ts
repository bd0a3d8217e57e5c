import { createTestHoldfast } from 'holdfast/testing';
import { expect, test } from 'vitest';

test('request() keeps no message beyond its retention', async () => {
  await using kit = await createTestHoldfast();
  const channel = kit.holdfast.channel<number, number>('double', { retain: { completed: { count: 0 } } });
  await channel.consume((number) => number * 2);
  expect(await Promise.all([channel.request(1), channel.request(2)])).toEqual([2, 4]);
  await kit.clock.settle();
  expect(await channel.list('completed')).toEqual([]);
});
