/**
 * The graph of flows: who waits for whom, and what has become of children. What follows for those who wait is done in
 * `flows.ts`; here it is only noted who has to be looked at, so that a message that ends costs no more than its own edges.
 */
import type { ChildPolicy } from '../model/flow.ts';
import type { EndedState } from '../model/states.ts';
import type { ChildEnd, FlowChild, FlowLink, FlowParent } from './flow-memory.ts';
import { CHUNK, chunkKey, encodeChunk, encodeEnd, encodeParent, endKey, parentKey } from './flow-records.ts';
import type { Message } from './memory.ts';
import { holdPack, releasePack } from './packs.ts';
import { erase, type MachineState, put } from './state.ts';

/** A reason is cut after this many characters. */
const MAX_WHY_CHARACTERS = 200;

/** Children of a parent that has ended are let go at once when they are not more than this; else some at a time. */
const AT_ONCE = 100;

/** How a message has ended as far as flows are concerned. */
export interface NodeEnd {
  readonly state: EndedState;
  /** The commit whose record says so; 0 when none does. */
  readonly commit: number;
  readonly isMoved: boolean;
  readonly why: string | undefined;
}

/** Whether anything waits for anything. */
export function hasFlows({ flows }: MachineState): boolean {
  return flows.parents.size + flows.children.size > 0;
}

/** Whether something waits for the message, or it for something. */
export function isNode({ flows }: MachineState, { seq }: Pick<Message, 'seq'>): boolean {
  return flows.children.has(seq) || flows.parents.has(seq) || flows.fresh.has(seq);
}

/** Finds the entry of a message as a parent, or makes it. */
export function parentOf(state: MachineState, seq: number): FlowParent {
  const { parents } = state.flows;
  let parent = parents.get(seq);
  if (parent === undefined) {
    parent = {
      seq,
      children: [],
      waits: false,
      pending: 0,
      failing: 0,
      continuing: 0,
      woken: 0,
      delayMs: 0,
      cancels: false,
      isRetired: false,
    };
    parents.set(seq, parent);
  }
  return parent;
}

/** Finds the entry of a message as a child, or makes it. @param end how it has ended, where it is not alive */
export function childOf(
  state: MachineState,
  { seq, pack, second, id }: Pick<FlowChild, 'seq' | 'pack' | 'second' | 'id'>,
  end: ChildEnd | undefined,
): FlowChild {
  const { children } = state.flows;
  let child = children.get(seq);
  if (child === undefined) {
    child = { seq, id, pack, second, parents: [], end: undefined };
    children.set(seq, child);
    if (end !== undefined) noteEnd(state, child, end);
  }
  return child;
}

/** Lets a message wait for another one. The caller writes the parent. */
export function link(parent: FlowParent, child: FlowChild, onFailure: ChildPolicy, key: string | undefined): void {
  const edge: FlowLink = { parent, child, onFailure, key };
  parent.children.push(edge);
  child.parents.push(edge);
  count(edge, 1);
}

/** Writes a parent, and those of its children that were added behind so many others. */
export function writeParent(state: MachineState, parent: FlowParent, known: number = parent.children.length): void {
  const { layout } = state;
  put(state, parentKey(layout, parent.seq), encodeParent(parent));
  if (known === parent.children.length) return;
  for (let chunk = Math.floor(known / CHUNK); chunk * CHUNK < parent.children.length; chunk++) {
    const links = parent.children.slice(chunk * CHUNK, (chunk + 1) * CHUNK);
    put(state, chunkKey(layout, parent.seq, chunk), encodeChunk(links));
  }
}

/** A message has ended, was deleted, or goes on among dead letters: before what is kept of it is given free. */
export function endNode(state: MachineState, message: Message, end: NodeEnd): void {
  const { parents, children } = state.flows;
  if (!hasFlows(state)) return;
  const child = children.get(message.seq);
  if (child !== undefined && child.end === undefined) {
    const why = (end.why ?? '').slice(0, MAX_WHY_CHARACTERS);
    const at = Math.floor(state.now);
    const { state: ended, commit, isMoved } = end;
    noteEnd(state, child, { state: ended, at, channel: message.channel.number, commit, isMoved, why });
    for (const edge of child.parents) look(state, edge.parent);
  }
  const parent = parents.get(message.seq);
  if (parent === undefined || end.isMoved) return;
  if (end.state === 'dead') {
    // It may be redriven, and its handler then asks for its children's results.
    if (parent.waits) {
      parent.waits = false;
      writeParent(state, parent);
    }
  } else retire(state, parent);
}

