import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  ATOMIC_WRITE,
  ATOMIC_WRITE_OUTPUT,
  SNAPSHOT_READ,
  SNAPSHOT_READ_OUTPUT,
  WATCH,
  WATCH_OUTPUT,
} from '#holdfast/doors/kv-connect/messages.js';
import { MalformedMessage, type MessageType } from '#holdfast/doors/kv-connect/protobuf.js';

const bytes = fc.uint8Array({ maxLength: 200 });
const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const int64 = fc.maxSafeInteger();
const entry = fc.record({ key: bytes, value: bytes, encoding: int32, versionstamp: bytes });
const list = <T>(of: fc.Arbitrary<T>, maxLength = 10): fc.Arbitrary<T[]> => fc.array(of, { maxLength });

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
}

/** Each message of the protocol, and what it may hold. */
const kinds: readonly (readonly [name: string, type: MessageType<never>, content: fc.Arbitrary<unknown>])[] = [
  [
    'SnapshotRead',
    SNAPSHOT_READ as MessageType<never>,
    fc.record({ ranges: list(fc.record({ start: bytes, end: bytes, limit: int32, reverse: fc.boolean() })) }),
  ],
  [
    'SnapshotReadOutput',
    SNAPSHOT_READ_OUTPUT as MessageType<never>,
    fc.record({
      ranges: list(fc.record({ values: list(entry) })),
      readIsStronglyConsistent: fc.boolean(),
      status: int32,
    }),
  ],
  [
    'AtomicWrite',
    ATOMIC_WRITE as MessageType<never>,
    fc.record({
      checks: list(fc.record({ key: bytes, versionstamp: bytes })),
      mutations: list(
        fc.record({
          key: bytes,
          value: fc.option(fc.record({ data: bytes, encoding: int32 }), { nil: undefined }),
          mutationType: int32,
          expireAtMs: int64,
          sumMin: bytes,
          sumMax: bytes,
          sumClamp: fc.boolean(),
        }),
      ),
      enqueues: list(
        fc.record({
          payload: bytes,
          deadlineMs: int64,
          keysIfUndelivered: list(bytes),
          backoffSchedule: list(fc.integer({ min: 0, max: 2 ** 32 - 1 })),
        }),
      ),
    }),
  ],
  ['AtomicWriteOutput', ATOMIC_WRITE_OUTPUT as MessageType<never>, fc.record({ status: int32, versionstamp: bytes })],
  ['Watch', WATCH as MessageType<never>, fc.record({ keys: list(fc.record({ key: bytes })) })],
  [
    'WatchOutput',
    WATCH_OUTPUT as MessageType<never>,
    fc.record({
      status: int32,
      keys: list(fc.record({ changed: fc.boolean(), entryIfChanged: fc.option(entry, { nil: undefined }) })),
    }),
  ],
];

describe.each(kinds)('%s', (_name, type, content) => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(content, (message) => {
        expect(type.decode(type.encode(message as never))).toEqual(message);
      }),
    );
  });

  test('is read or refused, whatever bytes come, and never for another reason', () => {
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      // What was written, with something cut off or spoiled.
      fc.tuple(content, fc.nat(), fc.nat(), fc.integer({ min: 0, max: 255 })).map(([message, length, at, byte]) => {
        const written = type.encode(message as never);
        const cut = written.slice(0, written.length === 0 ? 0 : length % (written.length + 1));
        if (cut.length > 0) cut[at % cut.length] = byte;
        return cut;
      }),
    );
    fc.assert(
      fc.property(hostile, (bytesOfIt) => {
        try {
          type.decode(bytesOfIt);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedMessage);
        }
      }),
    );
  });
});

test('what the schema allows is read: fields in any order, unknown ones, lists in either form, messages in parts', () => {
  const read = (hex: string): unknown => ATOMIC_WRITE.decode(bytesOf(hex));
  const enqueue = { payload: new Uint8Array(), deadlineMs: 0, keysIfUndelivered: [] };
  expect(read('')).toEqual({ checks: [], mutations: [], enqueues: [] });
  expect(read('1a 06 22 04 01 02 ac02')).toMatchObject({ enqueues: [{ ...enqueue, backoffSchedule: [1, 2, 300] }] });
  expect(read('1a 07 20 01 22 01 02 20 03')).toMatchObject({
    enqueues: [{ ...enqueue, backoffSchedule: [1, 2, 3] }],
  });
  // Fields 9 of each kind, before and behind.
  expect(read('48 01 49 0102030405060708 4a 01 ff 4d 01020304 0a 03 0a 01 61 48 ffffffffffffffffff01')).toMatchObject({
    checks: [{ key: Uint8Array.of(0x61) }],
  });
  // A mutation whose value comes in two parts, and whose number is the most that there is.
  expect(read('12 13 12 03 0a 01 61 12 02 10 03 20 ffffffffffffffff7f')).toMatchObject({
    mutations: [{ value: { data: Uint8Array.of(0x61), encoding: 3 }, expireAtMs: 2 ** 63 }],
  });
});

test.each([
  ['ends within a number', '0a 80'],
  ['ends within a field', '0a 05 0a 01 61'],
  ['has a length beyond all memory', '0a ffffffffffffffffff01'],
  ['has a length of more than 64 bits', '0a ffffffffffffffffff02'],
  ['has a number that does not end', '08 ffffffffffffffffffff01'],
  ['has field 0', '02 00'],
  ['has a field whose number has more than 29 bits', '82808080f001 00'],
  ['has a group', '4b 4c'],
  ['has a field of a kind that does not exist', '4e'],
  ['has a list of messages written as a number', '08 01'],
  ['has a message within it that ends within a field', '0a 02 0a 05'],
])('a message is refused that %s', (_name, hex) => {
  expect(() => ATOMIC_WRITE.decode(bytesOf(hex))).toThrow(MalformedMessage);
});

test('a list is refused as soon as it has more than it may, and says of what', () => {
  const empty = Buffer.from('0a00', 'hex');
  const many = Buffer.concat(Array.from({ length: 1_000_000 }, () => empty));
  expect(() => SNAPSHOT_READ.decode(many)).toThrow(
    expect.objectContaining({ excess: 'Too many read ranges requested in one read request.' }),
  );
});
