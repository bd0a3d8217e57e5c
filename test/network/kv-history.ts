import type { Holdfast, KvEntryMaybe, KvU64 } from 'holdfast';
import { checkLinearizable, type KvAction, type KvAnswer, type KvOperation, type KvSeen } from 'holdfast/testing';
import { expect } from 'vitest';
import type { Talking } from './processes.ts';
import { waitingIn } from './work.ts';

/** Where a message went that was added together with a change. */
export type MessagePlace = 'queue' | 'channel';

/** An operation as its client told of it. */
export interface ToldOperation extends KvOperation {
  /** No other one is called so. */
  readonly op: string;
  readonly message: MessagePlace | undefined;
}

/** What clients have said of their operations on the entries under `space`. */
export function historyOf(processes: readonly Talking[], space: string): ToldOperation[] {
  const lines = processes.flatMap(({ said }) => said).filter((line) => line['space'] === space);
  const answers = new Map(lines.filter((line) => 'answeredAt' in line).map((line) => [line['op'], line]));
  return lines
    .filter((line) => 'calledAt' in line)
    .map((line) => {
      const answer = answers.get(line['op']);
      return {
        op: line['op'] as string,
        message: line['message'] as MessagePlace | undefined,
        calledAt: line['calledAt'] as number,
        answeredAt: answer?.['answeredAt'] as number | undefined,
        action: actionOf(line['action'] as KvAction),
        answer: answer && answerOf(answer['answer'] as KvAnswer),
      };
    });
}

/** How many operations a process was told the answers of, by their space; and how many of its clients only make changes. */
interface Tally {
  lines: number;
  readonly answers: Map<unknown, number>;
  changing: number;
}

const tallies = new WeakMap<Talking, Tally>();

/** Counts on from where it was the last time. */
export function tallyOf(talking: Talking): Readonly<Tally> {
  const tally: Tally = tallies.get(talking) ?? { lines: 0, answers: new Map(), changing: 0 };
  tallies.set(talking, tally);
  for (const line of talking.said.slice(tally.lines)) {
    const { space } = line;
    if ('answeredAt' in line) tally.answers.set(space, (tally.answers.get(space) ?? 0) + 1);
    if ('changing' in line) tally.changing += 1;
  }
  tally.lines = talking.said.length;
  return tally;
}

/** JSON knows neither bigints nor `undefined`. */
function actionOf(action: KvAction): KvAction {
  if (action.kind === 'read') return action;
  const changes = action.changes.map((change) =>
    change.kind === 'sum' ? { ...change, by: BigInt(change.by) } : change,
  );
  return { ...action, changes };
}

function answerOf(answer: KvAnswer): KvAnswer {
  return answer.kind === 'read' ? { ...answer, entries: answer.entries.map((entry) => entry ?? undefined) } : answer;
}

/** What is there when no client works any more. */
export interface Outcome {
  /** Reads everything. */
  readonly read: KvOperation;
  /** The versions of the commits that have happened, by the operation. */
  readonly marks: ReadonlyMap<string, number>;
}

const KEYS = ['x', 'y', 'n'];

/** Reads what clients have left under this first part of all keys. */
export async function readOutcome({ kv }: Holdfast, space: string): Promise<Outcome> {
  const calledAt = nowMs();
  const entries = (await kv.getMany(KEYS.map((part) => [space, part]))) as KvEntryMaybe<number | KvU64>[];
  const marks = new Map<string, number>();
  for await (const { key, versionstamp } of kv.list({ prefix: [space, 'marks'] })) {
    marks.set(String(key.at(-1)), versionOf(versionstamp));
  }
  const answer: KvAnswer = { kind: 'read', entries: entries.map(seenOf) };
  return { read: { calledAt, answeredAt: nowMs(), action: { kind: 'read', keys: KEYS }, answer }, marks };
}

function seenOf({ value, versionstamp }: KvEntryMaybe<number | KvU64>): KvSeen | undefined {
  if (versionstamp === null) return undefined;
  return { value: String(typeof value === 'number' ? value : value.value), version: versionOf(versionstamp) };
}

const versionOf = (versionstamp: string): number => Number.parseInt(versionstamp.slice(0, 16), 16);
/** By the clock that processes tell times of. */
const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** Whether nobody was told what came of a commit. */
export const isOpen = ({ action, answer }: KvOperation): boolean => action.kind === 'commit' && answer === undefined;

/**
 * The history with what is known at its end: which of the open commits have happened, and the version of each. Whoever
 * orders them by it has no choice left, so that a history that does not hold is found out soon, however much in it was open.
 *
 * @throws Error for a commit that happened and must not have, or the other way round
 */
