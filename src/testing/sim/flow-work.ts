/** What users and handlers do with flows. */
import type { HandlerContext } from '../../api/handler-context.ts';
import { type FlowNode, planFlow } from '../../api/flow-nodes.ts';
import { type HandlerOutcome, waitForChildren } from '../../api/outcomes.ts';
import { decode } from '../../codec/bson.ts';
import { BlockReader } from '../../model/block.ts';
import type { Settle } from '../../model/command.ts';
import { CHILD_POLICIES } from '../../model/flow.ts';
import { messageIdText } from '../../model/message-id.ts';
import type { Chance } from './chance.ts';
import { canonical } from './commit-content.ts';
import type { ChildSeen, EdgeAsked } from './records.ts';
import type { Content, OpenChannel, Workplace } from './world.ts';

/** A flow has at most so many messages, and a handler adds no more children when it has so many. */
const MOST_NODES = 8;
const ENOUGH_CHILDREN = 4;

/** Where handlers add children: nothing is suppressed there. */
const ADDED_TO = 'follow/ups';

interface Planned {
  readonly open: OpenChannel;
  readonly content: Content;
  readonly key: string;
  readonly children: Planned[];
  readonly parents: string[];
  readonly onFailure: (typeof CHILD_POLICIES)[number];
  readonly dedupeKey: string | undefined;
}

/** Adds a tree, now and then with a message that several wait for, below a message that is there or not. */
export async function addFlow(worker: Workplace, open: OpenChannel): Promise<void> {
  const { sim, chance, holdfast } = worker;
  if (holdfast === undefined) return;
  const root = drawNode(worker, open, 0, true);
  const all = [root];
  for (let left = chance.whole(1, MOST_NODES - 1); left > 0; left--) {
    const parent = chance.oneOf(all);
    const child = drawNode(
      worker,
      chance.oneOf([...worker.channels.values()].slice(0, -2)),
      all.length,
      chance.happens(0.4),
    );
    // Only what is drawn to wait has children; below the others it goes to the top.
    (parent.content.waits === true ? parent : root).children.push(child);
    all.push(child);
  }
  drawSharing(chance, root, all);
  const byContent = new Map<FlowNode, Planned>();
  const tree = nodeOf(root, byContent);
  const { nodes, edges } = planFlow([tree]);
  const under = chance.happens(0.15) ? sim.someId(open.channel.name, chance) : undefined;
  let adding: Promise<unknown> = Promise.resolve();
  const ids = worker.capture(() => {
    adding = holdfast.flow(tree, under === undefined ? {} : { parent: under });
  });
  const ops = nodes.map((node, i) => {
    const { open: target, content, dedupeKey } = byContent.get(node) as Planned;
    const { channel, plan } = target;
    const key = plan.keys === 'none' ? '' : (dedupeKey ?? canonical(content));
    return sim.called(worker, channel.name, [{ id: ids[i] as string, key, content: canonical(content) }], undefined);
  });
  const asked: EdgeAsked[] = edges.map(({ child, parent, onFailure }) => {
    return { child: ids[child] as string, parent: ids[parent as number] as string, onFailure };
  });
  if (under !== undefined) asked.push({ child: ids[0] as string, parent: under, onFailure: tree.onFailure });
  sim.record({ kind: 'flow.called', at: sim.time.nowMs, process: worker.process.name, edges: asked });
  try {
    const receipts = new Map<string, { id: string; deduplicated: boolean }>();
    gather((await adding) as Receipts, tree, (node, receipt) =>
      receipts.set(ids[nodes.indexOf(node)] as string, receipt),
    );
    ops.forEach((op, i) => sim.answered(worker, op, 'acked', undefined, [receipts.get(ids[i] as string) as Receipts]));
  } catch (error) {
    for (const op of ops) sim.answeredWith(worker, op, error);
  }
}

