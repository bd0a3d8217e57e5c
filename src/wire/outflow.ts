/**
 * An outflow: hands bytes to a socket a portion at a time, and keeps the rest.
 *
 * What a socket has been handed at once it reports as taken at once, at the end, and under TLS it encrypts all of it before
 * the first byte leaves. In portions it can be seen whether the other side takes anything, however slowly it reads.
 */
import type { Socket } from 'node:net';

/** A socket that holds this much is handed no more. It is above the mark from which a socket says when it is empty again. */
const PORTION_BYTES: number = 256 * 1024;

/** Longer ones are cut. */
const PIECE_BYTES: number = 64 * 1024;

/** As many empty places at the front of the queue are given up, where they are the greater part of it. */
const EMPTY_PLACES = 1_024;

export class Outflow {
  readonly #socket: Socket;
  readonly #write: (piece: Uint8Array, isLast: boolean) => void;
  #waiting: Uint8Array[] = [];
  /** Where the first one that waits stands, and how much of it has gone. */
  #first = 0;
  #firstAt = 0;
  #waitingBytes = 0;

  /** @param write gives a piece to the socket; `isLast` says that it ends what was sent together */
  constructor(socket: Socket, write: (piece: Uint8Array, isLast: boolean) => void) {
    this.#socket = socket;
    this.#write = write;
    socket.on('drain', () => this.#pump(PORTION_BYTES));
  }

  send(bytes: Uint8Array): void {
    if (this.#waitingBytes === 0 && bytes.length <= PIECE_BYTES && this.#socket.writableLength < PORTION_BYTES) {
      return this.#write(bytes, true);
    }
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.#pump(PORTION_BYTES);
  }

  /** Hands over all that waits. */
  flush(): void {
    this.#pump(Infinity);
  }

  /** What the socket has not been handed yet, in bytes. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** What the network has taken so far, in bytes; a portion that it has in part may not count yet. */
  get takenBytes(): number {
    return this.#socket.bytesWritten - this.#socket.writableLength;
  }

  /** Whether the socket will not say `drain` for what was sent so far, because it has said so, or need not. */
  get isDrained(): boolean {
    return this.#waitingBytes === 0 && !this.#socket.writableNeedDrain;
  }

  #pump(portionBytes: number): void {
    while (this.#waitingBytes > 0 && this.#socket.writableLength < portionBytes) {
      const bytes = this.#waiting[this.#first] as Uint8Array;
      const piece = bytes.subarray(this.#firstAt, this.#firstAt + PIECE_BYTES);
      this.#firstAt += piece.length;
      this.#waitingBytes -= piece.length;
      const isLast = this.#firstAt === bytes.length;
      if (isLast) this.#next();
      this.#write(piece, isLast);
    }
  }

  #next(): void {
    this.#firstAt = 0;
    this.#first += 1;
    if (this.#waitingBytes > 0 && (this.#first < EMPTY_PLACES || this.#first * 2 < this.#waiting.length)) return;
    this.#waiting.splice(0, this.#first);
    this.#first = 0;
  }
}
