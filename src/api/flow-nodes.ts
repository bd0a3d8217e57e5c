/** Messages of a flow before they are added: made by their channels, put in order, and made into a command. */
import type { Client } from '../client/client.ts';
import {
  CHILD_POLICIES,
  type ChildPolicy,
  type FlowEdge,
  MAX_CHILD_KEY_CHARACTERS,
  MAX_FLOW_EDGES,
  MAX_FLOW_NODES,
} from '../model/flow.ts';
import { isWellFormed } from '../codec/binary-types.ts';
import { checkOptionsObject, oneOf } from './checks.ts';
import type { ProduceOptions } from './options.ts';
import type { Prepared } from './produced.ts';
import type { TransactionTarget } from './transaction.ts';

/** Another message of the flow that waits for this one. */
export interface FlowParent {
  /** Its key. */
  readonly key: string;
  /** @default that of the message */
  readonly onFailure?: ChildPolicy;
}

export interface FlowNodeOptions extends ProduceOptions {
  /**
   * What the flow calls the message, up to 100 characters: others name it in their `parents`, and the handler that waited for
   * it finds it under this key.
   */
  readonly key?: string;
  /**
   * What becomes of a message that waits for this one when this one is dead or was cancelled: `fail` makes it dead as well,
   * and so on upwards; with `continue` it is ready at once; `ignore` counts this one as done and shows its failure;
   * `drop` counts it as done and does not show it.
   * @default 'fail'
   */
  readonly onFailure?: ChildPolicy;
  /** What it waits for. */
  readonly children?: readonly FlowNode[];
  /** Keys of other messages of the flow that wait for this one, beside the one among whose children it is. */
  readonly parents?: readonly (string | FlowParent)[];
}

/** A message of a flow; made by `node()` of its channel. */
export interface FlowNode {
  readonly channel: string;
  readonly key: string | undefined;
  readonly onFailure: ChildPolicy;
  readonly children: readonly FlowNode[];
  readonly parents: readonly Required<FlowParent>[];
  /** @internal */
  readonly prepare: (client: Client) => Prepared | Promise<Prepared>;
}

/** @throws TypeError, RangeError for options that cannot be used; those of the message itself are checked when it is added */
export function createNode<Input>(
  target: TransactionTarget<Input>,
  message: Input,
  options: FlowNodeOptions = {},
): FlowNode {
  checkOptionsObject(options, 'node');
  const { key, onFailure = 'fail', children = [], parents = [], ...produce } = options;
  if (key !== undefined) checkKey(key);
  checkPolicy(onFailure);
  if (!Array.isArray(children) || !children.every(isNode)) {
    throw new TypeError('Cannot use "children": give a list of what node() of their channels returns');
  }
  if (!Array.isArray(parents)) throw new TypeError('Cannot use "parents": give a list of keys');
  const node: FlowNode = {
    channel: target.name,
    key,
    onFailure,
    children: [...children],
    parents: parents.map((parent: string | FlowParent) => parentOf(parent, onFailure)),
    prepare: (client) => target.prepare(client, message, Object.keys(produce).length === 0 ? undefined : produce),
  };
  NODES.add(node);
  return Object.freeze(node);
}

/** What node() has made. */
const NODES = new WeakSet<object>();

export function isNode(value: unknown): value is FlowNode {
  return typeof value === 'object' && value !== null && NODES.has(value);
}

/** Messages in an order in which each comes before what it waits for, and the edges between them. */
export interface PlannedFlow {
  readonly nodes: readonly FlowNode[];
  /** Of those without a parent, positions. */
  readonly tops: readonly number[];
  readonly edges: readonly FlowEdge[];
}

/**
 * Puts the messages of a flow in order.
 *
 * @throws TypeError for a message that is there twice, an unknown parent, or messages that wait for each other; RangeError
 * for too many of them
 */
export function planFlow(roots: readonly FlowNode[]): PlannedFlow {
  const { nodes, links } = collect(roots);
  const waiting = new Map<FlowNode, number>(nodes.map((node) => [node, 0]));
  const below = new Map<FlowNode, Link[]>();
  for (const link of links) {
    waiting.set(link.child, (waiting.get(link.child) as number) + 1);
    const known = below.get(link.parent);
    if (known === undefined) below.set(link.parent, [link]);
    else known.push(link);
  }
  const ordered = nodes.filter((node) => waiting.get(node) === 0);
  const tops = ordered.length;
  for (const node of ordered) {
    for (const { child } of below.get(node) ?? []) {
      const left = (waiting.get(child) as number) - 1;
      waiting.set(child, left);
      if (left === 0) ordered.push(child);
    }
  }
  if (ordered.length < nodes.length)
    throw cycleError(
      nodes.filter((node) => !ordered.includes(node)),
      links,
    );
  const positions = new Map(ordered.map((node, position) => [node, position]));
  const edges = links.map(({ parent, child, onFailure }): FlowEdge => {
    return {
      child: positions.get(child) as number,
      parent: positions.get(parent) as number,
      onFailure,
      key: child.key,
    };
  });
  return { nodes: ordered, tops: ordered.slice(0, tops).map((_, position) => position), edges };
}

