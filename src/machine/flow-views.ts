/** Flows as they are shown: to the handler of a message that has waited, and to whoever looks at a message. */
import { LIST_BYTES, type Reply } from '../model/command.ts';
import { bytesOf } from '../model/bytes.ts';
import {
  type InspectChildren,
  type InspectFlow,
  MAX_CHILD_PAGE,
  MAX_FLOW_DEPTH,
  MAX_FLOW_VIEW,
} from '../model/flow.ts';
import type { ChildPage, ChildView, FlowView } from '../model/flow-views.ts';
import { messageIdText } from '../model/message-id.ts';
import type { KeyRange } from '../model/records.ts';
import { hasRight, rightsOn } from '../model/scopes.ts';
import type { State } from '../model/states.ts';
import { type ColdView, lastEnd, locate, type Need } from './cold.ts';
import type { FlowChild, FlowLink, FlowParent } from './flow-memory.ts';
import { KIND } from './layout.ts';
import { keptMessage } from './manage.ts';
import type { Lease, Session } from './memory.ts';
import { refusalFor } from './rights.ts';
import { heldMessage } from './settle.ts';
import type { EndedRecord, MachineState } from './state.ts';
import { countReads, usageOf } from './usage.ts';

/** Records of ends that are asked for at a time: it may turn out that the first of them are enough. */
const STEP = 16;

export function planFlowView(
  state: MachineState,
  session: Session,
  command: InspectChildren | InspectFlow,
  view: ColdView,
): Need | undefined {
  if (command.what === 'children') {
    const parent = heldParent(state, session, command);
    return parent === undefined ? undefined : planChildren(state, parent, command, view);
  }
  const located = locate(state.layout, command.id, view);
  if (!('found' in located)) return located;
  const at = located.found;
  if (at === undefined || state.messages.has(at.seq)) return undefined;
  const ends = state.layout.range(KIND.ended, at.pack);
  return view.range(ends) === undefined ? { keys: [], ranges: [ends] } : undefined;
}

export function applyFlowView(
  state: MachineState,
  session: Session,
  command: InspectChildren | InspectFlow,
  view: ColdView,
): Reply {
  if (command.what === 'flow') return applyFlow(state, session, command, view);
  const message = heldMessage(session, command);
  if (message === undefined) {
    return { kind: 'refused', code: 'LEASE_LOST', message: 'The message is no longer this handler’s' };
  }
  const parent = heldParent(state, session, command);
  if (parent === undefined) return { kind: 'value', value: { children: [], next: undefined } satisfies ChildPage };
  const value = viewChildren(state, parent, command, view);
  const bytes = value.children.reduce((sum, { result }) => sum + (result?.length ?? 0), 0);
  const usage = usageOf(state, session, message.channel, message.lease as Lease);
  if (value.children.length > 0) countReads(state, usage, value.children.length, bytes);
  return { kind: 'value', value };
}

function heldParent({ flows }: MachineState, session: Session, command: InspectChildren): FlowParent | undefined {
  const message = heldMessage(session, command);
  return message && flows.parents.get(message.seq);
}

/** The records that a page of children still lacks, a few at a time until they fill it. */
function planChildren(
  state: MachineState,
  { children }: FlowParent,
  { offset, limit }: InspectChildren,
  view: ColdView,
): Need | undefined {
  const until = Math.min(children.length, offset + Math.min(limit, MAX_CHILD_PAGE));
  let bytes = 0;
  for (let from = offset; from < until && bytes < LIST_BYTES; from += STEP) {
    const step = children.slice(from, Math.min(until, from + STEP));
    const ranges = new Map<string, KeyRange>();
    for (const { child } of step) {
      const range = endRange(state, child);
      if (range !== undefined && view.range(range) === undefined)
        ranges.set(`${child.pack} ${child.end?.commit}`, range);
    }
    if (ranges.size > 0) return { keys: [], ranges: [...ranges.values()] };
    for (const { child } of step) bytes += recordOf(state, child, view)?.result?.length ?? 0;
  }
  return undefined;
}

function viewChildren(
  state: MachineState,
  { children }: FlowParent,
  { offset, limit }: InspectChildren,
  view: ColdView,
): ChildPage {
  const until = Math.min(children.length, offset + Math.min(limit, MAX_CHILD_PAGE));
  const shown: ChildView[] = [];
  let bytes = 0;
  let at = offset;
  for (; at < until && bytes < LIST_BYTES; at++) {
    const edge = children[at] as FlowLink;
    const child = viewChild(state, edge, view);
    if (child.state !== 'completed' && edge.child.end !== undefined && edge.onFailure === 'drop') continue;
    shown.push(child);
    bytes += child.result?.length ?? 0;
  }
  return { children: shown, next: at < children.length ? at : undefined };
}

