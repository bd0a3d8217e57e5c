import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter } from '#holdfast/model/bytes.js';
import { HoldfastError } from '#holdfast/model/errors.js';

type Piece =
  | { readonly kind: 'u8' | 'u32' | 'varint' | 'signed' | 'f64'; readonly value: number }
  | { readonly kind: 'bytes'; readonly value: Uint8Array }
  | { readonly kind: 'text'; readonly value: string };

const piece: fc.Arbitrary<Piece> = fc.oneof(
  fc.record({ kind: fc.constant('u8' as const), value: fc.integer({ min: 0, max: 255 }) }),
  fc.record({ kind: fc.constant('u32' as const), value: fc.integer({ min: 0, max: 2 ** 32 - 1 }) }),
  fc.record({ kind: fc.constant('varint' as const), value: fc.maxSafeNat() }),
  fc.record({ kind: fc.constant('signed' as const), value: fc.integer({ min: -(2 ** 52), max: 2 ** 52 - 1 }) }),
  fc.record({ kind: fc.constant('f64' as const), value: fc.double() }),
  fc.record({ kind: fc.constant('bytes' as const), value: fc.uint8Array({ maxLength: 600 }) }),
  fc.record({ kind: fc.constant('text' as const), value: fc.string({ unit: 'binary', maxLength: 200 }) }),
);

function write(writer: ByteWriter, { kind, value }: Piece): void {
  if (kind === 'bytes') writer.bytes(value);
  else if (kind === 'text') writer.text(value);
  else writer[kind](value);
}

describe('ByteWriter and ByteReader', () => {
  test('give back everything that was written, in order', () => {
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        const writer = new ByteWriter(1);
        for (const each of pieces) write(writer, each);
        const reader = new ByteReader(writer.finish());
        for (const { kind, value } of pieces) {
          const read = reader[kind]();
          if (kind === 'bytes') expect([...(read as Uint8Array)]).toEqual([...value]);
          else expect(read).toBe(value);
        }
        expect(reader.left).toBe(0);
      }),
    );
  });

  test.each([0, 1, 127, 128, 16_383, 16_384, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 35 + 1, 2 ** 52])(
    'hold the integer %d',
    (value) => {
      const writer = new ByteWriter();
      writer.varint(value);
      writer.signed(Math.floor(value / 2));
      writer.signed(-1 - Math.floor(value / 2));
      const reader = new ByteReader(writer.finish());
      expect([reader.varint(), reader.signed(), reader.signed()]).toEqual([
        value,
        Math.floor(value / 2),
        -1 - Math.floor(value / 2),
      ]);
    },
  );

  test('read from the middle of a larger buffer', () => {
    const writer = new ByteWriter();
    for (const value of [1, 2, 3]) writer.f64(value);
    expect(new ByteReader(writer.finish().subarray(8), 8).f64()).toBe(3);
  });

  test.each([-1, 0.5, Number.NaN, Infinity, 2 ** 53])('refuse to write %d as an unsigned integer', (value) => {
    expect(() => new ByteWriter().varint(value)).toThrow(RangeError);
  });

  test('a copy by finish() is not changed by what is written later', () => {
    const writer = new ByteWriter();
    writer.text('before');
    const copy = writer.finish();
    writer.clear();
    writer.text('behind');
    expect(new ByteReader(copy).text()).toBe('before');
  });

  test('every truncation of a record is refused with PROTOCOL', () => {
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1 }), fc.nat(), (pieces, cut) => {
        const writer = new ByteWriter();
        for (const each of pieces) write(writer, each);
        const bytes = writer.finish();
        const reader = new ByteReader(bytes.slice(0, cut % bytes.length));
        expect(() => pieces.forEach(({ kind }) => reader[kind]())).toThrow(HoldfastError);
      }),
    );
  });

  test('a byte order mark is a part of a text', () => {
    const writer = new ByteWriter();
    writer.text('\ufeffmail');
    expect(new ByteReader(writer.finish()).text()).toBe('\ufeffmail');
  });

  test('an integer of more than 53 bits and a text that is not UTF-8 are refused with PROTOCOL', () => {
    for (const bytes of [new Uint8Array(9).fill(0xff), Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 127)]) {
      expect(() => new ByteReader(bytes).varint()).toThrow(expect.objectContaining({ code: 'PROTOCOL' }));
    }
    expect(() => new ByteReader(Uint8Array.of(2, 0xc3, 0x28)).text()).toThrow(
      expect.objectContaining({ code: 'PROTOCOL' }),
    );
  });
});
