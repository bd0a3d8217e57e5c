import { describe, expect, test } from 'vitest';
import { blockOf, dedupe, type Delivered, type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { viewOf } from '../helpers/machine-views.ts';

function start(maxBacklog: number): { run: MachineRun; client: MachineClient; ref: number } {
  const run = new MachineRun();
  const client = run.client('client');
  return { run, client, ref: client.declare('mail', { maxBacklog }) };
}

const FULL = { kind: 'produced', exceptions: [{ index: 0, what: 'backlogFull', id: undefined }] };

describe('maxBacklog', () => {
  test('refuses what is one too many, counting ready, delayed, leased and waiting messages', () => {
    const { client, ref } = start(3);
    client.window(1, ref, 1);
    client.produce(ref);
    client.produce(ref);
    client.produce(ref, { delayMs: 5_000 });
    expect(client.tryProduce(ref)).toEqual(FULL);
    expect(viewOf(client, 'mail')).toMatchObject({ leased: 1, ready: 1, delayed: 1, totals: { produced: 3 } });
  });

  test('stores of a set as many as there is room for, and with `atomic` all or none', () => {
    const { run, client, ref } = start(3);
    const five = (): Uint8Array[] => [
      blockOf(
        Array.from({ length: 5 }, () => run.newId()),
        [],
      ),
    ];
    const none = client.ask({ kind: 'produce', ref, atomic: true, blocks: five() });
    expect(none).toMatchObject({ exceptions: [0, 1, 2, 3, 4].map((index) => ({ index, what: 'backlogFull' })) });
    expect(viewOf(client, 'mail')).toMatchObject({ ready: 0 });
    const some = client.ask({ kind: 'produce', ref, atomic: false, blocks: five() });
    expect(some).toMatchObject({ exceptions: [3, 4].map((index) => ({ index, what: 'backlogFull' })) });
    expect(viewOf(client, 'mail')).toMatchObject({ ready: 3 });
  });

  test('says `room` once to a session that met the limit, as soon as a message has ended', () => {
    const { run, client, ref } = start(1);
    client.window(1, ref, 1);
    client.produce(ref);
    client.tryProduce(ref);
    client.tryProduce(ref);
    expect(run.notices).toEqual([]);
    client.ack(client.take()[0] as Delivered);
    expect(run.notices).toEqual([{ session: 'client', notice: { kind: 'room', channel: 'mail' } }]);
    client.produce(ref);
    client.ack(client.take()[0] as Delivered);
    expect(run.notices).toHaveLength(1);
  });

  test('says `room` after a purge and after a cancel too', () => {
    const { run, client, ref } = start(1);
    client.produce(ref);
    client.tryProduce(ref);
    client.ask({ kind: 'control', channel: 'mail', action: 'purge', settings: undefined });
    run.run();
    expect(run.notices).toHaveLength(1);
  });

  test('a duplicate is no addition, though the channel is full', () => {
    const run = new MachineRun();
    const client = run.client('client');
    const ref = client.declare('mail', { maxBacklog: 1, dedupe: { windowMs: 1_000, mode: 'reject' } });
    client.produce(ref, dedupe('a'));
    expect(client.tryProduce(ref, dedupe('a'))).toMatchObject({ exceptions: [{ what: 'deduplicated' }] });
  });

  test('messages that a handler produces with its ack are never refused', () => {
    const { run, client, ref } = start(1);
    client.window(1, ref, 1);
    client.produce(ref);
    const [delivered] = client.take();
    const blocks = [blockOf([run.newId(), run.newId()], [])];
    client.settle(delivered as Delivered, { kind: 'ack', result: undefined }, [{ kind: 'produce', ref, blocks }]);
    expect(viewOf(client, 'mail')).toMatchObject({ completed: 1, ready: 1, leased: 1 });
  });
});

describe('produce with the ack', () => {
  test('happens with an ack that counts, and not with a stale one', () => {
    const { run, client, ref } = start(0);
    const other = client.declare('other');
    client.window(1, ref, 1);
    client.produce(ref);
    const [delivered] = client.take();
    const produced = [{ kind: 'produce' as const, ref: other, blocks: [blockOf([run.newId()], [{}])] }];
    const ack = { kind: 'ack', result: undefined } as const;
    expect(client.settle({ seq: delivered?.seq ?? 0, token: 0 }, ack, produced)).toEqual({
      kind: 'settled',
      lost: [0],
      conflicts: [],
    });
    expect(viewOf(client, 'other')).toMatchObject({ ready: 0 });
    client.settle(delivered as Delivered, ack, produced);
    expect(viewOf(client, 'other')).toMatchObject({ ready: 1 });
  });

  test('to a channel that was not declared is refused as a whole', () => {
    const { run, client, ref } = start(0);
    client.window(1, ref, 1);
    client.produce(ref);
    const [delivered] = client.take();
    const produced = [{ kind: 'produce' as const, ref: 99, blocks: [blockOf([run.newId()], [{}])] }];
    const reply = client.settle(delivered as Delivered, { kind: 'ack', result: undefined }, produced);
    expect(reply).toMatchObject({ kind: 'refused', code: 'PROTOCOL' });
    expect(viewOf(client, 'mail')).toMatchObject({ leased: 1, completed: 0 });
  });
});
