import { describe, expect, test } from 'vitest';
import { messageIdText, parseMessageId } from '#holdfast/model/message-id.js';
import type { Policy } from '#holdfast/model/policy.js';
import { dedupe, type Delivered, failureOf, type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { messageOf } from '../helpers/machine-views.ts';

const UNTIL_SETTLED = 0;

interface Start {
  readonly run: MachineRun;
  readonly client: MachineClient;
  readonly ref: number;
}

function start(policy: Partial<Policy>): Start {
  const run = new MachineRun();
  const client = run.client('client');
  return { run, client, ref: client.declare('mail', policy) };
}

/** The id of the message that a new one of this key is taken for; `undefined` when the new one is stored. */
function standing(client: MachineClient, ref: number, key: string): string | undefined {
  const reply = client.tryProduce(ref, dedupe(key));
  if (reply.kind !== 'produced') throw new Error(`The answer is ${reply.kind}`);
  const id = reply.exceptions[0]?.id;
  return id && messageIdText(id);
}

function claim(client: MachineClient, ref: number): Delivered {
  client.window(1, ref, 1);
  const [delivered] = client.take();
  client.window(1, ref, 0);
  if (delivered === undefined) throw new Error('Nothing was delivered');
  return delivered;
}

describe('the key of a delayed message', () => {
  test('stays with it over a reload until it has ended, with untilSettled', () => {
    const { run, client, ref } = start({ dedupe: { windowMs: UNTIL_SETTLED, mode: 'reject' } });
    const first = client.produce(ref, { ...dedupe('a'), delayMs: 60_000 });
    run.reload();
    expect(standing(client, ref, 'a')).toBe(first);
    run.advance(60_000);
    run.reload();
    expect(standing(client, ref, 'a')).toBe(first);
    client.ack(claim(client, ref));
    expect(standing(client, ref, 'a')).toBeUndefined();
  });

  test.each([UNTIL_SETTLED, 5_000])('stays with it over a reload, with keepLast and a window of %d ms', (windowMs) => {
    const { run, client, ref } = start({ dedupe: { windowMs, mode: 'keepLast' } });
    const first = client.produce(ref, { ...dedupe('a'), delayMs: 60_000 });
    run.reload();
    const second = client.produce(ref, dedupe('a'));
    expect(messageOf(client, second)).toMatchObject({ state: 'waiting' });
    run.reload();
    run.advance(60_000);
    const running = claim(client, ref);
    expect(running.id).toBe(first);
    client.ack(running);
    expect(messageOf(client, second)).toMatchObject({ state: 'ready' });
  });
});

describe('a key that came free', () => {
  test('stays free over a reload, though a record still holds it as it was while a message waited for it', () => {
    const { run, client, ref } = start({ dedupe: { windowMs: 5_000, mode: 'keepLast' } });
    client.produce(ref, dedupe('a'));
    // The other key of this commit outlives the first one, and with it the record of both.
    run.advance(2_000);
    client.produceSome(ref, [dedupe('a'), dedupe('b')]);
    client.ack(claim(client, ref));
    const waited = claim(client, ref);
    client.ack(waited);
    run.advance(4_000);
    run.reload();
    expect(standing(client, ref, 'a')).toBeUndefined();
  });
});

describe('keepLast', () => {
  test('waits for nobody who has given up its key: a message that was redriven', () => {
    const { client, ref } = start({ dedupe: { windowMs: 60_000, mode: 'keepLast' } });
    const first = client.produce(ref, dedupe('a'));
    client.settle(claim(client, ref), { kind: 'fail', failure: failureOf('no') });
    client.ask({ kind: 'manage', id: parseMessageId(first), action: 'redrive' });
    expect(standing(client, ref, 'a')).toBe(first);
  });

  test('waits for nobody who has given up its key: a message among the dead letters', () => {
    const { client, ref } = start({ dedupe: { windowMs: 60_000, mode: 'keepLast' }, deadLetter: 'dead letters' });
    const first = client.produce(ref, dedupe('a'));
    client.settle(claim(client, ref), { kind: 'fail', failure: failureOf('no') });
    expect(messageOf(client, first)).toMatchObject({ channel: 'dead letters', state: 'ready' });
    expect(standing(client, ref, 'a')).toBe(first);
  });
});
