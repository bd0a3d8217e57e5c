import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import type { Holdfast } from 'holdfast';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type App, newApp } from '../helpers/app.ts';
import { untilAcked } from '../helpers/events.ts';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';
import { endsBehindFile } from '../network/conformance.ts';
import { talking, type Talking } from '../network/processes.ts';

/** An example: a web process, a worker, and a service elsewhere that the worker calls for each message. */
interface Example {
  readonly name: string;
  readonly path: string;
  readonly channel: string;
  /** The variable that says where the service is. */
  readonly service: string;
  /** What it answers. */
  readonly answer: unknown;
  /** The content of the message with this number, and back. */
  readonly body: (i: number) => object;
  readonly numberOf: (body: Record<string, unknown>) => number;
  readonly wrong: object;
}

const EXAMPLES: readonly Example[] = [
  {
    name: 'hono',
    path: '/emails',
    channel: 'email/send',
    service: 'MAIL_URL',
    answer: {},
    body: (i) => ({ to: `ann${i}@example.org`, text: 'hello' }),
    numberOf: ({ to }) => Number(/\d+/.exec(String(to))?.[0]),
    wrong: { to: 'ann', text: 'hello' },
  },
  {
    name: 'express',
    path: '/orders',
    channel: 'order/placed',
    service: 'WAREHOUSE_URL',
    answer: {},
    body: (i) => ({ item: `rope ${i}`, count: 2 }),
    numberOf: ({ item }) => Number(String(item).slice('rope '.length)),
    wrong: { item: 'rope', count: 0 },
  },
  {
    name: 'fastify',
    path: '/reports',
    channel: 'report/make',
    service: 'BOOKS_URL',
    answer: [{ cents: 250 }, { cents: 50 }],
    body: (i) => ({ customer: `ann ${i}`, year: 2030 }),
    numberOf: ({ customer }) => Number(String(customer).slice('ann '.length)),
    wrong: { customer: 'ann', year: 1900 },
  },
];

const apps = new Map<string, App>();
const complaints = new Map<string, readonly string[]>();

const endBehind = endsBehindFile();
beforeAll(async () => {
  for (const { name } of EXAMPLES) {
    const app = newApp(new URL(`../../examples/${name}/`, import.meta.url), endBehind, 'web');
    apps.set(name, app);
    complaints.set(name, await app.compile());
  }
}, 60_000);

/** The service that workers call: it hears of messages, and answers when it is let. */
interface Service {
  readonly url: string;
  /** The numbers of the messages that it heard of, in their order. */
  readonly heard: readonly number[];
  /** Resolves when it has heard of so many. */
  hears(count: number): Promise<void>;
  /** Lets it answer: what it was asked, and what it will be. */
  open(): void;
}

async function startService({ answer, numberOf }: Example): Promise<Service> {
  const heard: number[] = [];
  const listeners = new Set<() => void>();
  let held: ServerResponse[] | undefined = [];
  const reply = (response: ServerResponse): void => void response.end(JSON.stringify(answer));
  const server = createServer((incoming, response) => {
    void bodyOf(incoming).then((body) => {
      heard.push(numberOf(JSON.parse(body) as Record<string, unknown>));
      if (held === undefined) reply(response);
      else held.push(response);
      for (const look of listeners) look();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    heard,
    hears: (count) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (heard.length < count) return;
          listeners.delete(look);
          resolve();
        };
        listeners.add(look);
        look();
      }),
    open() {
      const waiting = held ?? [];
      held = undefined;
      for (const response of waiting) reply(response);
    },
  };
}

async function bodyOf(incoming: IncomingMessage): Promise<string> {
  let body = '';
  for await (const part of incoming.setEncoding('utf8') as AsyncIterable<string>) body += part;
  return body;
}

/** An example with a queue of its own, looked into from outside. */
interface Place {
  readonly hf: Holdfast;
  readonly service: Service;
  readonly web: (env?: Readonly<Record<string, string>>) => Promise<Web>;
  readonly worker: () => Promise<Talking>;
}

interface Web extends Talking {
  readonly url: string;
}

