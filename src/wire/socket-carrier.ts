/** Frames over a socket: Unix, TCP or TLS. */
import type { Socket } from 'node:net';
import type { Clock } from '../model/clock.ts';
import type { Carrier } from './carrier.ts';
import { Outflow } from './outflow.ts';
import { PREAMBLE, recordOf, StreamReader } from './stream.ts';

/** How long the other side has to take what was sent before the end, in milliseconds. */
const END_MS = 1_000;

/** @param side whose end of the connection this is: the client begins with the preamble */
export function socketCarrier(socket: Socket, side: 'client' | 'broker', clock: Clock, maxFrameBytes: number): Carrier {
  let isOpen = true;
  let isCorked = false;
  let receive: (frame: Uint8Array<ArrayBuffer>) => void = () => {};
  const reader = new StreamReader(maxFrameBytes, side === 'broker' ? PREAMBLE : undefined, (frame) => {
    if (isOpen) receive(frame);
  });
  socket.setNoDelay(true);
  // Whatever the error, the socket closes next.
  let cause: Error | undefined;
  socket.on('error', (error) => (cause ??= error));
  const outflow = new Outflow(socket, (piece) => void socket.write(piece));
  if (side === 'client') socket.write(PREAMBLE);
  const uncork = (): void => {
    isCorked = false;
    socket.uncork();
  };
  return {
    get bufferedBytes() {
      return outflow.waitingBytes + socket.writableLength;
    },
    get takenBytes() {
      return outflow.takenBytes;
    },
    get maxFrameBytes() {
      return reader.maxFrameBytes;
    },
    set maxFrameBytes(bytes) {
      reader.maxFrameBytes = bytes;
    },
    send(frame) {
      if (!isOpen) return;
      // Frames of one tick go out with one call.
      if (!isCorked) {
        isCorked = true;
        socket.cork();
        clock.defer(uncork);
      }
      for (const part of recordOf(frame)) outflow.send(part);
    },
    start({ frame, heard, broken, drained, closed }) {
      receive = frame;
      socket.on('drain', () => {
        if (outflow.isDrained) drained();
      });
      socket.on('data', (chunk: Buffer) => {
        if (!isOpen) return;
        heard();
        const reason = reader.push(chunk);
        if (reason !== undefined && isOpen) broken(reason);
      });
      socket.on('end', () => socket.end());
      if (socket.destroyed) clock.defer(() => closed(cause));
      else socket.once('close', () => closed(cause));
      socket.resume();
    },
    flow(open) {
      if (open) socket.resume();
      else socket.pause();
    },
    end() {
      if (!isOpen) return;
      isOpen = false;
      outflow.flush();
      socket.end();
      // What still comes is read and dropped, so that a full pipe does not hold up the end.
      socket.resume();
      const cancel = clock.timer(END_MS, () => socket.destroy());
      socket.once('close', cancel);
    },
    destroy() {
      isOpen = false;
      socket.destroy();
    },
  };
}
