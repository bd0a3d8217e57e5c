/** Flows: who waits for whom, and what a handler sees of it. */
import type { Happening } from '../../../model/states.ts';
import type { Transition } from '../commit-content.ts';
import type { Committed, EdgeAsked, FlowSeen } from '../records.ts';
import type { Invariant, Seen } from './invariant.ts';

/** How a message has ended, as those who wait for it see it. */
type End = 'completed' | 'failed';

interface Edge extends EdgeAsked {
  /** Simulated time of the commit that made it. */
  readonly since: number;
}

const ENDS: Readonly<Partial<Record<Happening, End>>> = {
  acked: 'completed',
  failed: 'failed',
  expired: 'failed',
  cancelled: 'failed',
  replaced: 'failed',
  purged: 'failed',
  removed: 'failed',
};

/** The judge's own idea of who waits for whom, made from what was asked for and from what has become durable. */
class Graph {
  /** By the id of the child. */
  readonly #asked = new Map<string, EdgeAsked[]>();
  /** Edges that there are, by the id of the parent, and by that of the child. */
  readonly below: Map<string, Edge[]> = new Map();
  readonly #above = new Map<string, Edge[]>();
  /** Ids of children that were asked for, by parent. */
  readonly #wanted = new Map<string, Set<string>>();
  readonly #ends = new Map<string, End>();
  /** Messages that went on among dead letters: their children's sake is another matter. */
  readonly #moved = new Set<string>();
  readonly waiting: Map<string, { woken: number }> = new Map();
  readonly #woken = new Map<string, number>();

