import { describe, expect, test } from 'vitest';
import { messageIdText } from '#holdfast/model/message-id.js';
import type { DedupeRule } from '#holdfast/model/policy.js';
import { dedupe, type Delivered, failureOf, type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { messageOf, viewOf } from '../helpers/machine-views.ts';

const UNTIL_SETTLED = 0;

function start(rule: DedupeRule): { run: MachineRun; client: MachineClient; ref: number } {
  const run = new MachineRun();
  const client = run.client('client');
  return { run, client, ref: client.declare('mail', { dedupe: rule }) };
}

/** The id that stands for a message: its own, or the one that it was deduplicated to. */
function standing(client: MachineClient, ref: number, key: string): string | undefined {
  const reply = client.tryProduce(ref, dedupe(key));
  if (reply.kind !== 'produced') throw new Error(`The answer is ${reply.kind}`);
  const [exception] = reply.exceptions;
  return exception?.id === undefined ? undefined : messageIdText(exception.id);
}

function endNext(client: MachineClient, ref: number): Delivered {
  client.window(1, ref, 1);
  const [delivered] = client.take();
  client.ack(delivered as Delivered);
  return delivered as Delivered;
}

describe.each([false, true])('dedupe (restarted at each step: %s)', (restarts) => {
  const step = (run: MachineRun): void => {
    if (restarts) run.reload();
  };

  test('reject drops the second, and names the first, until the window ends', () => {
    const { run, client, ref } = start({ windowMs: 1_000, mode: 'reject' });
    const first = client.produce(ref, dedupe('a'));
    step(run);
    expect(standing(client, ref, 'a')).toBe(first);
    run.advance(999);
    step(run);
    expect(standing(client, ref, 'a')).toBe(first);
    run.advance(1);
    expect(standing(client, ref, 'a')).toBeUndefined();
    expect(viewOf(client, 'mail')).toMatchObject({ ready: 2, totals: { produced: 2, deduplicated: 2 } });
  });

  test('reject goes on after the first has ended, as long as the window runs', () => {
    const { run, client, ref } = start({ windowMs: 1_000, mode: 'reject' });
    const first = client.produce(ref, dedupe('a'));
    endNext(client, ref);
    step(run);
    expect(standing(client, ref, 'a')).toBe(first);
  });

  test('different keys, and different channels, have nothing to do with each other', () => {
    const { run, client, ref } = start({ windowMs: 1_000, mode: 'reject' });
    const other = client.declare('other', { dedupe: { windowMs: 1_000, mode: 'reject' } });
    client.produce(ref, dedupe('a'));
    step(run);
    expect(standing(client, ref, 'b')).toBeUndefined();
    expect(standing(client, other, 'a')).toBeUndefined();
  });

  test('untilSettled drops the second until the first has ended, however it ends', () => {
    const { run, client, ref } = start({ windowMs: UNTIL_SETTLED, mode: 'reject' });
    client.window(1, ref, 1);
    for (const kind of ['ack', 'fail', 'cancel'] as const) {
      const first = client.produce(ref, dedupe('a'));
      run.advance(86_400_000);
      step(run);
      expect(standing(client, ref, 'a')).toBe(first);
      const [delivered] = client.take();
      if (kind === 'ack') client.ack(delivered as Delivered);
      else if (kind === 'fail') client.settle(delivered as Delivered, { kind: 'fail', failure: failureOf('no') });
      else client.ask({ kind: 'manage', id: idOf(first), action: 'cancel' });
      step(run);
    }
    expect(standing(client, ref, 'a')).toBeUndefined();
  });

  test('untilSettled keeps the key of a message that fails and comes again', () => {
    const { run, client, ref } = start({ windowMs: UNTIL_SETTLED, mode: 'reject' });
    const first = client.produce(ref, dedupe('a'));
    client.window(1, ref, 1);
    client.nack(client.take()[0] as Delivered, 5_000);
    step(run);
    expect(standing(client, ref, 'a')).toBe(first);
  });

  test('untilSettled gives up the key of a dead message for good, though it is redriven', () => {
    const { run, client, ref } = start({ windowMs: UNTIL_SETTLED, mode: 'reject' });
    const [first] = client.produceSome(ref, [dedupe('a'), dedupe('b')]);
    client.window(1, ref, 1);
    client.settle(client.take()[0] as Delivered, { kind: 'fail', failure: failureOf('no') });
    client.window(1, ref, 0);
    client.ask({ kind: 'manage', id: idOf(first as string), action: 'redrive' });
    step(run);
    expect(standing(client, ref, 'a')).toBeUndefined();
    expect(standing(client, ref, 'b')).toBeDefined();
  });

  test('replace lets the second take the place of a first that waits, payload, delay and all', () => {
    const { run, client, ref } = start({ windowMs: 60_000, mode: 'replace' });
    const first = client.produce(ref, { ...dedupe('a'), delayMs: 1_000 });
    step(run);
    const second = client.produce(ref, { ...dedupe('a'), delayMs: 5_000 });
    step(run);
    run.advance(1_000);
    client.window(1, ref, 5);
    expect(client.take()).toEqual([]);
    run.advance(4_000);
    expect(client.takeIds()).toEqual([second]);
    expect(messageOf(client, first)).toMatchObject({ state: 'cancelled', failure: { name: 'Replaced' } });
  });

  test('replace works within one block', () => {
    const { run, client, ref } = start({ windowMs: 60_000, mode: 'replace' });
    const [first, second, third] = client.produceSome(ref, [dedupe('a'), dedupe('a'), dedupe('a')]);
    step(run);
    client.window(1, ref, 5);
    expect(client.takeIds()).toEqual([third]);
    for (const id of [first, second]) expect(messageOf(client, id as string)).toMatchObject({ state: 'cancelled' });
  });

  test('replace is reject once the first was claimed', () => {
    const { run, client, ref } = start({ windowMs: 60_000, mode: 'replace' });
    const first = client.produce(ref, dedupe('a'));
    client.window(1, ref, 1);
    client.nack(client.take()[0] as Delivered, 60_000);
    step(run);
    expect(standing(client, ref, 'a')).toBe(first);
  });

  test('keepLast lets the second wait for the end of the first, and a third take its place', () => {
    const { run, client, ref } = start({ windowMs: UNTIL_SETTLED, mode: 'keepLast' });
    const [first, second, third] = [
      client.produce(ref, dedupe('a')),
      client.produce(ref, dedupe('a')),
      client.produce(ref, dedupe('a')),
    ];
    step(run);
    expect(messageOf(client, second)).toMatchObject({ state: 'cancelled' });
    expect(messageOf(client, third)).toMatchObject({ state: 'waiting' });
    expect(endNext(client, ref).id).toBe(first);
    step(run);
    expect(endNext(client, ref).id).toBe(third);
    step(run);
    expect(viewOf(client, 'mail')).toMatchObject({ ready: 0, waiting: 0, leased: 0, completed: 2, cancelled: 1 });
    const fourth = client.produce(ref, dedupe('a'));
    expect(messageOf(client, fourth)).toMatchObject({ state: 'leased' });
  });

  test('keepLast forgets nothing when its window ends before the first message does', () => {
    const { run, client, ref } = start({ windowMs: 1_000, mode: 'keepLast' });
    const first = client.produce(ref, dedupe('a'));
    client.window(1, ref, 1);
    const [running] = client.take();
    const second = client.produce(ref, dedupe('a'));
    step(run);
    run.advance(5_000);
    const third = client.produce(ref, dedupe('a'));
    step(run);
    expect(messageOf(client, second)).toMatchObject({ state: 'cancelled' });
    expect(messageOf(client, third)).toMatchObject({ state: 'waiting' });
    client.ack(running as Delivered);
    expect(running?.id).toBe(first);
    step(run);
    expect(endNext(client, ref).id).toBe(third);
    expect(standing(client, ref, 'a')).toBeUndefined();
  });

  test('keepLast goes on when the waiting message is cancelled', () => {
    const { run, client, ref } = start({ windowMs: UNTIL_SETTLED, mode: 'keepLast' });
    client.produce(ref, dedupe('a'));
    const second = client.produce(ref, dedupe('a'));
    client.ask({ kind: 'manage', id: idOf(second), action: 'cancel' });
    step(run);
    endNext(client, ref);
    const third = client.produce(ref, dedupe('a'));
    expect(messageOf(client, third)).toMatchObject({ state: 'leased' });
  });
});

function idOf(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll('-', ''), 'hex'));
}
