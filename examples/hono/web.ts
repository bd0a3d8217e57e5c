/** The web process: takes emails, and answers when they are on the disk. `PORT` says where, `HOLDFAST_URL` what to open. */
import { createServer } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { HTTPException } from 'hono/http-exception';
import { InvalidMessageError, open } from 'holdfast';
import { channels } from './channels.ts';

const hf = await open(process.env['HOLDFAST_URL'] ?? 'file:./data', { channels });
/** How long clients that are slow may take when the server stops. */
const graceMs = Number(process.env['GRACE_MS'] ?? 10_000);
const app = new Hono();

app.post('/emails', bodyLimit({ maxSize: 65_536 }), async (context) => {
  // What is no JSON is no email either; the schema of the channel says so.
  const email = await context.req.json().catch(() => undefined);
  const { id } = await hf.channels.emailSend.produce(email);
  return context.json({ id }, 202);
});

app.onError((error, context) => {
  if (error instanceof HTTPException) return error.getResponse();
  if (error instanceof InvalidMessageError) return context.json({ error: error.message }, 400);
  console.error(error);
  return context.json({ error: 'Try again' }, 503);
});

const server = createServer(getRequestListener(app.fetch));

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
