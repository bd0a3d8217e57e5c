/** Events: what happens to messages, read from the journal as it is written. */
import type { Client } from '../client/client.ts';
import type { EventPage, EventPosition, EventView } from '../model/command.ts';
import type { MessageId } from '../model/message-id.ts';
import type { Happening } from '../model/states.ts';
import { checkChannelName, checkSignal, refuseUnknown } from './checks.ts';
import { ask } from './stored.ts';

/** Something that happened to a message. */
export interface MessageHappened {
  readonly kind: 'message';
  /** Where to go on behind this event: for `after`. A text that means something to this store only. */
  readonly position: string;
  readonly what: Happening;
  /** In epoch milliseconds. */
  readonly at: number;
  readonly channel: string;
  /** `undefined` when the message was removed before the event was read. */
  readonly id: MessageId | undefined;
  /** The attempt that it belongs to, 1-based; 0 where none is concerned. */
  readonly attempt: number;
  /** The number of the session whose consumer did it; `undefined` where none did. */
  readonly session: number | undefined;
}

/** The journal does not reach back to where the reader was: events are missing between the last one and the next. */
export interface EventsTrimmed {
  readonly kind: 'trimmed';
  readonly position: string;
}

export type JournalEvent = MessageHappened | EventsTrimmed;

export interface EventsOptions {
  /** The `position` of the last event that was seen, or a moment. @default what happens from now on */
  readonly after?: string | Date | number;
  /** @default all channels */
  readonly channel?: string;
  /** Ends the waiting: the iteration throws the signal's reason. */
  readonly signal?: AbortSignal;
}

/** How many events one request asks for: as many as it may, to keep up with a busy store. */
const PAGE = 1_000;

const POSITION = /^(\d{1,15})\.(\d{1,15})$/;

/** @throws TypeError for options that cannot be used */
export function readEvents(client: Client, options: EventsOptions): AsyncGenerator<JournalEvent, never, void> {
  refuseUnknown(options, ['after', 'channel', 'signal'], 'events');
  const { after, channel, signal } = options;
  if (channel !== undefined) checkChannelName(channel);
  checkSignal(signal);
  const reader = new EventReader(client, channel);
  // "From now on" means from this call, not from when somebody looks.
  const first = reader.read(startOf(after));
  first.catch(() => {});
  return iterate(reader, first, signal);
}

async function* iterate(
  reader: EventReader,
  first: Promise<EventPage>,
  signal: AbortSignal | undefined,
): AsyncGenerator<JournalEvent, never, void> {
  let page = await first;
  for (;;) {
    signal?.throwIfAborted();
    // The broker reads the next page while this one is looked at.
    const next = page.isEnd ? undefined : reader.read(page.next);
    next?.catch(() => {});
    if (page.isTrimmed) yield { kind: 'trimmed', position: positionText(page.from) };
    for (const event of page.events) {
      yield happened(event);
      signal?.throwIfAborted();
    }
    if (next === undefined) await reader.waitForMore(signal);
    signal?.throwIfAborted();
    page = await (next ?? reader.read(page.next));
  }
}

/** Reads pages, and knows whether there may be more behind the last one. */
class EventReader {
  readonly #client: Client;
  readonly #channel: string | undefined;
  #noticesBefore = 0;

  constructor(client: Client, channel: string | undefined) {
    this.#client = client;
    this.#channel = channel;
  }

  async read(after: EventPosition | { readonly at: number } | undefined): Promise<EventPage> {
    this.#noticesBefore = this.#client.waits.eventNotices;
    const command = { kind: 'inspect', what: 'events', after, channel: this.#channel, limit: PAGE } as const;
    return (await ask(this.#client, command)) as EventPage;
  }

  waitForMore(signal: AbortSignal | undefined): Promise<void> {
    return this.#client.waits.moreEvents(this.#noticesBefore, signal);
  }
}

function happened({ next, ...event }: EventView): MessageHappened {
  return { kind: 'message', position: positionText(next), ...event };
}

function positionText({ commit, index }: EventPosition): string {
  return `${commit}.${index}`;
}

function startOf(after: EventsOptions['after']): EventPosition | { readonly at: number } | undefined {
  if (after === undefined) return undefined;
  if (typeof after === 'string') {
    const match = POSITION.exec(after);
    if (match !== null) return { commit: Number(match[1]), index: Number(match[2]) };
    throw new TypeError(`Cannot use "${after}" as "after": it must be the position of an event, a Date or a time`);
  }
  const at = Number(after);
  if ((typeof after === 'number' || after instanceof Date) && Number.isFinite(at)) return { at };
  throw new TypeError(
    'Cannot use "after": it must be the position of an event, a Date or a time in epoch milliseconds',
  );
}