/** Reads what the message has waited for, and now and then adds more of it. */
export async function workOnChildren(worker: Workplace, context: HandlerContext): Promise<HandlerOutcome | undefined> {
  const { sim, chance } = worker;
  const children: ChildSeen[] = [];
  try {
    for await (const { id, state, result } of context.children()) {
      children.push({ id, state, result: result === undefined ? undefined : canonical(result) });
    }
  } catch (error) {
    sim.tolerate(error);
    return undefined;
  }
  const { id, token } = context;
  if (worker.process.isAlive) sim.record({ kind: 'flow.seen', at: sim.time.nowMs, id, token, children });
  if (sim.isHealed || children.length >= ENOUGH_CHILDREN || !chance.happens(0.4)) return undefined;
  const target = worker.channels.get(ADDED_TO);
  for (let left = chance.whole(0, 2); left > 0 && target !== undefined; left--) {
    const content = sim.newContent(chance.happens(0.2) ? 'throws' : undefined);
    context.addChild(target.channel.node(content, { onFailure: chance.oneOf(CHILD_POLICIES), attempts: 1 }));
  }
  return waitForChildren();
}

/** What a handler adds has its ids only when it is settled. */
export function recordAdded(worker: Workplace, { token, outcome, produced }: Settle, parent: string): void {
  const { sim } = worker;
  if (outcome.kind !== 'wait' || outcome.edges.length === 0) return;
  const items: { readonly id: string; readonly content: string }[] = [];
  for (const { blocks } of produced ?? []) {
    for (const block of blocks) {
      for (const reader = new BlockReader(block); reader.next();) {
        items.push({ id: messageIdText(reader.id), content: canonical(decode(reader.payload)) });
      }
    }
  }
  const edges = outcome.edges.map(({ child, onFailure }): EdgeAsked => {
    const { id, content } = items[child] as (typeof items)[number];
    sim.called(worker, ADDED_TO, [{ id, key: '', content }], { token });
    return { child: id, parent, onFailure };
  });
  sim.record({ kind: 'flow.called', at: sim.time.nowMs, process: worker.process.name, edges });
}

function drawNode({ sim, chance }: Workplace, open: OpenChannel, index: number, waits: boolean): Planned {
  const content = sim.newContent(chance.happens(0.15) ? 'throws' : undefined);
  const isSame = open.plan.keys === 'content' && !waits && chance.happens(0.5);
  return {
    open,
    content: isSame
      ? { n: -chance.whole(1, 4), fate: undefined, padding: '' }
      : waits
        ? { ...content, waits }
        : content,
    key: `node ${index}`,
    children: [],
    parents: [],
    onFailure: chance.oneOf(CHILD_POLICIES),
    dedupeKey: open.plan.keys === 'key' ? `key ${chance.whole(1, 5)}` : undefined,
  };
}

/** Gives one message a second parent, one that stands before it in the tree. */
function drawSharing(chance: Chance, root: Planned, all: readonly Planned[]): void {
  const shared = chance.happens(0.4) ? all.at(-1) : undefined;
  if (shared === undefined || shared === root || shared.children.length > 0) return;
  const others = all.filter((one) => one !== shared && one.content.waits === true && !one.children.includes(shared));
  if (others.length > 0) shared.parents.push(chance.oneOf(others).key);
}

function nodeOf(planned: Planned, made: Map<FlowNode, Planned>): FlowNode {
  const { open, content, key, onFailure, parents, dedupeKey } = planned;
  const children = planned.children.map((child) => nodeOf(child, made));
  const node = open.channel.node(content, { key, onFailure, parents, children, ...(dedupeKey && { dedupeKey }) });
  made.set(node, planned);
  return node;
}

interface Receipts {
  readonly id: string;
  readonly deduplicated: boolean;
  readonly children: readonly Receipts[];
}

function gather(receipt: Receipts, node: FlowNode, add: (node: FlowNode, receipt: Receipts) => void): void {
  add(node, receipt);
  node.children.forEach((child, i) => gather(receipt.children[i] as Receipts, child, add));
}
