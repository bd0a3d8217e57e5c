import { describe, expect, test } from 'vitest';
import { decode, encode } from '#holdfast/codec/bson.js';
import { KIND } from '#holdfast/machine/layout.js';
import { parseMessageId } from '#holdfast/model/message-id.js';
import type { Policy } from '#holdfast/model/policy.js';
import { addFlow, childrenOf, edgesOf, flowOf, partsOf, type PlannedNode } from '../helpers/flow-run.ts';
import { dedupe, type Delivered, failureOf, type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { messageOf, viewOf } from '../helpers/machine-views.ts';

const PARENTS = 1;
const CHILDREN = 2;

interface Bench {
  readonly run: MachineRun;
  readonly client: MachineClient;
  /** The refs of the channels. */
  readonly parents: number;
  readonly children: number;
}

function start(childPolicy: Partial<Policy> = {}, parentPolicy: Partial<Policy> = {}): Bench {
  const run = new MachineRun();
  const client = run.client('client');
  const parents = client.declare('parents', parentPolicy);
  const children = client.declare('children', { maxAttempts: 1, ...childPolicy });
  client.window(PARENTS, parents, 100);
  client.window(CHILDREN, children, 100);
  return { run, client, parents, children };
}

/** A parent and so many children. */
function family({ parents, children }: Bench, count: number, rest: Partial<PlannedNode> = {}): PlannedNode[] {
  return [{ ref: parents }, ...Array.from({ length: count }, () => ({ ref: children, below: [0], ...rest }))];
}

function taken(client: MachineClient, ids: readonly string[]): Delivered[] {
  const all = client.take();
  expect(all.map(({ id }) => id)).toEqual(ids);
  return all;
}

function ackWith(client: MachineClient, lease: Delivered, result: unknown): void {
  client.settle(lease, { kind: 'ack', result: encode(result) });
}

function fail(client: MachineClient, lease: Delivered, message: string = 'no'): void {
  client.settle(lease, { kind: 'fail', failure: failureOf(message) });
}

function resultsOf(client: MachineClient, lease: Delivered): unknown[] {
  return childrenOf(client, lease).map(({ result }) => result && decode(result));
}

/** Nothing of flows is left in the store. */
function expectNoTrace(run: MachineRun): void {
  run.run();
  expect(run.kinds).not.toContain(KIND.flow);
}

describe('a flow', () => {
  test.each([false, true])(
    'lets a parent wait until all children have ended, then gives it their results',
    (reloads) => {
      const bench = start();
      const { run, client } = bench;
      const { ids, reply } = addFlow(run, client, family(bench, 3));
      expect(reply).toEqual({ kind: 'produced', exceptions: [] });
      const leases = taken(client, ids.slice(1));
      expect(viewOf(client, 'parents')).toMatchObject({ waiting: 1, ready: 0 });
      for (const [i, lease] of leases.entries()) {
        expect(messageOf(client, ids[0] as string)).toMatchObject({ state: 'waiting', dueAt: undefined });
        if (reloads) run.reload();
        ackWith(client, lease, { n: i });
      }
      if (reloads) run.reload();
      const [parent] = taken(client, [ids[0] as string]) as [Delivered];
      expect(parent.attempt).toBe(1);
      expect(resultsOf(client, parent)).toEqual([{ n: 0 }, { n: 1 }, { n: 2 }]);
      expect(childrenOf(client, parent)[1]).toMatchObject({ id: ids[2], channel: 'children', state: 'completed' });
      ackWith(client, parent, 'done');
      expectNoTrace(run);
    },
  );

  test('is a graph: a child with two parents is waited for by both, and works once', () => {
    const bench = start();
    const { run, client, parents, children } = bench;
    const { ids } = addFlow(run, client, [
      { ref: parents },
      { ref: children, below: [0] },
      { ref: children, below: [0] },
      { ref: children, below: [1, 2], key: 'shared' },
    ]);
    const [shared] = taken(client, [ids[3] as string]) as [Delivered];
    ackWith(client, shared, 'both');
    const [first, second] = taken(client, [ids[1] as string, ids[2] as string]) as [Delivered, Delivered];
    expect(childrenOf(client, first)).toMatchObject([{ id: ids[3], key: 'shared' }]);
    ackWith(client, first, 1);
    run.reload();
    expect(resultsOf(client, second)).toEqual(['both']);
    ackWith(client, second, 2);
    const [top] = taken(client, [ids[0] as string]) as [Delivered];
    expect(resultsOf(client, top)).toEqual([1, 2]);
    client.ack(top);
    expectNoTrace(run);
  });

  test('goes by the time that a parent is given while it waits, and no more by the one it came with', () => {
    const { run, client, parents, children } = start();
    const { ids } = addFlow(run, client, [
      { ref: parents, options: { delayMs: 60_000 } },
      { ref: children, below: [0] },
    ]);
    const [parent = ''] = ids;
    const dueAt = run.now + 5_000;
    client.ask({ kind: 'update', id: parseMessageId(parent), payload: undefined, delayMs: 5_000 });
    run.reload();
    for (const lease of client.take()) client.ack(lease);
    expect(messageOf(client, parent)).toMatchObject({ state: 'delayed', dueAt });
  });

  test('keeps the priority, the group and the own time of a parent', () => {
    const bench = start();
    const { run, client, parents, children } = bench;
    const dueAt = run.wall + 60_000;
    const options = [{ delayMs: 5_000 }, { dueAt }, { priority: 2 }, { priority: 1, group: 'g' }, { lifo: true }];
    const ids = options.map((own) => {
      const flow = [
        { ref: parents, options: own },
        { ref: children, below: [0] },
      ];
      return addFlow(run, client, flow).ids[0] as string;
    });
    client.window(PARENTS, parents, 0);
    run.advance(10_000);
    for (const lease of client.take()) client.ack(lease);
    // A delay counts from when the children have ended.
    expect(messageOf(client, ids[0] as string)).toMatchObject({ state: 'delayed', dueAt: run.now + 5_000 });
    expect(messageOf(client, ids[1] as string)).toMatchObject({ state: 'delayed', dueAt });
    expect(messageOf(client, ids[3] as string)).toMatchObject({ state: 'ready', group: 'g', priority: 1 });
    client.window(PARENTS, parents, 100);
    expect(client.takeIds()).toEqual([ids[4], ids[3], ids[2]]);
    run.reload();
    run.advance(5_000);
    expect(client.takeIds()).toEqual([ids[0]]);
    run.advance(55_000);
    expect(client.takeIds()).toEqual([ids[1]]);
  });

  test('is refused as a whole where a backlog is full', () => {
    const { run, client, parents, children } = start({ maxBacklog: 2 });
    const nodes = family({ run, client, parents, children }, 3);
    expect(addFlow(run, client, nodes).reply).toMatchObject({ kind: 'refused', code: 'BACKLOG_FULL' });
    expect(viewOf(client, 'parents')).toMatchObject({ waiting: 0, ready: 0, totals: { produced: 0 } });
    expectNoTrace(run);
  });

  test('that is sent twice is added once', () => {
    const bench = start();
    const { run, client } = bench;
    const nodes = family(bench, 1);
    const { produced } = partsOf(run, nodes);
    const command = { kind: 'flow', produced, edges: edgesOf(nodes), under: undefined } as const;
    const reply = client.ask(command);
    client.lastRequest -= 1;
    expect(client.ask(command)).toEqual(reply);
    expect(viewOf(client, 'children').totals.produced).toBe(1);
  });

  test('of many children is let go some at a time', () => {
    const bench = start();
    const { run, client } = bench;
    const { ids } = addFlow(run, client, family(bench, 2_500));
    client.window(CHILDREN, bench.children, 2_500);
    for (const lease of client.take()) client.ack(lease);
    const [parent] = taken(client, [ids[0] as string]) as [Delivered];
    expect(childrenOf(client, parent, 2_400).map(({ id }) => id)).toEqual(ids.slice(2_401));
    client.ack(parent);
    expect(run.kinds).toContain(KIND.flow);
    run.step();
    run.reload();
    expectNoTrace(run);
  });

  test('shows its tree with states, level by level', () => {
    const bench = start();
    const { run, client, parents, children } = bench;
    const { ids } = addFlow(run, client, [
      { ref: parents },
      { ref: parents, below: [0], key: 'left' },
      { ref: children, below: [0], onFailure: 'ignore' },
      { ref: children, below: [1] },
    ]);
    const [right] = client.take() as [Delivered];
    client.ack(right);
    expect(flowOf(client, ids[0] as string)).toMatchObject({
      id: ids[0],
      channel: 'parents',
      state: 'waiting',
      size: 2,
      pending: 1,
      children: [
        {
          id: ids[1],
          key: 'left',
          state: 'waiting',
          size: 1,
          children: [{ id: ids[3], state: 'leased', children: [] }],
        },
        { id: ids[2], onFailure: 'ignore', state: 'completed', channel: 'children' },
      ],
    });
    expect(flowOf(client, ids[0] as string, 3)?.children.map(({ children: below }) => below.length)).toEqual([0, 0]);
    expect(flowOf(client, ids[0] as string, 100, 1)?.children.map(({ id }) => id)).toEqual([ids[2]]);
    expect(flowOf(client, ids[3] as string)).toMatchObject({ state: 'leased', size: 0, children: [] });
    expect(flowOf(client, '01900000-0000-7000-8000-000000000000')).toBeNull();
  });
});

describe('a child that is dead', () => {
  test.each(['fail', 'cancel'])('fails its parent, and what waits for that', (how) => {
    const bench = start();
    const { run, client, parents, children } = bench;
    const { ids } = addFlow(run, client, [
      { ref: parents },
      { ref: parents, below: [0] },
      { ref: children, below: [1] },
      { ref: children, below: [1] },
    ]);
    const [first, second] = client.take() as [Delivered, Delivered];
    run.reload();
    if (how === 'fail') fail(client, first, 'broken');
    else client.ask({ kind: 'manage', id: parseMessageId(first.id), action: 'cancel' });
    expect(messageOf(client, ids[1] as string)).toMatchObject({ state: 'dead', failure: { name: 'ChildFailed' } });
    const message = how === 'fail' ? `of "children" is dead: broken` : `of "children" is cancelled`;
    expect(messageOf(client, ids[1] as string)?.failure?.message).toBe(`Its child ${ids[2]} ${message}`);
    expect(messageOf(client, ids[0] as string)).toMatchObject({ state: 'dead' });
    // The others go on.
    client.ack(second);
    expect(messageOf(client, ids[3] as string)).toMatchObject({ state: 'completed' });
    run.reload();
    expect(client.take()).toEqual([]);
    client.ask({ kind: 'control', channel: 'parents', action: 'configure', settings: NOTHING_KEPT });
    expectNoTrace(run);
  });

  test('lets its parent continue at once, once for each', () => {
    const bench = start();
    const { run, client } = bench;
    const { ids } = addFlow(run, client, family(bench, 3, { onFailure: 'continue' }));
    const [first, second, third] = client.take() as [Delivered, Delivered, Delivered];
    fail(client, first);
    run.reload();
    const [parent] = taken(client, [ids[0] as string]) as [Delivered];
    expect(childrenOf(client, parent).map(({ state }) => state)).toEqual(['dead', 'leased', 'leased']);
    client.settle(parent, { kind: 'wait', edges: [] });
    run.reload();
    expect(client.take()).toEqual([]);
    client.ack(second);
    expect(client.take()).toEqual([]);
    client.ack(third);
    expect(client.takeIds()).toEqual([ids[0]]);
  });

  test('counts as done where it is ignored or dropped, and is shown only where it is ignored', () => {
    const bench = start();
    const { run, client, parents, children } = bench;
    const { ids } = addFlow(run, client, [
      { ref: parents },
      { ref: children, below: [0], onFailure: 'ignore' },
      { ref: children, below: [0], onFailure: 'drop' },
      { ref: children, below: [0], onFailure: 'drop' },
    ]);
    const [first, second, third] = client.take() as [Delivered, Delivered, Delivered];
    fail(client, first, 'ignored');
    fail(client, second, 'dropped');
    ackWith(client, third, 3);
    run.reload();
    const [parent] = taken(client, [ids[0] as string]) as [Delivered];
    expect(childrenOf(client, parent)).toMatchObject([
      { id: ids[1], state: 'dead', failure: { name: 'Error', message: 'ignored' } },
      { id: ids[3], state: 'completed', failure: undefined },
    ]);
    client.ack(parent);
    expectNoTrace(run);
  });

  test('that moves to the dead letters is dead to its parent, whatever becomes of it there', () => {
    const bench = start({ deadLetter: 'letters' });
    const { run, client } = bench;
    const { ids } = addFlow(run, client, family(bench, 1, { onFailure: 'ignore' }));
    fail(client, (client.take() as [Delivered])[0], 'lost');
    run.reload();
    const [parent] = taken(client, [ids[0] as string]) as [Delivered];
    const letters = client.declare('letters');
    client.window(3, letters, 1);
    const [letter] = taken(client, [ids[1] as string]) as [Delivered];
    ackWith(client, letter, 'too late');
    run.reload();
    expect(childrenOf(client, parent)).toMatchObject([
      { state: 'dead', channel: 'children', result: undefined, failure: { message: 'lost' } },
    ]);
    client.ack(parent);
    expectNoTrace(run);
  });

  test('and is redriven is waited for again, and so is it by a parent that is redriven', () => {
    const bench = start();
    const { run, client } = bench;
    const { ids } = addFlow(run, client, family(bench, 2));
    const [first, second] = client.take() as [Delivered, Delivered];
    ackWith(client, second, 2);
    fail(client, first);
    expect(messageOf(client, ids[0] as string)).toMatchObject({ state: 'dead' });
    run.reload();
    redrive(client, ids[1] as string);
    redrive(client, ids[0] as string);
    const [again] = taken(client, [ids[1] as string]) as [Delivered];
    expect(messageOf(client, ids[0] as string)).toMatchObject({ state: 'waiting' });
    run.reload();
    ackWith(client, again, 1);
    const [parent] = taken(client, [ids[0] as string]) as [Delivered];
    expect(resultsOf(client, parent)).toEqual([1, 2]);
    client.ack(parent);
    expectNoTrace(run);
  });

  test('does not hold a parent that is redriven in spite of it', () => {
    const bench = start();
    const { run, client } = bench;
    const { ids } = addFlow(run, client, family(bench, 1));
    fail(client, (client.take() as [Delivered])[0], 'no');
    redrive(client, ids[0] as string);
    const [parent] = taken(client, [ids[0] as string]) as [Delivered];
    expect(childrenOf(client, parent)).toMatchObject([{ state: 'dead', failure: { message: 'no' } }]);
    client.ack(parent);
    expectNoTrace(run);
  });

  test('and is redriven after its parent has ended works for itself', () => {
    const bench = start();
    const { run, client } = bench;
    const { ids } = addFlow(run, client, family(bench, 1, { onFailure: 'ignore' }));
    fail(client, (client.take() as [Delivered])[0]);
    client.ack((client.take() as [Delivered])[0]);
    redrive(client, ids[1] as string);
    client.ack((client.take() as [Delivered])[0]);
    expect(messageOf(client, ids[1] as string)).toMatchObject({ state: 'completed' });
    expect(messageOf(client, ids[0] as string)).toMatchObject({ state: 'completed', attempts: 1 });
    expectNoTrace(run);
  });
});

describe('a child that is retried or removed', () => {
  const retry = (client: MachineClient, id: string): unknown =>
    client.ask({ kind: 'manage', id: parseMessageId(id), action: 'retry' });
  const remove = (client: MachineClient, id: string): unknown =>
    client.ask({ kind: 'manage', id: parseMessageId(id), action: 'remove' });

  test('is waited for again by parents that still wait, with its new result', () => {
    const bench = start();
    const { run, client } = bench;
    const { ids } = addFlow(run, client, family(bench, 2));
    const [first, second] = client.take() as [Delivered, Delivered];
    ackWith(client, first, 'old');
    expect(retry(client, ids[1] as string)).toEqual({ kind: 'done' });
    ackWith(client, second, 2);
    run.reload();
    const [again] = taken(client, [ids[1] as string]) as [Delivered];
    ackWith(client, again, 'new');
    const [parent] = taken(client, [ids[0] as string]) as [Delivered];
    expect(resultsOf(client, parent)).toEqual(['new', 2]);
    client.ack(parent);
    expect(retry(client, ids[0] as string)).toEqual({ kind: 'done' });
    expect(childrenOf(client, (client.take() as [Delivered])[0])).toEqual([]);
    expectNoTrace(run);
  });

  test('keeps its result for its parents when it is removed, and counts as cancelled if it has none', () => {
    const bench = start();
    const { run, client, children } = bench;
    const { ids } = addFlow(run, client, family(bench, 2, { onFailure: 'ignore' }));
    const [first, second] = client.take() as [Delivered, Delivered];
    ackWith(client, first, 'kept');
    expect(remove(client, ids[1] as string)).toEqual({ kind: 'done' });
    client.window(CHILDREN, children, 0);
    client.settle(second, { kind: 'release' });
    expect(remove(client, ids[2] as string)).toEqual({ kind: 'done' });
    run.reload();
    const [parent] = taken(client, [ids[0] as string]) as [Delivered];
    expect(childrenOf(client, parent)).toMatchObject([{ state: 'completed' }, { state: 'cancelled' }]);
    expect(resultsOf(client, parent)).toEqual(['kept', undefined]);
    client.ack(parent);
    expectNoTrace(run);
  });
});

describe('a parent', () => {
  test('that is dead keeps the results of its children as long as it is kept', () => {
    const bench = start({}, { maxAttempts: 1 });
    const { run, client } = bench;
    const { ids } = addFlow(run, client, family(bench, 1));
    ackWith(client, (client.take() as [Delivered])[0], 'kept');
    client.nack((client.take() as [Delivered])[0]);
    client.ask({ kind: 'control', channel: 'children', action: 'configure', settings: NOTHING_KEPT });
    run.run();
    run.reload();
    expect(messageOf(client, ids[1] as string)).toBeNull();
    redrive(client, ids[0] as string);
    const [parent] = taken(client, [ids[0] as string]) as [Delivered];
    expect(resultsOf(client, parent)).toEqual(['kept']);
    client.nack(parent);
    client.ask({ kind: 'control', channel: 'parents', action: 'configure', settings: NOTHING_KEPT });
    expectNoTrace(run);
    expect(run.kinds).not.toContain(KIND.pack);
  });

  test('gets the result of a child that is not kept any more', () => {
    const bench = start();
    const { run, client } = bench;
    client.ask({ kind: 'control', channel: 'children', action: 'configure', settings: NOTHING_KEPT });
    const { ids } = addFlow(run, client, family(bench, 2));
    const [first, second] = client.take() as [Delivered, Delivered];
    ackWith(client, first, 'gone');
    run.run();
    expect(messageOf(client, ids[1] as string)).toBeNull();
    run.reload();
    client.ack(second);
    const [parent] = taken(client, [ids[0] as string]) as [Delivered];
    expect(resultsOf(client, parent)).toEqual(['gone', undefined]);
    client.ack(parent);
    client.ask({ kind: 'control', channel: 'parents', action: 'configure', settings: NOTHING_KEPT });
    expectNoTrace(run);
    expect(run.kinds).not.toContain(KIND.pack);
    expect(run.kinds).not.toContain(KIND.ended);
  });

  test('that is cancelled leaves its children, or cancels those that nobody else waits for', () => {
    const bench = start();
    const { run, client, parents, children } = bench;
    const nodes: PlannedNode[] = [
      { ref: parents },
      { ref: parents, below: [0] },
      { ref: children, below: [1] },
      { ref: children, below: [0], options: { delayMs: 1_000 } },
      { ref: parents },
      { ref: children, below: [0, 4] },
    ];
    const left = addFlow(run, client, nodes).ids;
    client.ask({ kind: 'manage', id: parseMessageId(left[0] as string), action: 'cancel' });
    run.run();
    const states = (ids: readonly string[]): unknown[] => ids.map((id) => messageOf(client, id)?.state);
    expect(states(left)).toEqual(['cancelled', 'waiting', 'leased', 'delayed', 'waiting', 'leased']);
    const { ids } = addFlow(run, client, nodes);
    client.ask({ kind: 'manage', id: parseMessageId(ids[0] as string), action: 'cancel', children: true });
    run.reload();
    run.run();
    expect(states(ids)).toEqual(['cancelled', 'cancelled', 'cancelled', 'cancelled', 'waiting', 'leased']);
    const revoked = run.notices.filter(({ notice }) => notice.kind === 'revoked' && notice.reason === 'cancelled');
    expect(revoked).toHaveLength(1);
  });

  test('that is purged leaves its children; a child that is purged counts as cancelled', () => {
    const bench = start();
    const { run, client, children } = bench;
    client.window(CHILDREN, children, 0);
    const first = addFlow(run, client, family(bench, 1)).ids;
    client.ask({ kind: 'control', channel: 'parents', action: 'purge', settings: undefined });
    run.run();
    expect(messageOf(client, first[0] as string)).toBeNull();
    expect(messageOf(client, first[1] as string)).toMatchObject({ state: 'ready' });
    const second = addFlow(run, client, family(bench, 1)).ids;
    const third = addFlow(run, client, family(bench, 1, { onFailure: 'ignore' })).ids;
    client.ask({ kind: 'control', channel: 'children', action: 'purge', settings: undefined });
    run.run();
    run.reload();
    expect(messageOf(client, second[0] as string)?.failure?.message).toBe(
      `Its child ${second[1]} of "children" is cancelled: It was purged`,
    );
    const [parent] = taken(client, [third[0] as string]) as [Delivered];
    expect(childrenOf(client, parent)).toMatchObject([{ state: 'cancelled', failure: { message: 'It was purged' } }]);
    client.ack(parent);
    client.ask({ kind: 'control', channel: 'parents', action: 'configure', settings: NOTHING_KEPT });
    expectNoTrace(run);
  });

  test('that is given time to end takes its children along in the end, over a restart', () => {
    const bench = start();
    const { run, client, parents, children } = bench;
    client.window(CHILDREN, children, 0);
    const id = client.produce(parents);
    const [lease] = client.take() as [Delivered];
    const { ids } = addFlow(run, client, [{ ref: children, below: ['top'] }], id);
    client.started([lease]);
    client.ask({ kind: 'manage', id: parseMessageId(id), action: 'cancel', children: true, deadlineMs: 5_000 });
    expect(messageOf(client, ids[0] as string)).toMatchObject({ state: 'ready' });
    run.reload();
    run.advance(10_000);
    expect(messageOf(client, id)).toMatchObject({ state: 'cancelled' });
    expect(messageOf(client, ids[0] as string)).toMatchObject({ state: 'cancelled' });
  });

  test('expires while it waits', () => {
    const bench = start({}, { timeToLiveMs: 1_000 });
    const { run, client } = bench;
    const { ids } = addFlow(run, client, family(bench, 1));
    run.advance(1_000);
    expect(messageOf(client, ids[0] as string)).toMatchObject({ state: 'dead', failure: { name: 'Expired' } });
    client.ack((client.take() as [Delivered])[0]);
    run.reload();
    expect(client.take()).toEqual([]);
  });
});

describe('children that are added later', () => {
  test('are waited for by a handler that says so, at no attempt', () => {
    const bench = start();
    const { run, client, parents, children } = bench;
    client.produce(parents);
    const [lease] = client.take() as [Delivered];
    const nodes: PlannedNode[] = [
      { ref: children, below: ['top'], key: 'a' },
      { ref: children, below: [0] },
    ];
    const { ids, produced } = partsOf(run, nodes);
    client.settle(lease, { kind: 'wait', edges: edgesOf(nodes) }, produced);
    expect(messageOf(client, lease.id)).toMatchObject({ state: 'waiting', attempts: 0 });
    run.reload();
    for (const id of [ids[1], ids[0]]) {
      const [child] = taken(client, [id as string]) as [Delivered];
      ackWith(client, child, id);
    }
    const [again] = taken(client, [lease.id]) as [Delivered];
    expect(again).toMatchObject({ attempt: 1, redelivered: true });
    expect(childrenOf(client, again)).toMatchObject([{ id: ids[0], key: 'a' }]);
    const history = messageOf(client, lease.id)?.history.map(({ what }) => what);
    expect(history).toEqual(['produced', 'blocked', 'claimed']);
    // Without any that have not ended it comes again at once.
    client.settle(again, { kind: 'wait', edges: [] });
    client.ack((client.take() as [Delivered])[0]);
    expectNoTrace(run);
  });

  test('fail a handler that begins to wait when one of them is dead already', () => {
    const bench = start();
    const { run, client, parents, children } = bench;
    const id = client.produce(parents);
    const [lease] = client.take() as [Delivered];
    addFlow(run, client, [{ ref: children, below: ['top'] }], id);
    expect(messageOf(client, id)).toMatchObject({ state: 'leased' });
    fail(client, (client.take() as [Delivered])[0]);
    run.reload();
    client.settle(lease, { kind: 'wait', edges: [] });
    expect(messageOf(client, id)).toMatchObject({ state: 'dead', failure: { name: 'ChildFailed' } });
  });

  test('hold a message that nobody works on yet', () => {
    const bench = start();
    const { run, client, parents, children } = bench;
    client.window(PARENTS, parents, 0);
    const ready = client.produce(parents);
    const delayed = client.produce(parents, { delayMs: 1_000 });
    for (const id of [ready, delayed]) addFlow(run, client, [{ ref: children, below: ['top'] }], id);
    run.reload();
    const leases = client.take();
    for (const id of [ready, delayed]) expect(messageOf(client, id)).toMatchObject({ state: 'waiting' });
    for (const lease of leases) client.ack(lease);
    expect(messageOf(client, ready)).toMatchObject({ state: 'ready' });
    expect(messageOf(client, delayed)).toMatchObject({ state: 'delayed' });
    // It waits for more as soon as there are more.
    addFlow(run, client, [{ ref: children, below: ['top'] }], ready);
    expect(messageOf(client, ready)).toMatchObject({ state: 'waiting' });
  });

  test('are refused for a message that has ended or that nobody knows', () => {
    const bench = start();
    const { run, client, parents, children } = bench;
    const id = client.produce(parents);
    client.ack((client.take() as [Delivered])[0]);
    for (const top of [id, '01900000-0000-7000-8000-000000000000']) {
      const { reply } = addFlow(run, client, [{ ref: children, below: ['top'] }], top);
      expect(reply).toMatchObject({ kind: 'refused', code: 'NOT_FOUND' });
    }
    expect(viewOf(client, 'children').totals.produced).toBe(0);
  });
});

describe('a message that is deduplicated', () => {
  const rule = { dedupe: { windowMs: 60_000, mode: 'reject' } } as const;

  test('is stood for by the one that stands, as long as that lives', () => {
    const bench = start(rule);
    const { run, client, parents, children } = bench;
    const standing = client.produce(children, dedupe('a'));
    const nodes = [{ ref: parents }, { ref: children, below: [0], options: dedupe('a') }];
    const { ids, reply } = addFlow(run, client, nodes);
    expect(reply).toEqual({
      kind: 'produced',
      exceptions: [{ index: 1, what: 'deduplicated', id: parseMessageId(standing) }],
    });
    run.reload();
    ackWith(client, (client.take() as [Delivered])[0], 'one');
    const [parent] = taken(client, [ids[0] as string]) as [Delivered];
    expect(childrenOf(client, parent)).toMatchObject([{ id: standing, state: 'completed' }]);
    expect(resultsOf(client, parent)).toEqual(['one']);
  });

  test('is stood for by one that has ended, with its result as long as that is kept', () => {
    const bench = start(rule);
    const { run, client, parents, children } = bench;
    const standing = client.produce(children, dedupe('a'));
    ackWith(client, (client.take() as [Delivered])[0], 'before');
    const nodes = [{ ref: parents }, { ref: children, below: [0], options: dedupe('a') }];
    const kept = addFlow(run, client, nodes).ids[0] as string;
    client.ask({ kind: 'control', channel: 'children', action: 'configure', settings: NOTHING_KEPT });
    run.run();
    run.reload();
    const [parent] = taken(client, [kept]) as [Delivered];
    expect(childrenOf(client, parent)).toMatchObject([{ id: standing, state: 'completed' }]);
    expect(resultsOf(client, parent)).toEqual(['before']);
    client.ack(parent);
    const gone = addFlow(run, client, nodes).ids[0] as string;
    const [second] = taken(client, [gone]) as [Delivered];
    expect(childrenOf(client, second)).toMatchObject([{ id: standing, state: 'completed', result: undefined }]);
    client.ack(second);
    expectNoTrace(run);
  });

  test('is refused, and all with it, when it has children or would wait for itself', () => {
    const bench = start(rule, rule);
    const { run, client, parents, children } = bench;
    const id = client.produce(parents, dedupe('a'));
    const refused = [
      [
        { ref: parents, options: dedupe('a') },
        { ref: children, below: [0] },
      ],
      [
        { ref: parents, options: dedupe('b') },
        { ref: parents, options: dedupe('b') },
        { ref: children, below: [1] },
      ],
      [
        { ref: parents, options: dedupe('c') },
        { ref: parents, below: [0], options: dedupe('c') },
      ],
    ];
    for (const nodes of refused) {
      expect(addFlow(run, client, nodes).reply).toMatchObject({ kind: 'refused', code: 'DUPLICATE' });
    }
    const [lease] = client.take() as [Delivered];
    const nodes: PlannedNode[] = [{ ref: parents, below: ['top'], options: dedupe('a') }];
    const { produced } = partsOf(run, nodes);
    client.settle(lease, { kind: 'wait', edges: edgesOf(nodes) }, produced);
    expect(messageOf(client, id)).toMatchObject({ state: 'delayed', failure: { name: 'DUPLICATE' } });
    expect(viewOf(client, 'children').totals.produced).toBe(0);
    expectNoTrace(run);
  });

  test.each(['replace', 'keepLast'] as const)('is not replaced by one that comes with it (%s)', (mode) => {
    const bench = start({ dedupe: { windowMs: 60_000, mode } });
    const { run, client, parents, children } = bench;
    client.window(CHILDREN, children, 0);
    const nodes: PlannedNode[] = [
      { ref: children, below: ['top'], options: dedupe('a') },
      { ref: children, below: [0] },
      { ref: children, options: dedupe('a') },
    ];
    client.produce(parents);
    const [lease] = client.take() as [Delivered];
    const { ids, produced } = partsOf(run, nodes);
    client.settle(lease, { kind: 'wait', edges: edgesOf(nodes) }, produced);
    expect(messageOf(client, lease.id)).toMatchObject({ state: 'waiting' });
    expect(messageOf(client, ids[0] as string)).toMatchObject({ state: 'waiting' });
    const flow: PlannedNode[] = [
      { ref: children, options: dedupe('b') },
      { ref: children, below: [0] },
      { ref: children, options: dedupe('b') },
    ];
    const { ids: added, reply } = addFlow(run, client, flow);
    expect(reply).toMatchObject({ exceptions: [{ index: 2, what: 'deduplicated' }] });
    expect(messageOf(client, added[0] as string)).toMatchObject({ state: 'waiting' });
    const below = addFlow(run, client, [{ ref: children, below: ['top'], options: dedupe('c') }], ids[1]);
    expect(below.reply).toEqual({ kind: 'produced', exceptions: [] });
  });

  test('does not take the place of a message that somebody waits for', () => {
    const bench = start({ dedupe: { windowMs: 60_000, mode: 'replace' } });
    const { run, client, parents, children } = bench;
    client.window(CHILDREN, children, 0);
    const { ids } = addFlow(run, client, [{ ref: parents }, { ref: children, below: [0], options: dedupe('a') }]);
    expect(client.tryProduce(children, dedupe('a'))).toMatchObject({ exceptions: [{ what: 'deduplicated' }] });
    expect(messageOf(client, ids[1] as string)).toMatchObject({ state: 'ready' });
  });
});

describe('a message of a group', () => {
  test('that waits for children lets others of its group go, its children among them', () => {
    const { run, client, children } = start();
    const group = { group: 'g' };
    client.produce(children, group);
    const [lease] = client.take() as [Delivered];
    const nodes: PlannedNode[] = [{ ref: children, below: ['top'], options: group }];
    const { ids, produced } = partsOf(run, nodes);
    client.settle(lease, { kind: 'wait', edges: edgesOf(nodes) }, produced);
    run.reload();
    const [child] = taken(client, [ids[0] as string]) as [Delivered];
    client.ack(child);
    expect(client.takeIds()).toEqual([lease.id]);
  });

  test('is refused, and all with it, where its group has no room; what comes with an ack is not', () => {
    const { run, client, parents } = start();
    const narrow = client.declare('narrow', {}, { groups: { maxBacklog: 1 } });
    const node: PlannedNode = { ref: narrow, below: [0], options: { group: 'g' } };
    expect(addFlow(run, client, [{ ref: parents }, node, node]).reply).toMatchObject({ code: 'BACKLOG_FULL' });
    const { ids, reply } = addFlow(run, client, [{ ref: parents }, node]);
    expect(reply).toMatchObject({ kind: 'produced' });
    client.produce(parents);
    const [lease] = client.take() as [Delivered];
    client.settle(lease, { kind: 'ack', result: undefined }, partsOf(run, [node]).produced as never);
    expect(viewOf(client, 'narrow')).toMatchObject({ ready: 2 });
    expect(messageOf(client, ids[0] as string)).toMatchObject({ state: 'waiting' });
  });
});

const NOTHING_KEPT = { completed: { count: 0, ageMs: undefined }, dead: { count: 0, ageMs: undefined } };

function redrive(client: MachineClient, id: string): void {
  expect(client.ask({ kind: 'manage', id: parseMessageId(id), action: 'redrive' })).toEqual({ kind: 'done' });
}
