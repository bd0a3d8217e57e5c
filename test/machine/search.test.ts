import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encode } from '#holdfast/codec/bson.js';
import { SeqTable } from '#holdfast/machine/seq-table.js';
import type { SearchPage } from '#holdfast/model/views.js';
import type { MessageFilter } from '#holdfast/model/filter.js';
import type { InspectSearch } from '#holdfast/model/life.js';
import { parseMessageId } from '#holdfast/model/message-id.js';
import { grantOf } from '#holdfast/model/scopes.js';
import { STATES } from '#holdfast/model/states.js';
import { type Delivered, failureOf, type MachineClient, MachineRun } from '../helpers/machine-run.ts';

function search(
  client: MachineClient,
  filter: Partial<MessageFilter> = {},
  rest: Partial<InspectSearch> = {},
): SearchPage {
  const reply = client.ask({
    kind: 'inspect',
    what: 'search',
    channel: 'mail',
    filter: { states: STATES, ...filter },
    order: 'newest',
    after: undefined,
    limit: 100,
    ...rest,
  });
  if (reply.kind !== 'value') throw new Error(`The answer is ${JSON.stringify(reply)}`);
  return reply.value as SearchPage;
}

/** All ids, over as many pages as it takes. */
function idsOf(
  client: MachineClient,
  filter: Partial<MessageFilter> = {},
  rest: Partial<InspectSearch> = {},
): string[] {
  const ids: string[] = [];
  let { after } = rest;
  for (;;) {
    const page = search(client, filter, { ...rest, after });
    ids.push(...page.messages.map(({ id }) => id));
    if (page.next === undefined) return ids;
    after = page.next;
  }
}

/** Three completed, two dead, a cancelled one, a delayed one, a leased one and three ready ones, in this order. */
function start(): { run: MachineRun; client: MachineClient; ids: string[] } {
  const run = new MachineRun();
  const client = run.client('client');
  const ref = client.declare('mail', { maxAttempts: 1 });
  client.window(1, ref, 1);
  const ids: string[] = [];
  const end = (how: 'ack' | 'nack', value: unknown): void => {
    ids.push(client.produce(ref, { name: how }, value));
    const delivered = client.take()[0] as Delivered;
    if (how === 'ack') client.ack(delivered);
    else client.settle(delivered, { kind: 'nack', failure: failureOf(`no ${String(value)}`), delayMs: undefined });
    run.advance(10_000);
  };
  for (const value of ['one', 'two', 'three']) end('ack', value);
  for (const value of ['four', 'five']) end('nack', value);
  const cancelled = client.produce(ref, { delayMs: 1_000_000 });
  client.ask({ kind: 'manage', id: parseMessageId(cancelled), action: 'cancel' });
  ids.push(cancelled, client.produce(ref, { delayMs: 1_000_000, group: 'later' }, { deep: ['größer'] }));
  ids.push(client.produce(ref, {}, 'leased'));
  for (const priority of [5, 0, -5]) {
    run.advance(10_000);
    ids.push(client.produce(ref, { priority }, 'ready'));
  }
  run.run();
  return { run, client, ids };
}

