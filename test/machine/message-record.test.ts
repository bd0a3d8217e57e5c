import { describe, expect, test } from 'vitest';
import { encodeDelayed, readDelayed, readMessage } from '#holdfast/machine/message-record.js';
import { createChannel } from '#holdfast/machine/channel.js';
import type { Message } from '#holdfast/machine/memory.js';
import { extraOf } from '#holdfast/machine/message.js';
import { ByteReader, ByteWriter } from '#holdfast/model/bytes.js';
import { DEFAULT_POLICY, DEFAULT_SETTINGS } from '#holdfast/model/policy.js';

const delayed: Message = {
  seq: 1_000,
  pack: 998,
  second: 7,
  channel: createChannel(3, 'mail', DEFAULT_SETTINGS),
  policy: { number: 2, policy: DEFAULT_POLICY },
  group: undefined,
  state: 'delayed',
  priority: -4,
  order: 1_000,
  dueAt: 50,
  dueClock: 0,
  attempts: 1,
  deliveries: 2,
  lease: undefined,
  extra: undefined,
};
extraOf(delayed).deaths = 2;

describe('the record of a message', () => {
  test('of the version before, alone, is read', () => {
    const record = encodeDelayed(delayed);
    expect([...record.subarray(0, 2)]).toEqual([0, 3]);
    // As long as no flag of the new version is set, the two differ in what stands before the flags.
    expect(readDelayed(record.subarray(2))).toEqual(readDelayed(record));
    expect(readDelayed(record)).toMatchObject({
      seq: 1_000,
      channel: 3,
      priority: -4,
      group: '',
      extra: { deaths: 2 },
    });
  });

  test('of the version before, in a page, is read: its flags are a byte', () => {
    const writer = new ByteWriter();
    writer.u8(128 + 8);
    for (const signed of [5, 100]) writer.signed(signed);
    for (const varint of [3, 7, 2]) writer.varint(varint);
    writer.f64(123);
    // What only some messages have: flags, deaths, undecodable, expiresAt, history, why it was given up.
    writer.u8(64 + 128);
    for (const varint of [1, 0]) writer.varint(varint);
    writer.f64(0);
    writer.varint(0);
    writer.u8(1);
    const reader = new ByteReader(writer.take());
    const stored = readMessage(reader, 128, 2);
    expect(reader.left).toBe(0);
    expect(stored).toMatchObject({ seq: 233, pack: 230, dueAt: 123, state: 'ready', group: '' });
    expect(stored.extra).toMatchObject({ deaths: 1, undelivered: true, givenUp: 'expired', cost: 1 });
  });
});