async function place(example: Example): Promise<Place> {
  const app = apps.get(example.name) as App;
  const HOLDFAST_URL = `file:${newFolder()}`;
  const service = await startService(example);
  const hf = await openUntilEnd(HOLDFAST_URL, { log: () => {} });
  const start = (name: string, env: Readonly<Record<string, string>>): Talking =>
    talking([app.pathOf(`dist/${name}.js`)], { HOLDFAST_URL, ...env });
  return {
    hf,
    service,
    async web(env = {}) {
      const web = start('web', { PORT: '0', ...env });
      const { text } = await web.says((line) => String(line['text']).startsWith('Listening at '));
      return { ...web, url: String(text).slice('Listening at '.length) };
    },
    async worker() {
      const worker = start('worker', { [example.service]: service.url });
      await worker.says((line) => String(line['text']).startsWith('Waiting for '));
      return worker;
    },
  };
}

const HEADERS = { 'content-type': 'application/json' };

/** Sends one message; a number is also the key under which the example of Express knows it again. */
function post({ url }: Web, { path, body }: Example, i: number): Promise<Response> {
  const headers = { ...HEADERS, 'idempotency-key': String(i) };
  return fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body(i)) });
}

/** Begins to send a message: its request is under way, and lacks its body. */
async function begin(
  { url }: Web,
  { path, body }: Example,
  i: number,
): Promise<{ finish(): Promise<{ status: number | undefined; body: unknown }> }> {
  const headers = { ...HEADERS, 'idempotency-key': String(i), expect: '100-continue' };
  const sending = request(url + path, { method: 'POST', headers });
  sending.flushHeaders();
  // The server says so when it has the head of the request.
  await once(sending, 'continue');
  return {
    async finish() {
      sending.end(JSON.stringify(body(i)));
      const [response] = (await once(sending, 'response')) as [IncomingMessage];
      return { status: response.statusCode, body: JSON.parse(await bodyOf(response)) as unknown };
    },
  };
}

/** Resolves when nobody can connect any more. */
async function untilRefused({ url }: Web): Promise<void> {
  for (;;) {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    const refused = await new Promise((resolve) => {
      socket.once('connect', () => resolve(false)).once('error', () => resolve(true));
    });
    socket.destroy();
    if (refused) return;
  }
}

/** Longer than a test may take: what ends in time has waited for nobody. */
const PATIENT = { GRACE_MS: '600000' };

const PASSED = { code: 0, signal: null, errors: '' };

