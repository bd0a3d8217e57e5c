/** Small questions about a message and its group, and the orders that they stand in. */
import type { HistoryEntry } from '../model/views.ts';
import type { GroupRules } from '../model/policy.ts';
import type {
  AccessToken,
  Channel,
  DedupeSlot,
  EndedList,
  EndedMessage,
  Extra,
  Gate,
  Group,
  Message,
} from './memory.ts';

export const HISTORY_LENGTH = 32;

/** A note in the history is cut after this many characters, so that the messages of a page always fit into its record. */
const MAX_NOTE_CHARACTERS = 200;

export function extraOf(message: Message): Extra {
  message.extra ??= {
    deaths: 0,
    undecodable: 0,
    failure: undefined,
    history: [],
    expiresAt: 0,
    dedupe: '',
    suspect: false,
    annotated: false,
    undelivered: false,
    givenUp: undefined,
    cost: 1,
    cancelled: undefined,
    payloadPack: 0,
    returned: false,
    charges: [],
  };
  return message.extra;
}

/** The 1-based number of the attempt that runs or comes next. */
export function attemptNumber(message: Message): number {
  return message.attempts + (message.extra?.deaths ?? 0) + 1;
}

/** How much of a rate the message takes. */
export function costOf({ extra }: Message): number {
  return extra?.cost ?? 1;
}

/** What holds for a group: the rules of its channel, with its own over them. */
export function rulesOf({ channel, own }: Group): GroupRules {
  return own === undefined ? channel.settings.groups : { ...channel.settings.groups, ...own };
}

export function remember(message: Message, entry: HistoryEntry): void {
  const { history } = extraOf(message);
  history.push({ ...entry, at: Math.floor(entry.at), note: entry.note?.slice(0, MAX_NOTE_CHARACTERS) });
  if (history.length > HISTORY_LENGTH) history.shift();
}

export function compareClaimOrder(a: Message, b: Message): number {
  return a.priority - b.priority || a.order - b.order;
}

export function compareTurns(a: Group, b: Group): number {
  return rulesOf(a).priority - rulesOf(b).priority || a.turn - b.turn || a.number - b.number;
}

export function compareGates(a: Gate, b: Gate): number {
  return (
    a.wakesAt - b.wakesAt || a.channel.number - b.channel.number || (a.group?.number ?? 0) - (b.group?.number ?? 0)
  );
}

export function compareDue(a: Message, b: Message): number {
  return a.dueAt - b.dueAt || a.seq - b.seq;
}

export function compareSeq(a: Message, b: Message): number {
  return a.seq - b.seq;
}

export function compareEnded(a: EndedMessage, b: EndedMessage): number {
  return a.endedAt - b.endedAt || a.seq - b.seq;
}

export function compareExpiries(a: Message, b: Message): number {
  return (a.extra?.expiresAt ?? 0) - (b.extra?.expiresAt ?? 0) || a.seq - b.seq;
}

export function compareDeadlines(a: Message, b: Message): number {
  return (a.lease?.deadlineAt ?? 0) - (b.lease?.deadlineAt ?? 0) || a.seq - b.seq;
}

export function compareRemovals(a: EndedList, b: EndedList): number {
  return a.removeAt - b.removeAt || a.channel - b.channel || compareTexts(a.state, b.state);
}

export function compareWindows(a: DedupeSlot, b: DedupeSlot): number {
  return a.until - b.until || a.channel.number - b.channel.number || compareTexts(a.hash, b.hash);
}

export function compareTokenExpiries(a: AccessToken, b: AccessToken): number {
  return a.expiresAt - b.expiresAt || compareTexts(a.id, b.id);
}

export function compareOldMinutes(a: Channel, b: Channel): number {
  return (a.counts?.newest ?? 0) - (b.counts?.newest ?? 0) || a.number - b.number;
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
