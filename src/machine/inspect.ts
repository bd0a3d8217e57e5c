/** Inspect: what is in a channel, and all that is known of a message. */
import { BlockReader } from '../model/block.ts';
import { type Inspect, LIST_BYTES, type Reply } from '../model/command.ts';
import type { ChannelView, GroupPage, GroupView, HistoryEntry, MessageView, Overview } from '../model/views.ts';
import { messageIdText } from '../model/message-id.ts';
import type { Value } from '../model/records.ts';
import { HoldfastError } from '../model/errors.ts';
import { hasRight, rightsOn } from '../model/scopes.ts';
import { viewTokens } from './access-tokens.ts';
import type { Channel, Group, Message, Session } from './memory.ts';
import { type ColdView, lastEnd, locate, type Location, type Need } from './cold.ts';
import { KIND } from './layout.ts';
import { opensAt } from './gates.ts';
import { attemptOfEnd, LAST_HAPPENING } from './lifecycle.ts';
import { keptMessage } from './manage.ts';
import { applyMetrics, planMetrics } from './metrics.ts';
import { attemptNumber, rulesOf } from './message.ts';
import { notesKey, readNotes } from './notes.ts';
import { itemOf, openPack } from './pack.ts';
import { payloadPackOf } from './payloads.ts';
import { refusalFor } from './rights.ts';
import { applyInspectSchedule, planInspectSchedule } from './schedules.ts';
import type { EndedRecord, MachineState } from './state.ts';
import { countReads, usageOf } from './usage.ts';
import { viewChannel } from './view-channel.ts';
import { viewSubscriptions, viewTopics } from './topics.ts';

/** What is read here; the others have files of their own. */
export type InspectState = Exclude<Inspect, { what: 'events' | 'usage' | 'children' | 'flow' | 'search' | 'bulks' }>;

/** How many messages one `list` may ask for. */
export const MAX_LIST = 100;

/** How many channels one `overview` may ask for. */
const MAX_OVERVIEW = 1_000;

/** How many groups one `groups` may ask for. */
const MAX_GROUPS = 1_000;

/** Records that a list asks for at a time: it may turn out that the first of them are enough. */
const LIST_STEP = 16;

/** What an inspection needs from the store, or `undefined` when it has it. */
export function planInspect(
  state: MachineState,
  session: Session,
  command: InspectState,
  view: ColdView,
): Need | undefined {
  if (command.what === 'message') {
    const located = locate(state.layout, command.id, view);
    if (!('found' in located)) return located;
    return located.found === undefined ? undefined : missing(state, [located.found], view);
  }
  if (command.what === 'schedule' || command.what === 'schedules') return planInspectSchedule(state, command, view);
  if (command.what === 'metrics') return planMetrics(state, session, command, view);
  return command.what === 'list' ? missingFor(state, listed(state, command), view) : undefined;
}

export function applyInspect(state: MachineState, session: Session, command: InspectState, view: ColdView): Reply {
  switch (command.what) {
    case 'channels':
      return { kind: 'value', value: readableChannels(state, session).sort() };
    case 'topics':
      return { kind: 'value', value: viewTopics(state, session) };
    case 'topic':
      return { kind: 'value', value: viewSubscriptions(state, command.topic) };
    case 'tokens':
      return { kind: 'value', value: viewTokens(state) };
    case 'channel': {
      const channel = state.channels.get(command.channel);
      return { kind: 'value', value: channel === undefined ? null : viewChannel(state, channel) };
    }
    case 'overview':
      return {
        kind: 'value',
        value: viewChannels(state, session, command.after, Math.min(command.limit, MAX_OVERVIEW)),
      };
    case 'groups': {
      const channel = state.channels.get(command.channel);
      return {
        kind: 'value',
        value: viewGroups(state, channel, command.after, Math.min(command.limit, MAX_GROUPS)),
      };
    }
    case 'group': {
      const group = state.channels.get(command.channel)?.groups.get(command.group);
      return { kind: 'value', value: group === undefined ? null : viewGroup(state, group) };
    }
    case 'message': {
      const located = locate(state.layout, command.id, view);
      const at = 'found' in located ? located.found : undefined;
      const shown = at === undefined ? undefined : viewMessage(state, at, view);
      if (shown === undefined) return { kind: 'value', value: null };
      const refusal = refusalFor(session, shown.channel, 'look at', 'read');
      if (refusal === undefined) countShown(state, session, [shown]);
      return refusal ?? { kind: 'value', value: shown };
    }
    case 'schedule':
    case 'schedules':
      return applyInspectSchedule(state, session, command, view);
    case 'list': {
      const messages = viewList(state, listed(state, command), view);
      countShown(state, session, messages);
      return { kind: 'value', value: messages };
    }
    case 'metrics':
      return applyMetrics(state, session, command, view);
  }
}

