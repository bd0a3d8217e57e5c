/** Giving commands to a queue. */
import { ConnectionClosedError } from 'bullmq';
import type { Client } from '../../client/client.ts';
import type { BullAnswer, BullArgs, BullAsk, BullMethod } from '../../model/bull.ts';
import { charactersIn, MAX_BULL_BYTES } from '../../model/bull.ts';
import { isBullAsk } from '../../model/bull-checks.ts';
import { HoldfastError } from '../../model/errors.ts';
import type { Connection } from './connections.ts';

/**
 * Asks; all that is asked for in one tick goes in one frame.
 *
 * @throws RangeError for arguments that are too large, or that cannot be stored
 * @throws ConnectionClosedError when the connection was closed
 * @throws HoldfastError as the broker refuses
 */
export function askQueue<M extends BullMethod>(
  connection: Connection,
  queue: string,
  method: M,
  args: BullArgs<M>,
): Promise<BullAnswer<M>> {
  const { client } = connection;
  const ask = { queue, method, args };
  if (client !== undefined) return send(client, ask);
  return connection.opened.then((opened) => send(opened, ask));
}

function send<M extends BullMethod>(client: Client, ask: BullAsk<M>): Promise<BullAnswer<M>> {
  return new Promise((resolve, reject) => {
    client.askBull(ask, checkedBytes(ask), {
      resolve: (value) => resolve(value as BullAnswer<M>),
      reject: (error) => reject(isClosed(error) ? new ConnectionClosedError(undefined, error) : error),
    });
  });
}

/** About how many bytes this takes. @throws RangeError */
function checkedBytes(ask: BullAsk): number {
  const { queue, method, args } = ask;
  if (!isBullAsk(ask)) {
    throw new RangeError(`Cannot ask "${queue}" for "${method}": an argument is beyond the limits of docs/bullmq.md`);
  }
  const bytes = sizeOf(args);
  if (bytes > MAX_BULL_BYTES) {
    throw new RangeError(`Cannot ask "${queue}" for "${method}": it takes more than ${MAX_BULL_BYTES} bytes`);
  }
  return bytes;
}

function isClosed(error: unknown): error is HoldfastError {
  return error instanceof HoldfastError && error.code === 'CLOSED';
}

/** Texts below this many characters are small, whatever they hold. */
const SMALL: number = MAX_BULL_BYTES / 8;

/** What the names of the arguments and whatever is no text take, roughly. */
const NAMES = 200;

/** How many bytes the arguments take, where they may be too many; else roughly. */
function sizeOf(args: object): number {
  const characters = NAMES + charactersIn(args);
  return characters < SMALL ? characters : Buffer.byteLength(JSON.stringify(args));
}
