import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decode, encode } from '#holdfast/codec/bson.js';
import { ByteReader, ByteWriter } from '#holdfast/model/bytes.js';
import type { Reply } from '#holdfast/model/command.js';
import { readList, readReply, type ValueCodec, writeReply } from '#holdfast/model/reply.js';
import { replies } from '../helpers/commands.ts';

const VALUES: ValueCodec = {
  write: (writer, value) => writer.bytes(encode(value)),
  read: (reader) => decode(reader.bytes()),
};

describe('writeReply() and readReply()', () => {
  test('give back every reply', () => {
    fc.assert(
      fc.property(replies, (reply: Reply) => {
        const writer = new ByteWriter();
        writeReply(writer, reply, VALUES);
        expect(readReply(new ByteReader(writer.finish()), VALUES)).toEqual(reply);
      }),
    );
  });

  test('a reply of an unknown kind is refused with PROTOCOL', () => {
    expect(() => readReply(new ByteReader(Uint8Array.of(77)), VALUES)).toThrow('Cannot read a reply of kind 77');
  });
});

describe('readList()', () => {
  test('refuses a count that the bytes cannot hold before it allocates anything for it', () => {
    const writer = new ByteWriter();
    writer.varint(2 ** 50);
    expect(() => readList(new ByteReader(writer.finish()), (reader) => reader.u8())).toThrow(
      expect.objectContaining({ code: 'PROTOCOL' }),
    );
  });
});
