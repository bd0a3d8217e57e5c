/**
 * A checker of histories of concurrent operations on KV: whether there is an order of all operations, each at one moment
 * between its call and its answer, in which one after the other gives every answer that was given.
 *
 * What it holds histories against is linearizability (M. Herlihy and J. Wing, "Linearizability: a correctness condition for
 * concurrent objects", TOPLAS 12(3), 1990). It searches for an order as J. Wing and C. Gong do ("Testing and verifying
 * concurrent objects", JPDC 17, 1993), and never looks twice at the same state behind the same set of operations, as G. Lowe
 * proposes ("Testing for linearizability", CCPE 29(4), 2017). Keys that no operation touches together are searched apart,
 * which their locality allows (Herlihy and Wing, theorem 1).
 *
 * Where answers tell versions of commits these give most of the order away: then long histories are cheap. Without them the
 * search takes, at worst, time that grows exponentially with the operations that run at a time, and in either case with those
 * that were not answered; it is bounded, and says when it has met its bound.
 */
import {
  type KvOperation,
  type KvState,
  KvSteps,
  keysOf,
  nothingYet,
  textOfState,
  versionAnswered,
} from './kv-history.ts';

export type Linearizability =
  | { readonly verdict: 'linearizable' }
  /**
   * There is no such order. `prefix` is the history up to the first answer that cannot be, which is its last one, without
   * operations on other keys and without answers that came later.
   */
  | { readonly verdict: 'not'; readonly prefix: readonly KvOperation[] }
  /** The search was given up. */
  | { readonly verdict: 'unknown' };

export interface LinearizabilityOptions {
  /** More operations are not tried in one search. Raise it when histories come out as `unknown`. @default 1,000,000 */
  readonly maxSteps?: number;
}

const MAX_STEPS = 1_000_000;

/**
 * Holds a history against linearizability; all entries are absent at its beginning. What the checker says of conflicts on
 * versions that nobody was told of leans towards `linearizable`.
 *
 * @throws RangeError for an answer that came before its call
 */
export function checkLinearizable(
  history: readonly KvOperation[],
  { maxSteps = MAX_STEPS }: LinearizabilityOptions = {},
): Linearizability {
  const late = history.find(({ calledAt, answeredAt = calledAt }) => answeredAt < calledAt);
  if (late !== undefined) {
    throw new RangeError(
      `Cannot check a history: an answer came at ${late.answeredAt}, before its call at ${late.calledAt}`,
    );
  }
  const byCall = history
    .filter(({ action, answer }) => answer !== undefined || action.kind === 'commit')
    .toSorted((a, b) => a.calledAt - b.calledAt);
  let failing = versionBeforeItsTime(byCall);
  let isUnknown = false;
  for (const part of partsOf(byCall)) {
    const found = search(part, maxSteps);
    isUnknown ||= found === 'unknown';
    if (found !== 'not') continue;
    const prefix = shortestFailing(part, maxSteps);
    if (failing === undefined || lastAnswer(prefix) < lastAnswer(failing)) failing = prefix;
  }
  if (failing !== undefined) return { verdict: 'not', prefix: failing };
  return { verdict: isUnknown ? 'unknown' : 'linearizable' };
}

/** What stands for the keys of operations that have none. */
const NO_KEY = Symbol('no key');

/** Operations on keys that hang together by the operations that touch them. */
function partsOf(history: readonly KvOperation[]): KvOperation[][] {
  const parents = new Map<string, string>();
  const rootOf = (key: string): string => {
    let root = key;
    for (let parent = parents.get(root); parent !== undefined && parent !== root; parent = parents.get(root))
      root = parent;
    parents.set(key, root);
    return root;
  };
  for (const operation of history) {
    const [first, ...others] = keysOf(operation);
    if (first === undefined) continue;
    for (const key of others) parents.set(rootOf(key), rootOf(first));
  }
  const parts = new Map<string | symbol, KvOperation[]>();
  for (const operation of history) {
    const [key] = keysOf(operation);
    const root = key === undefined ? NO_KEY : rootOf(key);
    const part = parts.get(root);
    if (part === undefined) parts.set(root, [operation]);
    else part.push(operation);
  }
  return [...parts.values()];
}

/**
 * The prefix that ends with the first commit, or read, whose version is not higher than one that was told before its call,
 * or has been told of another commit: such answers may be about keys that have nothing to do with each other.
 */
