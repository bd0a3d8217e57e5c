import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  BLOCK_BYTES,
  BlockReader,
  BlockWriter,
  idSecond,
  type ItemOptions,
  MAX_COST,
  MAX_PRIORITY,
  tickBlock,
} from '#holdfast/model/block.js';
import { isMessageId, MessageIdSource, messageIdText, messageIdTime } from '#holdfast/model/message-id.js';
import { tickId } from '#holdfast/model/schedule.js';
import { seededRandom } from '#holdfast/model/random.js';
import { ManualClock } from '../helpers/manual-clock.ts';

const ids = new MessageIdSource(new ManualClock(), seededRandom(1));

const options: fc.Arbitrary<ItemOptions> = fc.record(
  {
    delayMs: fc.integer({ min: 1, max: 10 ** 10 }),
    dueAt: fc.integer({ min: 1, max: 10 ** 13 }),
    priority: fc.integer({ min: -MAX_PRIORITY, max: MAX_PRIORITY }),
    lifo: fc.boolean(),
    awaited: fc.boolean(),
    dedupe: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    undelivered: fc.array(fc.uint8Array({ minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 3 }),
    group: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }),
    name: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }),
    cost: fc.integer({ min: 1, max: MAX_COST }),
  },
  { requiredKeys: [] },
);

const items = fc.array(fc.record({ payload: fc.uint8Array({ maxLength: 300 }), options }), {
  minLength: 1,
  maxLength: 50,
});

function blockOf(given: readonly { payload: Uint8Array; options: ItemOptions }[]): {
  block: Uint8Array;
  made: Uint8Array[];
} {
  const made = given.map(() => ids.next());
  const writer = new BlockWriter(1, idSecond(made[0] as Uint8Array));
  given.forEach((item, i) => writer.add(made[i] as Uint8Array, item.payload, item.options));
  return { block: writer.finish(), made };
}