export function withOutcome(history: readonly ToldOperation[], { read, marks }: Outcome): KvOperation[] {
  const known: KvOperation[] = [read];
  for (const operation of history) {
    const { op, action, answer } = operation;
    if (action.kind === 'read' || action.changes.length === 0) {
      known.push(operation);
      continue;
    }
    const version = marks.get(op);
    const told = answer?.kind === 'committed' ? (answer.version ?? version) : undefined;
    if (answer !== undefined && told !== version) {
      throw new Error(`${op} was answered with ${JSON.stringify(answer)}; its version is ${version ?? 'none'}`);
    }
    if (answer?.kind === 'conflict') known.push(operation);
    else if (version !== undefined) {
      const { answeredAt = read.answeredAt } = operation;
      known.push({ ...operation, answeredAt, answer: { kind: 'committed', version } });
    }
  }
  return known;
}

/** How much of everything there is in a history. */
export function countsOf(history: readonly KvOperation[]): Record<string, number> {
  const count = (of: (operation: KvOperation) => boolean): number => history.filter(of).length;
  const commits = (of: (action: Extract<KvAction, { kind: 'commit' }>) => boolean): number =>
    count(({ action, answer }) => action.kind === 'commit' && answer?.kind === 'committed' && of(action));
  return {
    sums: commits(({ changes }) => changes.some(({ kind }) => kind === 'sum')),
    sets: commits(({ changes }) => changes.some(({ kind }) => kind === 'set')),
    deletes: commits(({ changes }) => changes.some(({ kind }) => kind === 'delete')),
    checks: commits(({ checks }) => checks.length > 0),
    conflicts: count(({ answer }) => answer?.kind === 'conflict'),
    reads: count(({ answer }) => answer?.kind === 'read'),
  };
}

/** A history that is linearizable, and would not be with an answer changed. */
export function expectLinearizable(history: readonly KvOperation[]): void {
  expect(checkLinearizable(history)).toEqual({ verdict: 'linearizable' });
  expect(checkLinearizable(withReadOfNothing(history)).verdict).toBe('not');
  expect(checkLinearizable(withLostSum(history)).verdict).toBe('not');
  expect(checkLinearizable(withConflictForCommit(history)).verdict).toBe('not');
}

/** The history as it would be if somebody had read what was never there. */
function withReadOfNothing(history: readonly KvOperation[]): KvOperation[] {
  return withLastChanged(history, ({ answer }) => {
    if (answer?.kind !== 'read' || answer.entries[0] === undefined) return undefined;
    return { kind: 'read', entries: answer.entries.with(0, { ...answer.entries[0], value: '-1' }) };
  });
}

/** The history as it would be if the last one who read the sum had missed an addition. */
function withLostSum(history: readonly KvOperation[]): KvOperation[] {
  return withLastChanged(history, ({ action, answer }) => {
    const place = action.kind === 'read' ? action.keys.indexOf('n') : -1;
    const seen = answer?.kind === 'read' ? answer.entries[place] : undefined;
    if (answer?.kind !== 'read' || seen === undefined) return undefined;
    return { kind: 'read', entries: answer.entries.with(place, { value: String(Number(seen.value) - 1) }) };
  });
}

/** The history as it would be if what was committed had been answered like what was not. */
function withConflictForCommit(history: readonly KvOperation[]): KvOperation[] {
  return withLastChanged(history, ({ action, answer }) =>
    answer?.kind === 'committed' && action.kind === 'commit' && action.changes.some(({ kind }) => kind === 'sum')
      ? { kind: 'conflict' }
      : undefined,
  );
}

/** Changes the answer, of those for which there is a change, that came last. */
function withLastChanged(
  history: readonly KvOperation[],
  change: (operation: KvOperation) => KvAnswer | undefined,
): KvOperation[] {
  const [last] = history
    .filter((operation) => change(operation) !== undefined)
    .toSorted((a, b) => (b.answeredAt ?? 0) - (a.answeredAt ?? 0));
  return history.map((operation) => (operation === last ? { ...operation, answer: change(operation) } : operation));
}

/** The operations that left a message, as the messages tell. */
export async function messagesIn(hf: Holdfast, place: MessagePlace, spaces: readonly string[]): Promise<string[]> {
  if (place === 'queue') return waitingIn(hf.channel<string>('kv/queue'));
  const found = await Promise.all(spaces.map((space) => waitingIn(hf.channel<string>(`${space}/messages`))));
  return found.flat();
}

/** What is wrong with the messages that were found: each commit that added one has it there once, and nothing else has one. */
export function wrongMessages(
  history: readonly ToldOperation[],
  place: MessagePlace,
  found: readonly string[],
  { marks }: Pick<Outcome, 'marks'>,
): string[] {
  const counts = new Map<string, number>();
  for (const op of found) counts.set(op, (counts.get(op) ?? 0) + 1);
  const wrong: string[] = [];
  for (const { op, message } of history) {
    if (message !== place) continue;
    const count = counts.get(op) ?? 0;
    counts.delete(op);
    if (count !== (marks.has(op) ? 1 : 0))
      wrong.push(`${op}, which ${marks.has(op) ? 'happened' : 'did not'}: ${count}`);
  }
  for (const [op, count] of counts) wrong.push(`${op}, unheard of: ${count}`);
  return wrong;
}
