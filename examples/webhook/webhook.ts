/**
 * A server for webhooks: it answers before the work, and works once for each event, however often that is delivered. From
 * Node 22.18 on, `node webhook.ts` runs it. `PORT` says where, `HOLDFAST_URL` what to open.
 */
import { createServer, type IncomingMessage } from 'node:http';
import { type KvU64, open } from 'holdfast';

/** What a payment service tells of. */
interface PaymentEvent {
  /** The same at each delivery of the event. */
  readonly id: string;
  readonly customer: string;
  readonly cents: number;
}

/** How long an id is remembered. Services deliver again for some days. */
const REMEMBERED_MS = 30 * 86_400_000;
const MAX_BODY_BYTES = 65_536;

const hf = await open(process.env['HOLDFAST_URL'] ?? 'file:./webhook-data');
const payments = hf.channel<PaymentEvent>('payment/received');

/** Stores an event and its id together. Resolves when both are on the disk; `false` when the id was there. */
async function receive(event: PaymentEvent): Promise<boolean> {
  const { ok } = await hf.kv
    .atomic()
    .check({ key: ['received', event.id], versionstamp: null })
    .set(['received', event.id], true, { expireIn: REMEMBERED_MS })
    .produce(payments, event)
    .commit();
  return ok;
}

// The work. What it writes commits with its ack: where the process dies on the way, nothing is written, and it runs again.
await payments.consume(({ id, customer, cents }, { tx }) => {
  tx.sum(['paid', customer], BigInt(cents));
  console.log(`Booked ${id}: ${cents} cents of ${customer}`);
});

async function paidBy(customer: string): Promise<bigint> {
  const { value } = await hf.kv.get<KvU64>(['paid', customer]);
  return value?.value ?? 0n;
}

async function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > MAX_BODY_BYTES) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

function parseEvent(body: string): PaymentEvent | undefined {
  try {
    const { id, customer, cents } = JSON.parse(body) as Partial<PaymentEvent>;
    const isEvent =
      typeof id === 'string' && typeof customer === 'string' && Number.isSafeInteger(cents) && Number(cents) >= 0;
    return isEvent ? { id, customer, cents: Number(cents) } : undefined;
  } catch {
    return undefined;
  }
}

/** The status and the body of the answer. */
async function answer(request: IncomingMessage): Promise<[status: number, body: unknown]> {
  const [, place, customer] = (request.url ?? '').split('/');
  if (request.method === 'GET' && place === 'paid' && customer !== undefined) {
    return [200, { customer, cents: Number(await paidBy(decodeURIComponent(customer))) }];
  }
  if (request.method !== 'POST' || place !== 'webhook') return [404, { error: 'Not found' }];
  const body = await bodyOf(request);
  if (body === undefined) return [413, { error: 'Too large' }];
  const event = parseEvent(body);
  if (event === undefined) return [400, { error: 'Not a payment' }];
  // A delivery of what is known is accepted as well, or the service would go on delivering it.
  return [202, { accepted: event.id, isNew: await receive(event) }];
}

async function answerSafely(request: IncomingMessage): Promise<[status: number, body: unknown]> {
  try {
    return await answer(request);
  } catch (error) {
    // The service delivers again what was not accepted.
    console.error(error);
    return [503, { error: 'Try again' }];
  }
}

const server = createServer((request, response) => {
  void answerSafely(request).then(([status, body]) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
});

server.listen(Number(process.env['PORT'] ?? 8080), '127.0.0.1', () => {
  const address = server.address();
  if (typeof address === 'object') console.log(`Listening at http://127.0.0.1:${address?.port}`);
});

process.once('SIGINT', () => {
  server.close();
  void hf.close().then(() => process.exit());
});
