import { describe, expect, test } from 'vitest';
import { encode } from '#holdfast/codec/bson.js';
import { KIND } from '#holdfast/machine/layout.js';
import { MAX_FAILURE_MESSAGE_CHARACTERS, MAX_FAILURE_STACK_CHARACTERS } from '#holdfast/model/failure.js';
import { parseMessageId } from '#holdfast/model/message-id.js';
import type { SettingsPatch, Policy } from '#holdfast/model/policy.js';
import { type Delivered, failureOf, type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { listOf, messageOf, viewOf } from '../helpers/machine-views.ts';

const ALL = { count: undefined, ageMs: undefined };

function start(
  policy: Partial<Policy> = {},
  settings?: SettingsPatch,
): { run: MachineRun; client: MachineClient; ref: number } {
  const run = new MachineRun();
  const client = run.client('client');
  const ref = client.declare('mail', policy, settings);
  client.window(1, ref, 1);
  return { run, client, ref };
}

/** Produces a message and ends it. */
function endOne(client: MachineClient, ref: number, how: 'ack' | 'fail' = 'ack'): string {
  const id = client.produce(ref);
  const delivered = client.take()[0] as Delivered;
  if (how === 'ack') client.ack(delivered);
  else client.settle(delivered, { kind: 'fail', failure: failureOf('no') });
  return id;
}

function control(client: MachineClient, action: 'purge' | 'redrive' | 'configure', settings?: SettingsPatch): unknown {
  const reply = client.ask({ kind: 'control', channel: 'mail', action, settings });
  return reply.kind === 'value' ? reply.value : reply.kind;
}

describe('retention', () => {
  test('keeps so many of the newest', () => {
    const { client, ref, run } = start({}, { completed: { count: 3, ageMs: undefined }, dead: ALL });
    const ids = Array.from({ length: 5 }, () => endOne(client, ref));
    expect(listOf(client, 'mail', 'completed').map(({ id }) => id)).toEqual(ids.slice(2).reverse());
    expect(messageOf(client, ids[0] as string)).toBeNull();
    expect(viewOf(client, 'mail')).toMatchObject({ completed: 3, totals: { completed: 5 } });
    run.reload();
    expect(listOf(client, 'mail', 'completed').map(({ id }) => id)).toEqual(ids.slice(2).reverse());
  });

  test('keeps them so long', () => {
    const { client, ref, run } = start({}, { completed: { count: undefined, ageMs: 10_000 }, dead: ALL });
    endOne(client, ref);
    run.advance(5_000);
    const younger = endOne(client, ref);
    run.reload();
    run.advance(5_000);
    expect(listOf(client, 'mail', 'completed').map(({ id }) => id)).toEqual([younger]);
    run.advance(5_000);
    expect(listOf(client, 'mail', 'completed')).toEqual([]);
  });

  test('a count of 0 keeps none, without bounds all are kept for ever', () => {
    const none = start({}, { completed: { count: 0, ageMs: undefined }, dead: ALL });
    expect(messageOf(none.client, endOne(none.client, none.ref))).toBeNull();
    const all = start({}, { completed: ALL, dead: ALL });
    for (let i = 0; i < 1_100; i++) endOne(all.client, all.ref);
    all.run.advance(10 * 365 * 86_400_000);
    expect(viewOf(all.client, 'mail')).toMatchObject({ completed: 1_100 });
  });

  test('dead and completed messages have bounds of their own', () => {
    const { client, ref } = start(
      {},
      { completed: { count: 1, ageMs: undefined }, dead: { count: 2, ageMs: undefined } },
    );
    for (let i = 0; i < 4; i++) {
      endOne(client, ref, 'fail');
      endOne(client, ref);
    }
    expect(viewOf(client, 'mail')).toMatchObject({ completed: 1, dead: 2 });
  });

  test('retain() works on what is there already', () => {
    const { client, ref, run } = start();
    for (let i = 0; i < 10; i++) endOne(client, ref);
    control(client, 'configure', { completed: { count: 2, ageMs: undefined }, dead: ALL });
    run.run();
    expect(viewOf(client, 'mail')).toMatchObject({ completed: 2 });
    run.reload();
    expect(viewOf(client, 'mail')).toMatchObject({ completed: 2, settings: { completed: { count: 2 } } });
  });

  test('a result is kept as long as somebody waits for it', () => {
    const { client, ref, run } = start({}, { completed: { count: 0, ageMs: undefined }, dead: ALL });
    const id = client.produce(ref);
    client.note({ kind: 'await', id: parseMessageId(id), stop: false });
    const result = encode('done');
    client.settle(client.take()[0] as Delivered, { kind: 'ack', result });
    run.run();
    expect(run.notices).toMatchObject([{ notice: { kind: 'ended', state: 'completed', result } }]);
    expect(messageOf(client, id)).toMatchObject({ state: 'completed' });
    client.note({ kind: 'await', id: parseMessageId(id), stop: true });
    endOne(client, ref);
    run.run();
    expect(messageOf(client, id)).toBeNull();
  });

  test('await says at once that a message does not exist (any more)', () => {
    const { run, client } = start();
    const id = run.newId();
    client.note({ kind: 'await', id, stop: false });
    expect(run.notices).toMatchObject([{ notice: { kind: 'ended', id, state: undefined } }]);
  });
});

describe('dead letters', () => {
  test('a dead message goes on in the other channel: same id, payload, history and error, counted anew', () => {
    const { client, ref, run } = start({
      maxAttempts: 2,
      deadLetter: 'dead mail',
      backoff: { kind: 'fixed', delayMs: 0, jitter: 0 },
    });
    const id = client.produce(ref, {}, { to: 'Ann' });
    for (let i = 1; i <= 2; i++) {
      client.settle(client.take()[0] as Delivered, {
        kind: 'nack',
        failure: failureOf(`boom ${i}`),
        delayMs: undefined,
      });
    }
    run.reload();
    const moved = messageOf(client, id);
    expect(moved).toMatchObject({ channel: 'dead mail', state: 'ready', attempts: 0, failure: { message: 'boom 2' } });
    expect(Buffer.from(moved?.payload ?? []).equals(encode({ to: 'Ann' }))).toBe(true);
    expect(moved?.history.map(({ what }) => what)).toEqual([
      'produced',
      'claimed',
      'nacked',
      'claimed',
      'failed',
      'moved',
    ]);
    expect(moved?.history.at(-1)).toMatchObject({ note: 'from mail' });
    expect(viewOf(client, 'mail')).toMatchObject({ ready: 0, leased: 0, dead: 0, totals: { dead: 1 } });
    const dead = client.declare('dead mail');
    client.window(2, dead, 1);
    expect(client.take()).toMatchObject([{ id, attempt: 1, redelivered: true }]);
  });

  test('a message that dies in the dead-letter channel stays there', () => {
    const { client, ref } = start({ maxAttempts: 1, deadLetter: 'dead mail' });
    const id = endOne(client, ref, 'fail');
    const dead = client.declare('dead mail');
    client.window(2, dead, 1);
    client.settle(client.take()[0] as Delivered, { kind: 'fail', failure: failureOf('again') });
    expect(messageOf(client, id)).toMatchObject({ channel: 'dead mail', state: 'dead', failure: { message: 'again' } });
  });
});

describe('redrive', () => {
  test.each([false, true])(
    'brings one message back, its attempts counted anew, its history going on (restart: %s)',
    (restarts) => {
      const { client, ref, run } = start();
      const id = endOne(client, ref, 'fail');
      if (restarts) run.reload();
      expect(client.ask({ kind: 'manage', id: parseMessageId(id), action: 'redrive' })).toEqual({ kind: 'done' });
      if (restarts) run.reload();
      expect(messageOf(client, id)).toMatchObject({ state: 'leased', attempts: 0, failure: { message: 'no' } });
      client.ack(client.take()[0] as Delivered);
      if (restarts) run.reload();
      const ended = messageOf(client, id);
      expect(ended?.history.map(({ what }) => what)).toEqual([
        'produced',
        'claimed',
        'failed',
        'redriven',
        'claimed',
        'acked',
      ]);
      expect(viewOf(client, 'mail')).toMatchObject({ dead: 0, completed: 1 });
    },
  );

  test('brings all back in steps, the oldest first', () => {
    const { client, ref, run } = start();
    const ids = Array.from({ length: 350 }, () => endOne(client, ref, 'fail'));
    client.window(1, ref, 0);
    expect(control(client, 'redrive')).toBe(350);
    run.step();
    expect(viewOf(client, 'mail').dead).toBeLessThan(350);
    run.reload();
    run.run();
    expect(listOf(client, 'mail', 'ready', 0, 100).map(({ id }) => id)).toEqual(ids.slice(0, 100));
    expect(viewOf(client, 'mail')).toMatchObject({ dead: 0, ready: 350 });
    expect(control(client, 'redrive')).toBe(0);
  });

  test('goes on when the next messages change between asking for their records and using them', () => {
    const { client, ref, run } = start();
    const ids = Array.from({ length: 150 }, () => endOne(client, ref, 'fail'));
    client.window(1, ref, 0);
    control(client, 'redrive');
    run.flush();
    const need = run.machine.planTick();
    expect(need?.ranges).toHaveLength(100);
    for (const id of ids.slice(0, 20)) client.ask({ kind: 'manage', id: parseMessageId(id), action: 'redrive' });
    run.run();
    expect(viewOf(client, 'mail')).toMatchObject({ dead: 0, ready: 150 });
  });

  test('is refused for what is not dead', () => {
    const { client, ref, run } = start();
    const completed = endOne(client, ref);
    expect(client.ask({ kind: 'manage', id: parseMessageId(completed), action: 'redrive' })).toMatchObject({
      code: 'WRONG_STATE',
    });
    expect(client.ask({ kind: 'manage', id: run.newId(), action: 'redrive' })).toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('purge', () => {
  test('takes the notes of a message along, though its pack stays and the broker changes', () => {
    const { run, client, ref } = start({}, { completed: { count: 0, ageMs: undefined }, dead: ALL });
    client.window(1, ref, 2);
    client.produceSome(ref, [{}, {}]);
    const [annotated, other] = client.take() as [Delivered, Delivered];
    const { seq, token } = annotated;
    client.ask({ kind: 'annotate', seq, token, progress: undefined, line: 'a line' });
    expect(run.kinds).toContain(KIND.notes);
    client.settle(annotated, { kind: 'snooze', delayMs: 60_000 });
    expect(control(client, 'purge')).toBe(1);
    run.run();
    run.reload();
    client.ack(other);
    expect(run.kinds).not.toContain(KIND.pack);
    expect(run.kinds).not.toContain(KIND.notes);
  });

  test('deletes more than a thousand waiting messages in steps, and none that came after', () => {
    const { client, ref, run } = start();
    client.window(1, ref, 0);
    for (let i = 0; i < 25; i++)
      client.produceSome(
        ref,
        Array.from({ length: 100 }, (_, n) => (n % 4 === 0 ? { delayMs: 60_000 } : {})),
      );
    expect(control(client, 'purge')).toBe(2_500);
    const [later, front] = [client.produce(ref), client.produce(ref, { lifo: true, priority: -1 })];
    run.step();
    const left = viewOf(client, 'mail');
    expect(left.ready + left.delayed).toBe(1_502);
    run.reload();
    expect(listOf(client, 'mail', 'ready').map(({ id }) => id)).toEqual([front, later]);
    expect(viewOf(client, 'mail')).toMatchObject({ delayed: 0, totals: { purged: 2_500 } });
  });

  test('leaves what is leased or has ended', () => {
    const { client, ref, run } = start();
    endOne(client, ref);
    const leased = client.produce(ref);
    client.take();
    client.produce(ref);
    control(client, 'purge');
    run.run();
    expect(viewOf(client, 'mail')).toMatchObject({ ready: 0, leased: 1, completed: 1 });
    expect(messageOf(client, leased)).toMatchObject({ state: 'leased' });
  });

  test('takes along messages that wait for one that is delayed', () => {
    const run = new MachineRun();
    const client = run.client('client');
    const ref = client.declare('mail', { dedupe: { windowMs: 0, mode: 'keepLast' } });
    const key = { dedupe: new Uint8Array(16) };
    client.produce(ref, { ...key, delayMs: 60_000 });
    client.produce(ref, key);
    expect(control(client, 'purge')).toBe(2);
    run.run();
    expect(viewOf(client, 'mail')).toMatchObject({ ready: 0, delayed: 0, waiting: 0 });
  });

  test('a purged message that was dead before does not come back as dead', () => {
    const { client, ref, run } = start();
    const id = endOne(client, ref, 'fail');
    client.window(1, ref, 0);
    client.ask({ kind: 'manage', id: parseMessageId(id), action: 'redrive' });
    client.produceSome(ref, [{}, {}]);
    control(client, 'purge');
    run.run();
    run.reload();
    expect(viewOf(client, 'mail')).toMatchObject({ ready: 0, dead: 0 });
    expect(messageOf(client, id)).toBeNull();
  });
});

describe('cancel and promote', () => {
  test('cancel stops a message that waits or runs, and says so to its handler', () => {
    const { client, ref, run } = start();
    const running = client.produce(ref);
    const [lease] = client.take();
    const waiting = client.produce(ref);
    const delayed = client.produce(ref, { delayMs: 5_000 });
    for (const id of [running, waiting, delayed]) {
      expect(client.ask({ kind: 'manage', id: parseMessageId(id), action: 'cancel' })).toEqual({ kind: 'done' });
      expect(messageOf(client, id)).toMatchObject({ state: 'cancelled' });
    }
    expect(run.notices).toContainEqual({
      session: 'client',
      notice: { kind: 'revoked', seq: lease?.seq, token: lease?.token, reason: 'cancelled' },
    });
    expect(client.ack(lease as Delivered)).toEqual({ kind: 'settled', lost: [0], conflicts: [] });
    expect(client.ask({ kind: 'manage', id: parseMessageId(running), action: 'cancel' })).toMatchObject({
      code: 'WRONG_STATE',
    });
  });

  test('promote makes a delayed message ready, behind what waits, and refuses others', () => {
    const { client, ref, run } = start();
    client.window(1, ref, 0);
    const delayed = client.produce(ref, { delayMs: 5_000 });
    const ready = client.produce(ref);
    expect(client.ask({ kind: 'manage', id: parseMessageId(delayed), action: 'promote' })).toEqual({ kind: 'done' });
    expect(listOf(client, 'mail', 'ready').map(({ id }) => id)).toEqual([ready, delayed]);
    expect(client.ask({ kind: 'manage', id: parseMessageId(ready), action: 'promote' })).toMatchObject({
      code: 'WRONG_STATE',
    });
    expect(client.ask({ kind: 'manage', id: run.newId(), action: 'promote' })).toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('history', () => {
  test('keeps the newest 32 entries between the produce and now, over restarts', () => {
    const { client, ref, run } = start({ maxAttempts: 1_000, backoff: { kind: 'fixed', delayMs: 0, jitter: 0 } });
    const id = client.produce(ref);
    for (let i = 1; i <= 40; i++) {
      client.settle(client.take()[0] as Delivered, {
        kind: 'nack',
        failure: failureOf(`boom ${i}`),
        delayMs: undefined,
      });
    }
    run.reload();
    const history = messageOf(client, id)?.history ?? [];
    expect(history).toHaveLength(34);
    expect(history[0]).toMatchObject({ what: 'produced' });
    expect(history[1]).toMatchObject({ what: 'claimed', attempt: 25 });
    expect(history.at(-2)).toMatchObject({ what: 'nacked', attempt: 40, note: 'boom 40' });
    expect(history.at(-1)).toMatchObject({ what: 'claimed', attempt: 41 });
  });

  test('errors are cut to their documented lengths', () => {
    const { client, ref } = start({ maxAttempts: 1 });
    const id = client.produce(ref);
    const failure = { name: 'n'.repeat(500), message: 'm'.repeat(5_000), stack: 's'.repeat(50_000) };
    client.settle(client.take()[0] as Delivered, { kind: 'nack', failure, delayMs: undefined });
    const kept = messageOf(client, id)?.failure;
    expect([kept?.name.length, kept?.message.length, kept?.stack?.length]).toEqual([
      128,
      MAX_FAILURE_MESSAGE_CHARACTERS,
      MAX_FAILURE_STACK_CHARACTERS,
    ]);
  });
});
