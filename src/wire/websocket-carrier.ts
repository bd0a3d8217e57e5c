/**
 * Frames over a WebSocket, each a binary message of its own. A long one goes in fragments (RFC 6455, section 5.4).
 *
 * ```
 * message = crc32(u32) frame
 * ```
 */
import type { Socket } from 'node:net';
import { crc32 } from 'node:zlib';
import type { WebSocket } from 'ws';
import type { Clock } from '../model/clock.ts';
import type { Carrier } from './carrier.ts';
import { Outflow } from './outflow.ts';

const SUM_BYTES = 4;

/** How long the other side has for the closing handshake, in milliseconds. */
const END_MS = 1_000;

/** What the frames of a WebSocket take beside their content: something, and a share of it where a message has many. */
const SURROUNDING_BYTES = 64;
const SURROUNDING_SHARE: number = 1 / 16;

/** A normal closure, RFC 6455 section 7.4.1. */
const NORMAL_CLOSURE = 1_000;

/** @param socket what the WebSocket runs on */
export function webSocketCarrier(webSocket: WebSocket, socket: Socket, clock: Clock, maxFrameBytes: number): Carrier {
  let isOpen = true;
  let longest = maxFrameBytes;
  /** Bytes since the last whole message: the WebSocket itself only knows the limit for welcomed clients. */
  let partialBytes = 0;
  socket.setNoDelay(true);
  let cause: Error | undefined;
  webSocket.on('error', (error) => (cause ??= error));
  socket.on('error', (error) => (cause ??= error));
  const outflow = new Outflow(socket, (piece, isLast) => webSocket.send(piece, { fin: isLast }, ignoreError));
  // As with PING: what is on its way says as much, and answers that are not read must not fill the memory.
  webSocket.on('ping', (data: Buffer) => {
    if (webSocket.bufferedAmount === 0) webSocket.pong(data, undefined, ignoreError);
  });
  return {
    get bufferedBytes() {
      return outflow.waitingBytes + webSocket.bufferedAmount;
    },
    get takenBytes() {
      return outflow.takenBytes;
    },
    get maxFrameBytes() {
      return longest;
    },
    set maxFrameBytes(bytes) {
      longest = bytes;
    },
    send(frame) {
      if (!isOpen) return;
      const message = Buffer.allocUnsafe(SUM_BYTES + frame.length);
      message.writeUInt32LE(crc32(frame, frame.length), 0);
      message.set(frame, SUM_BYTES);
      outflow.send(message);
    },
    start({ frame, heard, broken, drained, closed }) {
      socket.on('drain', () => {
        if (outflow.isDrained) drained();
      });
      socket.on('data', (chunk: Buffer) => {
        if (!isOpen) return;
        heard();
        partialBytes += chunk.length;
        if (partialBytes > longest * (1 + SURROUNDING_SHARE) + SURROUNDING_BYTES) {
          broken(`A frame is above the limit of ${longest} bytes`);
        }
      });
      webSocket.on('message', (data: Buffer, isBinary: boolean) => {
        partialBytes = 0;
        if (!isOpen) return;
        if (!isBinary || data.length <= SUM_BYTES) return broken('A message is not a frame');
        const bytes = new Uint8Array(data.length - SUM_BYTES);
        bytes.set(data.subarray(SUM_BYTES));
        if (bytes.length > longest) return broken(`A frame is above the limit of ${longest} bytes`);
        if (crc32(bytes, bytes.length) !== data.readUInt32LE(0)) return broken('A frame does not match its checksum');
        frame(bytes);
      });
      if (webSocket.readyState === webSocket.CLOSED) clock.defer(() => closed(cause));
      else webSocket.once('close', () => closed(cause));
    },
    flow(open) {
      if (open) webSocket.resume();
      else webSocket.pause();
    },
    end() {
      if (!isOpen) return;
      isOpen = false;
      webSocket.resume();
      outflow.flush();
      webSocket.close(NORMAL_CLOSURE);
      const cancel = clock.timer(END_MS, () => webSocket.terminate());
      webSocket.once('close', cancel);
    },
    destroy() {
      isOpen = false;
      webSocket.terminate();
    },
  };
}

/** Whatever the error, the WebSocket closes next, and that is what counts. */
function ignoreError(): void {}