describe('BlockWriter and BlockReader', () => {
  test('give back every message with its options, in order', () => {
    fc.assert(
      fc.property(items, fc.nat(20), (given, before) => {
        const { block, made } = blockOf(given);
        const bytes = new Uint8Array(before + block.length);
        bytes.set(block, before);
        const reader = new BlockReader(bytes, before);
        expect(reader.count).toBe(given.length);
        given.forEach((item, i) => {
          expect(reader.next()).toBe(true);
          expect(messageIdText(reader.id)).toBe(messageIdText(made[i] as Uint8Array));
          expect([...reader.payload]).toEqual([...item.payload]);
          expect([...BlockReader.payloadOf(reader.item)]).toEqual([...item.payload]);
          expect(reader.delayMs).toBe(item.options.delayMs ?? 0);
          expect(reader.dueAt).toBe(item.options.dueAt ?? 0);
          expect(reader.priority).toBe(item.options.priority ?? 0);
          expect(reader.lifo).toBe(item.options.lifo ?? false);
          expect(reader.awaited).toBe(item.options.awaited ?? false);
          expect(reader.dedupe).toBe(String.fromCharCode(...(item.options.dedupe ?? [])));
          expect(reader.group).toBe(item.options.group ?? '');
          expect(reader.cost).toBe(item.options.cost ?? 1);
          const { name, group } = item.options;
          expect(BlockReader.labelsOf(reader.item)).toEqual({ name, group });
          expect(BlockReader.undeliveredOf(reader.item).map((bytes) => [...bytes])).toEqual(
            (item.options.undelivered ?? []).map((bytes) => [...bytes]),
          );
          expect(reader.isSound()).toBe(true);
        });
        expect(reader.next()).toBe(false);
        expect(reader.end).toBe(bytes.length);
      }),
    );
  });

  test('every truncation is refused with PROTOCOL', () => {
    const options = { delayMs: 5, dedupe: new Uint8Array(16), group: 'a', name: 'b', cost: 200 };
    const { block } = blockOf([{ payload: new Uint8Array(40), options }]);
    for (let length = 0; length < block.length; length++) {
      const read = (): void => {
        const reader = new BlockReader(block.slice(0, length));
        while (reader.next());
      };
      expect(read).toThrow(expect.objectContaining({ code: 'PROTOCOL' }));
    }
  });

  test('an item whose cost or group nobody can have is not sound', () => {
    const isSound = (options: ItemOptions): boolean => {
      const reader = new BlockReader(blockOf([{ payload: new Uint8Array(4), options }]).block);
      reader.next();
      return reader.isSound();
    };
    expect(isSound({ cost: 0 })).toBe(false);
    expect(isSound({ cost: MAX_COST + 1 })).toBe(false);
    expect(isSound({ group: 'a'.repeat(256) })).toBe(false);
    expect(isSound({ group: 'a'.repeat(255), cost: MAX_COST })).toBe(true);
  });

  test('tickBlock() copies everything but the id and who waits, whatever the message was produced with', () => {
    const at = Date.UTC(2031, 2, 3);
    const tick = { key: 'nightly', at, manual: false };
    const seed = Uint8Array.from({ length: 10 }, () => 0xff);
    const payload = Uint8Array.of(1, 2, 3);
    const optionsOf: ItemOptions[] = [
      {},
      { awaited: true, delayMs: 500, priority: -9, lifo: true },
      { group: 'g', name: 'n', cost: 7, dedupe: new Uint8Array(16).fill(3) },
      { undelivered: [Uint8Array.of(2, 65, 0)], cost: 9, delayMs: 1 },
    ];
    for (const options of optionsOf) {
      const { block } = blockOf([{ payload, options }]);
      const reader = new BlockReader(tickBlock(block, tickId(seed, at), tick));
      expect([reader.count, reader.next(), reader.next()]).toEqual([1, true, false]);
      const { item } = reader;
      expect(isMessageId(item, 1)).toBe(true);
      expect(messageIdTime(item, 1)).toBe(at);
      expect(reader.second).toBe(idSecond(reader.id));
      expect(reader.schedule).toEqual(tick);
      expect(BlockReader.scheduleOf(item)).toEqual(tick);
      expect(Uint8Array.from(BlockReader.payloadOf(item))).toEqual(payload);
      expect(reader.end).toBe(tickBlock(block, tickId(seed, at), tick).length);
      const { delayMs = 0, priority = 0, lifo = false, cost = 1, group, name, undelivered = [] } = options;
      expect(reader).toMatchObject({ delayMs, priority, lifo, cost, group: group ?? '', awaited: false });
      expect(reader.dedupe).toHaveLength(options.dedupe === undefined ? 0 : 16);
      expect(BlockReader.labelsOf(item)).toEqual({ group, name });
      expect(BlockReader.undeliveredOf(item).map((key) => Uint8Array.from(key))).toEqual(undelivered);
      // A tick of a tick names the later one alone, and only the broker may make one.
      expect(reader.isSound()).toBe(false);
    }
  });

  test('tickId() is another one for each time, and ends in other bytes within a second', () => {
    const seed = new Uint8Array(10);
    const ids = Array.from({ length: 1_000 }, (_, ms) => tickId(seed, 1_700_000_000_000 + ms));
    expect(new Set(ids.map((id) => messageIdText(id))).size).toBe(1_000);
    expect(new Set(ids.map((id) => Buffer.from(id).toString('hex', 12))).size).toBe(1_000);
  });

  test('a block of another version is refused with PROTOCOL', () => {
    const { block } = blockOf([{ payload: new Uint8Array(4), options: {} }]);
    block[0] = 99;
    expect(() => new BlockReader(block)).toThrow('Cannot read a block of version 99');
  });

  test('isClosedFor() closes a block for another codec, another second, and what would make it too large', () => {
    const id = ids.next();
    const second = idSecond(id);
    const writer = new BlockWriter(1, second);
    expect(writer.isClosedFor(1, second, BLOCK_BYTES * 2)).toBe(false);
    writer.add(id, new Uint8Array(BLOCK_BYTES / 2), {});
    expect(writer.isClosedFor(1, second, 100)).toBe(false);
    expect(writer.isClosedFor(2, second, 100)).toBe(true);
    expect(writer.isClosedFor(1, second + 1, 100)).toBe(true);
    expect(writer.isClosedFor(1, second, BLOCK_BYTES)).toBe(true);
  });

  test.each<[string, ItemOptions]>([
    ['a delay without end', { delayMs: Infinity }],
    ['a delay of more than a hundred years', { delayMs: 2 ** 60 }],
    ['a negative delay', { delayMs: -5 }],
    ['a due time that is not a number', { dueAt: Number.NaN }],
    ['a due time beyond all calendars', { dueAt: 1e300 }],
    ['a priority above the highest', { priority: MAX_PRIORITY + 1 }],
    ['a priority below the lowest', { priority: -MAX_PRIORITY - 1 }],
  ])('isSound() finds %s', (_name, given) => {
    const { block } = blockOf([{ payload: new Uint8Array(1), options: given }]);
    const reader = new BlockReader(block);
    reader.next();
    expect(reader.isSound()).toBe(false);
  });

  test('isSound() finds an id of another second', () => {
    const id = ids.next();
    const writer = new BlockWriter(1, idSecond(id) + 1);
    writer.add(id, new Uint8Array(1), {});
    const reader = new BlockReader(writer.finish());
    reader.next();
    expect(reader.isSound()).toBe(false);
  });
});
