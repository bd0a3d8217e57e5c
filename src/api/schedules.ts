/** Schedules: messages that are produced again and again, made, changed and looked at. */
import type { Client } from '../client/client.ts';
import { HoldfastError } from '../model/errors.ts';
import { type MessageId, messageIdText } from '../model/message-id.ts';
import {
  type ManageSchedule,
  MAX_SCHEDULE_LIST,
  type SchedulePage as PageView,
  type ScheduleView,
} from '../model/schedule.ts';
import type { Channel } from './channel.ts';
import { decodePayload } from './messages.ts';
import { refuseUnknown, wholeNumber } from './checks.ts';
import { checkScheduleKey, type ScheduleOptions, type ScheduleReceipt, type ScheduleRule } from './schedule-options.ts';
import { ask } from './stored.ts';

/** A schedule as it is listed. */
export type ScheduleInfo = Omit<ScheduleView, 'codec' | 'payload'>;

/** A schedule with the message that each of its ticks brings. */
export interface Schedule<Message = unknown> extends ScheduleInfo {
  readonly message: Message;
}

export interface SchedulePage {
  readonly schedules: readonly ScheduleInfo[];
  /** What to give as `after` for the schedules that follow; `undefined` when there are no more. */
  readonly next: string | undefined;
}

export interface ScheduleListOptions {
  /** The key behind which the list begins. */
  readonly after?: string;
  /** At most 100. @default 20 */
  readonly limit?: number;
  /** Only schedules of this channel. */
  readonly channel?: string;
}

export interface Schedules {
  /**
   * Makes a schedule, or changes the one of this key; so it may be called at each start of an application. The next tick moves
   * only if the rule or the start has changed.
   *
   * @throws TypeError, RangeError for a rule, an option or a message that cannot be used; nothing is changed then
   * @throws HoldfastError `STORE_FULL`, `FORBIDDEN`, `TOO_MANY`, `CLOSED`
   */
  upsert<Input, Message, Result>(
    key: string,
    rule: ScheduleRule,
    target: ScheduleOptions & { readonly channel: Channel<Input, Message, Result>; readonly message: Input },
  ): Promise<ScheduleReceipt>;
  /** Has no more ticks until `resume`; those that pass meanwhile are left out. @throws HoldfastError `NOT_FOUND` */
  pause(key: string): Promise<void>;
  /** @throws HoldfastError `NOT_FOUND` */
  resume(key: string): Promise<void>;
  /** Forgets the schedule, and says whether there was one; its messages stay. */
  remove(key: string): Promise<boolean>;
  /**
   * Produces the schedule's message once more, now, also when it is paused or has ended. It counts for no limit.
   *
   * @throws HoldfastError `NOT_FOUND`; `WRONG_STATE` when messages must not overlap and the last one has not ended
   */
  runNow(key: string): Promise<{ readonly id: MessageId }>;
  /** A schedule with its message; `undefined` when there is none. */
  get<Message = unknown>(key: string): Promise<Schedule<Message> | undefined>;
  /** Schedules in the order of their keys, a page at a time. */
  list(options?: ScheduleListOptions): Promise<SchedulePage>;
}

export function createSchedules(client: Client): Schedules {
  const manage = async (key: string, action: ManageSchedule['action'], id?: Uint8Array): Promise<void> => {
    checkScheduleKey(key);
    await ask(client, { kind: 'manageSchedule', key, action, id });
  };
  return {
    upsert: async (key, rule, target) => {
      if (typeof target !== 'object' || target === null || typeof target.channel?.schedule !== 'function') {
        throw new TypeError('Cannot make a schedule: give { channel, message }, with a channel of this instance');
      }
      const { channel, message, ...options } = target;
      channel.checkInstance(client);
      return channel.schedule(key, rule, message, options);
    },
    pause: (key) => manage(key, 'pause'),
    resume: (key) => manage(key, 'resume'),
    remove: async (key) => {
      try {
        await manage(key, 'remove');
        return true;
      } catch (error) {
        if (error instanceof HoldfastError && error.code === 'NOT_FOUND') return false;
        throw error;
      }
    },
    runNow: async (key) => {
      const id = client.nextId();
      await manage(key, 'run', id);
      return { id: messageIdText(id) };
    },
    get: async <Message>(key: string) => {
      checkScheduleKey(key);
      const view = (await ask(client, { kind: 'inspect', what: 'schedule', key })) as ScheduleView | null;
      return view === null ? undefined : decodeSchedule<Message>(view);
    },
    list: (options = {}) => listSchedules(client, options),
  };
}

function decodeSchedule<Message>({ codec, payload, ...info }: ScheduleView): Schedule<Message> {
  const message = codec === undefined || payload === undefined ? undefined : decodePayload(codec, payload);
  return { ...info, message: message as Message };
}

async function listSchedules(client: Client, options: ScheduleListOptions): Promise<SchedulePage> {
  refuseUnknown(options, ['after', 'limit', 'channel'], 'list');
  const { after = '', channel } = options;
  if (typeof after !== 'string') throw new TypeError(`Cannot use ${typeof after} as "after": it must be a key`);
  if (channel !== undefined && typeof channel !== 'string') {
    throw new TypeError(`Cannot use ${typeof channel} as "channel": it must be the name of a channel`);
  }
  const limit = wholeNumber(options.limit ?? 20, 'limit', 1, MAX_SCHEDULE_LIST);
  const schedules: ScheduleInfo[] = [];
  for (let behind: string | undefined = after; behind !== undefined;) {
    const command = { kind: 'inspect', what: 'schedules', after: behind, limit: limit - schedules.length, channel };
    const page = (await ask(client, command as Parameters<typeof ask>[1])) as PageView;
    for (const { codec: _codec, payload: _payload, ...info } of page.schedules) schedules.push(info);
    behind = page.next;
    // A page is short where there was much that it passed over.
    if (schedules.length === limit) return { schedules, next: behind };
  }
  return { schedules, next: undefined };
}
