/**
 * Flows: messages that wait for others are added, wait, and go on. What a message's end means for those who wait for it is
 * done before anything is handed out, so it is in the same commit; where it concerns very many of them, some at a time.
 */
import { BlockReader } from '../model/block.ts';
import { bytesOf, textOf } from '../model/bytes.ts';
import type { ProduceException, Reply } from '../model/command.ts';
import type { Failure } from '../model/failure.ts';
import { type AddFlow, type FlowPart, MAX_CHILDREN } from '../model/flow.ts';
import { messageIdText } from '../model/message-id.ts';
import { type ColdView, locate, type Need, readEndedRecords } from './cold.ts';
import { findSlot } from './dedupe.ts';
import { childOf, eraseParent, letGo, link, look, parentOf, verdictOf, writeParent } from './flow-graph.ts';
import type { ChildEnd, FlowChild, FlowParent } from './flow-memory.ts';
import { hasNotBegun, placeGroup } from './groups.ts';
import { KIND } from './layout.ts';
import { end, move } from './lifecycle.ts';
import type { ChannelRef, Message, Session } from './memory.ts';
import { countOf, fullChannel, produceBlocks } from './produce.ts';
import { type Refused, refusalFor, refusalToProduce } from './rights.ts';
import type { EndedRecord, MachineState } from './state.ts';

/** How many messages, or edges, one step looks at. */
const STEP = 1_000;

/** Of how many messages it is looked at one by one whether a session may cancel them. */
const MOST_LOOKED_AT = 10_000;

/** A message that is to be added, as its block has it. */
interface NewNode {
  readonly target: ChannelRef;
  readonly id: string;
  readonly second: number;
  readonly delayMs: number;
  readonly dueAt: number;
  /** Empty where nothing is deduplicated. */
  readonly hash: string;
}

/** A message that an edge leads to: one of the new ones, or the one that stands for it. */
type Node = Pick<FlowChild, 'seq' | 'pack' | 'second' | 'id'>;

interface Nodes extends Pick<AddFlow, 'produced' | 'edges'> {
  /** All of them belong to it; else only those with edges do. */
  readonly isFlow?: boolean;
}

/** What must be read: the message that is to have children, and ended ones that stand for some of them. */
export function planFlow(state: MachineState, session: Session, command: AddFlow, view: ColdView): Need | undefined {
  if (command.under !== undefined) {
    const located = locate(state.layout, command.under, view);
    if (!('found' in located)) return located;
  }
  return planNodes(state, session, command, view);
}

/** What must be read of ended messages that stand for new ones. */
export function planNodes(
  state: MachineState,
  session: Session,
  { produced, edges }: Nodes,
  view: ColdView,
): Need | undefined {
  const children = new Set(edges.map(({ child }) => child));
  const keys: Uint8Array[] = [];
  const ranges: Need['ranges'][number][] = [];
  for (const [index, { target, hash }] of nodesOf(session, produced).entries()) {
    if (hash === '' || !children.has(index)) continue;
    const slot = findSlot(state, target.channel, hash);
    if (slot === undefined || state.messages.has(slot.seq) || state.flows.children.has(slot.seq)) continue;
    const located = locate(state.layout, bytesOf(slot.id), view);
    if (!('found' in located)) {
      keys.push(...located.keys);
      ranges.push(...located.ranges);
      continue;
    }
    if (located.found === undefined) continue;
    const ends = state.layout.range(KIND.ended, located.found.pack);
    if (view.range(ends) === undefined) ranges.push(ends);
  }
  return keys.length + ranges.length === 0 ? undefined : { keys, ranges };
}

/** Adds a flow, or says why not. */
export function applyFlow(state: MachineState, session: Session, command: AddFlow, view: ColdView): Reply {
  const { produced, under } = command;
  const refusal = refusalToAdd(session, produced);
  if (refusal !== undefined) return refusal;
  const full = fullChannel(session, produced);
  if (full !== undefined) {
    const message = `Cannot produce to "${full}": it holds as many messages as it may`;
    return { kind: 'refused', code: 'BACKLOG_FULL', message };
  }
  const found = under === undefined ? undefined : findParent(state, session, under, view);
  if (found !== undefined && 'kind' in found) return found;
  const impossible = refusalOfNodes(state, session, command, found);
  if (impossible !== undefined) return impossible;
  const { edges } = command;
  const exceptions = addNodes(state, session, { produced, edges, isFlow: true }, found, view);
  // One that is running waits when its handler says so.
  if (found !== undefined && found.state !== 'leased' && found.state !== 'waiting') block(state, found, true);
  return { kind: 'produced', exceptions };
}

