/** The worker: has orders packed by the warehouse at `WAREHOUSE_URL`, and counts what is sold. Start as many as there is work for. */
import { open } from 'holdfast';
import { channels, soldKey } from './channels.ts';

const hf = await open(process.env['HOLDFAST_URL'] ?? 'file:./data', { channels });
const warehouseUrl = process.env['WAREHOUSE_URL'] ?? 'http://127.0.0.1:8070/pack';

await hf.channels.orderPlaced.consume(
  async (order, { id, signal, tx }) => {
    const response = await fetch(warehouseUrl, {
      method: 'POST',
      // The same at each attempt: a warehouse that knows such keys packs an order once.
      headers: { 'content-type': 'application/json', 'idempotency-key': id },
      body: JSON.stringify(order),
      signal,
    });
    if (!response.ok) throw new Error(`The warehouse answers ${response.status}`);
    // Commits with the ack: once for each order, however often the handler runs.
    tx.sum(soldKey(order.item), BigInt(order.count));
  },
  { concurrency: 10 },
);
console.log('Waiting for orders');

process.once('SIGTERM', () => {
  console.log('Stopping');
  // Nothing more is taken. What runs may finish; what still runs after the grace goes back, and another worker gets it.
  void hf.close({ grace: '20s' });
});
