/**
 * Frames on a stream of bytes, such as a socket.
 *
 * ```
 * stream = preamble record*            the client's side; the broker's has no preamble
 * preamble = FB 48 46 version(u8)      no text protocol and no TLS begins with its first byte
 * record = length(u32) crc32(u32) frame
 * ```
 *
 * Numbers are little endian. The checksum covers the frame and starts from its length, so that neither can change
 * unnoticed. To change the form of a record, raise the version in the preamble and serve both for a major version.
 */
import { crc32 } from 'node:zlib';

export const PREAMBLE: Uint8Array = Uint8Array.of(0xfb, 0x48, 0x46, 1);

const HEADER_BYTES = 8;

/** Behind the beginning of a record, shorter pieces than this are gathered: each piece costs memory beside its bytes. */
const PIECE_BYTES: number = 16 * 1024;

/** Frames up to this length are copied behind their header: two buffers cost more than the copy. */
const COPIED_BYTES: number = 16 * 1024;

/** A frame as a record: one buffer, or two for a long one. */
export function recordOf(frame: Uint8Array): readonly Buffer[] {
  const copied = frame.length <= COPIED_BYTES;
  const record = Buffer.allocUnsafe(HEADER_BYTES + (copied ? frame.length : 0));
  record.writeUInt32LE(frame.length, 0);
  record.writeUInt32LE(crc32(frame, frame.length), 4);
  if (!copied) return [record, Buffer.from(frame.buffer, frame.byteOffset, frame.length)];
  record.set(frame, HEADER_BYTES);
  return [record];
}

/** Cuts a stream into frames. */
export class StreamReader {
  /** The length that a frame may announce. */
  maxFrameBytes: number;
  readonly #receive: (frame: Uint8Array<ArrayBuffer>) => void;
  /** Chunks that hold the beginning of a record; nothing is allocated for what has not arrived. */
  #chunks: Uint8Array[] = [];
  /** The memory of the last chunk, where that has gathered pieces. */
  #gathering: Uint8Array | undefined;
  #bytes = 0;
  #skip: number;

  /** @param preamble what the stream begins with */
  constructor(
    maxFrameBytes: number,
    preamble: Uint8Array | undefined,
    receive: (frame: Uint8Array<ArrayBuffer>) => void,
  ) {
    this.maxFrameBytes = maxFrameBytes;
    this.#receive = receive;
    this.#skip = preamble?.length ?? 0;
  }

  /** @returns why the stream makes no sense, if it does not; it must not be fed any more then */
  push(chunk: Uint8Array): string | undefined {
    this.#add(chunk);
    if (this.#skip > 0) {
      if (this.#bytes < this.#skip) return undefined;
      if (!equals(this.#take(this.#skip), PREAMBLE)) return 'The stream does not begin as one of this protocol';
      this.#skip = 0;
    }
    while (this.#bytes >= HEADER_BYTES) {
      const header = this.#head();
      const length = header.readUInt32LE(0);
      if (length > this.maxFrameBytes) {
        return `A frame of ${length} bytes is above the limit of ${this.maxFrameBytes}`;
      }
      if (length === 0) return 'A frame is empty';
      if (this.#bytes < HEADER_BYTES + length) return undefined;
      const sum = header.readUInt32LE(4);
      this.#take(HEADER_BYTES);
      const frame = this.#take(length);
      if (crc32(frame, length) !== sum) return 'A frame does not match its checksum';
      this.#receive(frame);
    }
    return undefined;
  }

  #add(chunk: Uint8Array): void {
    this.#bytes += chunk.length;
    const last = this.#chunks[this.#chunks.length - 1];
    if (last === undefined || chunk.length >= PIECE_BYTES) {
      this.#gathering = undefined;
      this.#chunks.push(chunk);
      return;
    }
    const gathering = this.#gathering;
    const filled = gathering === undefined ? 0 : last.byteOffset + last.length;
    if (gathering !== undefined && filled + chunk.length <= gathering.length) {
      gathering.set(chunk, filled);
      this.#chunks[this.#chunks.length - 1] = gathering.subarray(last.byteOffset, filled + chunk.length);
      return;
    }
    this.#gathering = new Uint8Array(PIECE_BYTES);
    this.#gathering.set(chunk);
    this.#chunks.push(this.#gathering.subarray(0, chunk.length));
  }

  /** The next header, still in its place. */
  #head(): Buffer {
    const first = this.#chunks[0] as Uint8Array;
    if (first.length >= HEADER_BYTES) return Buffer.from(first.buffer, first.byteOffset, HEADER_BYTES);
    const header = Buffer.alloc(HEADER_BYTES);
    let filled = 0;
    for (const chunk of this.#chunks) {
      header.set(chunk.subarray(0, HEADER_BYTES - filled), filled);
      filled += chunk.length;
      if (filled >= HEADER_BYTES) break;
    }
    return header;
  }

  /** The next bytes, in memory of their own. */
  #take(count: number): Uint8Array<ArrayBuffer> {
    const taken = new Uint8Array(count);
    let filled = 0;
    let used = 0;
    for (const chunk of this.#chunks) {
      const wanted = count - filled;
      if (chunk.length > wanted) {
        taken.set(chunk.subarray(0, wanted), filled);
        this.#chunks[used] = chunk.subarray(wanted);
        break;
      }
      taken.set(chunk, filled);
      filled += chunk.length;
      used += 1;
      if (filled === count) break;
    }
    if (used > 0) this.#chunks.splice(0, used);
    this.#bytes -= count;
    return taken;
  }
}

function equals(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
