/**
 * The frames of a flow with nothing behind it: no queue, no store, no checksum, no session. What is measured with them
 * is what plain Node can carry between two processes, so nothing is done here that can be left out.
 *
 * frame = bytes(u32) kind(u8) number(u32) payload
 */
import type { Socket } from 'node:net';

/**
 * What travels. The client's `consume` has the number of messages that are to be invented and delivered, and its
 * window as the payload; its `end` asks to hear when so many are settled.
 */
export const KIND = { produce: 1, settle: 2, consume: 3, end: 4, reply: 5, delivery: 6 } as const;

const HEADER_BYTES = 9;

/** Gathers the frames of one tick into one write. */
export class FrameWriter {
  readonly #socket: Socket;
  #bytes: Buffer;
  #length = 0;
  #isDue = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#bytes = Buffer.allocUnsafe(FIRST_BYTES);
  }

  write(kind: number, number: number, payload: Uint8Array): void {
    const bytes = HEADER_BYTES + payload.length;
    if (this.#length + bytes > this.#bytes.length) this.#grow(bytes);
    this.#bytes.writeUInt32LE(bytes, this.#length);
    this.#bytes[this.#length + 4] = kind;
    this.#bytes.writeUInt32LE(number, this.#length + 5);
    if (payload.length > 0) this.#bytes.set(payload, this.#length + HEADER_BYTES);
    this.#length += bytes;
    if (this.#isDue) return;
    this.#isDue = true;
    process.nextTick(() => this.#flush());
  }

  #flush(): void {
    this.#isDue = false;
    this.#socket.write(this.#bytes.subarray(0, this.#length));
    // The socket may keep the bytes for later; the next frames are likely about as many.
    this.#bytes = Buffer.allocUnsafe(Math.max(FIRST_BYTES, this.#length * 2));
    this.#length = 0;
  }

  #grow(bytes: number): void {
    const larger = Buffer.allocUnsafe((this.#bytes.length + bytes) * 2);
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}

const FIRST_BYTES: number = 4 * 1024;

/** Hands out the frames of a socket in their order. The payload is a view that is good until the next chunk. */
export function readFrames(socket: Socket, take: (kind: number, number: number, payload: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (bytes.length - at >= HEADER_BYTES) {
      const length = bytes.readUInt32LE(at);
      if (bytes.length - at < length) break;
      take(bytes[at + 4] as number, bytes.readUInt32LE(at + 5), bytes.subarray(at + HEADER_BYTES, at + length));
      at += length;
    }
    rest = bytes.subarray(at);
  });
}
