/**
 * What those who operate a store do: look at all channels, find any message, stop and start. Nothing here makes a
 * channel or changes its rules, as naming one with `channel()` does; one that does not exist is `NOT_FOUND`.
 */
import type { Client } from '../client/client.ts';
import { type Control, type Manage, MAX_EVENTS_KEPT } from '../model/command.ts';
import type { ChannelView, GroupView, Overview } from '../model/views.ts';
import { type Duration, parseDuration } from '../model/duration.ts';
import type { FlowView } from '../model/flow-views.ts';
import type { BulkAction } from '../model/filter.ts';
import type { BulkView } from '../model/life.ts';
import { type MessageId, parseMessageId } from '../model/message-id.ts';
import { DEFAULT_JOURNAL_BOUNDS } from '../model/policy.ts';
import type { MetricsPage } from '../model/metrics.ts';
import type { State } from '../model/states.ts';
import { checkChannelName, checkOptionsObject, refuseUnknown, wholeNumber } from './checks.ts';
import { type AllMetricsOptions, readMetrics } from './metrics.ts';
import { type FlowViewOptions, viewFlow } from './flow.ts';
import { type Bulk, bulkOf, type BulkOptions, listBulks, startBulk } from './bulk.ts';
import {
  cancelMessage,
  type CancelOptions,
  retryMessage,
  type RetryOptions,
  updateMessage,
  type UpdateOptions,
} from './life.ts';
import { type FilterOptions, searchMessages, type SearchOptions, type SearchPage } from './search.ts';
import { type ChannelGroup, channelGroup, channelGroups } from './groups.ts';
import { type ChannelConfiguration, resolveConfiguration } from './settings.ts';
import { ask, listMessages, type ListOptions, readMessage, type StoredMessage } from './stored.ts';
import { readUsage, type UsageOptions, type UsageReport } from './usage.ts';

export interface Admin {
  /** All channels in the order of their names; up to 1,000 of them at one moment. */
  overview(): Promise<ChannelView[]>;
  /** What a channel holds at one moment; `undefined` when there is no such channel. */
  inspect(channel: string): Promise<ChannelView | undefined>;
  /**
   * What channels have counted by the minute over the last day, a page at a time, in the order in which they were made: those
   * that the access token may read.
   *
   * @throws TypeError, RangeError for options that cannot be used
   */
  metrics(options?: AllMetricsOptions): Promise<MetricsPage>;
  /**
   * Who has read and written how much, by day, access token and channel: today, unless `from` says otherwise. Days are kept
   * for three months. It takes `server:admin`.
   *
   * @throws TypeError, RangeError for options that cannot be used; HoldfastError `FORBIDDEN`
   */
  usage(options?: UsageOptions): Promise<UsageReport>;
  /** A message of any channel; `undefined` when it is not kept any more. @throws TypeError for a text that is no id */
  get(id: MessageId): Promise<StoredMessage<unknown> | undefined>;
  /** Messages of one state: live ones in the order in which they come, ended ones the newest first. */
  list(channel: string, state: State, options?: ListOptions): Promise<StoredMessage<unknown>[]>;
  /** Hands out no more messages until `resume`. @throws HoldfastError `NOT_FOUND` */
  pause(channel: string): Promise<void>;
  /** @throws HoldfastError `NOT_FOUND` */
  resume(channel: string): Promise<void>;
  /** Changes what holds for a channel from now on; what is not named stays. @throws TypeError, RangeError; HoldfastError `NOT_FOUND` */
  configure(channel: string, configuration: ChannelConfiguration): Promise<void>;
  /** One group of a channel. @throws TypeError, RangeError */
  group(channel: string, key: string): ChannelGroup;
  /** All groups of a channel that have messages, or something that is kept for them, in the order in which they came up. */
  groups(channel: string): AsyncGenerator<GroupView, void, void>;
  /** Deletes the messages that wait and says how many there were. @throws HoldfastError `NOT_FOUND` */
  purge(channel: string): Promise<number>;
  /** Brings all dead messages of a channel back and says how many. @throws HoldfastError `NOT_FOUND` */
  redrive(channel: string): Promise<number>;
  /** Brings a message back that has ended. @throws HoldfastError `NOT_FOUND`, `WRONG_STATE` */
  retry(id: MessageId, options?: RetryOptions): Promise<void>;
  /** Stops a message that has not ended. @throws HoldfastError `NOT_FOUND`, `WRONG_STATE` */
  cancel(id: MessageId, options?: CancelOptions): Promise<void>;
  /** What waits for what below a message; `undefined` when it is not kept any more. */
  flow(id: MessageId, options?: FlowViewOptions): Promise<FlowView | undefined>;
  /** Deletes a message that waits, or that has ended. @throws HoldfastError `NOT_FOUND`, `WRONG_STATE` */
  remove(id: MessageId): Promise<void>;
  /** Changes a message that waits; no schema checks it. @throws HoldfastError `NOT_FOUND`, `WRONG_STATE` */
  update(id: MessageId, options: UpdateOptions<unknown>): Promise<void>;
  /** Messages that a filter holds for, of one channel or of all, a page at a time. */
  search(options?: SearchOptions & { readonly channel?: string }): Promise<SearchPage<unknown>>;
  /** Begins a bulk, see `bulk` of a channel. @throws HoldfastError `NOT_FOUND` */
  startBulk<Action extends BulkAction>(
    channel: string,
    action: Action,
    filter: FilterOptions,
    options?: BulkOptions<Action>,
  ): Promise<Bulk>;
  /** Bulks that run, and the last hundred that have ended, of one channel or of all. */
  bulks(channel?: string): Promise<BulkView[]>;
  /** A bulk by its number. */
  bulk(id: number): Bulk;
  /** Makes a delayed message ready now. @throws HoldfastError `NOT_FOUND`, `WRONG_STATE` */
  promote(id: MessageId): Promise<void>;
  /**
   * Changes how many events the space keeps, and how long, for good. What is not given is as at the beginning. It takes
   * `server:admin`.
   *
   * @throws TypeError, RangeError; HoldfastError `FORBIDDEN`
   */
  retainEvents(options: RetainEventsOptions): Promise<void>;
}

