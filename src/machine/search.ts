/** Search: messages by a filter, a bounded part of the way at a time. */
import { LIST_BYTES, type Reply } from '../model/command.ts';
import type { MessageView, SearchPage } from '../model/views.ts';
import type { InspectSearch } from '../model/life.ts';
import { hasRight, rightsOn } from '../model/scopes.ts';
import type { ColdView, Need } from './cold.ts';
import { bytesOfView, MAX_LIST, missingFor, viewMessage } from './inspect.ts';
import type { Session } from './memory.ts';
import { type Bounds, type Look, look, type Query } from './scan.ts';
import type { MachineState } from './state.ts';

/** How many messages one search passes, how many packs it reads, and how many bytes of payloads it looks through. */
const MAX_PASSED = 20_000;
const MAX_PACKS = 128;
const MAX_BYTES: number = 4 * 1024 * 1024;

export function planSearch(
  state: MachineState,
  session: Session,
  command: InspectSearch,
  view: ColdView,
): Need | undefined {
  const query = queryOf(state, session, command);
  if (query === undefined) return undefined;
  const { found, need } = look(state, query, boundsOf(command), view);
  return need ?? missingFor(state, found, view);
}

export function applySearch(state: MachineState, session: Session, command: InspectSearch, view: ColdView): Reply {
  const query = queryOf(state, session, command);
  const page: SearchPage =
    query === undefined
      ? { messages: [], next: undefined }
      : pageOf(state, look(state, query, boundsOf(command), view), view);
  return { kind: 'value', value: page };
}

function boundsOf({ limit }: InspectSearch): Bounds {
  return { found: Math.min(limit, MAX_LIST), passed: MAX_PASSED, packs: MAX_PACKS, bytes: MAX_BYTES };
}

function queryOf(state: MachineState, { grant }: Session, command: InspectSearch): Query | undefined {
  const { channel: name, filter, order, after } = command;
  const rest = { filter, after, backwards: order === 'newest' };
  if (name !== undefined) {
    const channel = state.channels.get(name);
    return channel && { ...rest, channel };
  }
  if (grant.isAdmin) return { ...rest, channel: undefined };
  const readable = new Map<number, boolean>();
  const mayFind: NonNullable<Query['mayFind']> = ({ number, name: of }) => {
    let may = readable.get(number);
    if (may === undefined) readable.set(number, (may = hasRight(rightsOn(grant, of), 'read')));
    return may;
  };
  return { ...rest, channel: undefined, mayFind };
}

/** Large messages come a few at a time; the next search goes on behind the last one that is shown. */
function pageOf(state: MachineState, { found, next }: Look, view: ColdView): SearchPage {
  const messages: MessageView[] = [];
  let bytes = 0;
  for (const [i, candidate] of found.entries()) {
    const message = viewMessage(state, candidate, view);
    if (message !== undefined) {
      messages.push(message);
      bytes += bytesOfView(message);
    }
    if (bytes >= LIST_BYTES && i + 1 < found.length) return { messages, next: candidate.position };
  }
  return { messages, next };
}
