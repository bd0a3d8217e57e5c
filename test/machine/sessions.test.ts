import { describe, expect, test } from 'vitest';
import { NOTHING_COLD } from '#holdfast/machine/machine.js';
import type { Command, LeaseKey, Reply } from '#holdfast/model/command.js';
import { parseMessageId } from '#holdfast/model/message-id.js';
import type { Policy } from '#holdfast/model/policy.js';
import { blockOf, type Delivered, type MachineClient, MachineRun, SESSION_TIMEOUT_MS } from '../helpers/machine-run.ts';
import { messageOf, viewOf } from '../helpers/machine-views.ts';

function produceOf(run: MachineRun, ref = 1): Command {
  return { kind: 'produce', ref, atomic: false, blocks: [blockOf([run.newId()], [{}])] };
}

describe('apply()', () => {
  test.each([false, true])('a request that comes twice gets its first answer (after a restart: %s)', (restarts) => {
    const run = new MachineRun();
    const client = run.client('client');
    client.declare('mail', { maxBacklog: 1 });
    const stored = produceOf(run);
    const refused = produceOf(run);
    const answers: (Reply | undefined)[] = [
      run.apply(client.session, 2, stored),
      run.apply(client.session, 3, refused),
    ];
    run.flush();
    if (restarts) run.reload();
    expect(run.apply(client.session, 2, stored)).toEqual(answers[0]);
    expect(run.apply(client.session, 3, refused)).toEqual(answers[1]);
    expect(viewOf(run.client('other'), 'mail')).toMatchObject({ ready: 1, totals: { produced: 1 } });
  });

  test('a confirmed answer is no longer kept, and asking again has no second effect', () => {
    const run = new MachineRun();
    const client = run.client('client');
    client.declare('mail');
    const command = produceOf(run);
    run.apply(client.session, 2, command);
    run.machine.confirm(client.session, 2);
    expect(run.apply(client.session, 2, command)).toMatchObject({ kind: 'refused', code: 'UNKNOWN_OUTCOME' });
    expect(viewOf(run.client('other'), 'mail')).toMatchObject({ ready: 1 });
  });

  test('a request out of turn breaks the protocol and changes nothing', () => {
    const run = new MachineRun();
    const client = run.client('client');
    client.declare('mail');
    expect(() => run.apply(client.session, 3, produceOf(run))).toThrow('Cannot apply request 3: request 2 comes first');
    expect(viewOf(run.client('other'), 'mail')).toMatchObject({ ready: 0 });
  });

  test('a restart does not ask again for requests that were answered and have no lasting effect', () => {
    const run = new MachineRun();
    const client = run.client('client');
    const ref = client.declare('mail');
    client.produce(ref);
    for (let i = 0; i < 5; i++) viewOf(client, 'mail');
    run.reload();
    client.produce(ref);
    expect(viewOf(client, 'mail')).toMatchObject({ ready: 2 });
  });

  test('a client that never confirms is refused at last, and nothing of its request is done', () => {
    const run = new MachineRun();
    const client = run.client('client');
    client.declare('mail');
    const action = { kind: 'control', channel: 'mail', action: 'pause', settings: undefined } as const;
    for (let request = 2; request <= 4_097; request++)
      run.machine.apply(client.session, { request, command: action }, run.context, NOTHING_COLD);
    const resume = { ...action, action: 'resume' } as const;
    expect(() => run.apply(client.session, 4_098, resume)).toThrow('Cannot hold more than 4096 unconfirmed answers');
    expect(viewOf(run.client('other'), 'mail')).toMatchObject({ paused: true });
  });

  test('an unknown channel is refused', () => {
    const run = new MachineRun();
    const client = run.client('client');
    expect(client.ask(produceOf(run, 7))).toMatchObject({ kind: 'refused', code: 'PROTOCOL' });
    expect(client.ask({ kind: 'control', channel: 'nobody', action: 'pause', settings: undefined })).toMatchObject({
      kind: 'refused',
      code: 'NOT_FOUND',
    });
  });

  test('refuse() is the answer for good', () => {
    const run = new MachineRun();
    const client = run.client('client');
    client.declare('mail');
    const refused = run.machine.refuse(client.session, 2, 'STORE_FULL', 'full');
    run.reload();
    expect(run.apply(client.session, 2, produceOf(run))).toEqual(refused);
  });
});