function versionBeforeItsTime(history: readonly KvOperation[]): KvOperation[] | undefined {
  const told = history
    .filter((operation) => highestTold(operation) > 0)
    .toSorted((a, b) => answeredAt(a) - answeredAt(b));
  const given = new Set<number>();
  let highest = 0;
  let next = 0;
  const floors = new Map<KvOperation, number>();
  for (const operation of history) {
    for (let one = told[next]; one !== undefined && answeredAt(one) < operation.calledAt; one = told[++next]) {
      highest = Math.max(highest, highestTold(one));
    }
    floors.set(operation, highest);
  }
  for (const operation of told) {
    const version = versionAnswered(operation);
    if (version === undefined) continue;
    if (version <= (floors.get(operation) ?? 0) || given.has(version)) return upTo(history, answeredAt(operation));
    given.add(version);
  }
  return undefined;
}

/** The highest version that an answer tells of. */
function highestTold({ answer }: KvOperation): number {
  if (answer?.kind === 'committed') return answer.version ?? 0;
  return answer?.kind === 'read' ? Math.max(0, ...answer.entries.map((entry) => entry?.version ?? 0)) : 0;
}

function answeredAt({ answer, answeredAt: at = Infinity }: KvOperation): number {
  return answer === undefined ? Infinity : at;
}

function lastAnswer(history: readonly KvOperation[]): number {
  return Math.max(...history.map(answeredAt).filter(Number.isFinite));
}

/** The history as it was known at that time. */
function upTo(history: readonly KvOperation[], at: number): KvOperation[] {
  return history
    .filter(({ calledAt }) => calledAt <= at)
    .map((operation) => (answeredAt(operation) <= at ? operation : unanswered(operation)));
}

function unanswered({ calledAt, action }: KvOperation): KvOperation {
  return { calledAt, action };
}

/** Prefixes of what is linearizable are so too, so the shortest one that is not can be halved in on. */
function shortestFailing(history: readonly KvOperation[], maxSteps: number): KvOperation[] {
  const answers = history
    .map(answeredAt)
    .filter(Number.isFinite)
    .toSorted((a, b) => a - b);
  let [low, high] = [0, answers.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (search(upTo(history, answers[middle] as number), maxSteps) === 'not') high = middle;
    else low = middle + 1;
  }
  return upTo(history, answers[low] as number);
}

/** A choice that was made on the way, and the state before it. */
interface Choice {
  readonly number: number;
  readonly event: number;
  readonly spare: number;
  readonly state: KvState;
}

/**
 * Looks for an order. `history` is sorted by its calls. What was not answered is tried only where the search would have to
 * turn back without it: of most of these operations nobody knows any more whether they have happened.
 */
function search(history: readonly KvOperation[], maxSteps: number): Linearizability['verdict'] {
  const answered = history.filter(({ answer }) => answer !== undefined);
  const operations = [
    ...answered,
    ...history.filter(({ action, answer }) => answer === undefined && action.kind === 'commit'),
  ];
  const keys = [...new Set(operations.flatMap(keysOf))];
  const versions = operations.map(versionAnswered);
  const inOrder = versions.filter((version) => version !== undefined).toSorted((a, b) => a - b);
  const steps = new KvSteps(keys, new Set(inOrder));
  const events = new Events(answered);
  const done = new DoneSet(operations.length);
  const seen = new Set<string>();
  const trail: Choice[] = [];
  let state = nothingYet(keys.length);
  let versionsDone = 0;
  let tried = 0;
  // What is tried next: the call that this is, or where it is an answer, the first operation without one from there on.
  let event = events.first;
  let spare = answered.length;
  while (events.answersLeft > 0) {
    const isCall = events.isCall(event);
    while (!isCall && done.has(spare)) spare += 1;
    const number = isCall ? events.operation(event) : spare;
    const operation = operations[number];
    if (operation === undefined || (!isCall && operation.calledAt > events.at(event))) {
      // That answer has come by now, so something before it was wrong.
      const last = trail.pop();
      if (last === undefined) return 'not';
      ({ state, event, spare } = last);
      if (versions[last.number] !== undefined) versionsDone -= 1;
      done.remove(last.number);
      if (!events.isCall(event)) spare += 1;
      else {
        events.putBack(event);
        event = events.next(event);
      }
      continue;
    }
    const version = versions[number];
    // The commits whose versions are known have happened in this order.
    const isNext = version === undefined || version === inOrder[versionsDone];
    if (isNext && tried++ >= maxSteps) return 'unknown';
    const after = isNext ? steps.after(state, operation, number) : undefined;
    if (after !== undefined && done.add(number, () => isNew(seen, `${done.text} ${textOfState(after)}`))) {
      trail.push({ number, event, spare, state });
      if (version !== undefined) versionsDone += 1;
      if (isCall) events.takeOut(event);
      state = after;
      event = events.first;
      spare = answered.length;
    } else if (isCall) event = events.next(event);
    else spare += 1;
  }
  return 'linearizable';
}

