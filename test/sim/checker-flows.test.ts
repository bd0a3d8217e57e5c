import { checkHistory, type SimRecord } from '#holdfast/testing/sim/index.js';
import { beforeAll, describe, expect, test } from 'vitest';
import { found, Histories, type Of, plant } from './planting.ts';

type Transition = Of<'commit'>['content']['transitions'][number];

/** Leaves one transition out of a commit, the first that fits. */
function without(
  history: readonly SimRecord[],
  fits: (transition: Transition, record: Of<'commit'>, before: readonly SimRecord[]) => boolean,
): SimRecord[] {
  return plant(history, 'commit', (record, before) => {
    const { transitions } = record.content;
    const at = transitions.findIndex((transition) => fits(transition, record, before));
    return at < 0
      ? undefined
      : { ...record, content: { ...record.content, transitions: transitions.toSpliced(at, 1) } };
  });
}

/** What has happened last to a message, before this record. */
function lastOf(seq: number, before: readonly SimRecord[]): string | undefined {
  const commits = before.filter((record) => record.kind === 'commit');
  return commits.flatMap(({ content }) => content.transitions).findLast((one) => one.seq === seq)?.what;
}

/** Whether nothing can stand for a child that the message was to have: of such children the checker knows less. */
function hasOnlyItsOwn(parent: string, before: readonly SimRecord[]): boolean {
  const keys = new Map<string, string>();
  const children: string[] = [];
  for (const record of before) {
    if (record.kind === 'produce.called') for (const { id, key } of record.messages) keys.set(id, key);
    if (record.kind === 'flow.called')
      children.push(...record.edges.filter((edge) => edge.parent === parent).map(({ child }) => child));
  }
  return children.length > 0 && children.every((child) => keys.get(child) === '');
}

function idOf(seq: number, before: readonly SimRecord[]): string {
  for (const record of before) {
    if (record.kind !== 'commit') continue;
    for (const { items } of record.content.packs) for (const item of items) if (item.seq === seq) return item.id;
  }
  return '';
}

/** Changes what a handler has seen of a child, where all children were seen as completed. */
function plantSeen(
  history: readonly SimRecord[],
  change: (children: Of<'flow.seen'>['children']) => Of<'flow.seen'>['children'] | undefined,
): SimRecord[] {
  return plant(history, 'flow.seen', (record, before) => {
    const { children, id } = record;
    if (children.length === 0 || !hasOnlyItsOwn(id, before) || children.some(({ state }) => state !== 'completed'))
      return undefined;
    const changed = change(children);
    return changed && { ...record, children: changed };
  });
}

describe('the checker of flows', () => {
  const histories = new Histories();
  const inAny = histories.inAny.bind(histories);

  beforeAll(() => histories.simulate([1, 2, 8, 19, 22, 57]), 60_000);

  test('finds nothing in the histories as they are', () => {
    for (const history of histories.all) expect(checkHistory(history)).toEqual([]);
    expect(histories.all.flat().filter(({ kind }) => kind === 'flow.seen').length).toBeGreaterThan(10);
  });

  test('F1: a message that goes on before a child has ended', async () => {
    // The last child that ends, and its parent, in one commit.
    const planted = await inAny((history) =>
      without(history, ({ what }, { content: { transitions } }, before) => {
        const parent = transitions.find((one) => one.what === 'unblocked' && lastOf(one.seq, before) === 'blocked');
        const goesOn = parent !== undefined && hasOnlyItsOwn(idOf(parent.seq, before), before);
        return what === 'acked' && goesOn && transitions.filter((one) => one.what === 'acked').length === 1;
      }),
    );
    expect(found(planted)).toContain('F1');
  });

  test('F1: a message that is left waiting when its children have ended', async () => {
    const planted = await inAny((history) =>
      without(
        history,
        ({ what, seq }, _record, before) =>
          what === 'unblocked' && lastOf(seq, before) === 'blocked' && hasOnlyItsOwn(idOf(seq, before), before),
      ),
    );
    expect(found(planted)).toContain('F1');
  });

  test('F1: a message that is handed out although it is to wait', async () => {
    const planted = await inAny((history) =>
      plant(history, 'commit', (record, before) => {
        const { transitions } = record.content;
        const claim = transitions.find(({ what }) => what === 'claimed');
        const isAlone = transitions.every(({ what, seq }) => seq !== claim?.seq || what === 'claimed');
        if (claim === undefined || !isAlone || lastOf(claim.seq, before) !== 'unblocked') return undefined;
        const blocked: Transition = { ...claim, what: 'blocked', session: 0 };
        return { ...record, content: { ...record.content, transitions: [blocked, ...transitions] } };
      }),
    );
    expect(found(planted)).toContain('F1');
  });

  test('F2: a handler that gets another result', async () => {
    const planted = await inAny((history) =>
      plantSeen(history, (children) => children.with(0, { ...(children[0] as (typeof children)[0]), result: '"x"' })),
    );
    expect(found(planted)).toContain('F2');
  });

  test('F2: a handler that gets none', async () => {
    const planted = await inAny((history) =>
      plantSeen(history, (children) =>
        children[0]?.result === undefined ? undefined : children.with(0, { ...children[0], result: undefined }),
      ),
    );
    expect(found(planted)).toContain('F2');
  });

  test('F2: a handler that does not see a child, or sees one that is another’s', async () => {
    expect(found(await inAny((history) => plantSeen(history, (children) => children.slice(1))))).toContain('F2');
    const planted = await inAny((history) => {
      const other = history.findLast((record) => record.kind === 'produce.called')?.messages[0]?.id as string;
      return plantSeen(history, (children) => [...children, { id: other, state: 'completed', result: undefined }]);
    });
    expect(found(planted)).toContain('F2');
  });
});
