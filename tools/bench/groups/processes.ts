/** The broker in one process and its clients in another, with full durability: over a Unix socket, and over TCP. */
import { type Holdfast, open } from '#holdfast/index.js';
import { type BrokerProcess, startBrokerProcess } from '../broker-process.ts';
import type { Case, Group, Measurement } from '../case.ts';
import { type Flow, flowLimit, type Transport } from '../flow/flow.ts';
import { appendLimit, syncLatency } from '../limits.ts';
import {
  channelOf,
  fill,
  LATENCY_PER_SECOND,
  measureBoth,
  measureDrain,
  measureLatency,
  measureProduce,
  measureProduceAll,
  type PayloadChannel,
  PREFETCHED,
  warmUp,
} from '../workloads.ts';

const BACKLOG = 100_000;
const CONNECTIONS = 1_000;
const BULK = 1_000;

/** Both processes open the folder, the broker's first. */
export const socket: Group = { name: 'socket', cases: casesOver('socket') };

/** The broker's process serves the folder at a loopback port. */
export const tcp: Group = { name: 'tcp', cases: casesOver('tcp') };

function casesOver(transport: Transport): Case[] {
  /** @param batch how many messages share a sync of the disk at best */
  const caseOf = (
    name: string,
    batch: number,
    measure: (channel: PayloadChannel) => Promise<Measurement>,
    flow: (flow: Flow) => Promise<number>,
  ): Case => ({
    name,
    run: (folder) => measuring(folder, transport, measure),
    limits: [flowLimit(transport, 'bytes', flow), flowLimit(transport, 'objects', flow), appendLimit(batch)],
  });
  const producing = (name: string, inFlight: number): Case =>
    caseOf(
      name,
      inFlight,
      (channel) => measureProduce(channel, inFlight),
      (flow) => flow.produce(inFlight, false),
    );
  const drainAt = (concurrency: number): Case => ({
    ...caseOf(
      `drain concurrency ${concurrency}`,
      PREFETCHED + concurrency,
      (channel) => measureDrain(channel, concurrency, BACKLOG),
      (flow) => flow.drain(BACKLOG, PREFETCHED + concurrency),
    ),
    prepare: prepareBacklog,
  });
  return [
    producing('produce awaited', 1),
    producing('produce 100 in flight', 100),
    producing('produce 1000 in flight', BULK),
    caseOf('produceAll 1000', BULK, measureProduceAll, (flow) => flow.produceTogether(BULK)),
    drainAt(1),
    drainAt(50),
    drainAt(200),
    caseOf(
      'both at once',
      BULK,
      (channel) => measureBoth(channel, BULK, 50),
      (flow) => flow.produce(BULK, true),
    ),
    {
      name: 'latency 500/s',
      run: (folder) => measuring(folder, transport, measureLatency),
      limits: [syncLatency(LATENCY_PER_SECOND)],
    },
    { name: '1000 idle consumers', run: (folder) => measureIdleConsumers(folder, transport) },
  ];
}

async function prepareBacklog(folder: string): Promise<void> {
  const holdfast = await open(`file:${folder}`);
  await fill(channelOf(holdfast), BACKLOG);
  await holdfast.close();
}

/** Measures in this process, with the broker's processor time added and its memory. */
async function measuring(
  folder: string,
  transport: Transport,
  measure: (channel: PayloadChannel) => Promise<Measurement>,
): Promise<Measurement> {
  return withBroker(folder, transport, async (holdfast, broker) => {
    await warmUp(holdfast);
    const before = await broker.usage();
    const measured = await measure(channelOf(holdfast));
    const { cpuMicros, rssBytes } = await broker.usage();
    const ownMicros = measured.cpuMicrosPerMessage ?? 0;
    return {
      ...measured,
      cpuMicrosPerMessage: ownMicros + (cpuMicros - before.cpuMicros) / measured.messages,
      rssBytes,
    };
  });
}

/** What the broker's process takes for consumers that wait, each of them on a connection of its own. */
async function measureIdleConsumers(folder: string, transport: Transport): Promise<Measurement> {
  return withBroker(folder, transport, async (_, broker) => {
    const before = await broker.usage();
    const clients: Holdfast[] = [];
    for (let i = 0; i < CONNECTIONS; i++) {
      const client = await open(broker.url);
      clients.push(client);
      await channelOf(client).consume(() => {});
    }
    // Whoever asks last is answered when all windows before have been heard of.
    await Promise.all(clients.map((client) => channelOf(client).inspect()));
    const { rssBytes } = await broker.usage();
    await Promise.all(clients.map((client) => client.close()));
    return { messages: 0, rssBytes, addedBytes: rssBytes - before.rssBytes };
  });
}

async function withBroker(
  folder: string,
  transport: Transport,
  work: (holdfast: Holdfast, broker: BrokerProcess) => Promise<Measurement>,
): Promise<Measurement> {
  const broker = await startBrokerProcess(folder, transport);
  try {
    const holdfast = await open(broker.url);
    const measured = await work(holdfast, broker);
    await holdfast.close();
    return measured;
  } finally {
    await broker.close();
  }
}
