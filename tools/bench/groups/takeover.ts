/** How long others wait when a process is killed: for the next broker, and for the messages of a worker. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type Channel, open } from '#holdfast/index.js';
import { startBrokerProcess } from '../broker-process.ts';
import type { Case, Group, Measurement } from '../case.ts';
import type { Transport } from '../flow/flow.ts';
import { percentile } from '../stopwatch.ts';
import { channelOf, fill } from '../workloads.ts';

const REDELIVERIES = 20;

export const takeover: Group = {
  name: 'takeover',
  onlyByName: true,
  cases: [takeoverWith(0), takeoverWith(100_000), takeoverWith(1_000_000), redelivery('socket'), redelivery('tcp')],
};

function takeoverWith(waiting: number): Case {
  return {
    name: `takeover, ${waiting} waiting`,
    async prepare(folder) {
      const holdfast = await open(`file:${folder}`);
      await fill(channelOf(holdfast), waiting);
      await holdfast.close();
    },
    // With nothing waiting, what was delivered is what was produced, and it stays.
    preparedOnce: waiting > 0,
    run: (folder) => measureTakeover(folder, waiting),
  };
}

/** From the SIGKILL of the leader to the next acknowledged produce of this process, and to its first delivery. */
async function measureTakeover(folder: string, waiting: number): Promise<Measurement> {
  const broker = await startBrokerProcess(folder, 'socket');
  const holdfast = await open(broker.url);
  const channel = channelOf(holdfast);
  // A channel of its own leaves the number of those that wait as it was.
  const other = holdfast.channel<number>('produced-after-the-kill');
  await other.inspect();
  const before = (await channel.inspect()).ready;
  if (before !== waiting) throw new Error(`Cannot trust the figure: ${before} messages wait instead of ${waiting}`);
  const killedAt = performance.now();
  broker.process.kill('SIGKILL');
  const delivered = waiting === 0 ? firstDelivery(other) : firstDelivery(channel);
  await other.produce(1);
  const acknowledgedMs = performance.now() - killedAt;
  const deliveredMs = (await delivered) - killedAt;
  // What was delivered is given back.
  await holdfast.close({ grace: 0 });
  await broker.close();
  return { messages: waiting, acknowledgedMs, deliveredMs };
}

/** When the first message comes to a consumer that is opened now; no handler ends before it is told to. */
async function firstDelivery<Message>(channel: Channel<Message>): Promise<number> {
  return new Promise((resolve, reject) => {
    const handle = (_message: Message, { signal }: { readonly signal: AbortSignal }): Promise<void> => {
      resolve(performance.now());
      return once(signal, 'abort').then(() => undefined);
    };
    channel.consume(handle).catch(reject);
  });
}

function redelivery(transport: Transport): Case {
  return { name: `redelivery, ${transport}`, run: (folder) => measureRedelivery(folder, transport) };
}

/** From the SIGKILL of a worker process to the start of the handler in this one. */
async function measureRedelivery(folder: string, transport: Transport): Promise<Measurement> {
  const broker = await startBrokerProcess(folder, transport);
  const holdfast = await open(broker.url);
  const channel = holdfast.channel<number>(HELD_CHANNEL);
  const latencies: number[] = [];
  for (let i = 0; i < REDELIVERIES; i++) {
    await channel.produce(i);
    const worker = fork(HOLDER, [broker.url, HELD_CHANNEL], { stdio: ['ignore', 2, 2, 'ipc'] });
    const gone = once(worker, 'exit');
    const [held] = (await once(worker, 'message')) as [number];
    let killedAt = 0;
    let consumed = (): void => {};
    const settled = new Promise<void>((resolve) => (consumed = resolve));
    const consumer = await channel.consume((message) => {
      latencies.push(performance.now() - killedAt);
      if (message !== held || killedAt === 0) throw new Error('Cannot trust the figure: another message came');
      consumed();
    });
    // The answer says that the broker knows of the consumer.
    await channel.inspect();
    killedAt = performance.now();
    worker.kill('SIGKILL');
    await settled;
    await Promise.all([consumer.drain(), gone]);
  }
  await holdfast.close();
  await broker.close();
  return {
    messages: REDELIVERIES,
    p50Ms: percentile(latencies, 0.5),
    worstMs: Math.max(...latencies),
  };
}

const HELD_CHANNEL = 'held';
const HOLDER = fileURLToPath(new URL('../holder.js', import.meta.url));
