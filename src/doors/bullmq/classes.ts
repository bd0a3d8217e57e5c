/** BullMQ's classes, bound to Holdfast: where a connection may be left out, and what has finished does not pile up for ever. */
import {
  type BackendClasses,
  type FlowProducerOptions,
  type JobProgress,
  type Processor,
  type QueueEventsOptions,
  type QueueEventsProducerOptions,
  type QueueOptions,
  withBackend,
  type WorkerOptions,
} from 'bullmq';
import { createHoldfastBackend, type HoldfastQueueBackend } from './backend.ts';
import type { ConnectionOptions } from './connections.ts';

type Classes = BackendClasses<HoldfastQueueBackend, ConnectionOptions>;

/** Options without which BullMQ does not go. */
type Open<Options> = Omit<Options, 'connection'> & { readonly connection?: ConnectionOptions };

const classes: Classes = withBackend(createHoldfastBackend);

const SECOND = 1;
const DAY: number = 24 * 60 * 60 * SECOND;

/** What has finished stays at most so long, and so many, unless the queue or the job says otherwise. */
const RETENTION = {
  removeOnComplete: { age: DAY / 24, count: 1_000 },
  removeOnFail: { age: 30 * DAY, count: 100_000 },
} as const;

class BoundQueue extends classes.Queue {
  constructor(name: string, opts: Open<QueueOptions> = {}) {
    super(name, { ...opened(opts), defaultJobOptions: { ...RETENTION, ...opts.defaultJobOptions } });
  }
}

class BoundWorker extends classes.Worker {
  constructor(name: string, processor?: string | URL | null | Processor, opts: Open<WorkerOptions> = {}) {
    super(name, processor, opened(opts));
  }
}

class BoundQueueEvents extends classes.QueueEvents {
  constructor(name: string, opts: Open<QueueEventsOptions> = {}) {
    super(name, opened(opts));
  }
}

class BoundQueueEventsProducer extends classes.QueueEventsProducer {
  constructor(name: string, opts: Open<QueueEventsProducerOptions> = {}) {
    super(name, opened(opts));
  }
}

class BoundFlowProducer extends classes.FlowProducer {
  constructor(opts: Open<FlowProducerOptions> = {}) {
    super(opened(opts));
  }
}

/** BullMQ asks for a connection, be it an empty one, and that is the default of `open`. */
function opened<Options extends { readonly connection?: unknown }>(
  opts: Options,
): Options & { connection: ConnectionOptions } {
  return { ...opts, connection: (opts.connection ?? {}) as ConnectionOptions };
}

/* oxlint-disable typescript/no-explicit-any -- BullMQ's types default to it, and code that changes one import relies on that. */

export type Queue<Data = any, Result = any, Name extends string = string> = InstanceType<
  typeof classes.Queue<Data, Result, Name>
>;
export const Queue: new <Data = any, Result = any, Name extends string = string>(
  name: string,
  opts?: Open<QueueOptions>,
) => Queue<Data, Result, Name> = BoundQueue as never;

export type Worker<
  Data = any,
  Result = any,
  Name extends string = string,
  Progress extends JobProgress = JobProgress,
> = InstanceType<typeof classes.Worker<Data, Result, Name, Progress>>;
export const Worker: {
  new <Data = any, Result = any, Name extends string = string, Progress extends JobProgress = JobProgress>(
    name: string,
    processor?: string | URL | null | Processor<Data, Result, Name, Progress>,
    opts?: Open<WorkerOptions>,
  ): Worker<Data, Result, Name, Progress>;
  RateLimitError: Classes['Worker']['RateLimitError'];
} = BoundWorker as never;

export type QueueEvents<Result = any> = InstanceType<typeof classes.QueueEvents<Result>>;
export const QueueEvents: new <Result = any>(name: string, opts?: Open<QueueEventsOptions>) => QueueEvents<Result> =
  BoundQueueEvents as never;

/* oxlint-enable typescript/no-explicit-any */

export type QueueEventsProducer = InstanceType<Classes['QueueEventsProducer']>;
export const QueueEventsProducer: new (name: string, opts?: Open<QueueEventsProducerOptions>) => QueueEventsProducer =
  BoundQueueEventsProducer as never;

export type FlowProducer = InstanceType<Classes['FlowProducer']>;
export const FlowProducer: new (opts?: Open<FlowProducerOptions>) => FlowProducer = BoundFlowProducer as never;