function isNew(seen: Set<string>, text: string): boolean {
  const { size } = seen;
  return seen.add(text).size > size;
}

/** Calls and answers in the order of time, as a list from which operations can be taken out, and put back the last one first. */
class Events {
  /** By event: its operation, its time, and whether it is the call. */
  readonly #operations: number[] = [-1];
  readonly #times: number[] = [-Infinity];
  readonly #calls: boolean[] = [false];
  /** The event of the answer, by operation. */
  readonly #answers: number[] = [];
  readonly #next: number[] = [];
  readonly #previous: number[] = [];
  answersLeft: number;

  /** @param history operations that all have their answers */
  constructor(history: readonly KvOperation[]) {
    this.answersLeft = history.length;
    const events = history.flatMap((operation, number) => [
      { at: operation.calledAt, number, isCall: true },
      { at: answeredAt(operation), number, isCall: false },
    ]);
    // Of a call and an answer at one time nobody knows which was first.
    events.sort((a, b) => a.at - b.at || Number(b.isCall) - Number(a.isCall));
    for (const { at, number, isCall } of events) {
      if (!isCall) this.#answers[number] = this.#operations.length;
      this.#operations.push(number);
      this.#times.push(at);
      this.#calls.push(isCall);
    }
    // The first place and the last are nobody's.
    for (let i = 0; i <= this.#operations.length; i++) {
      this.#next.push(i + 1);
      this.#previous.push(i - 1);
    }
  }

  get first(): number {
    return this.next(0);
  }

  next(event: number): number {
    return this.#next[event] as number;
  }

  isCall(event: number): boolean {
    return this.#calls[event] === true;
  }

  operation(event: number): number {
    return this.#operations[event] as number;
  }

  at(event: number): number {
    return this.#times[event] as number;
  }

  /** Takes out an operation by its call. */
  takeOut(call: number): void {
    this.#unlink(call);
    this.#unlink(this.#answers[this.operation(call)] as number);
    this.answersLeft -= 1;
  }

  putBack(call: number): void {
    this.#link(this.#answers[this.operation(call)] as number);
    this.#link(call);
    this.answersLeft += 1;
  }

  #unlink(event: number): void {
    const [previous, next] = [this.#previous[event] as number, this.next(event)];
    this.#next[previous] = next;
    this.#previous[next] = previous;
  }

  #link(event: number): void {
    this.#next[this.#previous[event] as number] = event;
    this.#previous[this.next(event)] = event;
  }
}

/** Which operations are done: as these are most often the first ones, few numbers say so. */
class DoneSet {
  readonly #isDone: boolean[];
  #first = 0;
  #end = 0;

  constructor(size: number) {
    this.#isDone = Array.from({ length: size }, () => false);
  }

  has(number: number): boolean {
    return this.#isDone[number] === true;
  }

  /** Adds one, unless `isWanted` says, with it among them, that it is not to stay. */
  add(number: number, isWanted: () => boolean): boolean {
    this.#isDone[number] = true;
    this.#end = Math.max(this.#end, number + 1);
    while (this.has(this.#first)) this.#first += 1;
    const stays = isWanted();
    if (!stays) this.remove(number);
    return stays;
  }

  remove(number: number): void {
    this.#isDone[number] = false;
    this.#first = Math.min(this.#first, number);
    while (this.#end > 0 && !this.has(this.#end - 1)) this.#end -= 1;
  }

  get text(): string {
    let text = `${this.#first}`;
    for (let i = this.#first; i < this.#end; i++) if (this.has(i)) text += `,${i}`;
    return text;
  }
}
