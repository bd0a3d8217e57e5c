import { describe, expect, test } from 'vitest';
import type { Outcome, Settle, Together } from '#holdfast/model/command.js';
import { encodeKvValue } from '#holdfast/codec/v8.js';
import { encodeKvKey } from '#holdfast/model/kv-key.js';
import { blockOf, type Delivered, failureOf, MachineRun } from '../helpers/machine-run.ts';
import { viewOf } from '../helpers/machine-views.ts';

const KEY = encodeKvKey(['k']);
const ACK: Outcome = { kind: 'ack', result: undefined };

function start() {
  const run = new MachineRun();
  const client = run.client('client');
  const ref = client.declare('mail', { maxAttempts: 1 });
  const target = client.declare('target');
  client.window(1, ref, 10);
  client.produceSome(ref, [{}, {}, {}]);
  const leases = client.take();
  const settleOf = ({ seq, token }: Pick<Delivered, 'seq' | 'token'>, outcome: Outcome = ACK): Settle => {
    return { seq, token, outcome, produced: undefined, effects: undefined };
  };
  const settle = (settles: readonly Settle[], together: Together) => client.ask({ kind: 'settle', settles, together });
  const set = { kind: 'set', key: KEY, value: encodeKvValue(1), expireInMs: undefined, isStamped: false } as const;
  const effects = { checks: [], mutations: [set] };
  const produced = [{ kind: 'produce' as const, ref: target, blocks: [blockOf([run.newId()], [{}])] }];
  const counts = () => {
    const { leased, completed, dead } = viewOf(client, 'mail');
    return [leased, completed, dead, viewOf(client, 'target').ready];
  };
  const version = () => {
    const reply = client.ask({ kind: 'kvRead', keys: [KEY], ranges: [] });
    return reply.kind === 'kvRead' ? (reply.entries[0]?.version ?? 0) : -1;
  };
  return { run, client, ref, leases, settleOf, settle, effects, produced, counts, version };
}

describe('settles together', () => {
  test('happen all, each with its outcome, in the commit of what they bring along', () => {
    const { run, leases, settleOf, settle, effects, produced, counts, version } = start();
    const [one, two, three] = leases as [Delivered, Delivered, Delivered];
    const failed: Outcome = { kind: 'nack', failure: failureOf('no'), delayMs: undefined };
    const settles = [settleOf(one), settleOf(two, failed), settleOf(three)];
    expect(settle(settles, { produced, effects })).toEqual({ kind: 'settled', lost: [], conflicts: [] });
    expect(counts()).toEqual([0, 2, 1, 1]);
    expect(version()).toBeGreaterThan(0);
    run.reload();
    expect(counts()).toEqual([0, 2, 1, 1]);
  });

  test('do nothing at all when one of them is lost, or named twice', () => {
    const { leases, settleOf, settle, effects, produced, counts, version } = start();
    const [one, two, three] = leases as [Delivered, Delivered, Delivered];
    const stale = settleOf({ seq: two.seq, token: two.token - 1 });
    const lost = settle([settleOf(one), stale, settleOf(three)], { produced, effects });
    expect(lost).toEqual({ kind: 'settled', lost: [1], conflicts: [0, 2] });
    const twice = settle([settleOf(one), settleOf(one)], { produced, effects });
    expect(twice).toEqual({ kind: 'settled', lost: [1], conflicts: [0] });
    expect(counts()).toEqual([3, 0, 0, 0]);
    expect(version()).toBe(0);
  });

  test('do nothing at all when what was read has changed', () => {
    const { leases, settleOf, settle, effects, produced, counts, version } = start();
    const changed = { ...effects, checks: [{ key: KEY, version: 5 }] };
    const reply = settle(
      leases.map((lease) => settleOf(lease)),
      { produced, effects: changed },
    );
    expect(reply).toEqual({ kind: 'settled', lost: [], conflicts: [0, 1, 2] });
    expect(counts()).toEqual([3, 0, 0, 0]);
    expect(version()).toBe(0);
  });

  test('fail as attempts when their effects cannot be; what was no success stands', () => {
    const { client, leases, settleOf, settle, effects, counts } = start();
    const [one, two, three] = leases as [Delivered, Delivered, Delivered];
    client.ask({ kind: 'kvCommit', checks: [], mutations: effects.mutations, produced: [] });
    const sum = { kind: 'sum' as const, key: KEY, value: encodeKvValue('text'), limits: undefined };
    const wrong = { checks: [], mutations: [sum] };
    const settles = [settleOf(one), settleOf(two, { kind: 'release' }), settleOf(three)];
    expect(settle(settles, { produced: undefined, effects: wrong })).toMatchObject({ lost: [], conflicts: [] });
    expect(counts().slice(0, 3)).toEqual([1, 0, 2]);
    const unknown = [{ kind: 'produce' as const, ref: 99, blocks: [] }];
    const refused = settle([settleOf(two)], { produced: unknown, effects: undefined });
    expect(refused).toMatchObject({ kind: 'refused', code: 'PROTOCOL' });
  });

  test('get the same answer when they come again', () => {
    const { run, client, leases, settleOf, settle, effects, produced, counts } = start();
    const settles = leases.map((lease) => settleOf(lease));
    const first = settle(settles, { produced, effects });
    const again = run.apply(client.session, client.lastRequest, {
      kind: 'settle',
      settles,
      together: { produced, effects },
    });
    expect(again).toEqual(first);
    expect(counts()).toEqual([0, 3, 0, 1]);
  });
});
