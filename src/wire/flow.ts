/**
 * Flows in requests, compact.
 *
 * ```
 * flow   = flags(u8) [under(16)] produced edges            1: under
 * edges  = count(varint) edge*
 * edge   = child(varint) parent(varint) policy(u8) [key(text)]      parent: 0 for the one that is there, else its position + 1
 * ```
 */
import { BlockReader } from '../model/block.ts';
import type { ByteReader, ByteWriter } from '../model/bytes.ts';
import { HoldfastError } from '../model/errors.ts';
import {
  type AddFlow,
  CHILD_POLICIES,
  type FlowEdge,
  type FlowPart,
  MAX_CHILD_KEY_CHARACTERS,
  MAX_FLOW_EDGES,
  MAX_FLOW_NODES,
} from '../model/flow.ts';
import { MESSAGE_ID_BYTES } from '../model/message-id.ts';
import { readList } from '../model/reply.ts';

const UNDER = 1;

/** Set in a policy's byte when a key follows. */
const KEYED = 0x80;

type Parts = readonly FlowPart[];

export function writeFlow(
  frame: ByteWriter,
  { under, produced, edges }: AddFlow,
  writeParts: (frame: ByteWriter, parts: Parts) => void,
): void {
  frame.u8(under === undefined ? 0 : UNDER);
  if (under !== undefined) frame.raw(under);
  writeParts(frame, produced);
  writeEdges(frame, edges);
}

export function readFlow(frame: ByteReader, readParts: (frame: ByteReader) => FlowPart[], spend: () => void): AddFlow {
  const under = frame.u8() === UNDER ? frame.raw(MESSAGE_ID_BYTES).slice() : undefined;
  const produced = readParts(frame);
  if (produced.length === 0) throw impossible('a flow without messages');
  return { kind: 'flow', under, produced, edges: readEdges(frame, produced, under !== undefined, spend) };
}

export function writeEdges(frame: ByteWriter, edges: readonly FlowEdge[]): void {
  frame.varint(edges.length);
  for (const { child, parent, onFailure, key } of edges) {
    frame.varint(child);
    frame.varint(parent === undefined ? 0 : parent + 1);
    frame.u8(CHILD_POLICIES.indexOf(onFailure) | (key === undefined ? 0 : KEYED));
    if (key !== undefined) frame.text(key);
  }
}

/** @param hasTop there is a message whose children those are that have an edge without a parent */
export function readEdges(frame: ByteReader, produced: Parts, hasTop: boolean, spend: () => void): FlowEdge[] {
  const nodes = countOf(produced);
  const edges = readList(frame, (from) => {
    spend();
    return readEdge(from, nodes, hasTop);
  });
  if (edges.length > MAX_FLOW_EDGES) throw impossible(`${edges.length} edges of a flow`);
  if (edges.length > 0 && nodes > MAX_FLOW_NODES) throw impossible(`${nodes} messages of a flow`);
  return edges;
}

function readEdge(frame: ByteReader, nodes: number, hasTop: boolean): FlowEdge {
  const child = frame.varint();
  const folded = frame.varint();
  const parent = folded === 0 ? undefined : folded - 1;
  const policy = frame.u8();
  const onFailure = CHILD_POLICIES[policy & ~KEYED];
  if (onFailure === undefined) throw impossible('an edge of an unknown policy');
  const key = policy & KEYED ? frame.text() : undefined;
  // A parent comes before its children, so no message can come to wait for itself.
  if (child >= nodes || (parent === undefined ? !hasTop : parent >= child))
    throw impossible('an edge that leads nowhere');
  if (key !== undefined && (key.length === 0 || key.length > MAX_CHILD_KEY_CHARACTERS)) {
    throw impossible(`a key of ${key.length} characters`);
  }
  return { child, parent, onFailure, key };
}

function countOf(produced: Parts): number {
  let count = 0;
  for (const { blocks } of produced) for (const block of blocks) count += new BlockReader(block).count;
  return count;
}

function impossible(what: string): HoldfastError {
  return new HoldfastError('PROTOCOL', `Cannot take ${what}`);
}
