import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { encode } from '#holdfast/codec/bson.js';
import { BlockWriter, idSecond } from '#holdfast/model/block.js';
import { ByteWriter } from '#holdfast/model/bytes.js';
import { systemClock } from '#holdfast/model/clock.js';
import type { Command, Delivery, Notice, Reply, Request } from '#holdfast/model/command.js';
import { MessageIdSource } from '#holdfast/model/message-id.js';
import { DEFAULT_POLICY } from '#holdfast/model/policy.js';
import { systemRandom } from '#holdfast/model/random.js';
import { decodeEvents } from '#holdfast/wire/events.js';
import { decodeGoodbye, decodeWelcome, encodeHello, FRAME, type Goodbye, type Welcome } from '#holdfast/wire/frames.js';
import { encodeRequests } from '#holdfast/wire/requests.js';
import { PREAMBLE, recordOf, StreamReader } from '#holdfast/wire/stream.js';

/** A request over HTTP that makes its connection a WebSocket. */
export const UPGRADE: string = [
  'GET / HTTP/1.1',
  'Host: x',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
  '\r\n',
].join('\r\n');

const LONGEST_FRAME_BYTES = 65 * 1024 * 1024;

/** What is the end of a connection: what the server said before, if it said why. */
export type End = Goodbye | 'closed';

/** A client that speaks the protocol as it likes, or something else. */
export interface RawClient {
  readonly socket: Socket;
  readonly deliveries: readonly Delivery[];
  readonly notices: readonly Notice[];
  /** What the connection ended with. */
  readonly ended: Promise<End>;
  /** Sends bytes as they are. */
  write(bytes: Uint8Array | string): void;
  /** Sends frames as records. */
  send(...frames: Uint8Array[]): void;
  /** Says HELLO and waits for WELCOME. Rejects when the connection ends before. */
  hello(session?: string): Promise<Welcome>;
  /** Sends a frame of requests. */
  ask(...requests: Request[]): void;
  /** Sends a request and waits for its reply. Rejects when the connection ends before. */
  request(request: number, command: Command): Promise<Reply>;
  /** Resolves when so many deliveries have come. */
  delivered(count: number): Promise<void>;
}

/** A session's id that nobody else has. */
export function newSession(): string {
  return Buffer.from(systemRandom.fill(new Uint8Array(16))).toString('hex');
}

/** Connects, and closes behind the test. */
export function connectRaw(to: number | string, { preamble = true } = {}): RawClient {
  const socket = typeof to === 'number' ? connect(to, '127.0.0.1') : connect(to);
  onTestFinished(() => void socket.destroy());
  return rawClient(socket, preamble);
}

function rawClient(socket: Socket, preamble: boolean): RawClient {
  const deliveries: Delivery[] = [];
  const notices: Notice[] = [];
  const replies = new Map<number, Reply>();
  const looks = new Set<() => void>();
  let welcome: Welcome | undefined;
  let goodbye: Goodbye | undefined;
  let end: End | undefined;

  const look = (): void => {
    for (const each of looks) each();
  };
  const receiver = {
    reply: (request: number, reply: Reply): void => void replies.set(request, reply),
    delivery: (delivery: Delivery): void => void deliveries.push(delivery),
    notice: (notice: Notice): void => void notices.push(notice),
  };
  const reader = new StreamReader(LONGEST_FRAME_BYTES, undefined, (frame) => {
    if (frame[0] === FRAME.welcome) welcome = decodeWelcome(frame);
    else if (frame[0] === FRAME.goodbye) goodbye = decodeGoodbye(frame);
    else if (frame[0] === FRAME.events) decodeEvents(frame, receiver);
  });
  socket.on('data', (chunk: Buffer) => {
    reader.push(chunk);
    look();
  });
  socket.on('error', () => {});
  const ended = new Promise<End>((resolve) => {
    socket.on('close', () => {
      end = goodbye ?? 'closed';
      resolve(end);
      look();
    });
  });
  const until = <T>(found: () => T | undefined): Promise<T> =>
    new Promise((resolve, reject) => {
      const each = (): void => {
        const what = found();
        if (what === undefined && end === undefined) return;
        looks.delete(each);
        if (what !== undefined) resolve(what);
        else reject(new Error(`The connection ended before: ${JSON.stringify(end)}`));
      };
      looks.add(each);
      each();
    });
  const send = (...frames: Uint8Array[]): void => {
    for (const frame of frames) for (const part of recordOf(frame)) socket.write(part);
  };
  const ask = (...requests: Request[]): void => send(encodeRequests({ answeredUpTo: 0, requests }));
  if (preamble) socket.write(PREAMBLE);
  return {
    socket,
    deliveries,
    notices,
    ended,
    write: (bytes) => void socket.write(bytes),
    send,
    ask,
    hello(session = newSession()) {
      welcome = undefined;
      send(helloOf(session));
      return until(() => welcome);
    },
    request(request, command) {
      ask({ request, command });
      return until(() => replies.get(request));
    },
    async delivered(count) {
      await until(() => (deliveries.length >= count ? true : undefined));
    },
  };
}

export function helloOf(session: string, token: string = ''): Uint8Array {
  return encodeHello({ session, host: 'f'.repeat(32), token, needsToken: 'never' });
}

const ids = new MessageIdSource(systemClock, systemRandom);

/** A command that names the channel for the session's other commands. */
export function declare(ref: number, channel: string): Command {
  return { kind: 'declare', ref, channel, policy: DEFAULT_POLICY, settings: undefined };
}

/** A command that produces a message. */
export function produce(ref: number, payload: unknown): Command {
  const id = ids.next();
  const block = new BlockWriter(1, idSecond(id));
  block.add(id, encode(payload), {});
  return { kind: 'produce', ref, atomic: false, blocks: [block.finish()] };
}

/** A frame with a command that is this BSON document. */
export function documentFrame(request: number, document: Uint8Array): Uint8Array {
  const frame = new ByteWriter();
  frame.u8(FRAME.requests);
  frame.varint(0);
  frame.u8(5);
  frame.varint(request);
  frame.bytes(document);
  return frame.finish();
}
