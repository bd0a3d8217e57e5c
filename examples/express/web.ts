/** The web process: takes orders, and answers when they are on the disk. `PORT` says where, `HOLDFAST_URL` what to open. */
import { createServer } from 'node:http';
import express, { type NextFunction, type Request, type Response } from 'express';
import { type KvU64, open } from 'holdfast';
import { channels, type Order, soldKey } from './channels.ts';

const hf = await open(process.env['HOLDFAST_URL'] ?? 'file:./data', { channels });
/** How long clients that are slow may take when the server stops. */
const graceMs = Number(process.env['GRACE_MS'] ?? 10_000);
const app = express();

app.post('/orders', express.json({ limit: '64kb' }), async (request, response) => {
  const order = orderOf(request.body);
  if (order === undefined) return void response.status(400).json({ error: 'Not an order' });
  // A client that got no answer asks again under the same key, and its order is stored once.
  const dedupeKey = request.get('idempotency-key');
  if (!dedupeKey) return void response.status(400).json({ error: 'Give an Idempotency-Key' });
  const { id, deduplicated } = await hf.channels.orderPlaced.produce(order, { dedupeKey });
  response.status(202).json({ id, isNew: !deduplicated });
});

app.get('/sold/:item', async (request, response) => {
  const { value } = await hf.kv.get<KvU64>(soldKey(request.params.item));
  response.json({ sold: Number(value?.value ?? 0n) });
});

function orderOf(body: unknown): Order | undefined {
  const { item, count } = (body ?? {}) as Partial<Order>;
  const isOrder = typeof item === 'string' && item !== '' && Number.isSafeInteger(count) && Number(count) > 0;
  return isOrder ? { item, count: Number(count) } : undefined;
}

// Express knows a function for errors by its four parameters.
app.use((error: Error & { status?: number }, _request: Request, response: Response, _next: NextFunction) => {
  const isOfClient = error.status !== undefined && error.status < 500;
  if (!isOfClient) console.error(error);
  response.status(isOfClient ? Number(error.status) : 503).json({ error: isOfClient ? error.message : 'Try again' });
});

const server = createServer(app);

server.listen(Number(process.env['PORT'] ?? 8080), '127.0.0.1', () => {
  const address = server.address();
  if (typeof address === 'object') console.log(`Listening at http://127.0.0.1:${address?.port}`);
});

// A connection that has got its answer is kept open for the next request, longer than proxies keep it: not when the server stops.
server.keepAliveTimeout = 65_000;
server.on('request', (_, response) => {
  response.once('close', () => server.listening || server.closeIdleConnections());
});

process.once('SIGTERM', () => {
  // No connection is taken any more; what is under way gets its answer; then Holdfast is closed.
  server.close(() => void hf.close());
  setTimeout(() => server.closeAllConnections(), graceMs).unref();
});
