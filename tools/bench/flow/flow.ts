/** What two processes of plain Node can say to each other: the flow of a case with nothing behind it. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decode, encode } from '#holdfast/codec/bson.js';
import type { Limit } from '../case.ts';
import { payload } from '../workloads.ts';
import { FrameWriter, KIND, readFrames } from './frames.ts';

export type Transport = 'socket' | 'tcp';

/** A flow that was built up; each function gives messages a second. */
export interface Flow {
  /** Keeps `inFlight` produces under way; with `consumes` each is delivered and settled too. */
  produce(inFlight: number, consumes: boolean): Promise<number>;
  /** So many produces at once, then the next as many. */
  produceTogether(count: number): Promise<number>;
  /** Gets and settles `count` messages, `window` of them at a time. */
  drain(count: number, window: number): Promise<number>;
}

const MEASURE_MS = 1_000;
/** The code is compiled by then. */
const WARM_UP_MS = 1_000;

/** What travels as a message: the same bytes again and again, or each one encoded by its sender and decoded by its handler. */
export type Content = 'bytes' | 'objects';

/** The limit of a case, measured by `work` twice: what counts is the second time. */
export function flowLimit(
  transport: Transport,
  content: Content,
  work: (flow: Flow) => Promise<number>,
): (folder: string) => Promise<Limit> {
  return async (folder) => {
    const peer = fork(
      fileURLToPath(new URL('./peer.js', import.meta.url)),
      [transport === 'tcp' ? transport : join(folder, `${content}.sock`)],
      { stdio: ['ignore', 2, 2, 'ipc'] },
    );
    const ended = once(peer, 'exit');
    try {
      const [address] = (await Promise.race([
        once(peer, 'message'),
        ended.then(([code]) => Promise.reject(new Error(`Cannot measure: the other process ended with ${code}`))),
      ])) as [NetConnectOpts];
      const run = async (ms: number): Promise<number> => {
        const socket = connect(address);
        socket.setNoDelay(true);
        await once(socket, 'connect');
        const perSecond = await work(new SocketFlow(socket, content, ms));
        socket.destroy();
        return perSecond;
      };
      await run(WARM_UP_MS);
      return { name: `a frame and a promise each, ${content}, nothing behind`, perSecond: await run(MEASURE_MS) };
    } finally {
      if (peer.connected) peer.disconnect();
      await ended;
    }
  };
}

class SocketFlow implements Flow {
  readonly #writer: FrameWriter;
  readonly #content: Content;
  readonly #measureMs: number;
  readonly #message: Uint8Array = encode(payload(0));
  /** Who waits for a reply, by the number of the produce. */
  readonly #waiting: (() => void)[] = [];
  #deliveries = 0;
  #onEnd: () => void = () => {};

  constructor(socket: Socket, content: Content, measureMs: number) {
    this.#writer = new FrameWriter(socket);
    this.#content = content;
    this.#measureMs = measureMs;
    readFrames(socket, (kind, number, bytes) => {
      if (kind === KIND.reply) this.#waiting[number]?.();
      else if (kind === KIND.delivery) this.#deliver(number, bytes);
      else this.#onEnd();
    });
  }

  async produce(inFlight: number, consumes: boolean): Promise<number> {
    if (consumes) this.#consume(0, 0);
    const startedAt = performance.now();
    let produced = 0;
    // A lane's number is free again when it goes on, so the numbers stay few.
    const lane = async (number: number): Promise<void> => {
      for (; performance.now() - startedAt < this.#measureMs; produced += 1) await this.#produceOne(number);
    };
    await Promise.all(Array.from({ length: inFlight }, (_, number) => lane(number)));
    if (consumes) await this.#settled(produced);
    return rate(produced, startedAt);
  }

  async produceTogether(count: number): Promise<number> {
    const startedAt = performance.now();
    let produced = 0;
    for (; performance.now() - startedAt < this.#measureMs; produced += count) {
      await Promise.all(Array.from({ length: count }, (_, number) => this.#produceOne(number)));
    }
    return rate(produced, startedAt);
  }

  async drain(count: number, window: number): Promise<number> {
    const startedAt = performance.now();
    this.#consume(count, window);
    await this.#settled(count);
    return rate(this.#deliveries, startedAt);
  }

  #produceOne(number: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting[number] = resolve;
      const message = this.#content === 'bytes' ? this.#message : encode(payload(number));
      this.#writer.write(KIND.produce, number, message);
    });
  }

  #consume(count: number, window: number): void {
    const room = new Uint8Array(4);
    new DataView(room.buffer).setUint32(0, window, true);
    this.#writer.write(KIND.consume, count, room);
  }

  #deliver(number: number, bytes: Uint8Array): void {
    this.#deliveries += 1;
    const message = this.#content === 'bytes' ? bytes : decode(bytes);
    void this.#handle(message).then(() => this.#writer.write(KIND.settle, number, NOTHING));
  }

  /** An empty handler, as in the cases. */
  async #handle(_message: unknown): Promise<void> {}

  /** Resolves when the other process has seen so many settles. */
  #settled(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#onEnd = resolve;
      this.#writer.write(KIND.end, count, NOTHING);
    });
  }
}

const NOTHING = new Uint8Array(0);

function rate(messages: number, startedAt: number): number {
  return (messages * 1_000) / (performance.now() - startedAt);
}