/** Why these messages cannot be added below this one; `undefined` when they can. */
export function refusalOfNodes(
  state: MachineState,
  session: Session,
  { produced, edges }: Nodes,
  under: Message | undefined,
): Refused | undefined {
  const nodes = nodesOf(session, produced);
  const parents = new Set(edges.map(({ parent }) => parent));
  const before = new Map<string, number>();
  const standsAt = new Map<number, number>();
  for (const [index, { target, hash, id }] of nodes.entries()) {
    if (hash === '') continue;
    const key = `${target.channel.number} ${hash}`;
    const slot = findSlot(state, target.channel, hash);
    const first = before.get(key);
    if (slot === undefined && first === undefined) {
      before.set(key, index);
      continue;
    }
    const standing = slot?.id ?? (nodes[first as number] as NewNode).id;
    if (parents.has(index)) return duplicate(id, standing, 'it has children');
    if (slot === undefined) standsAt.set(index, first as number);
    else if (under !== undefined && (slot.seq === under.seq || state.flows.parents.has(slot.seq)))
      return duplicate(id, standing, 'which waits for others itself');
  }
  for (const { child, parent } of edges) {
    const stands = standsAt.get(child);
    if (stands !== undefined && parent !== undefined && parent >= stands)
      return duplicate((nodes[child] as NewNode).id, (nodes[stands] as NewNode).id, 'its own parent');
  }
  const added = edges.filter(({ parent }) => parent === undefined).length;
  const size = under === undefined ? 0 : (state.flows.parents.get(under.seq)?.children.length ?? 0);
  if (size + added <= MAX_CHILDREN) return undefined;
  const message = `Cannot add ${added} children: a message has at most ${MAX_CHILDREN}`;
  return { kind: 'refused', code: 'TOO_MANY', message };
}

function duplicate(id: string, standing: string, why: string): Refused {
  const stands = `${messageIdText(bytesOf(standing))} stands for it already`;
  const message = `Cannot add message ${messageIdText(bytesOf(id))} to a flow: ${stands}, and ${why}`;
  return { kind: 'refused', code: 'DUPLICATE', message };
}

/** Produces the messages and lets them wait for each other; `under` is the parent of those whose edges name none. */
export function addNodes(
  state: MachineState,
  session: Session,
  { produced, edges, isFlow = false }: Nodes,
  under: Message | undefined,
  view: ColdView,
): ProduceException[] {
  const news = nodesOf(session, produced);
  const { nodes, exceptions } = produceNodes(state, session, { produced, edges, isFlow }, news);
  state.flows.fresh.clear();
  const sizes = new Map<FlowParent, number>();
  for (const { child: index, parent: parentIndex, onFailure, key } of edges) {
    const seq = parentIndex === undefined ? (under as Message).seq : (nodes[parentIndex] as Node).seq;
    const parent = parentOf(state, seq);
    if (!sizes.has(parent)) sizes.set(parent, parent.children.length);
    const { node, ended } = present(state, nodes[index] as Node, view);
    link(parent, childOf(state, node, ended), onFailure, key);
  }
  for (const [parent, size] of sizes) {
    const index = nodes.findIndex(({ seq }) => seq === parent.seq);
    const message = state.messages.get(parent.seq) as Message;
    if (index < 0) {
      writeParent(state, parent, size);
      continue;
    }
    const { delayMs, dueAt } = news[index] as NewNode;
    if (dueAt === 0) parent.delayMs = delayMs;
    block(state, message, dueAt !== 0, size);
  }
  return exceptions;
}

/** Lets a message wait until all of its children have ended. */
export function block(state: MachineState, message: Message, keepsTime: boolean, known?: number): void {
  const parent = parentOf(state, message.seq);
  parent.waits = true;
  writeParent(state, parent, known);
  const { dueAt, dueClock, group } = message;
  // In a group that goes in order, what it waits for may be behind it.
  hasNotBegun(message);
  const waitsForTime = keepsTime && message.state === 'delayed';
  move(state, message, 'blocked', waitsForTime ? { dueAt, dueClock } : { dueAt: 0 });
  if (group !== undefined) placeGroup(state, group);
  look(state, parent);
}

/** Looks at those whose children have ended: what follows for them, and for those who wait for them. */
export function settleFlows(state: MachineState): void {
  const { unsettled } = state.flows;
  let left = STEP;
  // Whoever fails here adds those who wait for it, and they are looked at in the same round.
  for (const parent of unsettled) {
    if (left === 0) return;
    left -= 1;
    unsettled.delete(parent);
    settle(state, parent);
  }
}

/** Whether work on flows is left for later. */
export function isFlowWork({ flows }: MachineState): boolean {
  return flows.unsettled.size + flows.retired.size > 0;
}

