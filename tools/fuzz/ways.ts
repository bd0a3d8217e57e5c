/** The ways into a server, down to the bytes: records on a stream, and messages of a WebSocket (RFC 6455). */
import { connect, type Socket } from 'node:net';
import { crc32 } from 'node:zlib';
import { PREAMBLE, recordOf, StreamReader } from '#holdfast/wire/stream.js';
import type { Address } from '#holdfast/wire/address.js';

export const WAYS = ['unix', 'tcp', 'websocket'] as const;

export type WayName = (typeof WAYS)[number];

export interface Way {
  readonly name: WayName;
  readonly address: Address;
}

/** What turns frames into the bytes of a way, and back. */
export interface Form {
  /** What a connection begins with. */
  readonly opening: Uint8Array;
  /** Whether the server has answered what it must answer before the first frame. */
  readonly isReady: boolean;
  /** The frame as the way carries it, with all lengths and checksums right. */
  seal(frame: Uint8Array): Uint8Array;
  /** Takes what the server has said; its frames go to `receive`. @returns whether the server closes and awaits the same */
  push(chunk: Uint8Array): boolean;
}

const LONGEST_FRAME_BYTES: number = 65 * 1024 * 1024;

export function dial({ address }: Way): Socket {
  return address.kind === 'unix' ? connect(address.path) : connect(address.port, address.host);
}

export function formOf({ name }: Way, receive: (frame: Uint8Array) => void): Form {
  return name === 'websocket' ? webSocketForm(receive) : streamForm(receive);
}

function streamForm(receive: (frame: Uint8Array) => void): Form {
  const reader = new StreamReader(LONGEST_FRAME_BYTES, undefined, receive);
  return {
    opening: PREAMBLE,
    isReady: true,
    seal: (frame) => Buffer.concat(recordOf(frame)),
    push(chunk) {
      const reason = reader.push(chunk);
      if (reason !== undefined) throw new Error(`The server broke the protocol: ${reason}`);
      return false;
    },
  };
}

const UPGRADE: Uint8Array = Buffer.from(
  'GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n' +
    'sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
);
const END_OF_HEAD = '\r\n\r\n';

const BINARY_MESSAGE = 0x82;
const CLOSE = 0x88;
const MASKED = 0x80;
const MASK: Uint8Array = Uint8Array.of(0x5a, 0x17, 0xc3, 0x88);
const SUM_BYTES = 4;

function webSocketForm(receive: (frame: Uint8Array) => void): Form {
  let isUpgraded = false;
  let pending: Buffer = Buffer.alloc(0);
  return {
    opening: UPGRADE,
    get isReady() {
      return isUpgraded;
    },
    seal(frame) {
      const content = Buffer.allocUnsafe(SUM_BYTES + frame.length);
      content.writeUInt32LE(crc32(frame, frame.length), 0);
      content.set(frame, SUM_BYTES);
      for (let i = 0; i < content.length; i++) content[i] = (content[i] as number) ^ (MASK[i % 4] as number);
      return Buffer.concat([Uint8Array.of(BINARY_MESSAGE), maskedLength(content.length), MASK, content]);
    },
    push(chunk) {
      pending = pending.length === 0 ? Buffer.from(chunk) : Buffer.concat([pending, chunk]);
      if (!isUpgraded) {
        const end = pending.indexOf(END_OF_HEAD);
        if (end < 0) return false;
        isUpgraded = true;
        pending = pending.subarray(end + END_OF_HEAD.length);
      }
      for (let whole = readMessage(pending); whole !== undefined; whole = readMessage(pending)) {
        pending = whole.rest;
        if (whole.opcode === CLOSE) return true;
        if (whole.opcode === BINARY_MESSAGE) receive(Uint8Array.from(whole.content.subarray(SUM_BYTES)));
      }
      return false;
    },
  };
}

function maskedLength(length: number): Uint8Array {
  if (length < 126) return Uint8Array.of(MASKED | length);
  const long = Buffer.alloc(length < 65_536 ? 3 : 9);
  if (long.length === 3) long.writeUInt16BE(length, 1);
  else long.writeBigUInt64BE(BigInt(length), 1);
  long[0] = MASKED | (long.length === 3 ? 126 : 127);
  return long;
}

/** The first message of a server, which masks nothing. */
function readMessage(
  bytes: Buffer,
): { readonly opcode: number; readonly content: Buffer; readonly rest: Buffer } | undefined {
  const [opcode, short] = bytes;
  if (opcode === undefined || short === undefined) return undefined;
  const headBytes = short === 126 ? 4 : short === 127 ? 10 : 2;
  if (bytes.length < headBytes) return undefined;
  const length = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
  const end = headBytes + length;
  if (bytes.length < end) return undefined;
  return { opcode, content: bytes.subarray(headBytes, end), rest: bytes.subarray(end) };
}
