import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { seededRandom } from '#holdfast/model/random.js';
import type { Random } from '#holdfast/model/random.js';
import { PREAMBLE } from '#holdfast/wire/stream.js';

const RECORD_HEADER_BYTES = 8;

/** How likely a record comes twice, or comes late, and by how many milliseconds at most. */
const DOUBLED = 0.1;
const DELAYED = 0.05;
const MOST_DELAY_MS = 5;

/** A connection ends within a record after so many in both directions together, drawn evenly from 0 to twice this. */
const MEAN_RECORDS = 30;

/** Longer records come once. */
const MOST_DOUBLED_BYTES = 100_000;

export interface TroubledProxy {
  readonly url: string;
  /** What it has done so far. */
  readonly done: { readonly cuts: number; readonly doubled: number; readonly delayed: number };
  close(): void;
}

/**
 * A proxy that cuts connections, often within a record, and lets records come late or twice. What it does follows from the
 * seed, as far as what goes through it does.
 */
export async function startTroubledProxy(port: number, seed: number): Promise<TroubledProxy> {
  const random = seededRandom(seed);
  const done = { cuts: 0, doubled: 0, delayed: 0 };
  const sockets = new Set<Socket>();
  const proxy = createServer((client) => {
    const server = connect(port, '127.0.0.1');
    const end = (): void => {
      client.destroy();
      server.destroy();
    };
    const budget = { records: Math.floor(random.fraction() * 2 * MEAN_RECORDS) };
    const cut = (): void => {
      done.cuts += 1;
      end();
    };
    for (const [from, to, skip] of [
      [client, server, PREAMBLE.length],
      [server, client, 0],
    ] as const) {
      sockets.add(from);
      from.setNoDelay(true);
      from.on('error', () => {});
      from.on('close', () => {
        sockets.delete(from);
        end();
      });
      carry(from, to, skip, random, done, budget, cut);
    }
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const { port: own } = proxy.address() as { readonly port: number };
  return {
    url: `holdfast://127.0.0.1:${own}`,
    done,
    close() {
      proxy.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Hands records on in their order, whole but for the one that a cut goes through. */
function carry(
  from: Socket,
  to: Socket,
  skip: number,
  random: Random,
  done: { doubled: number; delayed: number },
  budget: { records: number },
  cut: () => void,
): void {
  let buffered = Buffer.alloc(0);
  let left = skip;
  const queue: Buffer[] = [];
  let isWaiting = false;
  const send = (): void => {
    while (!isWaiting) {
      const record = queue.shift();
      if (record === undefined || to.destroyed) return;
      if (budget.records === 0) {
        queue.length = 0;
        to.write(record.subarray(0, Math.floor(random.fraction() * record.length)), cut);
        return;
      }
      budget.records -= 1;
      to.write(record);
      if (random.fraction() < DOUBLED && record.length < MOST_DOUBLED_BYTES) {
        done.doubled += 1;
        to.write(record);
      }
      if (random.fraction() >= DELAYED) continue;
      done.delayed += 1;
      isWaiting = true;
      setTimeout(
        () => {
          isWaiting = false;
          send();
        },
        Math.ceil(random.fraction() * MOST_DELAY_MS),
      );
    }
  };
  from.on('data', (chunk: Buffer) => {
    buffered = Buffer.concat([buffered, chunk]);
    if (left > 0) {
      if (buffered.length < left) return;
      to.write(buffered.subarray(0, left));
      buffered = buffered.subarray(left);
      left = 0;
    }
    for (;;) {
      if (buffered.length < RECORD_HEADER_BYTES) break;
      const bytes = RECORD_HEADER_BYTES + buffered.readUInt32LE(0);
      if (buffered.length < bytes) break;
      queue.push(buffered.subarray(0, bytes));
      buffered = buffered.subarray(bytes);
    }
    send();
  });
}
