/** Deepkit's broker queue on Holdfast: `import { BrokerQueue } from 'holdfast/deepkit'`, with Deepkit or without. */
export { HoldfastBrokerAdapter } from './adapter.ts';
export {
  App,
  FrameworkModule,
  type FrameworkModuleOptions,
  HoldfastModule,
  type HoldfastModuleOptions,
} from './application.ts';
export { BrokerQueueMessage } from './message.ts';
export {
  type BrokerQueueChannelOptions,
  type BrokerQueueConsumeOptions,
  type BrokerQueueMessageProcessingOptions,
  type BrokerQueueProduceOptions,
  QueueMessageProcessing,
} from './options.ts';
export { BrokerQueue, BrokerQueueChannel, type BrokerQueueHandler, type Release } from './queue.ts';
