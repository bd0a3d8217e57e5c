import { expect, test } from 'vitest';
import { type Delivered, type MachineClient, MachineRun, SESSION_TIMEOUT_MS } from '../helpers/machine-run.ts';
import { messageOf } from '../helpers/machine-views.ts';

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

/** Messages of one channel whose broker and process died together while they were handled: nobody knows which of them did it. */
function suspects(run: MachineRun, count: number): string[] {
  const before = run.client('before');
  const ref = before.declare('jobs');
  const ids = before.produceSome(
    ref,
    Array.from({ length: count }, () => ({})),
  );
  before.window(1, ref, count);
  expect(before.takeIds()).toEqual(ids);
  run.reload('another host');
  // The session may come back for as long as a session does.
  run.advance(SESSION_TIMEOUT_MS);
  return ids;
}

function worker(run: MachineRun, name: string, host?: string): MachineClient {
  const client = run.client(name, host);
  client.window(1, client.declare('jobs'), 10);
  return client;
}

test('a suspect whose handler does not end is alone for a short while only', () => {
  const run = new MachineRun();
  const [first, second] = suspects(run, 2);
  const one = worker(run, 'one');
  expect(one.takeIds()).toEqual([first]);
  const other = worker(run, 'other');
  const plain = one.declare('plain');
  one.window(2, plain, 1);
  const kept = one.produce(plain);
  run.advance(RESERVATION_MS - 1);
  expect([one.takeIds(), other.takeIds()]).toEqual([[], []]);
  run.advance(1);
  expect([one.takeIds(), other.takeIds()]).toEqual([[kept], [second]]);
});

test('a suspect goes to the session that has another one which has had its time alone, when there is no better one', () => {
  const run = new MachineRun();
  const [first, second] = suspects(run, 2);
  const client = worker(run, 'client');
  expect(client.takeIds()).toEqual([first]);
  // Behind the time alone the session takes what waits for as long, before it is kept free again.
  run.advance(2 * RESERVATION_MS - 1);
  expect(client.takeIds()).toEqual([]);
  run.advance(1);
  expect(client.takeIds()).toEqual([second]);
  const kept = client.produce(1);
  run.advance(RESERVATION_MS - 1);
  expect(client.takeIds()).toEqual([]);
  run.advance(1);
  expect(client.takeIds()).toEqual([kept]);
});

test('the time alone goes on where it was when another broker leads', () => {
  const run = new MachineRun();
  const [first] = suspects(run, 1);
  const client = worker(run, 'client');
  expect(client.takeIds()).toEqual([first]);
  const plain = client.declare('plain');
  client.window(2, plain, 1);
  const kept = client.produce(plain);
  run.advance(RESERVATION_MS - 1_000);
  run.reload('another host');
  run.advance(999);
  expect(client.takeIds()).toEqual([]);
  run.advance(1);
  expect(client.takeIds()).toEqual([kept]);
});

test('a suspect is charged when its process dies in its time alone', () => {
  const run = new MachineRun();
  const [first] = suspects(run, 1);
  const client = worker(run, 'client');
  const operator = run.client('operator');
  client.die();
  expect(messageOf(operator, first as string)).toMatchObject({ deaths: 1 });
});

test.each([
  { beside: 'company', deaths: 0 },
  { beside: 'nothing', deaths: 1 },
])(
  'a suspect whose time alone is over has $deaths deaths counted when process and broker die, with $beside beside it',
  ({ beside, deaths }) => {
    const run = new MachineRun();
    const [first] = suspects(run, 1);
    const client = worker(run, 'client');
    run.advance(RESERVATION_MS);
    if (beside === 'company') client.produce(1);
    expect(client.take()).toHaveLength(beside === 'company' ? 2 : 1);
    run.reload('yet another host');
    run.advance(SESSION_TIMEOUT_MS);
    expect(messageOf(run.client('operator'), first as string)).toMatchObject({ state: 'ready', deaths });
  },
);

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
