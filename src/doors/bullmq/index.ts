/**
 * BullMQ's own classes over Holdfast: change `from 'bullmq'` to `from 'holdfast/bullmq'`, and there is no Redis. Everything else that
 * BullMQ exports is there as well.
 */
export * from 'bullmq';
export { createHoldfastBackend, HoldfastQueueBackend } from './backend.ts';
export type { ConnectionOptions, HoldfastConnection, ServerConnection } from './connections.ts';
export { FlowProducer, Queue, QueueEvents, QueueEventsProducer, Worker } from './classes.ts';
