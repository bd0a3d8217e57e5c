/** An exchange: one request over HTTP of either version and its answer, and how long either may take. */
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { Clock } from '../../model/clock.ts';
import { Refusal } from './refusal.ts';

export type Request = IncomingMessage | Http2ServerRequest;
export type Response = ServerResponse | Http2ServerResponse;

/** A body has to be there within this time. */
const BODY_MS = 30_000;

/** An answer goes out in pieces of this size, and each has to be taken within this time. */
const PIECE_BYTES: number = 64 * 1024;
const PIECE_MS = 30_000;

/** The bytes of a body when its length is known, else as many as it may have. @throws Refusal */
export function announcedBytes({ headers }: Request, mostBytes: number): number {
  const announced = Number(headers['content-length']);
  if (!Number.isSafeInteger(announced)) return mostBytes;
  if (announced > mostBytes) throw tooLarge();
  return announced;
}

/** @throws Refusal for what is too much, or too late, or does not come to its end */
export function readBody(request: Request, mostBytes: number, clock: Clock): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    const finish = (refusal?: Refusal): void => {
      cancel();
      request.off('data', take);
      // Nothing more is taken, and nobody need hear of an end that comes without the rest.
      request.pause();
      if (refusal === undefined) resolve(Buffer.concat(pieces));
      else reject(refusal);
    };
    const take = (piece: Buffer): void => {
      bytes += piece.length;
      if (bytes > mostBytes) return finish(tooLarge());
      pieces.push(piece);
    };
    const broken = (): void => finish(new Refusal(400, 'The request has not come to its end.'));
    const cancel = clock.timer(BODY_MS, () => finish(new Refusal(408, 'The request took too long.')));
    request.on('data', take);
    request.once('error', broken);
    // Over HTTP/2 what is broken off may end like everything else. As long as it is not answered, nothing else closes it.
    request.once('end', () => (isBrokenOff(request) ? broken() : finish()));
    request.once('close', broken);
    // It was broken off while it waited for its turn, and says no more.
    if (isBrokenOff(request)) broken();
  });
}

function isBrokenOff(request: Request): boolean {
  return request.destroyed || request.aborted || ('stream' in request && request.stream.closed);
}

export class Answer {
  readonly #response: Response;
  readonly #clock: Clock;
  #isClosed = false;
  #isWriting = false;

  constructor(response: Response, clock: Clock) {
    this.#response = response;
    this.#clock = clock;
    response.once('close', () => {
      this.#isClosed = true;
    });
    response.on('error', () => {});
  }

  /** The other side hears nothing any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** The status has been said. */
  get hasBegun(): boolean {
    return this.#response.headersSent;
  }

  /** A write waits for the other side. */
  get isWriting(): boolean {
    return this.#isWriting;
  }

  /** Calls back when the other side is gone, or has got all of it. */
  onClose(listener: () => void): void {
    this.#response.once('close', listener);
  }

  /** Gives a whole answer, and resolves when it has been taken or cannot be any more. */
  async send(status: number, headers: OutgoingHttpHeaders, body: Uint8Array): Promise<void> {
    if (this.#isClosed) return;
    this.begin(status, { ...headers, 'content-length': body.length });
    if (await this.write(body)) await this.#end();
  }

  /** A text for people; behind it nothing more is taken over a connection of HTTP/1.1 whose request was not read. */
  refuse({ status, message }: Refusal, request: Request): Promise<void> {
    const isUnread = request.httpVersionMajor < 2 && !request.complete;
    const headers = {
      'content-type': 'text/plain; charset=utf-8',
      'x-content-type-options': 'nosniff',
      ...(isUnread && { connection: 'close' }),
    };
    return this.send(status, headers, Buffer.from(message));
  }

  begin(status: number, headers: OutgoingHttpHeaders): void {
    const all = { 'cache-control': 'no-store', ...headers };
    if ('stream' in this.#response) this.#response.writeHead(status, all);
    else this.#response.writeHead(status, all);
  }

  /** Resolves when the other side has taken enough to go on; false when it does not any more. One at a time. */
  async write(bytes: Uint8Array): Promise<boolean> {
    this.#isWriting = true;
    const isTaken = await this.#writeAll(bytes);
    this.#isWriting = false;
    return isTaken;
  }

  async #writeAll(bytes: Uint8Array): Promise<boolean> {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      if (this.#isClosed) return false;
      if (this.#writePiece(bytes.subarray(at, at + PIECE_BYTES))) continue;
      if (!(await this.#hears('drain'))) return false;
    }
    return !this.#isClosed;
  }

  /** Ends what was begun without a word. */
  cut(): void {
    if ('stream' in this.#response) this.#response.stream.close(CANCEL);
    else this.#response.destroy();
  }

  #writePiece(piece: Uint8Array): boolean {
    return 'stream' in this.#response ? this.#response.write(piece) : this.#response.write(piece);
  }

  async #end(): Promise<void> {
    const finished = this.#hears('finish');
    this.#response.end();
    await finished;
  }

  /** Waits for a sign that the other side takes what it is sent; without one it is cut off. */
  #hears(sign: 'drain' | 'finish'): Promise<boolean> {
    return new Promise((resolve) => {
      const finish = (isHeard: boolean): void => {
        cancel();
        this.#response.off(sign, heard);
        this.#response.off('close', gone);
        resolve(isHeard);
      };
      const heard = (): void => finish(true);
      const gone = (): void => finish(false);
      const cancel = this.#clock.timer(PIECE_MS, () => {
        this.cut();
        finish(false);
      });
      this.#response.once(sign, heard);
      this.#response.once('close', gone);
    });
  }
}

/** The code of HTTP/2 for a stream that is not wanted any more. */
const CANCEL = 8;

function tooLarge(): Refusal {
  return new Refusal(413, 'The request is too large.');
}