/** A dead message is back. */
export function returnNode(state: MachineState, { seq }: Message): void {
  const { children, parents } = state.flows;
  const child = children.get(seq);
  if (child?.end !== undefined && !child.end.isMoved) {
    for (const edge of child.parents) count(edge, -1);
    letEndGo(state, child);
    for (const edge of child.parents) {
      count(edge, 1);
      look(state, edge.parent);
    }
  }
  const parent = parents.get(seq);
  // With a child that is dead for good it would only be dead again: whoever brings it back wants it to run.
  if (parent === undefined || parent.pending === 0 || parent.failing > 0) return;
  parent.waits = true;
  writeParent(state, parent);
  state.flows.unsettled.add(parent);
}

/** A message that has ended is not kept any more. */
export function forgetNode(state: MachineState, seq: number): void {
  const parent = state.flows.parents.get(seq);
  if (parent !== undefined) retire(state, parent);
}

/** Has a parent looked at when its children do not hold it any more. */
export function look(state: MachineState, parent: FlowParent): void {
  if (parent.waits && verdictOf(parent) !== undefined) state.flows.unsettled.add(parent);
}

/** What becomes of a message that waits; `undefined` when it goes on waiting. */
export function verdictOf({ pending, failing, continuing, woken }: FlowParent): 'fails' | 'runs' | undefined {
  if (failing > 0) return 'fails';
  return pending === 0 || continuing > woken ? 'runs' : undefined;
}

/** Nothing is waited for by this message any more; its children are let go, now or some at a time. */
function retire(state: MachineState, parent: FlowParent): void {
  const { flows, layout } = state;
  flows.parents.delete(parent.seq);
  flows.unsettled.delete(parent);
  parent.waits = false;
  parent.isRetired = true;
  if (!parent.cancels && parent.children.length <= AT_ONCE) {
    for (const edge of parent.children) letGo(state, edge);
    return eraseParent(state, parent);
  }
  flows.retired.set(parent, 0);
  put(state, parentKey(layout, parent.seq), encodeParent(parent));
}

export function eraseParent(state: MachineState, { seq, children }: FlowParent): void {
  const { layout } = state;
  erase(state, parentKey(layout, seq));
  for (let chunk = 0; chunk * CHUNK < children.length; chunk++) erase(state, chunkKey(layout, seq, chunk));
}

/** The parent of this edge needs the child no more; when nobody does, nothing is kept for it. */
export function letGo(state: MachineState, edge: FlowLink): void {
  const { child } = edge;
  const at = child.parents.indexOf(edge);
  if (at < 0) return;
  child.parents.splice(at, 1);
  if (child.parents.length > 0) return;
  letEndGo(state, child);
  state.flows.children.delete(child.seq);
}

function noteEnd(state: MachineState, child: FlowChild, end: ChildEnd): void {
  for (const edge of child.parents) count(edge, -1);
  child.end = end;
  for (const edge of child.parents) count(edge, 1);
  if (end.commit !== 0) holdPack(state, child.pack);
  put(state, endKey(state.layout, child.seq), encodeEnd(end));
}

/** What has become of the child is of no interest any more. */
function letEndGo(state: MachineState, child: FlowChild): void {
  const { end } = child;
  if (end === undefined) return;
  child.end = undefined;
  erase(state, endKey(state.layout, child.seq));
  if (end.commit !== 0) releasePack(state, child.pack, child.second);
}

/** Adds what an edge says of its child to the counts of its parent, or takes it away. */
export function count({ parent, child, onFailure }: FlowLink, by: 1 | -1): void {
  const { end } = child;
  if (end === undefined) parent.pending += by;
  else if (end.state !== 'completed' && onFailure === 'fail') parent.failing += by;
  else if (end.state !== 'completed' && onFailure === 'continue') parent.continuing += by;
}