/** Lets children of parents that have ended go, some at a time, and cancels them where that was asked for. */
export function retireSome(state: MachineState): void {
  const { retired } = state.flows;
  let left = STEP;
  for (const [parent, done] of retired) {
    const { children } = parent;
    const until = Math.min(children.length, done + left);
    for (const edge of children.slice(done, until)) {
      if (parent.cancels) cancelChild(state, edge.child);
      letGo(state, edge);
    }
    left -= until - done;
    if (until < children.length) {
      retired.set(parent, until);
      return;
    }
    retired.delete(parent);
    eraseParent(state, parent);
  }
}

/** Cancels a message, and tells the handler that runs. */
export function cancel(state: MachineState, message: Message, withChildren: boolean, failure?: Failure): void {
  if (withChildren) takeChildrenAlong(state, message);
  const { lease } = message;
  if (lease !== undefined) {
    const notice = { kind: 'revoked', seq: message.seq, token: lease.token, reason: 'cancelled' } as const;
    state.changes.notices.push({ session: lease.session, notice });
  }
  end(state, message, 'cancelled', failure === undefined ? {} : { failure });
}

/** When the message ends as cancelled, so does what it waits for. */
export function takeChildrenAlong(state: MachineState, { seq }: Message): void {
  const parent = state.flows.parents.get(seq);
  if (parent === undefined) return;
  parent.cancels = true;
  // Its handler may have some time yet, and the broker may be another one by then.
  writeParent(state, parent);
}

/** Why the session may not cancel all that a message waits for; `undefined` when it may. */
export function refusalToCancelBelow(state: MachineState, session: Session, { seq }: Message): Refused | undefined {
  if (session.grant.isAdmin) return undefined;
  const seen = new Set<number>([seq]);
  // Grows as it is gone through.
  for (const above of seen) {
    for (const { child } of state.flows.parents.get(above)?.children ?? []) {
      const message = state.messages.get(child.seq);
      if (message === undefined || seen.has(child.seq)) continue;
      const refusal = refusalFor(session, message.channel.name, 'cancel the children of', 'admin');
      if (refusal !== undefined) return refusal;
      seen.add(child.seq);
    }
    if (seen.size <= MOST_LOOKED_AT) continue;
    const message = `Cannot cancel more than ${MOST_LOOKED_AT} messages at once: it takes server:admin`;
    return { kind: 'refused', code: 'TOO_MANY', message };
  }
  return undefined;
}

/** What something else still waits for is left alone. */
function cancelChild(state: MachineState, { seq, parents, end: ended }: FlowChild): void {
  const message = state.messages.get(seq);
  if (message === undefined || ended?.isMoved === true) return;
  if (parents.every(({ parent }) => parent.cancels || parent.isRetired)) cancel(state, message, true);
}

function settle(state: MachineState, parent: FlowParent): void {
  const message = state.messages.get(parent.seq);
  if (message === undefined || !parent.waits || message.extra?.givenUp !== undefined) return;
  const verdict = verdictOf(parent);
  // One that was redriven while a child of it is alive again.
  if (verdict === undefined) return message.state === 'waiting' ? undefined : block(state, message, false);
  parent.waits = false;
  parent.woken = parent.continuing;
  const { delayMs } = parent;
  parent.delayMs = 0;
  writeParent(state, parent);
  if (message.state !== 'waiting') return;
  if (verdict === 'fails') end(state, message, 'failed', { failure: failureBy(state, parent) });
  else unblock(state, message, delayMs);
}

/** It was given another time, while it waits for its children, than the delay after their end that it came with. */
export function forgetDelay(state: MachineState, message: Message): void {
  const parent = state.flows.parents.get(message.seq);
  if (parent === undefined || parent.delayMs === 0) return;
  parent.delayMs = 0;
  writeParent(state, parent);
}

/** It goes on, but not before its own time, and behind what is ready by now. */
function unblock(state: MachineState, message: Message, delayMs: number): void {
  const { dueAt, dueClock, order } = message;
  if (delayMs > 0) move(state, message, 'postponed', { dueAt: Math.ceil(state.now + delayMs) });
  else if (dueAt > (dueClock === 0 ? state.now : state.wall)) move(state, message, 'postponed', { dueAt, dueClock });
  else move(state, message, 'unblocked', { order: order < 0 ? -state.nextSeq++ : state.nextSeq++ });
}

function failureBy(state: MachineState, { children }: FlowParent): EndedRecord['failure'] {
  const edge = children.find(
    ({ child: { end: ended }, onFailure }) =>
      onFailure === 'fail' && ended !== undefined && ended.state !== 'completed',
  );
  const { id = '', end: ended } = edge?.child ?? {};
  const channel = state.channelNumbers.get(ended?.channel ?? 0)?.name;
  const why = ended?.why ? `: ${ended.why}` : '';
  const message = `Its child ${messageIdText(bytesOf(id))} of "${channel}" is ${ended?.state}${why}`;
  return { name: 'ChildFailed', message, stack: undefined };
}

