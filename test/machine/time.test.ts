import { describe, expect, test } from 'vitest';
import type { ChannelView } from '#holdfast/model/views.js';
import type { Policy } from '#holdfast/model/policy.js';
import { type Delivered, failureOf, type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { messageOf, viewOf } from '../helpers/machine-views.ts';

function start(policy: Partial<Policy> = {}): { run: MachineRun; client: MachineClient; ref: number } {
  const run = new MachineRun();
  const client = run.client('client');
  return { run, client, ref: client.declare('mail', policy) };
}

function counts({ ready, delayed, leased, dead, completed }: ChannelView): object {
  return { ready, delayed, leased, dead, completed };
}

describe('delays', () => {
  test('a delayed message comes at its time and not a millisecond earlier', () => {
    const { run, client, ref } = start();
    client.window(1, ref, 5);
    const id = client.produce(ref, { delayMs: 10_000 });
    run.advance(9_999);
    expect(client.take()).toEqual([]);
    run.advance(1);
    expect(client.takeIds()).toEqual([id]);
  });

  test('a relative delay does not care for the wall clock', () => {
    const { run, client, ref } = start();
    client.window(1, ref, 5);
    const id = client.produce(ref, { delayMs: 10_000 });
    run.wall += 86_400_000;
    run.run();
    expect(client.take()).toEqual([]);
    run.advance(10_000);
    expect(client.takeIds()).toEqual([id]);
  });

  test('dueAt goes by the wall clock, wherever it jumps', () => {
    const { run, client, ref } = start();
    client.window(1, ref, 5);
    const id = client.produce(ref, { dueAt: run.wall + 3_600_000 });
    run.wall -= 3_600_000;
    run.advance(3_600_000);
    expect(client.take()).toEqual([]);
    run.wall += 3_600_000;
    run.run();
    expect(client.takeIds()).toEqual([id]);
  });

  test('dueAt between two milliseconds is never early, nor after a restart', () => {
    const { run, client, ref } = start();
    client.window(1, ref, 5);
    client.produce(ref, { dueAt: run.wall + 10.5 });
    run.reload();
    run.advance(10);
    expect(client.take()).toEqual([]);
    run.advance(1);
    expect(client.take()).toHaveLength(1);
  });

  test('dueAt in the past is ready at once', () => {
    const { run, client, ref } = start();
    client.window(1, ref, 5);
    const id = client.produce(ref, { dueAt: run.wall - 5 });
    expect(client.takeIds()).toEqual([id]);
  });

  test('delays go on over a restart', () => {
    const { run, client, ref } = start();
    client.window(1, ref, 5);
    const id = client.produce(ref, { delayMs: 10_000 });
    const due = client.produce(ref, { dueAt: run.wall + 10_000 });
    run.advance(5_000);
    run.reload();
    run.advance(4_999);
    expect(client.take()).toEqual([]);
    run.advance(1);
    expect(client.takeIds()).toEqual([id, due]);
  });
});

describe('attempts', () => {
  test('end after as many as the policy allows, with the backoff between them, and leave the last error', () => {
    const { run, client, ref } = start({
      maxAttempts: 3,
      backoff: { kind: 'schedule', delaysMs: [100, 300], jitter: 0 },
    });
    client.window(1, ref, 1);
    const id = client.produce(ref);
    for (const [i, delayMs] of [100, 300].entries()) {
      const [delivered] = client.take();
      client.settle(delivered as Delivered, { kind: 'nack', failure: failureOf(`boom ${i + 1}`), delayMs: undefined });
      run.advance(delayMs - 1);
      expect(client.take()).toEqual([]);
      run.advance(1);
    }
    const [last] = client.take();
    expect(last?.attempt).toBe(3);
    client.settle(last as Delivered, { kind: 'nack', failure: failureOf('boom 3'), delayMs: undefined });
    run.advance(3_600_000);
    expect(client.take()).toEqual([]);
    expect(messageOf(client, id)).toMatchObject({
      state: 'dead',
      attempts: 3,
      deaths: 0,
      failure: { message: 'boom 3' },
    });
  });

  test('a delay in the nack takes the place of the backoff', () => {
    const { run, client, ref } = start({ backoff: { kind: 'fixed', delayMs: 60_000, jitter: 0 } });
    client.window(1, ref, 1);
    client.produce(ref);
    client.nack(client.take()[0] as Delivered, 10);
    run.advance(10);
    expect(client.take()).toHaveLength(1);
  });

  test('a snooze and a release cost none', () => {
    const { run, client, ref } = start({ maxAttempts: 1 });
    client.window(1, ref, 1);
    client.produce(ref);
    for (let i = 0; i < 5; i++) {
      client.settle(client.take()[0] as Delivered, { kind: 'snooze', delayMs: 1_000 });
      run.advance(1_000);
      client.settle(client.take()[0] as Delivered, { kind: 'release' });
    }
    expect(client.take()).toMatchObject([{ attempt: 1, redelivered: true }]);
  });

  test('a message that no handler has started comes as for the first time', () => {
    const { client, ref } = start();
    client.window(1, ref, 1);
    client.produce(ref);
    client.settle(client.take()[0] as Delivered, { kind: 'release' });
    expect(client.take()).toMatchObject([{ redelivered: false }]);
  });

  test('`fail` gives up at once', () => {
    const { client, ref } = start();
    client.window(1, ref, 1);
    const id = client.produce(ref);
    client.settle(client.take()[0] as Delivered, { kind: 'fail', failure: failureOf('never') });
    expect(messageOf(client, id)).toMatchObject({ state: 'dead', attempts: 1, failure: { message: 'never' } });
  });

  test('throws, deaths and undecodable messages are counted apart, each with its own limit', () => {
    const { run, client, ref } = start({
      maxAttempts: 2,
      maxDeaths: 2,
      maxUndecodable: 2,
      backoff: { kind: 'fixed', delayMs: 0, jitter: 0 },
    });
    const id = client.produce(ref);
    client.window(1, ref, 1);
    client.nack(client.take()[0] as Delivered, 0);
    client.settle(client.take()[0] as Delivered, { kind: 'undecodable', failure: failureOf('bytes') });
    client.started(client.take());
    client.die();
    const other = run.client('other');
    const otherRef = other.declare('mail');
    expect(messageOf(other, id)).toMatchObject({ state: 'ready', attempts: 1, undecodable: 1, deaths: 1 });
    other.window(1, otherRef, 1);
    other.settle(other.take()[0] as Delivered, { kind: 'undecodable', failure: failureOf('bytes again') });
    expect(messageOf(other, id)).toMatchObject({ state: 'dead', undecodable: 2, failure: { message: 'bytes again' } });
  });

  test('a death of the process is charged only when the handler had started', () => {
    const { run, client, ref } = start({ maxDeaths: 1 });
    const [idle, running] = [client.produce(ref), client.produce(ref)];
    client.window(1, ref, 2);
    client.started(client.take().filter(({ id }) => id === running));
    client.die();
    const other = run.client('other');
    expect(messageOf(other, idle)).toMatchObject({ state: 'ready', deaths: 0 });
    expect(messageOf(other, running)).toMatchObject({ state: 'dead', deaths: 1, failure: { name: 'ProcessDied' } });
  });
});

describe('timeouts', () => {
  test('the broker ends a handler’s time a second after the client would have', () => {
    const { run, client, ref } = start({ timeoutMs: 5_000, backoff: { kind: 'fixed', delayMs: 0, jitter: 0 } });
    client.window(1, ref, 1);
    const id = client.produce(ref);
    const [delivered] = client.take();
    expect(delivered?.timeoutMs).toBe(5_000);
    client.started([delivered as Delivered]);
    run.advance(5_999);
    expect(counts(viewOf(client, 'mail'))).toMatchObject({ leased: 1 });
    run.advance(1);
    expect(run.notices).toContainEqual({
      session: 'client',
      notice: { kind: 'revoked', seq: delivered?.seq, token: delivered?.token, reason: 'timeout' },
    });
    expect(client.ack(delivered as Delivered)).toEqual({ kind: 'settled', lost: [0], conflicts: [] });
    expect(messageOf(client, id)).toMatchObject({ attempts: 1, failure: { name: 'TimeoutError' } });
    expect(client.take()).toMatchObject([{ attempt: 2 }]);
  });

  test('a handler’s time counts from its start, not from the claim', () => {
    const { run, client, ref } = start({ timeoutMs: 1_000 });
    client.window(1, ref, 1);
    client.produce(ref);
    run.advance(3_600_000);
    expect(counts(viewOf(client, 'mail'))).toMatchObject({ leased: 1 });
  });

  test('extend() moves the end, and a restart keeps it', () => {
    const { run, client, ref } = start({ timeoutMs: 1_000, backoff: { kind: 'fixed', delayMs: 0, jitter: 0 } });
    client.window(1, ref, 1);
    client.produce(ref);
    const { seq, token } = client.take()[0] as Delivered;
    client.started([{ seq, token }]);
    expect(client.ask({ kind: 'extend', seq, token, forMs: 10_000 })).toEqual({
      kind: 'settled',
      lost: [],
      conflicts: [],
    });
    run.reload();
    run.advance(10_999);
    expect(counts(viewOf(client, 'mail'))).toMatchObject({ leased: 1 });
    run.advance(1);
    expect(client.ask({ kind: 'extend', seq, token, forMs: 10_000 })).toEqual({
      kind: 'settled',
      lost: [0],
      conflicts: [],
    });
  });
});

describe('time to live', () => {
  test('a message that nobody claimed in time is dead, with the reason', () => {
    const { run, client, ref } = start({ timeToLiveMs: 1_000 });
    const id = client.produce(ref);
    run.advance(999);
    expect(messageOf(client, id)).toMatchObject({ state: 'ready' });
    run.advance(1);
    expect(messageOf(client, id)).toMatchObject({ state: 'dead', failure: { name: 'Expired' } });
  });

  test('a claim ends it for good: retries may take their time', () => {
    const { run, client, ref } = start({ timeToLiveMs: 1_000 });
    client.window(1, ref, 1);
    const id = client.produce(ref);
    client.nack(client.take()[0] as Delivered, 5_000);
    run.reload();
    run.advance(5_000);
    expect(messageOf(client, id)).toMatchObject({ state: 'leased' });
  });

  test('an expired message that moves to its dead-letter channel waits there without end', () => {
    const { run, client, ref } = start({ timeToLiveMs: 1_000, deadLetter: 'lost mail' });
    const id = client.produce(ref);
    run.advance(3_600_000);
    expect(messageOf(client, id)).toMatchObject({ state: 'ready', channel: 'lost mail' });
    run.reload();
    run.advance(3_600_000);
    expect(messageOf(client, id)).toMatchObject({ state: 'ready', channel: 'lost mail' });
  });

  test('goes on over a restart', () => {
    const { run, client, ref } = start({ timeToLiveMs: 1_000 });
    const id = client.produce(ref);
    run.reload();
    run.advance(1_000);
    expect(messageOf(client, id)).toMatchObject({ state: 'dead' });
  });
});
