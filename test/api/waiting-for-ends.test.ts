import { createTestHoldfast } from 'holdfast/testing';
import { expect, test } from 'vitest';

test('result() rejects when the instance is closed', async () => {
  const kit = await createTestHoldfast();
  const channel = kit.holdfast.channel<number, number>('double');
  const { id } = await channel.produce(1);
  await kit.close();
  await expect(channel.result(id)).rejects.toMatchObject({ code: 'CLOSED' });
});