export interface RetainEventsOptions {
  /** At most 1,000,000. Raise it for readers that may be away for long while much happens. @default 100000 */
  readonly count?: number;
  /** @default '24h' */
  readonly age?: Duration;
}

/** How many channels one request asks for. */
const OVERVIEW_STEP = 1_000;

export function createAdmin(client: Client): Admin {
  const control = (channel: string, action: Control['action']): Promise<unknown> => {
    checkChannelName(channel);
    return ask(client, { kind: 'control', channel, action, settings: undefined });
  };
  const manage = async (id: MessageId, action: Manage['action']): Promise<void> => {
    await ask(client, { kind: 'manage', id: parseMessageId(id), action });
  };
  return {
    async overview() {
      const channels: ChannelView[] = [];
      for (let after: number | undefined = 0; after !== undefined;) {
        const command = { kind: 'inspect', what: 'overview', after, limit: OVERVIEW_STEP } as const;
        const part = (await ask(client, command)) as Overview;
        channels.push(...part.channels);
        after = part.next;
      }
      return channels.sort((a, b) => (a.channel < b.channel ? -1 : 1));
    },
    async inspect(channel) {
      checkChannelName(channel);
      return ((await ask(client, { kind: 'inspect', what: 'channel', channel })) as ChannelView | null) ?? undefined;
    },
    metrics: (options = {}) => readMetrics(client, options),
    usage: (options = {}) => readUsage(client, options),
    get: (id) => readMessage(client, id),
    async list(channel, state, options = {}) {
      checkChannelName(channel);
      return listMessages(client, channel, state, options);
    },
    pause: async (channel) => void (await control(channel, 'pause')),
    resume: async (channel) => void (await control(channel, 'resume')),
    async configure(channel, configuration) {
      checkChannelName(channel);
      refuseUnknown(configuration, ['retain', 'limits', 'groups'], 'configure');
      const settings = resolveConfiguration(configuration);
      if (settings !== undefined) await ask(client, { kind: 'control', channel, action: 'configure', settings });
    },
    group(channel, key) {
      checkChannelName(channel);
      return channelGroup(client, channel, key);
    },
    groups(channel) {
      checkChannelName(channel);
      return channelGroups(client, channel);
    },
    purge: async (channel) => Number(await control(channel, 'purge')),
    redrive: async (channel) => Number(await control(channel, 'redrive')),
    flow: (id, options) => viewFlow(client, id, options),
    retry: (id, options) => retryMessage(client, id, options),
    cancel: (id, options) => cancelMessage(client, id, options),
    remove: (id) => manage(id, 'remove'),
    update: (id, options) => updateMessage(client, id, options),
    async search(options = {}) {
      checkOptionsObject(options, 'search');
      const { channel, ...rest } = options;
      if (channel !== undefined) checkChannelName(channel);
      return searchMessages(client, channel, rest);
    },
    async startBulk(channel, action, filter, options) {
      checkChannelName(channel);
      return startBulk(client, channel, action, filter, options ?? ({} as NonNullable<typeof options>));
    },
    async bulks(channel) {
      if (channel !== undefined) checkChannelName(channel);
      return listBulks(client, channel);
    },
    bulk: (id) => bulkOf(client, id),
    promote: (id) => manage(id, 'promote'),
    async retainEvents(options) {
      refuseUnknown(options, ['count', 'age'], 'retainEvents');
      const count = wholeNumber(options.count ?? DEFAULT_JOURNAL_BOUNDS.count, 'count', 0, MAX_EVENTS_KEPT);
      const ageMs = parseDuration(options.age ?? DEFAULT_JOURNAL_BOUNDS.ageMs, 'age');
      await ask(client, { kind: 'retainEvents', count, ageMs });
    },
  };
}
