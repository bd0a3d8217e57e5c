/** Flows: messages that wait for others, added in one commit; and what a handler sees of those that it waited for. */
import type { Client } from '../client/client.ts';
import { outcomesOf, refusal } from '../client/outbox.ts';
import { MAX_CHILD_PAGE, MAX_FLOW_DEPTH, MAX_FLOW_VIEW } from '../model/flow.ts';
import type { ChildPage, FlowView } from '../model/flow-views.ts';
import { type MessageId, messageIdText, parseMessageId } from '../model/message-id.ts';
import { type FlowNode, isNode, planFlow } from './flow-nodes.ts';
import { refuseUnknown, wholeNumber } from './checks.ts';
import { type Prepared, producedOf } from './produced.ts';
import type { Receipt } from './receipt.ts';
import { ask } from './stored.ts';

/** What became of a message of a flow, and of those among its children. */
export interface FlowReceipt extends Receipt {
  readonly key: string | undefined;
  readonly children: readonly FlowReceipt[];
}

export interface FlowOptions {
  /** The id of a message that has not ended: it waits for this flow as well. A handler that runs has to say so, with `waitForChildren()`. */
  readonly parent?: MessageId;
}

export interface FlowViewOptions {
  /** How many steps below the message are shown. @default 5 */
  readonly depth?: number;
  /** How many messages are shown at most, those nearest to it first. @default 100 */
  readonly limit?: number;
  /** How many children of the message itself to pass over. @default 0 */
  readonly offset?: number;
}

/** The most bytes of payloads that one commit takes. */
const MAX_BYTES: number = 8 * 1024 * 1024;

/** Adds all messages of the trees, or none. */
export async function addFlow(
  client: Client,
  given: FlowNode | readonly FlowNode[],
  options: FlowOptions = {},
): Promise<FlowReceipt | FlowReceipt[]> {
  refuseUnknown(options, ['parent'], 'flow');
  const roots = isNode(given) ? [given] : (given as readonly FlowNode[]);
  if (!Array.isArray(roots) || roots.length === 0 || !roots.every(isNode)) {
    throw new TypeError('Cannot add a flow: give what node() of a channel returns, or a list of that');
  }
  const { nodes, edges, tops } = planFlow(roots);
  const under = options.parent === undefined ? undefined : parseMessageId(options.parent);
  const top = under === undefined ? [] : topEdges(nodes, tops);
  const prepared = await prepareNodes(client, nodes);
  const command = { kind: 'flow', produced: producedOf(prepared), edges: [...edges, ...top], under } as const;
  const reply = await client.request(command);
  if (reply.kind !== 'produced') throw refusal(reply);
  const outcomes = outcomesOf(reply, nodes.length);
  const receipts = new Map<FlowNode, Growing>();
  nodes.forEach((node, i) => {
    const outcome = outcomes[i];
    const deduplicated = outcome?.what === 'deduplicated';
    const id = messageIdText(deduplicated ? outcome.id : (prepared[i] as Prepared).item.id);
    const { channel, key } = node;
    receipts.set(node, { id, channel, key, deduplicated, durability: client.durability, children: [] });
  });
  for (const [node, receipt] of receipts) {
    for (const child of node.children) receipt.children.push(receipts.get(child) as Growing);
  }
  const found = roots.map((node) => receipts.get(node) as FlowReceipt);
  return isNode(given) ? (found[0] as FlowReceipt) : found;
}

type Growing = Omit<FlowReceipt, 'children'> & { readonly children: Growing[] };

/** What a handler adds below its own message, as a settle carries it. @param known how many messages are produced before them */
export async function nodesBelow(
  client: Client,
  roots: readonly FlowNode[],
  known: number,
): Promise<{ prepared: Prepared[]; edges: ReturnType<typeof planFlow>['edges'] }> {
  const { nodes, edges, tops } = planFlow(roots);
  const moved = [...edges, ...topEdges(nodes, tops)].map(({ child, parent, ...edge }) => {
    return { ...edge, child: child + known, parent: parent === undefined ? undefined : parent + known };
  });
  return { prepared: await prepareNodes(client, nodes), edges: moved };
}

/** @throws HoldfastError `LEASE_LOST` */
export async function childPage(
  client: Client,
  { seq, token }: { readonly seq: number; readonly token: number },
  offset: number,
): Promise<ChildPage> {
  const command = { kind: 'inspect', what: 'children', seq, token, offset, limit: MAX_CHILD_PAGE } as const;
  return (await ask(client, command)) as ChildPage;
}

/** What waits for what below a message; `undefined` when it is not kept any more. */
export async function viewFlow(
  client: Client,
  id: MessageId,
  options: FlowViewOptions = {},
): Promise<FlowView | undefined> {
  refuseUnknown(options, ['depth', 'limit', 'offset'], 'flow');
  const depth = wholeNumber(options.depth ?? 5, 'depth', 0, MAX_FLOW_DEPTH);
  const limit = wholeNumber(options.limit ?? 100, 'limit', 1, MAX_FLOW_VIEW);
  const offset = wholeNumber(options.offset ?? 0, 'offset', 0, 2 ** 40);
  const command = { kind: 'inspect', what: 'flow', id: parseMessageId(id), depth, limit, offset } as const;
  return ((await ask(client, command)) as FlowView | null) ?? undefined;
}

function topEdges(nodes: readonly FlowNode[], tops: readonly number[]): ReturnType<typeof planFlow>['edges'] {
  return tops.map((child) => {
    const { onFailure, key } = nodes[child] as FlowNode;
    return { child, parent: undefined, onFailure, key };
  });
}

async function prepareNodes(client: Client, nodes: readonly FlowNode[]): Promise<Prepared[]> {
  const prepared: Prepared[] = [];
  let bytes = 0;
  for (const node of nodes) {
    const one = node.prepare(client);
    const ready = one instanceof Promise ? await one : one;
    bytes += ready.item.payload.length;
    if (bytes > MAX_BYTES) throw new RangeError(`Cannot add a flow of more than ${MAX_BYTES} bytes in one commit`);
    prepared.push(ready);
  }
  return prepared;
}