/** All of one channel. */
function countShown(state: MachineState, session: Session, messages: readonly MessageView[]): void {
  const channel = state.channels.get(messages[0]?.channel ?? '');
  if (channel === undefined) return;
  const bytes = messages.reduce((sum, { payload, result }) => sum + payload.length + (result?.length ?? 0), 0);
  countReads(state, usageOf(state, session, channel, { usage: undefined }), messages.length, bytes);
}

function readableChannels({ channels }: MachineState, { grant }: Session): string[] {
  const names = [...channels.keys()];
  return grant.isAdmin ? names : names.filter((name) => hasRight(rightsOn(grant, name), 'read'));
}

/** Channels have consecutive numbers and are never removed. */
function viewChannels(state: MachineState, { grant }: Session, after: number, limit: number): Overview {
  const channels: ChannelView[] = [];
  let number = after + 1;
  for (; number < state.nextChannel && channels.length < limit; number++) {
    const channel = state.channelNumbers.get(number);
    if (channel === undefined || !hasRight(rightsOn(grant, channel.name), 'read')) continue;
    channels.push(viewChannel(state, channel));
  }
  return { channels, next: number < state.nextChannel ? number - 1 : undefined };
}

function viewList(state: MachineState, locations: readonly Location[], view: ColdView): MessageView[] {
  const views: MessageView[] = [];
  let bytes = 0;
  for (const at of locations) {
    if (bytes >= LIST_BYTES) break;
    const message = viewMessage(state, at, view);
    if (message === undefined) continue;
    views.push(message);
    bytes += bytesOfView(message);
  }
  return views;
}

function viewGroups(state: MachineState, channel: Channel | undefined, after: number, limit: number): GroupPage {
  if (channel === undefined) return { groups: [], next: undefined };
  const { groupList } = channel;
  const rank = groupList.rank({ number: after + 1 } as Group);
  const groups = groupList.slice(rank, limit);
  const last = groups.at(-1);
  const isEnd = last === undefined || groupList.at(rank + groups.length) === undefined;
  return { groups: groups.map((group) => viewGroup(state, group)), next: isEnd ? undefined : last.number };
}

function viewGroup(state: MachineState, group: Group): GroupView {
  const { key, ready, running, backlog, paused, gate } = group;
  const rules = rulesOf(group);
  return {
    group: key,
    ready: ready.size,
    leased: running,
    backlog,
    paused,
    heldMs: gate === undefined ? 0 : Math.ceil(opensAt(gate, rules.rate, 1, state.now) - state.now),
    rules,
  };
}

/** Live messages in the order in which they come; ended ones with the newest first. */
function listed(state: MachineState, command: Extract<Inspect, { what: 'list' }>): readonly Location[] {
  const channel = state.channels.get(command.channel);
  if (channel === undefined) return [];
  const limit = Math.min(command.limit, MAX_LIST);
  const { offset } = command;
  switch (command.state) {
    case 'ready': {
      const suspects = channel.suspects.slice(offset, limit);
      const others = Math.max(0, offset - channel.suspects.size);
      const plain = channel.ready.slice(others, limit - suspects.length);
      const behind = Math.max(0, others - channel.ready.size);
      return [...suspects, ...plain, ...channel.grouped.slice(behind, limit - suspects.length - plain.length)];
    }
    case 'delayed':
    case 'leased':
    case 'waiting':
      return channel[command.state].slice(offset, limit);
    default: {
      const { messages } = channel.ended[command.state];
      const to = messages.size - offset;
      const from = Math.max(0, to - limit);
      return messages.slice(from, Math.max(0, to - from)).reverse();
    }
  }
}

/** What counts where an answer is cut. */
export function bytesOfView({ payload, result }: MessageView): number {
  return payload.length + (result?.length ?? 0);
}

/** The records that the views of these messages still lack, a few at a time until they fill a list. */
export function missingFor(state: MachineState, locations: readonly Location[], view: ColdView): Need | undefined {
  for (let from = 0; from < locations.length; from += LIST_STEP) {
    const step = locations.slice(0, from + LIST_STEP);
    const need = missing(state, step, view);
    if (need !== undefined) return need;
    const messages = viewList(state, step, view);
    if (messages.reduce((sum, message) => sum + bytesOfView(message), 0) >= LIST_BYTES) return undefined;
  }
  return undefined;
}

