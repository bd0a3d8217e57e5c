/**
 * A survey that goes out a day after an order. From Node 22.18 on: `node notification.ts order 17 ann@example.org` takes an
 * order, `node notification.ts cancel 17` takes it back, and `node notification.ts` sends what is due, until it is stopped.
 */
import { fileURLToPath } from 'node:url';
import { type Consumer, type Holdfast, open } from 'holdfast';

export interface Order {
  readonly id: number;
  readonly mail: string;
}

const keyOf = (id: number): [string, number] => ['orders', id];

/** Takes an order. The order and its survey commit together: there is never one without the other. */
export async function placeOrder(hf: Holdfast, order: Order): Promise<void> {
  const surveys = hf.channel<number>('survey');
  await hf.transact(async (tx) => {
    const known = await tx.get<Order>(keyOf(order.id));
    if (known.value !== null) return;
    tx.set(keyOf(order.id), order);
    tx.produce(surveys, order.id, { delay: '24h' });
  });
}

/** Takes an order back; its survey finds nothing to ask about. */
export async function cancelOrder({ kv }: Holdfast, id: number): Promise<void> {
  await kv.delete(keyOf(id));
}

/**
 * Sends surveys that are due. `send` gets the id of the message, the same each time: a mail server that knows it does not
 * send twice what was sent before a crash.
 */
export function sendSurveys(hf: Holdfast, send: (order: Order, id: string) => void): Promise<Consumer> {
  return hf.channel<number>('survey').consume(async (orderId, { id, tx }) => {
    const { value: order } = await tx.get<Order>(keyOf(orderId));
    if (order === null) return;
    send(order, id);
    tx.set(['surveyed', orderId], true);
  });
}

async function main([command, id, mail]: readonly string[]): Promise<void> {
  const hf = await open(process.env['HOLDFAST_URL'] ?? 'file:./notification-data');
  if (command === 'order' && id !== undefined && mail !== undefined) {
    await placeOrder(hf, { id: Number(id), mail });
    console.log(`Order ${id} is taken; ${mail} will be asked about it in 24 hours`);
  } else if (command === 'cancel' && id !== undefined) {
    await cancelOrder(hf, Number(id));
    console.log(`Order ${id} is taken back`);
  } else {
    const consumer = await sendSurveys(hf, (order, messageId) => {
      console.log(`To ${order.mail}: how do you like order ${order.id}? (${messageId})`);
    });
    console.log('Sending what is due');
    process.once('SIGINT', () => void hf.close());
    await consumer.stopped;
  }
  await hf.close();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
