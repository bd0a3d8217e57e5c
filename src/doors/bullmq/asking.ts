/** Giving commands to a queue. */
import { ConnectionClosedError } from 'bullmq';
import type { Client } from '../../client/client.ts';
import type { BullAnswer, BullArgs, BullMethod } from '../../model/bull.ts';
import { MAX_BULL_BYTES } from '../../model/bull.ts';
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
  if (client !== undefined) return send(client, queue, method, args);
  return connection.opened.then((opened) => send(opened, queue, method, args));
}

async function send<M extends BullMethod>(
  client: Client,
  queue: string,
  method: M,
  args: BullArgs<M>,
): Promise<BullAnswer<M>> {
  const ask = { queue, method, args };
  if (!isBullAsk(ask)) {
    throw new RangeError(`Cannot ask "${queue}" for "${method}": an argument is beyond the limits of docs/bullmq.md`);
  }
  const bytes = sizeOf(args);
  if (bytes > MAX_BULL_BYTES) {
    throw new RangeError(`Cannot ask "${queue}" for "${method}": it takes more than ${MAX_BULL_BYTES} bytes`);
  }
  try {
    return await client.askBull(ask, bytes);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'CLOSED') throw new ConnectionClosedError(undefined, error);
    throw error;
  }
}

/** Texts below this many characters are small, whatever they hold. */
const SMALL: number = MAX_BULL_BYTES / 8;

/** What the names of the arguments and whatever is no text take, roughly. */
const NAMES = 200;

/** How many bytes the arguments take, where they may be too many; else roughly. */
function sizeOf(args: object): number {
  let characters = NAMES;
  const add = (value: unknown): void => {
    if (typeof value === 'string') characters += value.length;
    else if (typeof value === 'object' && value !== null) for (const part of Object.values(value)) add(part);
  };
  add(args);
  return characters < SMALL ? characters : Buffer.byteLength(JSON.stringify(args));
}