describe('leases', () => {
  function held(): {
    run: MachineRun;
    client: ReturnType<MachineRun['client']>;
    delivered: Delivered;
    ref: number;
    id: string;
  } {
    const run = new MachineRun();
    const client = run.client('client');
    const ref = client.declare('mail');
    const id = client.produce(ref);
    client.window(1, ref, 1);
    return { run, client, ref, id, delivered: client.take()[0] as Delivered };
  }

  test('settle() refuses a stale token, and nothing changes', () => {
    const { client, delivered, id } = held();
    client.nack(delivered, 0);
    const [again] = client.take();
    for (const outcome of ['ack', 'release'] as const) {
      const settle = outcome === 'ack' ? ({ kind: 'ack', result: undefined } as const) : ({ kind: 'release' } as const);
      expect(client.settle(delivered, settle)).toEqual({ kind: 'settled', lost: [0], conflicts: [] });
    }
    expect(messageOf(client, id)).toMatchObject({ state: 'leased' });
    expect(client.ack(again as Delivered)).toEqual({ kind: 'settled', lost: [], conflicts: [] });
    expect(client.ack(again as Delivered)).toEqual({ kind: 'settled', lost: [0], conflicts: [] });
  });

  test('settle() refuses the token of another session', () => {
    const { run, delivered } = held();
    expect(run.client('thief').ack(delivered)).toEqual({ kind: 'settled', lost: [0], conflicts: [] });
  });

  test('settle() settles each for itself, and says which were lost', () => {
    const { client, ref, delivered } = held();
    client.window(1, ref, 2);
    client.produce(ref);
    const [second] = client.take();
    const ack = { outcome: { kind: 'ack', result: undefined }, produced: undefined, effects: undefined } as const;
    const settles = [
      { seq: 99, token: 1, ...ack },
      { ...keyOf(delivered), ...ack },
      { ...keyOf(second), token: 0, ...ack },
    ];
    expect(client.ask({ kind: 'settle', settles })).toEqual({ kind: 'settled', lost: [0, 2], conflicts: [] });
    expect(viewOf(client, 'mail')).toMatchObject({ completed: 1, leased: 1 });
  });

  test('tokens of a later broker are above all that came before', () => {
    const { run, client, ref, delivered } = held();
    client.settle(delivered, { kind: 'release' });
    client.take();
    client.window(1, ref, 0);
    run.reload('another host');
    const other = run.client('other');
    other.window(1, other.declare('mail'), 1);
    const [later] = other.take();
    expect(later?.token).toBeGreaterThan(2 ** 32);
    expect(later?.token).toBeGreaterThan(delivered.token);
  });

  test('a lease outlives a restart with its session, and its token still counts', () => {
    const { run, client, delivered } = held();
    run.reload();
    expect(client.ack(delivered)).toEqual({ kind: 'settled', lost: [], conflicts: [] });
    expect(viewOf(client, 'mail')).toMatchObject({ completed: 1, leased: 0 });
  });

  test('a stale token is refused after a restart too', () => {
    const { run, client, delivered } = held();
    client.nack(delivered, 0);
    run.reload();
    expect(client.ack(delivered)).toEqual({ kind: 'settled', lost: [0], conflicts: [] });
  });

  test('holding() gives back, uncharged, what the client does not know of', () => {
    const { client, ref, id } = held();
    client.window(1, ref, 0);
    client.note({ kind: 'holding', leases: [] });
    expect(messageOf(client, id)).toMatchObject({ state: 'ready', attempts: 0, deaths: 0 });
  });

  test('a client that comes back is handed nothing before it has said what it holds', () => {
    const { client, ref, delivered } = held();
    client.window(1, ref, 2);
    client.takeUp();
    client.produce(ref);
    expect(client.take()).toEqual([]);
    client.note({ kind: 'holding', leases: [keyOf(delivered)] });
    client.window(1, ref, 2);
    expect(client.take()).toHaveLength(1);
    expect(client.ack(delivered)).toEqual({ kind: 'settled', lost: [], conflicts: [] });
  });

  test('a session whose client stays away loses its leases after the session timeout', () => {
    const { run, client, id } = held();
    const expiresAt = run.now + SESSION_TIMEOUT_MS;
    run.machine.detach(client.session, expiresAt, expiresAt, run.context);
    run.forget(client);
    const other = run.client('other');
    run.advance(SESSION_TIMEOUT_MS - 1);
    expect(messageOf(other, id)).toMatchObject({ state: 'leased' });
    run.advance(1);
    expect(messageOf(other, id)).toMatchObject({ state: 'ready' });
  });

  test('a session that says goodbye gives everything back, uncharged', () => {
    const { run, client, delivered, id } = held();
    client.started([delivered]);
    run.machine.close(client.session, run.context);
    run.forget(client);
    run.flush();
    const other = run.client('other');
    expect(messageOf(other, id)).toMatchObject({ state: 'ready', attempts: 0, deaths: 0 });
  });
});