interface Link {
  readonly parent: FlowNode;
  readonly child: FlowNode;
  readonly onFailure: ChildPolicy;
}

/** All messages of the trees, and who waits for whom. */
function collect(roots: readonly FlowNode[]): { nodes: FlowNode[]; links: Link[] } {
  const seen = new Set<FlowNode>();
  const byKey = new Map<string, FlowNode>();
  const links: Link[] = [];
  const nodes: FlowNode[] = [];
  const add = (node: FlowNode): void => {
    if (seen.has(node)) {
      const again = node.key === undefined ? `A message of "${node.channel}"` : `Message "${node.key}"`;
      throw new TypeError(`${again} is in the flow twice: give it a key, and name its other parents in "parents"`);
    }
    seen.add(node);
    if (node.key !== undefined) {
      if (byKey.has(node.key)) throw new TypeError(`Cannot use key "${node.key}" twice in a flow`);
      byKey.set(node.key, node);
    }
    nodes.push(node);
    if (nodes.length > MAX_FLOW_NODES) {
      throw new RangeError(`Cannot add more than ${MAX_FLOW_NODES} messages in one flow`);
    }
  };
  roots.forEach(add);
  // Grows as it is gone through: a flow may be deeper than a stack.
  for (const parent of nodes) {
    for (const child of parent.children) {
      add(child);
      links.push({ parent, child, onFailure: child.onFailure });
    }
  }
  for (const child of nodes) {
    for (const { key, onFailure } of child.parents) {
      const parent = byKey.get(key);
      if (parent === undefined) {
        const known =
          byKey.size === 0
            ? 'no message of the flow has a key'
            : `known are ${[...byKey.keys()].slice(0, 20).join(', ')}`;
        throw new TypeError(`Cannot use "${key}" as a parent: ${known}`);
      }
      if (parent.children.includes(child) || child.parents.filter((other) => other.key === key).length > 1) {
        throw new TypeError(`Cannot use "${key}" as a parent twice of one message`);
      }
      links.push({ parent, child, onFailure });
    }
  }
  if (links.length > MAX_FLOW_EDGES) {
    throw new RangeError(`Cannot add a flow with more than ${MAX_FLOW_EDGES} edges: it has ${links.length}`);
  }
  return { nodes, links };
}

/** Names the messages of one cycle. */
function cycleError(left: readonly FlowNode[], links: readonly Link[]): TypeError {
  const among = new Set(left);
  const path: FlowNode[] = [];
  let node = left[0] as FlowNode;
  // Each of them has a parent among them, so going up comes back to one that was there.
  for (let above: FlowNode | undefined = node; above !== undefined && !path.includes(node);) {
    path.push(node);
    above = links.find(({ child, parent }) => child === node && among.has(parent))?.parent;
    node = above ?? node;
  }
  const cycle = path.slice(path.indexOf(node));
  const nameOf = ({ key, channel }: FlowNode): string => (key === undefined ? `a message of "${channel}"` : `"${key}"`);
  return new TypeError(`Cannot add a flow whose messages wait for each other: ${cycle.map(nameOf).join(', ')}`);
}

function parentOf(parent: string | FlowParent, otherwise: ChildPolicy): Required<FlowParent> {
  const { key, onFailure = otherwise } = typeof parent === 'string' ? { key: parent } : parent;
  checkKey(key);
  checkPolicy(onFailure);
  return { key, onFailure };
}

function checkKey(key: string): void {
  if (typeof key !== 'string') throw new TypeError(`Cannot use ${typeof key} as a key of a flow: it must be a text`);
  if (key.length === 0 || key.length > MAX_CHILD_KEY_CHARACTERS || !isWellFormed(key)) {
    throw new RangeError(
      `Cannot use ${JSON.stringify(key)} as a key of a flow: it must have from 1 to ${MAX_CHILD_KEY_CHARACTERS} characters, and no half of a surrogate pair`,
    );
  }
}

function checkPolicy(onFailure: ChildPolicy): void {
  oneOf(onFailure, 'onFailure', CHILD_POLICIES);
}
