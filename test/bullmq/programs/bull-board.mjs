/* global connection */
import { once } from 'node:events';
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { appRoutes } from '@bull-board/api/dist/routes.js';
import { ExpressAdapter } from '@bull-board/express';
import { Queue } from 'bullmq';
import express from 'express';

// A board as its manual has it, over the queues that it is told of.

const [, , ...names] = process.argv;
const queues = names.map((name) => new Queue(name, { connection, defaultJobOptions: { attempts: 3 } }));
const serverAdapter = new ExpressAdapter();
serverAdapter.setBasePath('/board');
createBullBoard({
  queues: queues.map((queue) => new BullMQAdapter(queue, { allowCompletedRetries: true })),
  serverAdapter,
});
const app = express();
app.use('/board', serverAdapter.getRouter());
const server = app.listen(0, '127.0.0.1');
await once(server, 'listening');
const routes = appRoutes.api.map(({ method, route }) => `${method} ${route}`);
console.log(JSON.stringify({ port: server.address().port, routes }));

process.once('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
  for (const queue of queues) void queue.close();
});
