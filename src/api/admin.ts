/**
 * What those who operate a store do: look at all channels, find any message, stop and start. Nothing here makes a
 * channel or changes its rules, as naming one with `channel()` does; one that does not exist is `NOT_FOUND`.
 */
import type { Client } from '../client/client.ts';
import type { ChannelView, Control, GroupView, Manage, Overview } from '../model/command.ts';
import { type MessageId, parseMessageId } from '../model/message-id.ts';
import type { State } from '../model/states.ts';
import { checkChannelName, refuseUnknown } from './checks.ts';
import { type ChannelGroup, channelGroup, channelGroups } from './groups.ts';
import { type ChannelConfiguration, resolveConfiguration } from './settings.ts';
import { ask, listMessages, type ListOptions, readMessage, type StoredMessage } from './stored.ts';

export interface Admin {
  /** All channels in the order of their names; up to 1,000 of them at one moment. */
  overview(): Promise<ChannelView[]>;
  /** What a channel holds at one moment; `undefined` when there is no such channel. */
  inspect(channel: string): Promise<ChannelView | undefined>;
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
  /** Brings one dead message back. @throws HoldfastError `NOT_FOUND`, `WRONG_STATE` */
  retry(id: MessageId): Promise<void>;
  /** Stops a message that has not ended. @throws HoldfastError `NOT_FOUND`, `WRONG_STATE` */
  cancel(id: MessageId): Promise<void>;
  /** Makes a delayed message ready now. @throws HoldfastError `NOT_FOUND`, `WRONG_STATE` */
  promote(id: MessageId): Promise<void>;
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
    retry: (id) => manage(id, 'redrive'),
    cancel: (id) => manage(id, 'cancel'),
    promote: (id) => manage(id, 'promote'),
  };
}
