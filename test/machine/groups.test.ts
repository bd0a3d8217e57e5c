import { describe, expect, test } from 'vitest';
import { KIND } from '#holdfast/machine/layout.js';
import { NOTHING_COLD } from '#holdfast/machine/machine.js';
import type { ItemOptions } from '#holdfast/model/block.js';
import type { Reply } from '#holdfast/model/command.js';
import type { GroupRules, Policy, SettingsPatch } from '#holdfast/model/policy.js';
import { parseMessageId } from '#holdfast/model/message-id.js';
import { blockOf, type Delivered, failureOf, type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { groupOf, groupsOf, messageOf, viewOf } from '../helpers/machine-views.ts';

const NAME = 'jobs';

interface Started {
  readonly run: MachineRun;
  readonly client: MachineClient;
  readonly ref: number;
}

function start(groups: Partial<GroupRules> = {}, policy: Partial<Policy> = {}, more: SettingsPatch = {}): Started {
  const run = new MachineRun();
  const client = run.client('client');
  return { run, client, ref: client.declare(NAME, policy, { ...more, groups }) };
}

/** Any number at a time, in no order. */
const LOOSE: Partial<GroupRules> = { concurrency: 0, ordered: false };

/** Messages of these groups in this order, one letter each; a dot is one without a group. */
function produce({ client, ref }: Started, groups: string, options: ItemOptions = {}): string[] {
  const items = groups.split('').map((group) => ({ ...options, ...(group === '.' ? {} : { group }) }));
  return client.produceSome(ref, items);
}

/** Handles all that can be had one at a time, and says of which groups it was. */
function drain(started: Started, client = started.client, ref = started.ref): string {
  let order = '';
  client.window(1, ref, 1);
  for (let taken = client.take(); taken.length > 0; taken = client.take()) {
    for (const delivered of taken) {
      order += messageOf(client, delivered.id)?.group ?? '.';
      client.ack(delivered);
    }
  }
  return order;
}

function one(client: MachineClient): Delivered {
  const taken = client.take();
  expect(taken).toHaveLength(1);
  return taken[0] as Delivered;
}

function control(client: MachineClient, group: string, action: 'pause' | 'resume', channel = NAME): Reply {
  return client.ask({ kind: 'controlGroup', channel, group, action, rules: undefined });
}

function rule(client: MachineClient, group: string, rules: Partial<GroupRules> | undefined): Reply {
  return client.ask({ kind: 'controlGroup', channel: NAME, group, action: 'configure', rules });
}

function configure(client: MachineClient, settings: SettingsPatch): void {
  client.ask({ kind: 'control', channel: NAME, action: 'configure', settings });
}

/** How often each group stands in a text. */
function counts(order: string): Record<string, number> {
  const found: Record<string, number> = {};
  for (const group of order) found[group] = (found[group] ?? 0) + 1;
  return found;
}

function groupRecords(run: MachineRun): number {
  return run.kinds.filter((kind) => kind === KIND.group).length;
}

describe('the turns of groups', () => {
  test('go round, however much each group has', () => {
    const started = start();
    produce(started, 'aaaaaabbbc');
    expect(drain(started)).toBe('abcabababaaa'.slice(0, 3) + 'abab' + 'aaa');
  });

  test('come to messages without a group as to one group more', () => {
    const started = start();
    produce(started, 'aaaabbbb....');
    expect(drain(started)).toBe('.ab.ab.ab.ab');
  });

  test('go by weight', () => {
    const started = start(LOOSE);
    rule(started.client, 'a', { weight: 3 });
    produce(started, 'a'.repeat(40) + 'b'.repeat(40));
    expect(counts(drain(started).slice(0, 40))).toEqual({ a: 30, b: 10 });
  });

  test('go by weight also where a group is kept to one message at a time, by several consumers', () => {
    const started = start();
    rule(started.client, 'a', { weight: 3 });
    produce(started, 'a'.repeat(60) + 'b'.repeat(60) + 'c'.repeat(60) + 'd'.repeat(60));
    const { client, ref } = started;
    client.window(1, ref, 2);
    const held = client.take();
    let order = '';
    for (let i = 0; i < 60; i++) {
      const delivered = held.shift() as Delivered;
      order += messageOf(client, delivered.id)?.group ?? '';
      client.ack(delivered);
      held.push(...client.take());
    }
    // At most every other message can be of that group, and what it misses while it is at its limit is missed for good.
    const most = Math.max(...['b', 'c', 'd'].map((group) => counts(order)[group] ?? 0));
    expect(counts(order)['a']).toBeGreaterThanOrEqual(1.8 * most);
  });

  test('go by cost', () => {
    const started = start(LOOSE);
    produce(started, 'a'.repeat(10), { cost: 4 });
    produce(started, 'b'.repeat(40));
    expect(counts(drain(started).slice(0, 25))).toEqual({ a: 5, b: 20 });
  });

  test('come to groups with a smaller priority only when those before have nothing that can go', () => {
    const started = start();
    rule(started.client, 'z', { priority: -1 });
    rule(started.client, 'l', { priority: 1 });
    produce(started, 'll.abzz');
    expect(drain(started)).toMatch(/^zz[.ab]{3}ll$/);
  });

  test('do not begin behind what a group missed while it was empty', () => {
    const started = start(LOOSE);
    const { client, ref } = started;
    produce(started, 'a'.repeat(50));
    drain(started);
    client.window(1, ref, 0);
    produce(started, 'bbbaaa');
    expect(drain(started)).toBe('bababa');
  });

  test('come to a group in spite of ever new ones with a message each', () => {
    const started = start();
    const { client, ref } = started;
    produce(started, 'a'.repeat(50));
    client.window(1, ref, 1);
    let ofOld = 0;
    for (let i = 0; i < 600; i++) {
      client.produce(ref, { group: `new ${i}` });
      const delivered = one(client);
      if (messageOf(client, delivered.id)?.group === 'a') ofOld += 1;
      client.ack(delivered);
    }
    expect(ofOld).toBeGreaterThan(20);
  });

  test('begin anew after a restart, and lose nobody', () => {
    const started = start();
    produce(started, 'aaabbbccc');
    const { run, client, ref } = started;
    client.window(1, ref, 1);
    client.ack(one(client));
    run.reload();
    const rest = counts(drain(started));
    expect(rest).toEqual({ a: 2, b: 3, c: 3 });
  });
});

describe('a group in order', () => {
  test.each([
    ['failed and waits', (client: MachineClient, lease: Delivered) => client.nack(lease, 5_000)],
    ['failed and does not wait', (client: MachineClient, lease: Delivered) => client.nack(lease, 0)],
    [
      'was snoozed',
      (client: MachineClient, lease: Delivered) => client.settle(lease, { kind: 'snooze', delayMs: 5_000 }),
    ],
    [
      'was held back',
      (client: MachineClient, lease: Delivered) =>
        client.settle(lease, { kind: 'hold', delayMs: 5_000, what: 'group' }),
    ],
    [
      'could not be decoded',
      (client: MachineClient, lease: Delivered) =>
        client.settle(lease, { kind: 'undecodable', failure: failureOf('odd') }),
    ],
    ['was given back', (client: MachineClient, lease: Delivered) => client.settle(lease, { kind: 'release' })],
    [
      'killed its isolate',
      (client: MachineClient, lease: Delivered) => client.settle(lease, { kind: 'died', failure: failureOf('killed') }),
    ],
    [
      'lost its lease',
      (client: MachineClient, _lease: Delivered, other: Delivered) =>
        client.note({ kind: 'holding', leases: [{ seq: other.seq, token: other.token }] }),
    ],
  ])('waits for a message that %s', (_what, comeBack) => {
    const started = start();
    const { run, client, ref } = started;
    const [first] = produce(started, 'aaab') as [string];
    client.window(1, ref, 1);
    const lease = one(client);
    client.started([lease]);
    client.window(1, ref, 10);
    const [other] = client.take() as [Delivered];
    comeBack(client, lease, other);
    // Neither a message with a smaller priority number nor one for the front goes before.
    client.produce(ref, { group: 'a', priority: -5 });
    client.produce(ref, { group: 'a', lifo: true });
    const early = client.take();
    run.advance(10_000);
    const again = [...early, ...client.take()];
    expect(again.map(({ id }) => id)).toEqual([first]);
    client.ack(other);
    client.ack(again[0] as Delivered);
    expect(messageOf(client, one(client).id)).toMatchObject({ group: 'a', priority: -5 });
  });

  test('waits for the one whose process died with the broker, and goes on with it alone', () => {
    const started = start();
    const { run } = started;
    const [first, second] = produce(started, 'aa') as [string, string];
    const worker = run.client('worker');
    worker.window(1, worker.declare(NAME), 5);
    expect(worker.takeIds()).toEqual([first]);
    run.reload('another host');
    run.advance(60_000);
    const next = run.client('next');
    next.window(1, next.declare(NAME), 5);
    const again = one(next);
    expect(again.id).toBe(first);
    run.advance(10_000);
    expect(next.take()).toEqual([]);
    next.ack(again);
    expect(next.takeIds()).toEqual([second]);
  });

  test('goes on in its order when the suspect turns out to be none', () => {
    const started = start();
    const { run } = started;
    const [first, second] = produce(started, 'aa') as [string, string];
    const worker = run.client('worker', 'far');
    worker.window(1, worker.declare(NAME), 1);
    const lease = one(worker);
    worker.started([lease]);
    // The connection was gone, and its client is back.
    run.machine.detach(worker.session, run.now, run.now + 30_000, run.context);
    run.run();
    worker.takeUp();
    worker.note({ kind: 'holding', leases: [lease] });
    worker.resume();
    const again = one(worker);
    expect(again.id).toBe(first);
    worker.ack(again);
    expect(worker.takeIds()).toEqual([second]);
  });

  test.each(['cancel', 'dead', 'moved', 'purge', 'expired lease'] as const)(
    'goes on when the one before is gone: %s',
    (how) => {
      const policy =
        how === 'moved' ? { deadLetter: 'graves', maxAttempts: 1 } : { maxAttempts: how === 'dead' ? 1 : 5 };
      const started = start({}, { ...policy, timeoutMs: how === 'expired lease' ? 1_000 : 0, maxDeaths: 1 });
      const { run, client, ref } = started;
      const [first, second] = produce(started, 'aa') as [string, string];
      client.window(1, ref, 2);
      const lease = one(client);
      client.started([lease]);
      if (how === 'cancel') client.ask({ kind: 'manage', id: parseMessageId(first), action: 'cancel' });
      else if (how === 'expired lease') {
        run.advance(1_500);
        expect(client.take()).toEqual([]);
        run.advance(4_000);
        const again = one(client);
        expect(again.id).toBe(first);
        client.ack(again);
      } else if (how === 'purge') {
        client.nack(lease, 60_000);
        client.ask({ kind: 'control', channel: NAME, action: 'purge', settings: undefined });
        run.run();
        const third = client.produce(ref, { group: 'a' });
        expect(client.takeIds()).toEqual([third]);
        return;
      } else client.nack(lease);
      expect(client.takeIds()).toEqual([second]);
      if (how === 'moved') {
        const graves = client.declare('graves');
        client.window(2, graves, 1);
        expect(client.takeIds()).toEqual([first]);
        expect(groupOf(client, 'graves', 'a')).toMatchObject({ leased: 1, backlog: 1 });
      }
    },
  );

  test('serves one that was redriven behind what has begun', () => {
    const started = start({}, { maxAttempts: 1 });
    const { client, ref } = started;
    const [first, second, third] = produce(started, 'aaa') as [string, string, string];
    client.window(1, ref, 5);
    client.nack(one(client));
    const begun = one(client);
    expect(begun.id).toBe(second);
    client.ask({ kind: 'manage', id: parseMessageId(first), action: 'redrive' });
    expect(client.take()).toEqual([]);
    client.ack(begun);
    const next = one(client);
    expect(next.id).toBe(third);
    client.ack(next);
    expect(client.takeIds()).toEqual([first]);
  });

  test('lets others go first while one that never began waits for its time', () => {
    const started = start();
    const { run, client, ref } = started;
    const late = client.produce(ref, { group: 'a', delayMs: 1_000 });
    const early = client.produce(ref, { group: 'a' });
    client.window(1, ref, 5);
    const lease = one(client);
    expect(lease.id).toBe(early);
    run.advance(2_000);
    expect(client.take()).toEqual([]);
    client.ack(lease);
    expect(client.takeIds()).toEqual([late]);
  });

  test('lets one that was given back unseen be overtaken by what comes before it', () => {
    const started = start();
    const { client, ref } = started;
    const [plain] = produce(started, 'a') as [string];
    client.window(1, ref, 1);
    const lease = one(client);
    client.window(1, ref, 0);
    client.settle(lease, { kind: 'release' });
    const urgent = client.produce(ref, { group: 'a', priority: -1 });
    client.window(1, ref, 1);
    const first = one(client);
    expect(first.id).toBe(urgent);
    client.ack(first);
    expect(client.takeIds()).toEqual([plain]);
  });

  test('keeps its order, and the place of what has begun, over a restart', () => {
    const started = start();
    const { run, client, ref } = started;
    const [first, second] = produce(started, 'aa') as [string, string];
    client.window(1, ref, 1);
    client.nack(one(client), 5_000);
    run.reload();
    expect(client.take()).toEqual([]);
    run.advance(5_000);
    run.reload();
    const lease = one(client);
    expect(lease.id).toBe(first);
    client.ack(lease);
    expect(client.takeIds()).toEqual([second]);
  });

  test('takes in what comes while the store is being read, under the rules of its own that are read later', () => {
    const started = start();
    const { run, client, ref } = started;
    rule(client, 'a', { priority: 5, weight: 2 });
    control(client, 'b', 'pause');
    produce(started, 'ab');
    run.reload('host', () => {
      produce(started, 'acb');
    });
    expect(drain(started)).toBe('caa');
    control(client, 'b', 'resume');
    expect(drain(started, client, ref)).toBe('bb');
  });
});

describe('a blocked group', () => {
  test('blocks no other', () => {
    const started = start();
    const { client, ref } = started;
    control(client, 'p', 'pause');
    rule(client, 'r', { rate: { kind: 'window', count: 1, perMs: 60_000 } });
    produce(started, 'ppprrrcccddd');
    client.window(1, ref, 100);
    const groups = client.take().map(({ id }) => messageOf(client, id)?.group);
    expect(groups).toEqual(['r', 'c', 'd']);
  });

  test('is not in the way when its suspects may not go', () => {
    const started = start();
    const { run } = started;
    const [, free] = produce(started, 'pf') as [string, string];
    const worker = run.client('worker');
    worker.window(1, worker.declare(NAME), 5);
    expect(worker.take()).toHaveLength(2);
    run.reload('another host');
    run.advance(60_000);
    const next = run.client('next');
    control(next, 'p', 'pause');
    next.window(1, next.declare(NAME), 5);
    expect(next.takeIds()).toEqual([free]);
  });

  test('makes nobody hear that something is wanted', () => {
    const started = start();
    const { run, client } = started;
    control(client, 'p', 'pause');
    produce(started, 'p');
    client.note({ kind: 'watch', channel: NAME });
    run.run();
    expect(run.notices).toEqual([]);
    control(client, 'p', 'resume');
    expect(run.notices.map(({ notice }) => notice)).toEqual([{ kind: 'wanted', channel: NAME }]);
  });
});

describe('pause and resume of a group', () => {
  test('hold for a group without messages, over a restart, until it is resumed', () => {
    const started = start();
    const { run, client, ref } = started;
    control(client, 'a', 'pause');
    expect(groupOf(client, NAME, 'a')).toMatchObject({ paused: true, backlog: 0 });
    run.reload();
    client.window(1, ref, 5);
    const [id] = produce(started, 'a');
    expect(client.take()).toEqual([]);
    control(client, 'a', 'resume');
    expect(client.takeIds()).toEqual([id]);
    expect(groupRecords(run)).toBe(0);
  });

  test('leave handlers that run alone', () => {
    const started = start();
    const { client, ref } = started;
    produce(started, 'aa');
    client.window(1, ref, 5);
    const lease = one(client);
    control(client, 'a', 'pause');
    expect(client.ack(lease)).toMatchObject({ lost: [] });
    expect(client.take()).toEqual([]);
  });

  test('of a group that holds the turn hand it to the others, and back', () => {
    const started = start();
    const { client, ref } = started;
    const [a, b] = produce(started, 'ab') as [string, string];
    control(client, 'a', 'pause');
    rule(client, 'a', { priority: -3 });
    client.window(1, ref, 5);
    expect(client.takeIds()).toEqual([b]);
    control(client, 'a', 'resume');
    expect(client.takeIds()).toEqual([a]);
  });

  test('answer NOT_FOUND where there is no channel', () => {
    const { client } = start();
    expect(control(client, 'a', 'pause', 'nowhere')).toMatchObject({ kind: 'refused', code: 'NOT_FOUND' });
  });
});

describe('maxBacklog of groups', () => {
  test('refuses what is too much of one group, and tells when there is room', () => {
    const started = start({ maxBacklog: 2 });
    const { run, client, ref } = started;
    produce(started, 'aa');
    const refused = client.ask({
      kind: 'produce',
      ref,
      atomic: false,
      blocks: [blockOf([run.newId(), run.newId(), run.newId()], [{ group: 'a' }, { group: 'b' }, {}])],
    });
    expect(refused).toMatchObject({ exceptions: [{ index: 0, what: 'backlogFull' }] });
    expect(groupsOf(client, NAME).map(({ group, backlog }) => [group, backlog])).toEqual([
      ['a', 2],
      ['b', 1],
    ]);
    client.window(1, ref, 1);
    for (const lease of client.take()) client.ack(lease);
    while (run.notices.length === 0) client.ack(one(client));
    expect(run.notices).toEqual([{ session: 'client', notice: { kind: 'room', channel: NAME } }]);
  });

  test('refuses all of an atomic produce where one message has no room', () => {
    const started = start({ maxBacklog: 2 });
    const { run, client, ref } = started;
    produce(started, 'a');
    const some = (groups: string): Reply =>
      client.ask({
        kind: 'produce',
        ref,
        atomic: true,
        blocks: [
          blockOf(
            groups.split('').map(() => run.newId()),
            groups.split('').map((group) => ({ group })),
          ),
        ],
      });
    expect(some('baa')).toMatchObject({ exceptions: [{ index: 2, what: 'backlogFull' }] });
    expect(viewOf(client, NAME)).toMatchObject({ ready: 1, groups: 1 });
    expect(some('ba')).toMatchObject({ exceptions: [] });
    expect(viewOf(client, NAME)).toMatchObject({ ready: 3, groups: 2 });
  });

  test('refuses for good an atomic produce of more than a group may hold, and leaves nothing of it', () => {
    const { run, client, ref } = start({ maxBacklog: 2 });
    const ids = [run.newId(), run.newId(), run.newId()];
    const answer = client.ask({
      kind: 'produce',
      ref,
      atomic: true,
      blocks: [blockOf(ids, [{ group: 'a' }, { group: 'a' }, { group: 'a' }])],
    });
    expect(answer).toEqual({
      kind: 'refused',
      code: 'BACKLOG_FULL',
      message: 'Cannot produce 3 messages of group "a" to "jobs" at once: it holds at most 2',
    });
    expect(viewOf(client, NAME).groups).toBe(0);
  });

  test('never drops what a handler produces with its ack', () => {
    const started = start({ maxBacklog: 1 });
    const { run, client, ref } = started;
    produce(started, 'ab');
    client.window(1, ref, 1);
    const blocks = [blockOf([run.newId(), run.newId()], [{ group: 'b' }, { group: 'b' }])];
    client.settle(one(client), { kind: 'ack', result: undefined }, [{ kind: 'produce', ref, blocks }]);
    expect(groupOf(client, NAME, 'b')).toMatchObject({ backlog: 3 });
  });

  test('refuses a commit of KV that produces more than a group may hold, and changes nothing then', () => {
    const { run, client, ref } = start({ maxBacklog: 1 });
    const blocks = [blockOf([run.newId(), run.newId()], [{ group: 'b' }, { group: 'b' }])];
    const answer = client.ask({
      kind: 'kvCommit',
      checks: [],
      mutations: [],
      produced: [{ kind: 'produce', ref, blocks }],
    });
    expect(answer).toMatchObject({ kind: 'refused', code: 'BACKLOG_FULL' });
    expect(viewOf(client, NAME)).toMatchObject({ ready: 0, groups: 0 });
  });

  test('tells those who wait as soon as it is raised, for the group or for all', () => {
    for (const raise of [
      (client: MachineClient) => rule(client, 'a', { maxBacklog: 5 }),
      (client: MachineClient) => configure(client, { groups: { maxBacklog: 5 } }),
    ]) {
      const started = start({ maxBacklog: 1 });
      const { run, client, ref } = started;
      produce(started, 'a');
      client.tryProduce(ref, { group: 'a' });
      expect(run.notices).toEqual([]);
      raise(client);
      run.run();
      expect(run.notices.map(({ notice }) => notice.kind)).toEqual(['room']);
    }
  });

  test('holds for the group alone that has it', () => {
    const started = start();
    const { client, ref } = started;
    rule(client, 'a', { maxBacklog: 1 });
    expect(client.tryProduce(ref, { group: 'a' })).toMatchObject({ exceptions: [] });
    expect(client.tryProduce(ref, { group: 'a' })).toMatchObject({ exceptions: [{ what: 'backlogFull' }] });
    expect(client.tryProduce(ref, { group: 'b' })).toMatchObject({ exceptions: [] });
    expect(client.tryProduce(ref, { group: 'b' })).toMatchObject({ exceptions: [] });
  });

  test('forgets a session that waited for room and is gone', () => {
    const started = start({ maxBacklog: 1 });
    const { run, client, ref } = started;
    produce(started, 'a');
    const other = run.client('other');
    other.tryProduce(other.declare(NAME), { group: 'a' });
    run.machine.close(other.session, run.context);
    run.forget(other);
    client.window(1, ref, 1);
    client.ack(one(client));
    run.run();
    expect(run.notices).toEqual([]);
    expect(other.session.roomWantedIn.size).toBe(0);
  });
});

describe('rules of groups', () => {
  test('of one group stand over those of the channel, which may change beneath them', () => {
    const started = start({ concurrency: 2, ordered: false });
    const { client } = started;
    rule(client, 'a', { weight: 2 });
    configure(client, { groups: { concurrency: 3 } });
    expect(groupOf(client, NAME, 'a')?.rules).toMatchObject({ concurrency: 3, ordered: false, weight: 2 });
    rule(client, 'a', undefined);
    expect(groupOf(client, NAME, 'a')).toBeNull();
  });

  test('count at once for groups that wait, up and down', () => {
    const started = start();
    const { run, client, ref } = started;
    produce(started, 'aaaaaaaabbbbbbbb');
    client.window(1, ref, 100);
    const held = client.take();
    expect(held).toHaveLength(2);
    configure(client, { groups: { concurrency: 3, ordered: false } });
    run.run();
    held.push(...client.take());
    expect(held).toHaveLength(6);
    configure(client, { groups: { concurrency: 1, ordered: true } });
    run.run();
    for (const lease of held.slice(0, 4)) client.ack(lease);
    const rest = client.take();
    expect(Math.max(groupOf(client, NAME, 'a')?.leased ?? 9, groupOf(client, NAME, 'b')?.leased ?? 9)).toBeLessThan(3);
    for (const lease of [...held.slice(4), ...rest]) client.ack(lease);
    expect(counts(drain(started))).toEqual({ a: 5, b: 5 });
  });

  test('count before the next message is handed out, though there are more groups than one step looks at', () => {
    const started = start(LOOSE);
    const { client, ref } = started;
    for (let i = 0; i < 100; i++) {
      client.produceSome(
        ref,
        Array.from({ length: 40 }, (_, j) => ({ group: `g${(i * 40 + j) % 2_000}` })),
      );
    }
    client.window(1, ref, 2_000);
    expect(client.take()).toHaveLength(2_000);
    configure(client, { groups: { concurrency: 1, ordered: true } });
    client.window(1, ref, 4_000);
    expect(client.take()).toEqual([]);
  });

  test('let the next message go at once when one comes back later, where no order is kept', () => {
    const started = start({ concurrency: 1, ordered: false });
    const { client, ref } = started;
    const [, second] = produce(started, 'aa') as [string, string];
    client.window(1, ref, 5);
    client.nack(one(client), 60_000);
    expect(client.takeIds()).toEqual([second]);
  });

  test('hold for as many at a time as they say', () => {
    const started = start({ concurrency: 2, ordered: false });
    const { run, client, ref } = started;
    produce(started, 'aaaaabb');
    client.window(1, ref, 10);
    const held = client.take();
    expect(groupsOf(client, NAME).map(({ leased }) => leased)).toEqual([2, 2]);
    run.reload();
    expect(client.take()).toEqual([]);
    client.ack(held[0] as Delivered);
    expect(client.take()).toHaveLength(1);
  });

  test('are kept for no more than 100,000 groups of a space', () => {
    const { run, client } = start();
    for (let i = 0; i < 100_000; i++) {
      client.lastRequest += 1;
      run.machine.confirm(client.session, client.lastRequest - 1);
      const command = {
        kind: 'controlGroup',
        channel: NAME,
        group: `g${i}`,
        action: 'pause',
        rules: undefined,
      } as const;
      run.machine.apply(client.session, { request: client.lastRequest, command }, run.context, NOTHING_COLD);
    }
    expect(control(client, 'one more', 'pause')).toMatchObject({ kind: 'refused', code: 'TOO_MANY' });
    expect(control(client, 'one more', 'resume')).toEqual({ kind: 'done' });
    control(client, 'g0', 'resume');
    expect(control(client, 'one more', 'pause')).toEqual({ kind: 'done' });
  });
});

describe('memory', () => {
  test('of a group goes with its last message, with its record and its place in the list', () => {
    const started = start({ rate: { kind: 'bucket', count: 1, perMs: 1_000, burst: 3 } });
    const { run, client } = started;
    produce(started, 'abc');
    expect(drain(started)).toBe('abc');
    expect(viewOf(client, NAME).groups).toBe(3);
    expect(groupRecords(run)).toBe(1);
    run.advance(1_000);
    expect(viewOf(client, NAME).groups).toBe(0);
    expect(groupsOf(client, NAME)).toEqual([]);
    expect(groupRecords(run)).toBe(0);
  });

  test('of 20,000 groups with a message each goes with them', () => {
    const started = start(LOOSE);
    const { client, ref } = started;
    for (let i = 0; i < 1_000; i++) {
      client.produceSome(
        ref,
        Array.from({ length: 20 }, (_, j) => ({ group: `user ${i * 20 + j}` })),
      );
    }
    expect(viewOf(client, NAME).groups).toBe(20_000);
    client.window(1, ref, 1_000);
    for (let taken = client.take(); taken.length > 0; taken = client.take()) {
      const settles = taken.map(({ seq, token }) => ({
        seq,
        token,
        outcome: { kind: 'ack', result: undefined } as const,
        produced: undefined,
        effects: undefined,
      }));
      client.ask({ kind: 'settle', settles });
    }
    expect(viewOf(client, NAME)).toMatchObject({ groups: 0, ready: 0, leased: 0 });
  });
});