/** Why the session may not produce these messages; `undefined` when it may. */
function refusalToAdd(session: Session, produced: readonly FlowPart[]): Refused | undefined {
  for (const { ref, blocks } of produced) {
    const target = session.refs.get(ref);
    const refusal = target === undefined ? session.refusedRefs.get(ref) : refusalToProduce(session, target, blocks);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

function findParent(state: MachineState, session: Session, id: Uint8Array, view: ColdView): Message | Refused {
  const located = locate(state.layout, id, view);
  const at = 'found' in located ? located.found : undefined;
  const message = at && state.messages.get(at.seq);
  if (message === undefined) {
    return { kind: 'refused', code: 'NOT_FOUND', message: 'No message that has not ended has this id' };
  }
  const refusal = refusalFor(session, message.channel.name, 'add children to', 'produce');
  if (refusal !== undefined) return refusal;
  if (message.extra?.givenUp === undefined) return message;
  return { kind: 'refused', code: 'WRONG_STATE', message: 'Cannot add children to a message that was given up' };
}

/** The messages of these blocks, in their order. Those of names that were never declared are left out. */
function nodesOf({ refs }: Session, produced: readonly FlowPart[]): NewNode[] {
  const nodes: NewNode[] = [];
  for (const { ref, blocks } of produced) {
    const target = refs.get(ref);
    if (target === undefined) continue;
    const isDeduped = target.policy.policy.dedupe !== undefined;
    for (const block of blocks) {
      for (const reader = new BlockReader(block); reader.next();) {
        const { delayMs, dueAt, second } = reader;
        const hash = isDeduped ? reader.dedupe : '';
        nodes.push({ target, id: textOf(reader.id), second, delayMs, dueAt, hash });
      }
    }
  }
  return nodes;
}

function produceNodes(
  state: MachineState,
  session: Session,
  { produced, edges, isFlow = false }: Nodes,
  news: readonly NewNode[],
): { nodes: Node[]; exceptions: ProduceException[] } {
  const nodes: Node[] = [];
  const exceptions: ProduceException[] = [];
  const inFlow = new Set(edges.flatMap(({ child, parent }) => [child, parent]));
  for (const { ref, blocks } of produced) {
    const target = session.refs.get(ref) as ChannelRef;
    for (const one of blocks) {
      const pack = state.nextSeq;
      const start = nodes.length;
      const size = countOf([one]);
      const asNodes = isFlow || Array.from({ length: size }, (_, i) => inFlow.has(start + i)).some(Boolean);
      const found = produceBlocks(state, session, target, [one], Infinity, { isUnbounded: true, asNodes });
      const exceptional = new Map(found.map((exception) => [exception.index, exception]));
      for (let i = 0; i < size; i++) {
        const { id, second, hash } = news[start + i] as NewNode;
        const exception = exceptional.get(i);
        if (exception === undefined) {
          nodes.push({ seq: pack + i, pack, second, id });
          if (asNodes) state.flows.fresh.add(pack + i);
        } else {
          exceptions.push({ ...exception, index: start + i });
          nodes.push(standingFor(state, target, hash));
        }
      }
    }
  }
  return { nodes, exceptions };
}

/** The message that stands for a new one; where it has ended, its place is still to be found. */
function standingFor(state: MachineState, { channel }: ChannelRef, hash: string): Node {
  const { seq = 0, id = '' } = channel.dedupe.get(hash) ?? {};
  const { pack = seq, second = 0 } = state.messages.get(seq) ?? state.flows.children.get(seq) ?? {};
  return { seq, id, pack, second };
}

/** A message with its place and, when it is not alive, its end. What is not kept any more counts as completed. */
function present(state: MachineState, node: Node, view: ColdView): { node: Node; ended: ChildEnd | undefined } {
  const { seq, id } = node;
  if (state.messages.has(seq) || state.flows.children.has(seq)) return { node, ended: undefined };
  const gone = {
    state: 'completed',
    at: Math.floor(state.now),
    channel: 0,
    commit: 0,
    isMoved: false,
    why: '',
  } as const;
  const located = locate(state.layout, bytesOf(id), view);
  const at = 'found' in located ? located.found : undefined;
  if (at === undefined) return { node, ended: gone };
  let ended: ChildEnd = gone;
  for (const { key, value } of view.range(state.layout.range(KIND.ended, at.pack)) ?? []) {
    const commit = state.layout.numberAt(key, 1);
    for (const { seq: of, state: last, endedAt, channel, failure } of readEndedRecords(value, at.pack)) {
      if (of !== seq || last === undefined) continue;
      ended = { state: last, at: endedAt, channel, commit, isMoved: false, why: failure?.message ?? '' };
    }
  }
  return { node: { seq, id, pack: at.pack, second: at.second }, ended };
}
