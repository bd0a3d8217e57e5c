import type { ItemOptions } from '#holdfast/model/block.js';
import type { Reply } from '#holdfast/model/command.js';
import type { ChildPolicy, FlowEdge, FlowPart } from '#holdfast/model/flow.js';
import type { ChildPage, ChildView, FlowView } from '#holdfast/model/flow-views.js';
import { messageIdText, parseMessageId } from '#holdfast/model/message-id.js';
import { blockOf, type MachineClient, type MachineRun } from './machine-run.ts';

/** A message of a flow, and what it is below: positions of others, which come before it, or the message that is there. */
export interface PlannedNode {
  readonly ref: number;
  readonly options?: ItemOptions;
  readonly below?: readonly (number | 'top')[];
  readonly onFailure?: ChildPolicy;
  readonly key?: string;
}

/** What a command carries of these messages. */
export function partsOf(run: MachineRun, nodes: readonly PlannedNode[]): { ids: string[]; produced: FlowPart[] } {
  const ids = nodes.map(() => run.newId());
  const produced = nodes.map(({ ref, options = {} }, i): FlowPart => {
    return { kind: 'produce', ref, blocks: [blockOf([ids[i] as Uint8Array], [options])] };
  });
  return { ids: ids.map((id) => messageIdText(id)), produced };
}

export function edgesOf(nodes: readonly PlannedNode[]): FlowEdge[] {
  return nodes.flatMap(({ below = [], onFailure = 'fail', key }, child) =>
    below.map((parent) => ({ child, parent: parent === 'top' ? undefined : parent, onFailure, key })),
  );
}

/** Adds a flow and gives the ids of its messages, and the answer. */
export function addFlow(
  run: MachineRun,
  client: MachineClient,
  nodes: readonly PlannedNode[],
  under?: string,
): { ids: string[]; reply: Reply } {
  const { ids, produced } = partsOf(run, nodes);
  const top = under === undefined ? undefined : parseMessageId(under);
  return { ids, reply: client.ask({ kind: 'flow', produced, edges: edgesOf(nodes), under: top }) };
}

/** A page of the children of a message that the client holds. */
export function childrenOf(
  client: MachineClient,
  { seq, token }: { readonly seq: number; readonly token: number },
  offset: number = 0,
  limit: number = 100,
): readonly ChildView[] {
  const reply = client.ask({ kind: 'inspect', what: 'children', seq, token, offset, limit });
  if (reply.kind !== 'value') throw new Error(`Refused: ${JSON.stringify(reply)}`);
  return (reply.value as ChildPage).children;
}

export function flowOf(client: MachineClient, id: string, limit: number = 100, offset: number = 0): FlowView | null {
  const reply = client.ask({ kind: 'inspect', what: 'flow', id: parseMessageId(id), offset, limit, depth: 20 });
  if (reply.kind !== 'value') throw new Error(`Refused: ${JSON.stringify(reply)}`);
  return reply.value as FlowView | null;
}
