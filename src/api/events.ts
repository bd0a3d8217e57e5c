/** Events: what happens to messages and channels, read from the journal as it is written. */
import type { Client } from '../client/client.ts';
import { CODEC_BSON } from '../codec/bson.ts';
import type { EventFilter } from '../model/command.ts';
import type { EventKind, EventPage, EventPosition, EventView } from '../model/views.ts';
import type { MessageId } from '../model/message-id.ts';
import { CHANNEL_HAPPENINGS, type ChannelHappening, type Happening, HAPPENINGS } from '../model/states.ts';
import { checkChannelName, checkSignal, refuseUnknown } from './checks.ts';
import { decodePayload } from './messages.ts';
import { ask } from './stored.ts';

/** Something that happened to a message. */
export interface MessageHappened<What extends Happening = Happening> {
  readonly kind: 'message';
  /** Where to go on behind this event: for `after`. A text that means something to this store only. */
  readonly position: string;
  readonly what: What;
  /** In epoch milliseconds. */
  readonly at: number;
  readonly channel: string;
  /** `undefined` when the message was removed before the event was read. */
  readonly id: MessageId | undefined;
  /** The attempt that it belongs to, 1-based; 0 where none is concerned. */
  readonly attempt: number;
  /** The number of the session whose consumer did it; `undefined` where none did. */
  readonly session: number | undefined;
  /** What a handler gave to `progress`, where that takes at most 1 KiB; all of it is with the message. */
  readonly progress: unknown;
  /** The line that was `logged`; of a `failed` or `nacked` attempt, the first 200 characters of the error's message. */
  readonly note: string | undefined;
}

/** Something that happened to a channel as a whole. */
export interface ChannelHappened<What extends ChannelHappening = ChannelHappening> {
  readonly kind: 'channel';
  readonly position: string;
  readonly what: What;
  /** In epoch milliseconds. */
  readonly at: number;
  readonly channel: string;
}

/** The journal does not reach back to where the reader was: events are missing between the last one and the next. */
export interface EventsTrimmed {
  readonly kind: 'trimmed';
  readonly position: string;
}

/** Events of these kinds, and the word that some are missing. */
export type JournalEvent<What extends EventKind = EventKind> =
  | OfSome<Extract<What, Happening>, MessageHappened<Extract<What, Happening>>>
  | OfSome<Extract<What, ChannelHappening>, ChannelHappened<Extract<What, ChannelHappening>>>
  | EventsTrimmed;

type OfSome<What, Event> = [What] extends [never] ? never : Event;

export interface ChannelEventsOptions<What extends EventKind = EventKind> {
  /** The `position` of the last event that was seen, or a moment. @default what happens from now on */
  readonly after?: string | Date | number;
  /** Only what is among these. The broker leaves out the others, so that a rare kind costs little. @default all */
  readonly kinds?: readonly What[];
  /** Ends the waiting: the iteration throws the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface EventsOptions<What extends EventKind = EventKind> extends ChannelEventsOptions<What> {
  /** Only of this channel. @default all channels */
  readonly channel?: string;
  /** Only of channels whose names match, where `*` stands for any characters, also none: `'mail/*'`. */
  readonly channels?: string;
}

/** How many events one request asks for: as many as it may, to keep up with a busy store. */
const PAGE = 1_000;

const POSITION = /^(\d{1,15})\.(\d{1,15})$/;

/** @throws TypeError for options that cannot be used */
export function readEvents<What extends EventKind>(
  client: Client,
  options: EventsOptions<What>,
): AsyncGenerator<JournalEvent<What>, never, void> {
  refuseUnknown(options, ['after', 'channel', 'channels', 'kinds', 'signal'], 'events');
  const { after, signal } = options;
  checkSignal(signal);
  const reader = new EventReader(client, filterOf(options));
  // "From now on" means from this call, not from when somebody looks.
  const first = reader.read(startOf(after));
  first.catch(() => {});
  return iterate(reader, first, signal) as AsyncGenerator<JournalEvent<What>, never, void>;
}

const KINDS: readonly EventKind[] = [...HAPPENINGS, ...CHANNEL_HAPPENINGS];

function filterOf({ channel, channels, kinds }: EventsOptions): EventFilter {
  if (channel !== undefined) checkChannelName(channel);
  if (channels !== undefined) checkChannelName(channels);
  if (channel !== undefined && channels !== undefined) {
    throw new TypeError('Cannot use "channel" and "channels" together: give one');
  }
  if (kinds === undefined) return { channel, channels, kinds };
  if (!Array.isArray(kinds) || kinds.length === 0) {
    throw new TypeError('Cannot use "kinds": it must be a list that is not empty');
  }
  const unknown = kinds.find((kind) => !KINDS.includes(kind));
  if (unknown === undefined) return { channel, channels, kinds: [...new Set(kinds)] };
  throw new TypeError(`Cannot use "${String(unknown)}" as one of "kinds": known are ${KINDS.join(', ')}`);
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
  readonly #filter: EventFilter;
  #noticesBefore = 0;

  constructor(client: Client, filter: EventFilter) {
    this.#client = client;
    this.#filter = filter;
  }

  async read(after: EventPosition | { readonly at: number } | undefined): Promise<EventPage> {
    this.#noticesBefore = this.#client.waits.eventNotices;
    const command = { kind: 'inspect', what: 'events', after, filter: this.#filter, limit: PAGE } as const;
    return (await ask(this.#client, command)) as EventPage;
  }

  waitForMore(signal: AbortSignal | undefined): Promise<void> {
    return this.#client.waits.moreEvents(this.#noticesBefore, signal);
  }
}

function happened({ next, ofChannel, what, at, channel, progress, ...rest }: EventView): JournalEvent {
  const position = positionText(next);
  if (ofChannel) return { kind: 'channel', position, what: what as ChannelHappening, at, channel };
  return { kind: 'message', position, what: what as Happening, at, channel, progress: valueOf(progress), ...rest };
}

/** A client may have sent anything as progress; nobody who follows along has to stop for that. */
function valueOf(progress: Uint8Array | undefined): unknown {
  try {
    return progress === undefined ? undefined : decodePayload(CODEC_BSON, progress);
  } catch {
    return undefined;
  }
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
