import { describe, expect, test } from 'vitest';
import { encode } from '#holdfast/codec/bson.js';
import { KIND } from '#holdfast/machine/layout.js';
import type { Reply } from '#holdfast/model/command.js';
import type { MessageFilter } from '#holdfast/model/filter.js';
import type { Bulk, BulkView } from '#holdfast/model/life.js';
import { parseMessageId } from '#holdfast/model/message-id.js';
import { type ChannelSettings, DEFAULT_SETTINGS, type Policy } from '#holdfast/model/policy.js';
import { grantOf } from '#holdfast/model/scopes.js';
import { dedupe, type Delivered, type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { listOf, messageOf, viewOf } from '../helpers/machine-views.ts';

const ALL = { count: undefined, ageMs: undefined };
const KEEP_ALL: ChannelSettings = { ...DEFAULT_SETTINGS, completed: ALL, dead: ALL };

function start(policy: Partial<Policy> = {}): { run: MachineRun; client: MachineClient; ref: number } {
  const run = new MachineRun();
  const client = run.client('client');
  // The first look at KV has its turn before any bulk.
  run.run();
  return { run, client, ref: client.declare('mail', policy, KEEP_ALL) };
}

function ask(client: MachineClient, action: Bulk['action'], states: MessageFilter['states'], rest: object = {}): Reply {
  const { filter, ...options } = rest as { filter?: object };
  return client.ask({ kind: 'bulk', channel: 'mail', action, filter: { states, ...filter }, ...options });
}

function begin(
  client: MachineClient,
  action: Bulk['action'],
  states: MessageFilter['states'],
  rest: object = {},
): number {
  const reply = ask(client, action, states, rest);
  if (reply.kind !== 'value') throw new Error(`The answer is ${JSON.stringify(reply)}`);
  return reply.value as number;
}

function look(client: MachineClient, bulk?: number, tell: boolean = false): BulkView[] {
  const reply = client.ask({ kind: 'inspect', what: 'bulks', bulk, channel: undefined, tell });
  return reply.kind === 'value' ? (reply.value as BulkView[]) : [];
}

function produce(client: MachineClient, ref: number, count: number, options: object = {}): string[] {
  return client.produceSome(
    ref,
    Array.from({ length: count }, () => options),
  );
}

/** Ends as many messages, each in a way of its own. */
function endMany(client: MachineClient, ref: number, count: number, how: 'ack' | 'fail'): string[] {
  client.window(1, ref, count);
  const ids = produce(client, ref, count);
  for (const delivered of client.take()) {
    if (how === 'ack') client.ack(delivered);
    else client.settle(delivered, { kind: 'fail', failure: { name: 'Error', message: 'no', stack: undefined } });
  }
  client.window(1, ref, 0);
  return ids;
}

describe('a bulk', () => {
  test('cancels what has not ended, with a reason, and says how far it is', () => {
    const { run, client, ref } = start();
    const ids = [...produce(client, ref, 300), ...produce(client, ref, 200, { delayMs: 60_000 })];
    const bulk = begin(client, 'cancel', ['ready', 'delayed'], { reason: 'closed' });
    run.step();
    expect(look(client, bulk)).toMatchObject([
      { id: bulk, state: 'running', action: 'cancel', changed: 200, looked: 200 },
    ]);
    run.run();
    expect(look(client, bulk)).toMatchObject([{ state: 'done', changed: 500, looked: 500, endedAt: run.now }]);
    expect(viewOf(client, 'mail')).toMatchObject({ ready: 0, delayed: 0, cancelled: 500 });
    expect(messageOf(client, ids[499] as string)).toMatchObject({ failure: { message: 'closed' } });
  });

  test('goes on behind a restart where it stood, and does nothing twice', () => {
    const { run, client, ref } = start();
    const ids = endMany(client, ref, 1_000, 'fail');
    const bulk = begin(client, 'retry', ['dead']);
    for (let steps = 0; run.isDue && steps < 1_000; steps++) {
      run.step();
      const [view] = look(client, bulk) as [BulkView];
      const { ready, dead } = viewOf(client, 'mail');
      expect({ ready, dead }).toEqual({ ready: view.changed, dead: 1_000 - view.changed });
      if (view.state !== 'running') break;
      const before = run.machine;
      run.reload();
      expect(run.machine).not.toBe(before);
    }
    expect(look(client, bulk)).toMatchObject([{ state: 'done', changed: 1_000 }]);
    expect(listOf(client, 'mail', 'ready', 0, 100).map(({ id }) => id)).toEqual(ids.slice(0, 100));
  });

  test('concerns only what was there when it began', () => {
    const { run, client, ref } = start();
    produce(client, ref, 300);
    begin(client, 'cancel', ['ready']);
    const later = client.produce(ref);
    run.run();
    expect(listOf(client, 'mail', 'ready').map(({ id }) => id)).toEqual([later]);
  });

  test('a message that it brings back and that ends again at once is not brought back again', () => {
    const { run, client, ref } = start();
    endMany(client, ref, 250, 'fail');
    const bulk = begin(client, 'retry', ['dead']);
    client.window(2, ref, 1_000);
    for (let i = 0; i < 20; i++) {
      for (const delivered of client.take()) {
        client.settle(delivered, { kind: 'fail', failure: { name: 'Error', message: 'again', stack: undefined } });
      }
      if (run.isDue) run.step();
    }
    expect(look(client, bulk)).toMatchObject([{ state: 'done', changed: 250 }]);
    expect(viewOf(client, 'mail')).toMatchObject({ dead: 250, totals: { dead: 500 } });
  });

  test('removes what waits and what has ended, the oldest first, up to a limit', () => {
    const { run, client, ref } = start();
    const ended = endMany(client, ref, 300, 'ack');
    const bulk = begin(client, 'remove', ['completed'], { limit: 250 });
    run.run();
    expect(look(client, bulk)).toMatchObject([{ state: 'done', changed: 250 }]);
    expect(listOf(client, 'mail', 'completed').map(({ id }) => id)).toEqual(ended.slice(250).reverse());
    run.reload();
    expect(viewOf(client, 'mail')).toMatchObject({ completed: 50 });
    begin(client, 'remove', ['completed', 'ready', 'delayed']);
    run.run();
    for (const kind of [KIND.pack, KIND.ids, KIND.ended, KIND.live]) expect(run.kinds).not.toContain(kind);
  });

  test('that removes gives dedupe keys free', () => {
    const { run, client, ref } = start({ dedupe: { windowMs: 60_000, mode: 'reject' } });
    for (const key of ['a', 'b', 'c']) client.produce(ref, dedupe(key));
    begin(client, 'remove', ['ready']);
    run.run();
    expect(client.tryProduce(ref, dedupe('b'))).toMatchObject({ exceptions: [] });
  });

  test('promotes, and updates when messages are handed out', () => {
    const { run, client, ref } = start();
    const ids = produce(client, ref, 5, { delayMs: 60_000 });
    begin(client, 'promote', ['delayed'], { limit: 2 });
    run.run();
    expect(listOf(client, 'mail', 'ready').map(({ id }) => id)).toEqual(ids.slice(0, 2));
    const at = run.now;
    begin(client, 'update', ['ready', 'delayed'], { delayMs: 10_000, priority: 7 });
    run.advance(1_000);
    expect(listOf(client, 'mail', 'delayed').map(({ dueAt, priority }) => ({ dueAt, priority }))).toEqual(
      ids.map(() => ({ dueAt: at + 10_000, priority: 7 })),
    );
  });

  test('finds by all that a search finds by', () => {
    const { run, client, ref } = start();
    client.produce(ref, { name: 'letter' }, 'one');
    const id = client.produce(ref, { name: 'letter', group: 'g' }, 'two');
    client.produce(ref, { name: 'parcel' }, 'two');
    const bulk = begin(client, 'cancel', ['ready'], { filter: { name: 'letter', text: 'two', group: 'g' } });
    run.run();
    expect(look(client, bulk)).toMatchObject([{ changed: 1, looked: 3 }]);
    expect(listOf(client, 'mail', 'cancelled').map((message) => message.id)).toEqual([id]);
  });

  test('cancels what handlers have, with a deadline', () => {
    const { run, client, ref } = start();
    client.window(1, ref, 2);
    produce(client, ref, 3);
    const [first, second] = client.take() as [Delivered, Delivered];
    begin(client, 'cancel', ['leased'], { deadlineMs: 5_000 });
    run.run();
    client.ack(first);
    run.advance(5_000);
    expect(client.ack(second)).toMatchObject({ lost: [0] });
    expect(viewOf(client, 'mail')).toMatchObject({ completed: 1, cancelled: 1 });
  });

  test('can be stopped, and stays as it is then', () => {
    const { run, client, ref } = start();
    produce(client, ref, 500);
    const bulk = begin(client, 'cancel', ['ready']);
    run.step();
    expect(client.ask({ kind: 'stopBulk', bulk })).toEqual({ kind: 'done' });
    run.run();
    expect(look(client, bulk)).toMatchObject([{ state: 'stopped', changed: 200 }]);
    expect(client.ask({ kind: 'stopBulk', bulk })).toEqual({ kind: 'done' });
    run.reload();
    expect(look(client, bulk)).toMatchObject([{ state: 'stopped', changed: 200 }]);
    expect(viewOf(client, 'mail')).toMatchObject({ ready: 300, cancelled: 200 });
    expect(client.ask({ kind: 'stopBulk', bulk: 12_345 })).toMatchObject({ code: 'NOT_FOUND' });
  });

  test('tells its end once to those who have asked', () => {
    const { run, client, ref } = start();
    produce(client, ref, 10);
    const bulk = begin(client, 'cancel', ['ready']);
    look(client, bulk, true);
    run.run();
    expect(run.notices).toEqual([{ session: 'client', notice: { kind: 'bulkEnded', bulk } }]);
    look(client, bulk, true);
    run.run();
    expect(run.notices).toHaveLength(1);
  });

  test('several go on by turns', () => {
    const { run, client, ref } = start();
    produce(client, ref, 1_000);
    const first = begin(client, 'cancel', ['ready'], { limit: 400 });
    const second = begin(client, 'update', ['ready'], { priority: 1, limit: 300 });
    run.step();
    run.step();
    expect(look(client).map(({ id, changed }) => [id, changed])).toEqual([
      [first, 200],
      [second, 200],
    ]);
    run.run();
    expect(look(client).map(({ state }) => state)).toEqual(['done', 'done']);
  });

  test('is refused where it may not be, where there is no such channel, and when too many run', () => {
    const { run, client, ref } = start();
    produce(client, ref, 10);
    expect(
      client.ask({ kind: 'bulk', channel: 'none', action: 'cancel', filter: { states: ['ready'] } }),
    ).toMatchObject({
      code: 'NOT_FOUND',
    });
    const reader = run.client('reader', run.host, { accessToken: '', grant: grantOf(['channel:mail:read,consume']) });
    expect(ask(reader, 'cancel', ['ready'])).toMatchObject({ code: 'FORBIDDEN' });
    const numbers = Array.from({ length: 100 }, () => begin(client, 'promote', ['delayed']));
    expect(ask(client, 'promote', ['delayed'])).toMatchObject({ code: 'TOO_MANY' });
    expect(look(reader)).toHaveLength(100);
    expect(reader.ask({ kind: 'stopBulk', bulk: numbers[0] as number })).toMatchObject({ code: 'FORBIDDEN' });
    const stranger = run.client('stranger', run.host, { accessToken: '', grant: grantOf(['channel:other:read']) });
    expect(look(stranger)).toEqual([]);
    run.run();
    begin(client, 'promote', ['delayed']);
    run.run();
    expect(look(client)).toHaveLength(100);
    expect(look(client, numbers[0])).toEqual([]);
  });

  test('does not look at payloads that it need not', () => {
    const { run, client, ref } = start();
    const ids = produce(client, ref, 10);
    client.ask({ kind: 'update', id: parseMessageId(ids[0] as string), payload: { codec: 1, bytes: encode('new') } });
    begin(client, 'remove', ['ready']);
    run.flush();
    expect(run.machine.planTick()).toBeUndefined();
    run.run();
    expect(run.kinds).not.toContain(KIND.pack);
  });
});
