import { describe, expect, test } from 'vitest';
import type { Delivered, MachineClient } from '../helpers/machine-run.ts';
import { MachineRun } from '../helpers/machine-run.ts';

function start(): { run: MachineRun; client: MachineClient; ref: number } {
  const run = new MachineRun();
  const client = run.client('client');
  return { run, client, ref: client.declare('mail') };
}

function one(client: MachineClient): Delivered {
  const [delivered, ...others] = client.take();
  if (delivered === undefined || others.length > 0) throw new Error(`${others.length + 1} deliveries instead of one`);
  return delivered;
}

/** Claims and acks everything, one message after the other, and gives the order. */
function drain(client: MachineClient, ref: number): string[] {
  const order: string[] = [];
  client.window(1, ref, 1);
  for (let taken = client.take(); taken.length > 0; taken = client.take()) {
    for (const delivered of taken) {
      order.push(delivered.id);
      client.ack(delivered);
    }
  }
  return order;
}

describe('dispatch()', () => {
  test('is strictly first in, first out, over many produces and consumers', () => {
    const { client, ref } = start();
    const ids = Array.from({ length: 300 }, (_, i) => client.produceSome(ref, i % 3 === 0 ? [{}, {}] : [{}])).flat();
    expect(drain(client, ref)).toEqual(ids);
  });

  test('puts `lifo` before what waits', () => {
    const { client, ref } = start();
    const [a, b] = [client.produce(ref), client.produce(ref)];
    const [c, d] = [client.produce(ref, { lifo: true }), client.produce(ref, { lifo: true })];
    expect(drain(client, ref)).toEqual([d, c, a, b]);
  });

  test('takes smaller priorities first, first in, first out within each; 0 is the default', () => {
    const { client, ref } = start();
    const later = client.produce(ref, { priority: 5 });
    const normal = client.produce(ref);
    const urgent = client.produce(ref, { priority: -3 });
    const alsoUrgent = client.produce(ref, { priority: -3 });
    const front = client.produce(ref, { priority: 5, lifo: true });
    expect(drain(client, ref)).toEqual([urgent, alsoUrgent, normal, front, later]);
  });

  test('puts a retry behind what waits', () => {
    const { client, ref } = start();
    const [a, b, c] = [client.produce(ref), client.produce(ref), client.produce(ref)];
    client.window(1, ref, 1);
    client.nack(one(client), 0);
    expect(drain(client, ref)).toEqual([b, c, a]);
  });

  test('puts a delayed retry behind what waits when its time has come', () => {
    const { run, client, ref } = start();
    const a = client.produce(ref);
    client.window(1, ref, 1);
    client.nack(one(client), 5_000);
    const b = client.produce(ref);
    client.window(1, ref, 0);
    run.advance(5_000);
    expect(drain(client, ref)).toEqual([b, a]);
  });

  test('puts what was released, or lost with its session, back to the front', () => {
    const { run, client, ref } = start();
    const ids = [client.produce(ref), client.produce(ref), client.produce(ref), client.produce(ref)];
    client.window(1, ref, 1);
    client.settle(one(client), { kind: 'release' });
    expect(one(client).id).toBe(ids[0]);
    const other = run.client('other');
    const otherRef = other.declare('mail');
    other.window(1, otherRef, 2);
    expect(other.takeIds()).toEqual([ids[1], ids[2]]);
    client.die();
    other.die();
    const third = run.client('third');
    expect(drain(third, third.declare('mail'))).toEqual(ids);
  });

  test('hands each consumer no more than its window, and consumers take turns', () => {
    const { run, client, ref } = start();
    const other = run.client('other');
    const otherRef = other.declare('mail');
    client.window(1, ref, 2);
    other.window(1, otherRef, 3);
    const ids = Array.from({ length: 8 }, () => client.produce(ref));
    const [mine, theirs] = [client.take(), other.take()];
    expect([mine.length, theirs.length]).toEqual([2, 3]);
    expect([...mine, ...theirs].map(({ id }) => id).sort()).toEqual(ids.slice(0, 5));
    expect(Math.abs(ids.indexOf(mine[0]?.id ?? '') - ids.indexOf(theirs[0]?.id ?? ''))).toBe(1);
  });

  test('stops at a window of 0, and goes on with a larger one', () => {
    const { client, ref } = start();
    client.window(1, ref, 1);
    client.window(1, ref, 0);
    const id = client.produce(ref);
    expect(client.take()).toEqual([]);
    client.window(1, ref, 5);
    expect(client.takeIds()).toEqual([id]);
  });

  test('counts attempts, tells a redelivery from a first one, and gives growing tokens', () => {
    const { client, ref } = start();
    client.produce(ref);
    client.window(1, ref, 1);
    const deliveries: Delivered[] = [];
    for (let i = 0; i < 3; i++) {
      const delivered = one(client);
      deliveries.push(delivered);
      client.nack(delivered, 0);
    }
    expect(deliveries.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect(deliveries.map(({ redelivered }) => redelivered)).toEqual([false, true, true]);
    const tokens = deliveries.map(({ token }) => token);
    expect([...tokens].sort((a, b) => a - b)).toEqual(tokens);
    expect(new Set(tokens).size).toBe(3);
  });

  test('pause() holds messages back and resume() lets them go', () => {
    const { client, ref } = start();
    client.window(1, ref, 5);
    client.ask({ kind: 'control', channel: 'mail', action: 'pause', settings: undefined });
    const id = client.produce(ref);
    expect(client.take()).toEqual([]);
    client.ask({ kind: 'control', channel: 'mail', action: 'resume', settings: undefined });
    expect(client.takeIds()).toEqual([id]);
  });

  test('a paused channel is still paused after a restart', () => {
    const { run, client, ref } = start();
    client.ask({ kind: 'control', channel: 'mail', action: 'pause', settings: undefined });
    client.produce(ref);
    run.reload();
    client.window(1, ref, 5);
    expect(client.take()).toEqual([]);
  });
});
