/** Looking for messages by a filter. */
import type { Client } from '../client/client.ts';
import type { SearchPage as PageView } from '../model/views.ts';
import { MAX_FILTER_CHARACTERS, type MessageFilter, type ScanPosition } from '../model/filter.ts';
import { type State, STATES } from '../model/states.ts';
import { checkText, oneOf, refuseUnknown, resolveMoment, wholeNumber } from './checks.ts';
import { ask, decodeStored, type StoredMessage } from './stored.ts';

/** Which messages are meant: all of what is given must hold. */
export interface FilterOptions {
  /** @default any */
  readonly state?: State | readonly State[];
  /** What the message is called. */
  readonly name?: string;
  /** The key of its group. */
  readonly group?: string;
  /** Produced at this moment or later, by the clock of the producer, to a second. */
  readonly producedAfter?: Date | number;
  /** Produced before this moment, likewise. */
  readonly producedBefore?: Date | number;
  /** Ended at this moment or later. */
  readonly endedAfter?: Date | number;
  /** Ended before this moment. */
  readonly endedBefore?: Date | number;
  /** With so many attempts, or more. */
  readonly minAttempts?: number;
  /** With so many attempts, or fewer. */
  readonly maxAttempts?: number;
  /** A text in the name or the message of its last failure. */
  readonly failure?: string;
  /**
   * A text that stands in the message: in one of its strings or keys, in the same case. What it cannot find: numbers, dates and bytes, and
   * a text that goes over from one string to the next.
   */
  readonly text?: string;
}

export interface SearchOptions extends FilterOptions {
  /** At most 100. @default 20 */
  readonly limit?: number;
  /**
   * Those that live come first, by when they were produced; then the ended ones of each state, by when they ended.
   * @default 'newest'
   */
  readonly order?: 'newest' | 'oldest';
  /** What the page before gave. */
  readonly cursor?: string;
}

export interface SearchPage<Message> {
  /** Up to `limit` of them; fewer, or none, where the part that was looked through holds no more. */
  readonly messages: readonly StoredMessage<Message>[];
  /** To look on with; `undefined` when all has been looked through. */
  readonly cursor: string | undefined;
}

const FILTERS = [
  'state',
  'name',
  'group',
  'producedAfter',
  'producedBefore',
  'endedAfter',
  'endedBefore',
  'minAttempts',
  'maxAttempts',
  'failure',
  'text',
] as const;

const TEXTS = ['name', 'group', 'failure', 'text'] as const;
const COUNTS = ['minAttempts', 'maxAttempts'] as const;

/** Attempts are counted up to here. */
const MAX_ATTEMPTS = 2 ** 40;

/** One page of what a filter holds for; a search is bounded work for the broker, and goes on with the cursor. */
export async function searchMessages<Message>(
  client: Client,
  channel: string | undefined,
  options: SearchOptions,
): Promise<SearchPage<Message>> {
  const { limit = 20, order = 'newest', cursor, ...rest } = options;
  refuseUnknown(options, [...FILTERS, 'limit', 'order', 'cursor'], 'search');
  const page = (await ask(client, {
    kind: 'inspect',
    what: 'search',
    channel,
    filter: filterOf(rest, STATES),
    order: oneOf(order, 'order', ['newest', 'oldest'] as const),
    after: cursor === undefined ? undefined : parseCursor(cursor),
    limit: wholeNumber(limit, 'limit', 1, 100),
  })) as PageView;
  const { next } = page;
  return {
    messages: page.messages.map((view) => decodeStored<Message>(view)),
    cursor: next && `${next.stage}.${next.a}.${next.b}`,
  };
}

/** @throws TypeError, RangeError for what is no filter on messages in these states */
export function filterOf(options: FilterOptions, states: readonly State[], what: string = 'search'): MessageFilter {
  refuseUnknown(options, FILTERS, what);
  const { state } = options;
  const wanted = state === undefined ? states : typeof state === 'string' ? [state] : state;
  if (!Array.isArray(wanted) || wanted.length === 0) {
    throw new TypeError(`Cannot use "state": it must be one of ${states.join(', ')}, or a list of them`);
  }
  for (const one of wanted) oneOf(one, 'state', states);
  for (const name of TEXTS) {
    const text = options[name];
    if (text !== undefined) checkText(name, text, MAX_FILTER_CHARACTERS);
  }
  for (const name of COUNTS) {
    const count = options[name];
    if (count !== undefined) wholeNumber(count, name, 0, MAX_ATTEMPTS);
  }
  const { name, group, failure, text, minAttempts, maxAttempts } = options;
  return {
    states: [...new Set(wanted as readonly State[])],
    name,
    group,
    producedAfter: resolveMoment(options.producedAfter, 'producedAfter'),
    producedBefore: resolveMoment(options.producedBefore, 'producedBefore'),
    endedAfter: resolveMoment(options.endedAfter, 'endedAfter'),
    endedBefore: resolveMoment(options.endedBefore, 'endedBefore'),
    minAttempts,
    maxAttempts,
    failure,
    text,
  };
}

function parseCursor(cursor: string): ScanPosition {
  const [stage, a, b, ...rest] = typeof cursor === 'string' ? cursor.split('.').map(Number) : [];
  const isOne = [stage, a, b].every((part) => Number.isSafeInteger(part)) && rest.length === 0;
  if (isOne && Number(stage) >= 0) return { stage: stage as number, a: a as number, b: b as number };
  throw new TypeError(`Cannot use "${String(cursor)}" as a cursor: it must be that of the page before`);
}