describe('search', () => {
  test('gives those that live by when they were produced, then the ended ones by when they ended, the newest first', () => {
    const { run, client, ids } = start();
    const [a, b, c, d, e, f, g, h, i, j, k] = ids;
    const expected = [k, j, i, h, g, c, b, a, e, d, f];
    expect(idsOf(client)).toEqual(expected);
    expect(idsOf(client, {}, { limit: 1 })).toEqual(expected);
    expect(idsOf(client, {}, { order: 'oldest', limit: 3 })).toEqual([g, h, i, j, k, a, b, c, d, e, f]);
    run.reload();
    expect(idsOf(client, {}, { limit: 2 })).toEqual(expected);
  });

  test('finds by state, name, group, time, attempts, failure and text', () => {
    const { run, client, ids } = start();
    const [a, b, c, d, e, f, g, h, i, j, k] = ids;
    const find = (filter: Partial<MessageFilter>): string[] => idsOf(client, filter, { order: 'oldest' });
    expect(find({ states: ['dead', 'delayed'] })).toEqual([g, d, e]);
    expect(find({ name: 'ack' })).toEqual([a, b, c]);
    expect(find({ group: 'later' })).toEqual([g]);
    expect(find({ failure: 'no fi' })).toEqual([e]);
    expect(find({ failure: 'Error' })).toEqual([d, e]);
    expect(find({ minAttempts: 1 })).toEqual([a, b, c, d, e]);
    expect(find({ maxAttempts: 0 })).toEqual([g, h, i, j, k, f]);
    expect(find({ text: 'größer' })).toEqual([g]);
    expect(find({ text: 'deep' })).toEqual([g]);
    expect(find({ text: 'gr' })).toEqual([g]);
    expect(find({ text: 'Größer' })).toEqual([]);
    const from = run.now - 20_000;
    expect(find({ producedAfter: from })).toEqual([i, j, k].slice(0));
    expect(find({ producedBefore: from, states: ['ready', 'leased', 'delayed'] })).toEqual([g, h]);
    expect(find({ endedAfter: run.now - 50_000, states: ['completed', 'dead'] })).toEqual([d, e]);
    expect(find({ endedBefore: run.now - 50_000 })).toEqual([a, b, c]);
    expect(find({ endedAfter: run.now - 60_000, endedBefore: run.now - 50_000 })).toEqual([c]);
  });

  test('looks a bounded part through at a time, and goes on with what it gives', () => {
    const run = new MachineRun();
    const client = run.client('client');
    const ref = client.declare('mail');
    for (let i = 0; i < 30; i++)
      client.produceSome(
        ref,
        Array.from({ length: 1_000 }, () => ({})),
        i,
      );
    const rare = client.produce(ref, {}, 'needle');
    for (let i = 0; i < 30; i++)
      client.produceSome(
        ref,
        Array.from({ length: 1_000 }, () => ({})),
        i,
      );
    expect(idsOf(client, { text: 'needle' })).toEqual([rare]);
    const first = search(client, { text: 'needle' });
    expect(first.messages).toEqual([]);
    expect(first.next).toMatchObject({ stage: 0 });
    expect(search(client, { states: ['dead'] })).toEqual({ messages: [], next: undefined });
  });

  test('finds the messages of a small channel among many others at once', () => {
    const run = new MachineRun();
    const client = run.client('client');
    const other = client.declare('other');
    const ref = client.declare('mail');
    const first = client.produce(ref);
    for (let i = 0; i < 30; i++)
      client.produceSome(
        other,
        Array.from({ length: 1_000 }, () => ({})),
      );
    const last = client.produce(ref, { delayMs: 60_000 });
    expect(search(client).messages.map(({ id }) => id)).toEqual([last, first]);
    expect(search(client, {}, { channel: undefined, order: 'oldest' }).messages[0]).toMatchObject({ id: first });
  });

  test('over all channels shows those that the session may read, and no others', () => {
    const { run, client, ids } = start();
    const refs = ['secret', 'mail/more'].map((name) => client.declare(name));
    const [hidden, shown] = refs.map((ref) => client.produce(ref)) as [string, string];
    expect(idsOf(client, {}, { channel: undefined })).toEqual(expect.arrayContaining([...ids, hidden, shown]));
    const reader = run.client('reader', run.host, { accessToken: '', grant: grantOf(['channel:mail*:read']) });
    const found = idsOf(reader, {}, { channel: undefined });
    expect(found.toSorted()).toEqual([...ids, shown].toSorted());
  });

  test('cuts a page where it grows too long, and goes on behind it', () => {
    const run = new MachineRun();
    const client = run.client('client');
    const ref = client.declare('mail');
    const ids = Array.from({ length: 4 }, () => client.produce(ref, {}, 'x'.repeat(3_000_000)));
    expect(search(client, {}, { order: 'oldest' }).messages).toHaveLength(2);
    expect(idsOf(client, {}, { order: 'oldest' })).toEqual(ids);
  });

  test('a payload that was replaced is searched as it is now', () => {
    const run = new MachineRun();
    const client = run.client('client');
    const ref = client.declare('mail');
    const id = client.produce(ref, { name: 'letter' }, 'before');
    const payload = { codec: 1, bytes: encode('behind') };
    client.ask({ kind: 'update', id: parseMessageId(id), payload });
    expect(idsOf(client, { text: 'before' })).toEqual([]);
    expect(idsOf(client, { text: 'behind', name: 'letter' })).toEqual([id]);
  });
});

describe('SeqTable', () => {
  test('above() and below() give the neighbours, as a sorted list has them', () => {
    const operation = fc.tuple(fc.boolean(), fc.nat(3_000));
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), fc.integer({ min: -1, max: 3_100 }), (operations, at) => {
        const table = new SeqTable<number>();
        const model = new Set<number>();
        for (const [isAdded, seq] of operations) {
          if (isAdded) table.set(seq, seq);
          else table.delete(seq);
          if (isAdded) model.add(seq);
          else model.delete(seq);
        }
        const sorted = [...model].toSorted((a, b) => a - b);
        expect(table.above(at)).toBe(sorted.find((seq) => seq > at));
        expect(table.below(at)).toBe(sorted.findLast((seq) => seq < at));
        expect(table.below(Infinity)).toBe(sorted.at(-1));
      }),
    );
  });
});
