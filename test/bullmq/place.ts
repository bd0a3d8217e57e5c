/** Where the tests of this folder have their queues. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type * as Bullmq from 'bullmq';
import type { FlowProducer, Processor, Queue, QueueEvents, QueueOptions, Worker } from 'bullmq';
import { onTestFinished } from 'vitest';
import { type App, newApp } from '../helpers/app.ts';
import { holdfast, type Ran } from '../cli/running-cli.ts';
import { startRedis } from '../helpers/redis.ts';
import { type EndBehind, startServer } from '../network/processes.ts';

/**
 * With `BULLMQ_ON=redis` they run on BullMQ as it is, on Redis: what they ask of Holdfast has to hold there first.
 */
export const IS_ON_REDIS = process.env['BULLMQ_ON'] === 'redis';

/** What a program written for BullMQ imports in its stead. */
export const MODULE = IS_ON_REDIS ? 'bullmq' : 'holdfast/bullmq';

/** What has BullMQ use Holdfast where it is imported by others. */
const REGISTER = IS_ON_REDIS ? '' : `import 'holdfast/bullmq/register';\n`;

type Module = typeof Bullmq;

/** A server, and how it is reached. What is made of BullMQ's classes is closed behind the test, or as told. */
export interface Place {
  readonly connection: { readonly host: string; readonly port: number; readonly password: string };
  /** The same, for the environment of a program. */
  readonly env: Readonly<Record<string, string>>;
  queue(name: string, options?: Partial<QueueOptions>, endBehind?: EndBehind): Promise<Queue>;
  worker(name: string, processor: Processor): Promise<Worker>;
  flows(): Promise<FlowProducer>;
  /** What is heard of a queue from now on. */
  events(name: string): Promise<QueueEvents>;
}

/** Starts a server that demands a password, or a token. */
export async function startPlace(endBehind: EndBehind = onTestFinished): Promise<Place> {
  const { port, password } = IS_ON_REDIS ? await startOnRedis(endBehind) : await startOnHoldfast(endBehind);
  const connection = { host: '127.0.0.1', port, password };
  const { FlowProducer, Queue, QueueEvents, Worker } = (await import(MODULE)) as Module;
  return {
    connection,
    env: { QUEUE_HOST: connection.host, QUEUE_PORT: String(port), QUEUE_PASSWORD: password },
    queue: (name, options = {}, behind) => untilEnd(new Queue(name, { connection, ...options }), behind),
    worker: (name, processor) => untilEnd(new Worker(name, processor, { connection })),
    flows: () => untilEnd(new FlowProducer({ connection })),
    events: (name) => untilEnd(new QueueEvents(name, { connection })),
  };
}

interface Closable {
  waitUntilReady(): Promise<unknown>;
  close(): Promise<void>;
}

async function untilEnd<T extends Closable>(one: T, endBehind: EndBehind = onTestFinished): Promise<T> {
  endBehind(() => one.close());
  await one.waitUntilReady();
  return one;
}

async function startOnRedis(endBehind: EndBehind): Promise<{ port: number; password: string }> {
  const password = randomUUID();
  return { ...(await startRedis(endBehind, password)), password };
}

async function startOnHoldfast(endBehind: EndBehind): Promise<{ port: number; password: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-bullmq-'));
  endBehind(async () => rmSync(folder, { recursive: true, force: true }));
  const { port } = await startServer({ folder, endBehind });
  const flags = ['--data', folder, '--label', 'tests', '--scope', 'server:admin', '--json'];
  const token = await holdfast('token', 'create', ...flags);
  return { port, password: tokenOf(token) };
}

function tokenOf({ code, output, errors }: Ran): string {
  if (code !== 0) throw new Error(`Cannot make a token: ${errors}`);
  return (JSON.parse(output) as { token: string }).token;
}

const place = `{ host: process.env.QUEUE_HOST, port: Number(process.env.QUEUE_PORT), password: process.env.QUEUE_PASSWORD }`;

/** An application of one file of `programs`: it imports BullMQ, and gets what is on Holdfast. */
export function programApp(name: string, endBehind: EndBehind = onTestFinished): App {
  const program = readFileSync(new URL(`./programs/${name}`, import.meta.url), 'utf8');
  return newApp({ [name]: `${REGISTER}const connection = ${place};\n${program}` }, endBehind);
}
