/** The web process: takes requests for reports, and says how far they are. `PORT` says where, `HOLDFAST_URL` what to open. */
import Fastify from 'fastify';
import { open } from 'holdfast';
import { channels, type ReportRequest } from './channels.ts';

const hf = await open(process.env['HOLDFAST_URL'] ?? 'file:./data', { channels });
/** How long clients that are slow may take when the server stops. */
const graceMs = Number(process.env['GRACE_MS'] ?? 10_000);
const app = Fastify({ bodyLimit: 65_536, keepAliveTimeout: 65_000 });

const body = {
  type: 'object',
  required: ['customer', 'year'],
  additionalProperties: false,
  properties: { customer: { type: 'string', minLength: 1 }, year: { type: 'integer', minimum: 2000, maximum: 2100 } },
};

app.post<{ Body: ReportRequest }>('/reports', { schema: { body } }, async (request, reply) => {
  const { id } = await hf.channels.reportMake.produce(request.body);
  return reply.code(202).header('location', `/reports/${id}`).send({ id });
});

/** What the id of a message looks like. */
const ID = '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$';
const params = { type: 'object', properties: { id: { type: 'string', pattern: ID } } };

app.get<{ Params: { id: string } }>('/reports/:id', { schema: { params } }, async (request, reply) => {
  const message = await hf.channels.reportMake.get(request.params.id);
  if (message?.channel !== hf.channels.reportMake.name) return reply.code(404).send({ error: 'Not found' });
  return { state: message.state, result: message.result };
});

app.setErrorHandler<Error & { statusCode?: number }>((error, _request, reply) => {
  const status = error.statusCode ?? 503;
  if (status >= 500) console.error(error);
  return reply.code(status).send({ error: status < 500 ? error.message : 'Try again' });
});

// A connection that has got its answer is kept open for the next request, longer than proxies keep it: not when the server stops.
app.server.on('request', (_, response) => {
  response.once('close', () => app.server.listening || app.server.closeIdleConnections());
});

// Fastify runs this when what was under way has got its answer.
app.addHook('onClose', () => hf.close());

console.log(`Listening at ${await app.listen({ host: '127.0.0.1', port: Number(process.env['PORT'] ?? 8080) })}`);

process.once('SIGTERM', () => {
  void app.close();
  setTimeout(() => app.server.closeAllConnections(), graceMs).unref();
});