describe('a death that was counted because a connection was gone', () => {
  function charged(policy: Partial<Policy> = {}): {
    run: MachineRun;
    client: MachineClient;
    other: MachineClient;
    delivered: Delivered;
    ref: number;
    id: string;
  } {
    const run = new MachineRun();
    const client = run.client('client');
    const ref = client.declare('mail', policy);
    const id = client.produce(ref);
    client.window(1, ref, 1);
    const [delivered] = client.take();
    client.started([delivered as Delivered]);
    cut(run, client);
    const other = run.client('other', 'another host');
    expect(messageOf(other, id)).toMatchObject({ state: 'ready', deaths: 1 });
    return { run, client, other, ref, id, delivered: delivered as Delivered };
  }

  /** The connection is gone, and the leases with it. */
  function cut(run: MachineRun, client: MachineClient): void {
    run.machine.detach(client.session, run.now, run.now + SESSION_TIMEOUT_MS, run.context);
    run.forget(client);
    run.flush();
  }

  function comeBack(client: MachineClient, leases: readonly LeaseKey[]): void {
    client.takeUp();
    client.note({ kind: 'holding', leases });
  }

  test.each([false, true])(
    'is taken back when the client comes back with the lease (after a restart: %s)',
    (restarts) => {
      const { run, client, other, id, delivered } = charged();
      if (restarts) run.reload();
      comeBack(client, [keyOf(delivered)]);
      const view = messageOf(other, id);
      expect(view).toMatchObject({ state: 'ready', deaths: 0, attempts: 0 });
      expect(view?.history.at(-1)?.note).toBe('The client came back, so its process lives: no death is counted');
      expect(run.notices.at(-1)?.notice).toEqual({ kind: 'revoked', ...keyOf(delivered), reason: 'leaseLost' });
      run.reload();
      expect(messageOf(other, id)).toEqual(view);
    },
  );

  test('no longer makes the message a suspect: it goes with others, to a consumer that holds something', () => {
    const { client, other, id, delivered } = charged();
    comeBack(client, [keyOf(delivered)]);
    const ref = other.declare('mail');
    other.produce(ref);
    other.window(1, ref, 2);
    const taken = other.take();
    expect(taken.length).toBe(2);
    expect(taken[0]).toMatchObject({ id, attempt: 1, redelivered: true });
  });

  test('is taken back once', () => {
    const { client, other, id, delivered } = charged();
    for (let times = 0; times < 2; times++) comeBack(client, [keyOf(delivered), keyOf(delivered)]);
    expect(messageOf(other, id)).toMatchObject({ deaths: 0 });
  });

  test('stands when the client comes back without the lease', () => {
    const { client, other, id } = charged();
    comeBack(client, []);
    expect(messageOf(other, id)).toMatchObject({ deaths: 1 });
  });

  test('stands when the client stays away for the session timeout', () => {
    const { run, client, other, id, delivered } = charged();
    run.advance(SESSION_TIMEOUT_MS);
    comeBack(client, [keyOf(delivered)]);
    expect(messageOf(other, id)).toMatchObject({ deaths: 1 });
  });

  test('stands when another session names the lease', () => {
    const { other, id, delivered } = charged();
    comeBack(other, [keyOf(delivered)]);
    expect(messageOf(other, id)).toMatchObject({ deaths: 1 });
  });

  test('is taken back while another consumer has the message, whose own lease goes on', () => {
    const { client, other, id, delivered } = charged();
    other.window(1, other.declare('mail'), 1);
    const [again] = other.take();
    comeBack(client, [keyOf(delivered)]);
    expect(messageOf(other, id)).toMatchObject({ state: 'leased', deaths: 0 });
    expect(client.ack(delivered)).toEqual({ kind: 'settled', lost: [0], conflicts: [] });
    expect(other.ack(again as Delivered)).toEqual({ kind: 'settled', lost: [], conflicts: [] });
  });

  test('is taken back while the message is delayed, and is stored so', () => {
    const { run, client, other, id, delivered } = charged();
    other.window(1, other.declare('mail'), 1);
    other.nack(other.take()[0] as Delivered, 60_000);
    comeBack(client, [keyOf(delivered)]);
    expect(messageOf(other, id)).toMatchObject({ state: 'delayed', deaths: 0, attempts: 1 });
    run.reload();
    expect(messageOf(other, id)).toMatchObject({ state: 'delayed', deaths: 0, attempts: 1 });
  });

  test('stands beside a later one of another process, of which the message stays a suspect', () => {
    const { client, other, ref, id, delivered } = charged();
    other.window(1, other.declare('mail'), 1);
    const [again] = other.take();
    other.started([again as Delivered]);
    other.die();
    comeBack(client, [keyOf(delivered)]);
    expect(messageOf(client, id)).toMatchObject({ state: 'ready', deaths: 1 });
    client.produce(ref);
    client.window(1, ref, 2);
    expect(client.takeIds()).toEqual([id]);
  });

  test('stands when the message has died of it, and is not counted against one that was redriven', () => {
    const { run, client, other, id, delivered } = charged({ maxDeaths: 2 });
    other.window(1, other.declare('mail'), 1);
    const [again] = other.take();
    other.started([again as Delivered]);
    other.die();
    const third = run.client('third');
    expect(messageOf(third, id)).toMatchObject({ state: 'dead' });
    comeBack(client, [keyOf(delivered)]);
    expect(messageOf(third, id)).toMatchObject({ state: 'dead', deaths: 2 });
    third.ask({ kind: 'manage', id: parseMessageId(id), action: 'redrive' });
    comeBack(client, [keyOf(delivered)]);
    expect(messageOf(third, id)).toMatchObject({ state: 'ready', deaths: 0 });
  });
});

function keyOf(delivered: Delivered | undefined): { seq: number; token: number } {
  return { seq: delivered?.seq ?? 0, token: delivered?.token ?? 0 };
}
