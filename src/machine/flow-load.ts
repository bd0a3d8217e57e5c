/** Flows, read from their records: parents, then what they wait for, then how that has ended. */
import { HoldfastError } from '../model/errors.ts';
import type { Key, Value } from '../model/records.ts';
import { count, link, look } from './flow-graph.ts';
import { FLOW, readChunk, readEnd, readParent } from './flow-records.ts';
import type { MachineState } from './state.ts';

export function loadFlow(state: MachineState, key: Key, value: Value): void {
  const { layout, flows, packs } = state;
  const seq = layout.numberAt(key, 1);
  switch (layout.numberAt(key, 0)) {
    case FLOW.parent:
      flows.parents.set(seq, readParent(seq, value));
      return;
    case FLOW.children: {
      const parent = known(flows.parents.get(seq));
      for (const { onFailure, key: name, ...place } of readChunk(value)) {
        let child = flows.children.get(place.seq);
        if (child === undefined) {
          child = { ...place, parents: [], end: undefined };
          flows.children.set(place.seq, child);
        }
        link(parent, child, onFailure, name);
      }
      return;
    }
    default: {
      const child = known(flows.children.get(seq));
      for (const edge of child.parents) count(edge, -1);
      child.end = readEnd(value);
      for (const edge of child.parents) count(edge, 1);
      if (child.end.commit !== 0) packs.set(child.pack, (packs.get(child.pack) ?? 0) + 1);
    }
  }
}

/** Takes up what was under way. */
export function finishFlows(state: MachineState): void {
  const { parents, retired } = state.flows;
  for (const parent of parents.values()) {
    if (parent.isRetired) {
      parents.delete(parent.seq);
      retired.set(parent, 0);
    } else look(state, parent);
  }
}

function known<T>(found: T | undefined): T {
  if (found === undefined) throw new HoldfastError('STORE_CORRUPT', 'Cannot find the message that a flow names');
  return found;
}
