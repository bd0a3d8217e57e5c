import { fileURLToPath } from 'node:url';
import {
  type ConnectionOptions,
  FlowProducer,
  type Processor,
  Queue,
  QueueEvents,
  type QueueOptions,
  Worker,
  type WorkerOptions,
} from 'holdfast/bullmq';
import { onTestFinished } from 'vitest';
import { talking, type Talking } from '../network/processes.ts';

/** What a test has open of a queue, closed behind it, workers first. */
export class Door {
  readonly connection: ConnectionOptions;
  readonly queueName: string;
  readonly #closing: (() => Promise<unknown>)[] = [];

  constructor(connection: ConnectionOptions, queueName: string = 'mail') {
    this.connection = connection;
    this.queueName = queueName;
    onTestFinished(() => this.close());
  }

  async close(): Promise<void> {
    for (const close of this.#closing.splice(0).reverse()) await close();
  }

  async queue(opts: Omit<QueueOptions, 'connection'> = {}): Promise<Queue> {
    const queue = new Queue(this.queueName, { ...opts, connection: this.connection });
    this.#closing.push(() => queue.close());
    await queue.waitUntilReady();
    return queue;
  }

  async events(): Promise<QueueEvents> {
    const events = new QueueEvents(this.queueName, { connection: this.connection });
    this.#closing.push(() => events.close());
    await events.waitUntilReady();
    return events;
  }

  async worker(processor: Processor, opts: Omit<Partial<WorkerOptions>, 'connection'> = {}): Promise<Worker> {
    const worker = new Worker(this.queueName, processor, { ...opts, connection: this.connection });
    // What fails shows in what does not come; a listener there must be.
    worker.on('error', () => {});
    this.#closing.push(() => worker.close());
    await worker.waitUntilReady();
    return worker;
  }

  flows(): FlowProducer {
    const flows = new FlowProducer({ connection: this.connection });
    this.#closing.push(() => flows.close());
    return flows;
  }
}

/** A process with a worker of four. */
export async function startBullWorker(connection: ConnectionOptions, queue: string, holds: boolean): Promise<Talking> {
  const program = fileURLToPath(new URL('./programs/worker.mjs', import.meta.url));
  const worker = talking([program, JSON.stringify({ connection, queue, holds })], {});
  await worker.says((line) => 'ready' in line);
  return worker;
}
