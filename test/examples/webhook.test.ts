import { readFile } from 'node:fs/promises';
import type { Channel, Holdfast } from 'holdfast';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compile, type Compiled } from '../helpers/compile.ts';
import { untilAcked } from '../helpers/events.ts';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';
import { talking, type Talking } from '../network/processes.ts';

const CHANNEL = 'payment/received';
const EVENT = { id: 'e1', customer: 'ann', cents: 250 };

let compiled: Compiled;

beforeAll(async () => {
  const code = await readFile(new URL('../../examples/webhook/webhook.ts', import.meta.url), 'utf8');
  compiled = await compile({ webhook: code });
}, 120_000);

afterAll(() => compiled.delete());

interface Server extends Talking {
  readonly url: string;
}

/** The server of the example on a folder. */
async function startServer(folder: string): Promise<Server> {
  const server = talking([compiled.pathOf('webhook')], { PORT: '0', HOLDFAST_URL: `file:${folder}` });
  const line = await server.says(({ text }) => String(text).startsWith('Listening at '));
  return { ...server, url: String(line['text']).slice('Listening at '.length) };
}

async function post({ url }: Server, body: unknown): Promise<{ status: number; body: unknown }> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const response = await fetch(`${url}/webhook`, { method: 'POST', body: text });
  return { status: response.status, body: await response.json() };
}

async function paid({ url }: Server): Promise<unknown> {
  return (await fetch(`${url}/paid/ann`)).json();
}

/** A server, and a look into its folder from outside. */
async function start(): Promise<{ folder: string; server: Server; hf: Holdfast; channel: Channel<unknown> }> {
  const folder = newFolder();
  const server = await startServer(folder);
  const hf = await openUntilEnd(`file:${folder}`, { log: () => {} });
  return { folder, server, hf, channel: hf.channel<unknown>(CHANNEL) };
}

test('the webhook example compiles under strict options', () => {
  expect(compiled.complaintsOf('webhook')).toEqual([]);
});

test('the webhook example answers 202 before the work, and works once for an event that comes again', async () => {
  const { server, hf, channel } = await start();
  await channel.pause();
  expect(await post(server, EVENT)).toEqual({ status: 202, body: { accepted: 'e1', isNew: true } });
  expect(await post(server, EVENT)).toEqual({ status: 202, body: { accepted: 'e1', isNew: false } });
  expect(await paid(server)).toEqual({ customer: 'ann', cents: 0 });
  await channel.resume();
  await untilAcked(hf, CHANNEL, 1);
  expect(await paid(server)).toEqual({ customer: 'ann', cents: 250 });
  expect(await post(server, EVENT)).toEqual({ status: 202, body: { accepted: 'e1', isNew: false } });
  expect(await post(server, { ...EVENT, id: 'e2' })).toEqual({ status: 202, body: { accepted: 'e2', isNew: true } });
  await untilAcked(hf, CHANNEL, 2);
  expect(await paid(server)).toEqual({ customer: 'ann', cents: 500 });
  expect(await channel.inspect()).toMatchObject({ ready: 0, leased: 0, totals: { completed: 2 } });
});

test('the webhook example takes one of many deliveries at once', async () => {
  const { server, hf } = await start();
  const answers = await Promise.all(Array.from({ length: 20 }, () => post(server, EVENT)));
  expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(202));
  expect(answers.filter(({ body }) => (body as { isNew: boolean }).isNew)).toHaveLength(1);
  await untilAcked(hf, CHANNEL, 1);
  expect(await paid(server)).toEqual({ customer: 'ann', cents: 250 });
});

test('the webhook example does the work that it has accepted, be it killed in between', async () => {
  const { folder, server, hf, channel } = await start();
  await channel.pause();
  expect(await post(server, EVENT)).toMatchObject({ status: 202 });
  await server.end('SIGKILL');
  const next = await startServer(folder);
  expect(await post(next, EVENT)).toEqual({ status: 202, body: { accepted: 'e1', isNew: false } });
  await channel.resume();
  await untilAcked(hf, CHANNEL, 1);
  expect(await paid(next)).toEqual({ customer: 'ann', cents: 250 });
});

test('the webhook example refuses what is no event', async () => {
  const { server, channel } = await start();
  expect((await post(server, 'no JSON')).status).toBe(400);
  expect((await post(server, { ...EVENT, cents: -1 })).status).toBe(400);
  expect((await post(server, ' '.repeat(65_537))).status).toBe(413);
  expect((await fetch(`${server.url}/elsewhere`)).status).toBe(404);
  expect(await channel.inspect()).toMatchObject({ ready: 0, totals: { completed: 0 } });
});
