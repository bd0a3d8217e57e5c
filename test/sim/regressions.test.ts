import { createTestHoldfast } from 'holdfast/testing';
import { createState } from '#holdfast/machine/state.js';
import { isDirty } from '#holdfast/machine/flush.js';
import { describe, expect, test } from 'vitest';

describe('what the simulation has found', () => {
  test('consume() in the same tick as channel() gets messages', async () => {
    await using kit = await createTestHoldfast();
    const channel = kit.holdfast.channel<string>('fresh');
    const seen: string[] = [];
    await channel.consume((message) => void seen.push(message));
    await channel.produce('first');
    await kit.clock.settle();
    expect(seen).toEqual(['first']);
  });

  test('a consumer that is drained in the tick in which it was opened stays closed', async () => {
    await using kit = await createTestHoldfast();
    const channel = kit.holdfast.channel<string>('brief');
    const consumer = await channel.consume(() => {});
    await consumer.drain();
    await channel.produce('waits');
    await kit.clock.settle();
    expect(await channel.inspect()).toMatchObject({ ready: 1, leased: 0, consumers: 0 });
  });

  test('produceAll() of more messages than the backlog ever holds is refused at once, also with onFull: wait', async () => {
    await using kit = await createTestHoldfast();
    const channel = kit.holdfast.channel<number>('narrow', { maxBacklog: 2, onFull: 'wait' });
    await expect(channel.produceAll([1, 2, 3])).rejects.toMatchObject({ code: 'BACKLOG_FULL' });
    expect(await channel.produceAll([1, 2])).toHaveLength(2);
  });

  test('a machine with nothing but freed dedupe records to delete has something to write', () => {
    const state = createState('default');
    expect(isDirty(state)).toBe(false);
    state.changes.freedSlotRecords.push(1);
    expect(isDirty(state)).toBe(true);
  });
});