/** The records that the views of these messages still lack. */
function missing(state: MachineState, locations: readonly Location[], view: ColdView): Need | undefined {
  const { layout } = state;
  const keys = new Map<number, Uint8Array>();
  const ranges = new Map<number, ReturnType<typeof layout.range>>();
  const notes: Uint8Array[] = [];
  for (const at of locations) {
    const number = payloadPackOf(state, at);
    const pack = layout.key(KIND.pack, number);
    if (view.get(pack) === undefined) keys.set(number, pack);
    const ends = layout.range(KIND.ended, at.pack);
    if (!state.messages.has(at.seq) && view.range(ends) === undefined) ranges.set(at.pack, ends);
    const note = notesKey(layout, at);
    if (state.annotatedPacks.has(at.pack) && view.get(note) === undefined) notes.push(note);
  }
  if (keys.size + ranges.size + notes.length === 0) return undefined;
  return { keys: [...keys.values(), ...notes], ranges: [...ranges.values()] };
}

/** All that is known of a message. */
export function viewMessage(state: MachineState, at: Location, view: ColdView): MessageView | undefined {
  const { layout } = state;
  const number = payloadPackOf(state, at);
  const pack = view.get(layout.key(KIND.pack, number))?.value;
  const live = state.messages.get(at.seq);
  const end = live === undefined ? lastEnd(at, view.range(layout.range(KIND.ended, at.pack)) ?? []) : undefined;
  if (live === undefined && (end === undefined || keptMessage(state, end) === undefined)) return undefined;
  if (pack === undefined)
    throw new HoldfastError('STORE_CORRUPT', `Cannot show message ${at.seq}: its payload is missing`);
  const { progress, log } = readNotes(view.get(notesKey(layout, at))?.value);
  const { producedAt, ...item } = readItem(pack, at.seq, number);
  const parts = live === undefined ? viewEnded(state, end as EndedRecord, producedAt) : viewLive(live, producedAt);
  return { ...parts, ...item, producedAt, progress, log };
}

type Item = Pick<MessageView, 'id' | 'codec' | 'payload' | 'producedAt' | 'name' | 'group' | 'schedule'>;
type Parts = Omit<MessageView, keyof Item | 'progress' | 'log'>;

function viewLive(message: Message, producedAt: number): Parts {
  const { extra, lease } = message;
  const claimed = lease === undefined ? [] : [entry(lease.claimedAt, 'claimed', attemptNumber(message))];
  return {
    channel: message.channel.name,
    state: message.state,
    priority: message.priority,
    attempts: message.attempts,
    deaths: extra?.deaths ?? 0,
    undecodable: extra?.undecodable ?? 0,
    dueAt: isPutOff(message) ? message.dueAt : undefined,
    endedAt: undefined,
    result: undefined,
    failure: extra?.failure,
    history: [entry(producedAt, 'produced', 0), ...(extra?.history ?? []), ...claimed],
  };
}

/** A message that waits for another may have a time of its own as well. */
function isPutOff({ state, dueAt }: Message): boolean {
  return state === 'delayed' || (state === 'waiting' && dueAt !== 0);
}

function viewEnded(state: MachineState, end: EndedRecord, producedAt: number): Parts {
  const ended = end.state as NonNullable<EndedRecord['state']>;
  const attempt = attemptOfEnd(end);
  const claimed = end.claimedAt !== 0 && ended === 'completed' ? [entry(end.claimedAt, 'claimed', attempt)] : [];
  return {
    channel: (state.channelNumbers.get(end.channel) as Channel).name,
    state: ended,
    priority: end.priority,
    attempts: ended === 'completed' ? end.attempts + 1 : end.attempts,
    deaths: end.extra?.deaths ?? 0,
    undecodable: end.extra?.undecodable ?? 0,
    dueAt: undefined,
    endedAt: end.endedAt,
    result: end.result,
    failure: end.failure,
    history: [
      entry(producedAt, 'produced', 0),
      ...(end.extra?.history ?? []),
      ...claimed,
      { ...entry(end.endedAt, LAST_HAPPENING[ended], attempt), note: end.failure?.message },
    ],
  };
}

function entry(at: number, what: HistoryEntry['what'], attempt: number): HistoryEntry {
  return { at, what, attempt, note: undefined };
}

function readItem(value: Value, seq: number, number: number): Item {
  const pack = openPack(value);
  const { producedAt, codec } = pack;
  const item = itemOf(pack, seq - number);
  if (item === undefined)
    throw new HoldfastError('STORE_CORRUPT', `Cannot show message ${seq}: its payload is missing`);
  const { name, group } = BlockReader.labelsOf(item);
  const schedule = BlockReader.scheduleOf(item);
  return { id: messageIdText(item, 1), codec, payload: BlockReader.payloadOf(item), producedAt, name, group, schedule };
}