describe.each(EXAMPLES)('the $name example', (example) => {
  test('compiles under strict options', () => {
    expect(complaints.get(example.name)).toEqual([]);
  });

  test('answers when the message is stored, refuses what is none, and answers what is under way when it is told to stop', async () => {
    const { hf, web } = await place(example);
    const running = await web(PATIENT);
    const response = await post(running, example, 1);
    expect(response.status).toBe(202);
    const { id } = (await response.json()) as { id: string };
    expect(await hf.admin.get(id)).toMatchObject({
      channel: example.channel,
      state: 'ready',
      message: example.body(1),
    });

    const send = (body: string): Promise<Response> =>
      fetch(running.url + example.path, { method: 'POST', headers: { ...HEADERS, 'idempotency-key': 'a' }, body });
    expect((await send('no JSON')).status).toBe(400);
    expect((await send(JSON.stringify(example.wrong))).status).toBe(400);
    expect((await send(JSON.stringify({ ...example.body(3), more: ' '.repeat(70_000) }))).status).toBe(413);
    expect((await fetch(`${running.url}/elsewhere`)).status).toBe(404);
    expect(await hf.admin.inspect(example.channel)).toMatchObject({ ready: 1 });

    const sending = await begin(running, example, 2);
    running.kill('SIGTERM');
    await untilRefused(running);
    expect(await sending.finish()).toEqual({ status: 202, body: expect.objectContaining({ id: expect.any(String) }) });
    expect(await running.ended).toEqual(PASSED);
    expect(await hf.admin.inspect(example.channel)).toMatchObject({ ready: 2 });
  });

  test('waits for a client that says nothing no longer than the grace when its web process is told to stop', async () => {
    const { web } = await place(example);
    const running = await web({ GRACE_MS: '50' });
    const silent = connect(Number(new URL(running.url).port), '127.0.0.1');
    onTestFinished(() => void silent.destroy());
    await once(silent, 'connect');
    // Another connection has been served since, so the server has this one too.
    expect((await fetch(`${running.url}/elsewhere`)).status).toBe(404);
    const closed = once(silent, 'close');
    expect(await running.end('SIGTERM')).toEqual(PASSED);
    await closed;
  });

  test('finishes what it works on when its worker is told to stop, and leaves the rest to the next one', async () => {
    const { hf, service, worker } = await place(example);
    const numbers = Array.from({ length: 15 }, (_, i) => i);
    await hf.channel<object>(example.channel).produceAll(numbers.map((i) => example.body(i)));
    const first = await worker();
    await service.hears(10);
    first.kill('SIGTERM');
    await first.says(({ text }) => text === 'Stopping');
    service.open();
    expect(await first.ended).toEqual(PASSED);
    expect(await hf.admin.inspect(example.channel)).toMatchObject({ ready: 5, leased: 0, completed: 10 });

    const second = await worker();
    await untilAcked(hf, example.channel, numbers.length);
    expect(service.heard.toSorted((a, b) => a - b)).toEqual(numbers);
    expect(await second.end('SIGTERM')).toEqual(PASSED);
  });

  test('loses nothing and does nothing twice when both processes are stopped and started under load', async () => {
    const { hf, service, web, worker } = await place(example);
    service.open();
    const processes = { web: await web(PATIENT), worker: await worker() };
    const total = 120;
    let next = 0;
    let restarted: Promise<void> | undefined;
    const restart = async (): Promise<void> => {
      const { web: before, worker: workerBefore } = processes;
      before.kill('SIGTERM');
      workerBefore.kill('SIGTERM');
      expect(await before.ended).toEqual(PASSED);
      expect(await workerBefore.ended).toEqual(PASSED);
      processes.web = await web(PATIENT);
      processes.worker = await worker();
    };
    const client = async (): Promise<void> => {
      for (let i = next++; i < total; i = next++) {
        if (i === total / 3) restarted = restart();
        // Whoever gets no answer, or another one than that it is accepted, asks again, of the next process.
        while ((await post(processes.web, example, i).catch(() => undefined))?.status !== 202) await restarted;
      }
    };
    await Promise.all(Array.from({ length: 8 }, client));
    await untilAcked(hf, example.channel, total);
    expect(service.heard.toSorted((a, b) => a - b)).toEqual(Array.from({ length: total }, (_, i) => i));
    expect(await hf.admin.inspect(example.channel)).toMatchObject({
      ready: 0,
      totals: { completed: total, failed: 0 },
    });
    expect(await processes.worker.end('SIGTERM')).toEqual(PASSED);
    expect(await processes.web.end('SIGTERM')).toEqual(PASSED);
  });
});

test('the express example stores an order once, however often a client asks, and counts it once', async () => {
  const example = EXAMPLES[1] as Example;
  const { hf, service, web, worker } = await place(example);
  service.open();
  const running = await web();
  const answers = await Promise.all(Array.from({ length: 10 }, () => post(running, example, 7)));
  const bodies = (await Promise.all(answers.map((one) => one.json()))) as { id: string; isNew: boolean }[];
  expect(new Set(bodies.map(({ id }) => id)).size).toBe(1);
  expect(bodies.filter(({ isNew }) => isNew)).toHaveLength(1);
  await worker();
  await untilAcked(hf, example.channel, 1);
  expect(await (await fetch(`${running.url}/sold/rope%207`)).json()).toEqual({ sold: 2 });
});

test('the fastify example shows how far a report is, and the report', async () => {
  const example = EXAMPLES[2] as Example;
  const { hf, service, web, worker } = await place(example);
  const running = await web();
  const response = await post(running, example, 1);
  const location = running.url + String(response.headers.get('location'));
  expect(await (await fetch(location)).json()).toEqual({ state: 'ready' });
  await worker();
  service.open();
  await untilAcked(hf, example.channel, 1);
  expect(await (await fetch(location)).json()).toEqual({ state: 'completed', result: { rows: 2, cents: 300 } });
  expect((await fetch(`${location.slice(0, -1)}${location.endsWith('0') ? 1 : 0}`)).status).toBe(404);
  expect((await fetch(`${running.url}/reports/none`)).status).toBe(400);
});
