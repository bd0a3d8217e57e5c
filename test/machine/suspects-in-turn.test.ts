import { expect, test } from 'vitest';
import { type Delivered, MachineRun } from '../helpers/machine-run.ts';

/** How long at a time a session is kept from new messages to empty it for a suspect, and how long it then is not. */
const RESERVATION_MS = 5_000;

test('suspects of several channels do not keep the others waiting one after the other', () => {
  const run = new MachineRun();
  const before = run.client('before');
  for (const name of ['first', 'second']) {
    const ref = before.declare(name);
    before.produce(ref);
    before.window(ref, ref, 1);
  }
  expect(before.take()).toHaveLength(2);
  // Broker and process die together, so both messages are suspects now.
  run.reload('another host');
  const client = run.client('client');
  const [first, second, plain] = ['first', 'second', 'plain'].map((name) => client.declare(name)) as [
    number,
    number,
    number,
  ];
  // A handler that does not end keeps the session from ever being empty.
  client.produce(plain);
  client.window(plain, plain, 10);
  expect(client.takeIds()).toHaveLength(1);
  client.window(first, first, 1);
  client.window(second, second, 1);
  for (let i = 0; i < 4; i++) {
    const id = client.produce(plain);
    run.advance(RESERVATION_MS);
    expect(client.takeIds()).toEqual([id]);
  }
});

test('the end of one channel’s reservation does not cut short that of another for the same session', () => {
  const run = new MachineRun();
  const before = run.client('before');
  for (const name of ['first', 'second']) {
    const ref = before.declare(name);
    before.produce(ref);
    before.window(ref, ref, 1);
  }
  run.reload('another host');
  const client = run.client('client');
  const plain = client.declare('plain');
  client.produce(plain);
  client.window(plain, plain, 1);
  const [held] = client.take() as [Delivered];
  for (const name of ['first', 'second']) {
    const ref = client.declare(name);
    client.window(ref, ref, 1);
  }
  // The first channel has the session emptied; when it is empty, a plain message is quicker, and now it is the second's turn.
  run.advance(RESERVATION_MS - 3_000);
  client.produce(plain);
  client.ack(held);
  expect(client.take()).toHaveLength(1);
  client.window(plain, plain, 10);
  const kept = client.produce(plain);
  run.advance(RESERVATION_MS - 1);
  expect(client.take()).toEqual([]);
  run.advance(1);
  expect(client.takeIds()).toEqual([kept]);
});
