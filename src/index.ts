/** Holdfast: jobs, channels and KV that commit together. */
export { type LogLine, open, type OpenOptions } from './open.ts';
export { restore, type Restored } from './restore.ts';
export type { Handler, ScopedHandler } from './api/attempt.ts';
export type { BatchContext, BatchHandler, BatchMessage, BatchReturn, ScopedBatchHandler } from './api/batch.ts';
export type { Admin, RetainEventsOptions } from './api/admin.ts';
export type { BackupOptions } from './api/backup.ts';
export { Channel, type RequestOptions } from './api/channel.ts';
export {
  type ChannelDefinition,
  type ChannelMap,
  type Channels,
  defineChannel,
  type HandlerOf,
} from './api/channel-map.ts';
export type { Receipt } from './api/receipt.ts';
export type { Bulk, BulkOptions } from './api/bulk.ts';
export type {
  BatchConsumeOptions,
  Consumer,
  ConsumeOptions,
  ScopedBatchConsumeOptions,
  ScopedConsumeOptions,
} from './api/consumer.ts';
export type {
  ChannelEventsOptions,
  ChannelHappened,
  EventsOptions,
  EventsTrimmed,
  JournalEvent,
  MessageHappened,
} from './api/events.ts';
export type { FlowOptions, FlowReceipt, FlowViewOptions } from './api/flow.ts';
export type { FlowChild, ReadChildren, ResultSource } from './api/flow-children.ts';
export type { FlowNode, FlowNodeOptions, FlowParent } from './api/flow-nodes.ts';
export { CancelledError, type HandlerContext } from './api/handler-context.ts';
export type {
  IsolatedConsumeOptions,
  IsolatedContext,
  IsolatedHandler,
  IsolatedScope,
  ScopedIsolatedHandler,
} from './api/isolated.ts';
export type { CloseOptions, Holdfast, HoldfastWith } from './api/holdfast.ts';
export type { KvOptions } from './api/kv/limits.ts';
export { KvU64 } from './api/kv/u64.ts';
export type {
  AtomicCheck,
  AtomicOperation,
  HoldfastAtomic,
  HoldfastKv,
  Kv,
  KvCommitError,
  KvCommitResult,
  KvConsistencyLevel,
  KvEnqueueOptions,
  KvEntry,
  KvEntryMaybe,
  KvListIterator,
  KvListOptions,
  KvMutation,
  KvNumberSum,
  KvQueue,
  ListenQueueOptions,
  QueueHandler,
} from './api/kv/types.ts';
export type { BackoffFunction, BackoffOptions, ChannelOptions, MessageRules, ProduceOptions } from './api/options.ts';
export type {
  ChannelConfiguration,
  GroupOptions,
  LimitOptions,
  OwnGroupOptions,
  RateOptions,
  RetainOptions,
  RetentionOptions,
} from './api/settings.ts';
export type { ChannelGroup } from './api/groups.ts';
export { deadLetter, type HandlerOutcome, rateLimited, retry, snooze, waitForChildren } from './api/outcomes.ts';
export type { ScheduleOptions, ScheduleReceipt, ScheduleRule } from './api/schedule-options.ts';
export type { Schedule, ScheduleInfo, ScheduleListOptions, SchedulePage, Schedules } from './api/schedules.ts';
export type { AllMetricsOptions, MetricsOptions } from './api/metrics.ts';
export type { CancelOptions, ChangeOptions, RetryOptions, UpdateOptions } from './api/life.ts';
export { InvalidMessageError } from './api/schema.ts';
export type { OpenScope, WithScope } from './api/scope.ts';
export type { CreateTokenOptions, NewToken, Tokens } from './api/tokens.ts';
export type { FilterOptions, SearchOptions, SearchPage } from './api/search.ts';
export type { ListOptions, StoredMessage } from './api/stored.ts';
export type { UsageOptions, UsageReport } from './api/usage.ts';
export {
  type PublishOptions,
  type PublishReceipt,
  type SubscribeOptions,
  Topic,
  type TopicOptions,
} from './api/topic.ts';
export type { Transaction, TransactionTarget } from './api/transaction.ts';
export type { Tick } from './model/block.ts';
export type { ChannelTotals, ChannelView, EventKind, GroupView, HistoryEntry, TokenView } from './model/views.ts';
export type { Failure } from './model/failure.ts';
export type { CancelTimer, Clock } from './model/clock.ts';
export type { Duration } from './model/duration.ts';
export { type ErrorCode, HoldfastError, StoreError } from './model/errors.ts';
export type { ChildPolicy } from './model/flow.ts';
export type { FlowView } from './model/flow-views.ts';
export { bucketBounds, type Histogram, mergeHistograms, percentileMs } from './model/histogram.ts';
export type { BulkAction, MessageFilter } from './model/filter.ts';
export type { BulkView } from './model/life.ts';
export type { KvKey, KvKeyPart } from './model/kv-key.ts';
export type { KvListSelector } from './model/kv-selector.ts';
export type { MessageId } from './model/message-id.ts';
export {
  type ChannelMetrics,
  type MetricsPage,
  type MetricsPoint,
  type MetricsSummary,
  summarizeMetrics,
  type TimesSummary,
} from './model/metrics.ts';
export type { ChannelSettings, GroupRules, Rate, Retention } from './model/policy.ts';
export type { Random } from './model/random.ts';
export type { ChannelHappening, EndedState, Happening, LiveState, State } from './model/states.ts';
export type { SubscriptionView } from './model/topic.ts';
export type { UsageCounts, UsageRow } from './model/usage.ts';