  ask(edges: readonly EdgeAsked[]): void {
    for (const edge of edges) {
      push(this.#asked, edge.child, edge);
      const wanted = this.#wanted.get(edge.parent);
      if (wanted === undefined) this.#wanted.set(edge.parent, new Set([edge.child]));
      else wanted.add(edge.child);
    }
  }

  commit({ content, at }: Committed, seen: Seen): string | undefined {
    const looked = new Set<string>();
    for (const transition of content.transitions) {
      const found = this.#apply(transition, at, looked, seen);
      if (found !== undefined) return found;
    }
    for (const { what, seq } of content.transitions) {
      const id = what === 'moved' ? seen.ledger.messages.get(seq)?.id : undefined;
      // It would have gone on for these failures, and died first.
      if (id !== undefined) this.#woken.set(id, this.#continuing(id));
    }
    for (const id of looked) {
      // Others may stand for some of its children, of which nothing is known here.
      if (!this.waiting.has(id) || this.hasStrangers(id, seen)) continue;
      if (this.#isDecided(id)) return `${id} waits, and what it waits for has ended`;
    }
    return undefined;
  }

  /** Whether others may stand for some of the children that it was to have. */
  hasStrangers(id: string, { ledger }: Seen): boolean {
    return [...(this.#wanted.get(id) ?? [])].some((child) => !ledger.byId.has(child));
  }

  endOf(id: string): End | undefined {
    return this.#ends.get(id);
  }

  #apply({ what, seq, session }: Transition, at: number, looked: Set<string>, seen: Seen): string | undefined {
    const id = seen.ledger.messages.get(seq)?.id;
    if (id === undefined) return undefined;
    switch (what) {
      case 'produced':
        for (const asked of this.#asked.get(id) ?? []) {
          const edge = { ...asked, since: at };
          push(this.below, edge.parent, edge);
          push(this.#above, edge.child, edge);
        }
        return undefined;
      case 'blocked':
        if (!this.#wanted.has(id) && session === 0) return `${id} waits, and nothing was added below it`;
        this.waiting.set(id, { woken: this.#woken.get(id) ?? 0 });
        looked.add(id);
        return undefined;
      case 'unblocked':
      case 'postponed':
        return this.#goOn(id, seen);
      case 'claimed':
        return this.waiting.has(id) ? `${id} was claimed while it waits for others` : undefined;
      case 'redriven':
      case 'retried':
        this.#return(id, looked);
        return undefined;
      case 'removed':
        // One that waited has ended by that; of one that had ended, the end stands.
        return this.#ends.has(id) ? undefined : this.#end(id, 'purged', looked, seen);
      case 'moved':
        this.#moved.add(id);
        return undefined;
      case 'givenUp':
        this.waiting.delete(id);
        return undefined;
      default:
        return this.#end(id, what, looked, seen);
    }
  }

  #end(id: string, what: Happening, looked: Set<string>, seen: Seen): string | undefined {
    const end = ENDS[what];
    if (end === undefined) return undefined;
    // What has ended is only forgotten when it is removed.
    if (what === 'removed' && this.#ends.has(id)) return undefined;
    const isWaiting = this.waiting.delete(id);
    if (isWaiting && what === 'failed' && !this.#isFailed(id) && !this.hasStrangers(id, seen))
      return `${id} failed while it waited, and none of its children has failed it`;
    // A dead message may come back to its children; any other has done with them.
    if (what !== 'failed' && what !== 'expired') this.#letGo(id);
    if (this.#moved.has(id)) return undefined;
    this.#ends.set(id, end);
    for (const { parent } of this.#above.get(id) ?? []) looked.add(parent);
    return undefined;
  }

  #letGo(id: string): void {
    for (const edge of this.below.get(id) ?? []) {
      const others = (this.#above.get(edge.child) ?? []).filter((other) => other !== edge);
      this.#above.set(edge.child, others);
    }
    this.below.delete(id);
    this.#woken.delete(id);
  }

  #return(id: string, looked: Set<string>): void {
    if (this.#moved.has(id)) return;
    this.#ends.delete(id);
    for (const { parent } of this.#above.get(id) ?? []) looked.add(parent);
  }

  #goOn(id: string, seen: Seen): string | undefined {
    // One that waits behind another of its dedupe key is none of ours.
    if (!this.waiting.has(id)) return undefined;
    if (!this.#isDecided(id) && !this.hasStrangers(id, seen))
      return `${id} goes on, and what it waits for has not ended`;
    if (this.#isFailed(id)) return `${id} goes on, and a child has failed it`;
    this.#woken.set(id, this.#continuing(id));
    this.waiting.delete(id);
    return undefined;
  }

  #isDecided(id: string): boolean {
    const edges = this.below.get(id) ?? [];
    if (this.#isFailed(id) || edges.every(({ child }) => this.#ends.has(child))) return true;
    return this.#continuing(id) > (this.#woken.get(id) ?? 0);
  }

  #isFailed(id: string): boolean {
    return this.#failedBelow(id, 'fail') > 0;
  }

  #continuing(id: string): number {
    return this.#failedBelow(id, 'continue');
  }

  #failedBelow(id: string, policy: EdgeAsked['onFailure']): number {
    const edges = this.below.get(id) ?? [];
    return edges.filter(({ child, onFailure }) => onFailure === policy && this.#ends.get(child) === 'failed').length;
  }
}

export const FLOWS: readonly Invariant[] = [
  {
    id: 'F1',
    says: 'Flows: a message waits until all of its children have ended or a policy says otherwise, and not longer',
    begin: () => {
      const graph = new Graph();
      return (record, seen) => {
        if (record.kind === 'flow.called') graph.ask(record.edges);
        return record.kind === 'commit' ? graph.commit(record, seen) : undefined;
      };
    },
  },
  {
    id: 'F2',
    says: 'Results: a handler sees exactly the children of its message, with exactly what their handlers returned',
    begin: () => {
      const graph = new Graph();
      return (record, seen) => {
        if (record.kind === 'flow.called') graph.ask(record.edges);
        else if (record.kind === 'commit') graph.commit(record, seen);
        return record.kind === 'flow.seen' ? judgeSeen(record, graph, seen) : undefined;
      };
    },
  },
];

function judgeSeen({ id, token, children }: FlowSeen, graph: Graph, seen: Seen): string | undefined {
  const edges = graph.below.get(id) ?? [];
  const startedAt = seen.starts.get(token)?.at ?? -Infinity;
  for (const { child, since, onFailure } of edges) {
    if (since > startedAt || children.some((one) => one.id === child)) continue;
    if (onFailure !== 'drop' || graph.endOf(child) !== 'failed')
      return `the handler of ${id} does not see its child ${child}`;
  }
  if (new Set(children.map((child) => child.id)).size < children.length && !graph.hasStrangers(id, seen))
    return `the handler of ${id} sees a child twice`;
  for (const { id: child, state, result } of children) {
    const message = seen.ledger.byId.get(child);
    if (message === undefined) return `the handler of ${id} sees ${child}, which is not in the store`;
    if (!edges.some((edge) => edge.child === child)) {
      if (graph.hasStrangers(id, seen)) continue;
      return `the handler of ${id} sees ${child}, which is none of its children`;
    }
    const acked = message.claims.filter(({ ended }) => ended === 'acked');
    if (state === 'completed' && message.moved)
      return `the handler of ${id} sees the dead letter ${child} as completed`;
    if (state === 'completed' && acked.length === 0) return `the handler of ${id} sees ${child} as completed`;
    // One that was retried has had several.
    const given = acked.map((claim) => seen.returned.get(claim.token));
    if (state === 'completed' && !given.includes(result))
      return `the handler of ${id} sees ${result} of ${child}, whose handler returned ${given.join()}`;
    if (graph.endOf(child) === 'completed' && message.touchedAt < startedAt && state !== 'completed')
      return `the handler of ${id} sees ${child} as ${state}, which is completed`;
  }
  return undefined;
}

function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const known = map.get(key);
  if (known === undefined) map.set(key, [value]);
  else known.push(value);
}