function viewChild(state: MachineState, { child, onFailure, key }: FlowLink, view: ColdView): ChildView {
  const { end, id } = child;
  const record = recordOf(state, child, view);
  const why = end === undefined || end.state === 'completed' ? undefined : end.why;
  const failure =
    why === undefined || (why === '' && end?.state === 'cancelled')
      ? undefined
      : { name: 'Error', message: why, stack: undefined };
  return {
    id: messageIdText(bytesOf(id)),
    channel: channelOf(state, child) ?? '',
    key,
    state: stateOf(state, child),
    onFailure,
    endedAt: end?.at,
    result: record?.result,
    failure: record === undefined ? failure : record.failure,
  };
}

/** Where the record of a child's end is. */
function endRange({ layout }: MachineState, { pack, end }: FlowChild): KeyRange | undefined {
  return end === undefined || end.commit === 0 ? undefined : layout.range(KIND.ended, pack, end.commit);
}

function recordOf(state: MachineState, child: FlowChild, view: ColdView): EndedRecord | undefined {
  const range = endRange(state, child);
  return range && lastEnd(child, view.range(range) ?? []);
}

function applyFlow(state: MachineState, session: Session, command: InspectFlow, view: ColdView): Reply {
  const located = locate(state.layout, command.id, view);
  const at = 'found' in located ? located.found : undefined;
  if (at === undefined) return NOTHING;
  const live = state.messages.get(at.seq);
  const end = live === undefined ? lastEnd(at, view.range(state.layout.range(KIND.ended, at.pack)) ?? []) : undefined;
  const kept = end !== undefined && keptMessage(state, end) !== undefined ? end : undefined;
  const channel = live?.channel.name ?? state.channelNumbers.get(kept?.channel ?? 0)?.name;
  const shown = live?.state ?? kept?.state;
  if (channel === undefined || shown === undefined) return NOTHING;
  const refusal = refusalFor(session, channel, 'look at', 'read');
  if (refusal !== undefined) return refusal;
  const parent = state.flows.parents.get(at.seq);
  const budget = { left: Math.min(command.limit, MAX_FLOW_VIEW) - 1 };
  const depth = Math.min(command.depth, MAX_FLOW_DEPTH);
  const value: FlowView = {
    id: messageIdText(command.id),
    channel,
    state: shown,
    key: undefined,
    onFailure: undefined,
    size: parent?.children.length ?? 0,
    pending: parent?.pending ?? 0,
    children: viewNodes(state, session, parent, command.offset, depth, budget),
  };
  return { kind: 'value', value };
}

/** Level by level, so that what is shown are the messages nearest to the top. */
function viewNodes(
  state: MachineState,
  session: Session,
  top: FlowParent | undefined,
  offset: number,
  depth: number,
  budget: { left: number },
): FlowView[] {
  const views: FlowView[] = [];
  let level = [{ edges: top?.children.slice(offset, offset + budget.left) ?? [], into: views }];
  for (let left = depth; left > 0 && level.length > 0; left--) {
    const below: typeof level = [];
    for (const { edges, into } of level) {
      for (const edge of edges) {
        if (budget.left <= 0) return views;
        budget.left -= 1;
        const parent = state.flows.parents.get(edge.child.seq);
        const children: FlowView[] = [];
        into.push(viewNode(state, session, edge, parent, children));
        if (parent !== undefined) below.push({ edges: parent.children.slice(0, budget.left), into: children });
      }
    }
    level = below;
  }
  return views;
}

function viewNode(
  state: MachineState,
  { grant }: Session,
  { child, onFailure, key }: FlowLink,
  parent: FlowParent | undefined,
  children: readonly FlowView[],
): FlowView {
  const channel = channelOf(state, child);
  const mayRead = channel !== undefined && (grant.isAdmin || hasRight(rightsOn(grant, channel), 'read'));
  return {
    id: messageIdText(bytesOf(child.id)),
    channel: mayRead ? channel : undefined,
    state: stateOf(state, child),
    key,
    onFailure,
    size: parent?.children.length ?? 0,
    pending: parent?.pending ?? 0,
    children,
  };
}

function channelOf({ messages, channelNumbers }: MachineState, { seq, end }: FlowChild): string | undefined {
  return end === undefined ? messages.get(seq)?.channel.name : channelNumbers.get(end.channel)?.name;
}

/** As its parent sees it: one that goes on among dead letters is dead. */
function stateOf({ messages }: MachineState, { seq, end }: FlowChild): State {
  return end?.state ?? messages.get(seq)?.state ?? 'completed';
}

const NOTHING: Reply = { kind: 'value', value: null };
