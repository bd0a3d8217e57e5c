/** Holdfast in NestJS: channels by injection, processors as classes, drained when the application ends. */
export {
  InjectChannel,
  InjectHoldfast,
  OnChannelEvent,
  type OnChannelEventOptions,
  Process,
  Processor,
  type ProcessorOptions,
} from './decorators.ts';
export { type HoldfastHealth, HoldfastHealthIndicator, type IsHealthyOptions } from './health.ts';
export { HoldfastModule } from './module.ts';
export type {
  HoldfastModuleOptions,
  HoldfastOptionsFactory,
  HoldfastRootAsyncOptions,
  HoldfastRootOptions,
  RegisterChannelOptions,
} from './options.ts';
export type { MessageRequest } from './processors.ts';
export { getChannelToken, getHoldfastToken } from './tokens.ts';
